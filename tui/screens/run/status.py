"""Three lines around the panes: which run and how it stands, its pace, and the keys."""

from __future__ import annotations

from ....core.judgement.live import activity
from ....core.run.history import History
from ....core.run.runs import Run, last_checkpoint, step_of
from ....core.wording.text import visible
from ...drawing.format import (
    format_bytes,
    format_clock,
    format_count,
    format_seconds,
    format_short_count,
    short_model_name,
    wrap,
)
from ...drawing.spans import Line, join_fitting, justify, text_of, width_of
from ...widgets.pane import Pane

ROOMY = 84  # cells for the pace from which on it tells the epoch too
HINT_GAP = "   "
STATUS_MARKS = {
    "starting": ("·", "muted"),
    "running": ("▶", "accent"),
    "paused": ("‖", "warn"),
    "finished": ("✓", "good"),
    "stopped": ("■", "warn"),
    "failed": ("✗", "bad"),
    "died": ("✗", "bad"),
    "reading": ("·", "muted"),
}
DECISION_MARKS = {"ship": ("✓", "good"), "hold": ("✗", "bad"), "no evidence": ("?", "warn")}


class TwoEnds(Pane):
    """One line with something at the left and something at the right: the left gives way."""

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self._left: Line = []
        self._right: Line = []

    def show_ends(self, left: Line, right: Line) -> None:
        self._left, self._right = left, right
        self.show()

    def draw(self, width: int, height: int) -> list[Line]:
        return [justify(self._left, self._right, width)]


class KeyLine(Pane):
    """The keys that matter here; a notice takes their place for a while, whole: in more lines
    where one is too short for it."""

    NOTICE_SECONDS = 12.0
    MOST_LINES = 4

    def __init__(self, hints: list[Line]) -> None:
        super().__init__(id="keys")
        self.hints = hints
        self.notice: Line = []
        self._shown = 0

    def show_hints(self, hints: list[Line]) -> None:
        self.hints = hints
        self.show()

    def show_notice(self, text: str, role: str = "") -> None:
        self.notice = [(visible(text), role or "strong")]
        self._shown += 1
        shown = self._shown
        self.set_timer(self.NOTICE_SECONDS, lambda: self._drop_notice(shown))
        self._take_room()
        self.show()

    def _drop_notice(self, shown: int) -> None:
        if shown == self._shown:
            self.drop_notice()

    def drop_notice(self) -> None:
        self.notice = []
        self._take_room()
        self.show()

    def on_resize(self) -> None:
        self._take_room()

    def _take_room(self) -> None:
        self.styles.height = max(1, len(self._notice_lines(self.size.width)))

    def _notice_lines(self, width: int) -> list[Line]:
        if not self.notice or not width:
            return []
        role = self.notice[0][1]
        return [[(t, role)] for t in wrap(text_of(self.notice), width)[: self.MOST_LINES]]

    def draw(self, width: int, height: int) -> list[Line]:
        if not self.notice:
            return [hint_line(self.hints, width)]
        return self._notice_lines(width)


def hint_line(hints: list[Line], width: int) -> Line:
    """As many hints as fit, in their order; the way to all of them, `?`, always."""
    line = join_fitting(hints, HINT_GAP, width)
    last = next((hint for hint in hints if hint[0][0] == "?"), None)
    if last is None or last[0] in line:
        return line
    room = width - width_of(last) - len(HINT_GAP)
    others = [hint for hint in hints if hint is not last]
    return [*join_fitting(others, HINT_GAP, room), (HINT_GAP, ""), *last]


def title_left(run: Run, history: History) -> Line:
    started, model, device = history.started, history.model, history.device
    name = started.name if started and started.name else run.id
    told = [history.task] if history.task else []
    if model:
        told.append(
            f"{short_model_name(model.name)}, {format_short_count(model.parameters)} parameters"
        )
    if device:
        times = f"{device.devices} × " if device.devices > 1 else ""
        told.append(f"{times}{device.device} {device.precision}")
    return [
        ("ftev  ", "muted"),
        (visible(name), "strong"),
        ("  " + visible(" · ".join(told)), "muted"),
    ]


def title_right(status: str) -> Line:
    mark, role = STATUS_MARKS.get(status, ("·", "muted"))
    return [(f"{mark} {status}", f"strong {role}")]


def resumable_step(run: Run, status: str) -> int | None:
    """The step from which a run that ended early can go on; None where none is here."""
    newest = last_checkpoint(run) if status in ("stopped", "failed", "died") else None
    return step_of(newest) if newest is not None else None


def pace(
    history: History, status: str, width: int, run_id: str = "", resumable: int | None = None
) -> Line:
    """Where the run stands: stage, step, what is left, speed; or how it ended, and goes on.

    `width`: the cells there are for it, beside what is told of the machine.
    """
    if status == "failed":
        error = history.finished.error if history.finished else ""
        return [("failed  ", "bad"), (visible(error.partition("\n")[0]), "")]
    if status == "died":
        line: Line = [(f"the worker died at step {history.step:,}", "bad")]
        if resumable is None:
            return [*line, ("   no checkpoint is here to go on from", "muted")]
        return [*line, *_way_on(run_id, resumable, width - width_of(line))]
    if status in ("finished", "stopped"):
        line = _ended(history)
        if resumable is None:
            return line
        way = _way_on(run_id, resumable, width - width_of(line[:1]))
        return [*line, *way] if width_of(line) + width_of(way) < width else [*line[:1], *way]
    stage = history.current_stage
    line = [(activity(history, stage) if stage else _between(history), "strong")]
    if history.max_steps:
        line += [("   step ", "muted"), (format_count(history.step), "strong")]
        line.append((f" of {format_count(history.max_steps)}", "muted"))
    if history.plan and len(history.steps) and width >= ROOMY:
        line += [("   epoch ", "muted"), (f"{history.epoch:.2f}", "")]
        line.append((f" of {history.plan.epochs:g}", "muted"))
    left = history.eta_seconds()
    if left and status == "running":
        line += [("   ", ""), (format_clock(left), "strong"), (" of steps left", "muted")]
    speed = history.tokens_per_second() if status == "running" and not history.ended else 0.0
    if speed:
        told: Line = [("   ", ""), (_round_speed(speed), ""), (" tokens/s", "muted")]
        line += told if width_of(line) + width_of(told) <= width else []
    return line


def _way_on(run_id: str, step: int, room: int) -> Line:
    """How an ended run goes on, as much of it as there is room for."""
    command = f"P or ftev-tui resume {visible(run_id)}"
    ways = f"{command} goes on from step {step:,}", command, f"P goes on from step {step:,}"
    way = next((w for w in ways if len(w) + 3 < room), ways[-1])
    return [("   " + way, "muted")]


def _between(history: History) -> str:
    return "between two stages" if history.stages[0].done else "waiting for the worker"


def _round_speed(speed: float) -> str:
    """Two digits move seldom enough to be read."""
    return format_short_count(float(f"{speed:.2g}"))


def _ended(history: History) -> Line:
    """What was done and how long it took: of steps, the time of training alone."""
    if history.trains:
        took = history.training_seconds
        steps = format_count(history.step) + (" step" if history.step == 1 else " steps")
        line: Line = [(f"{steps} in {format_seconds(took)}", "")]
    else:
        end = history.finished.time if history.finished else history.last_time
        took = end - history.created if history.created else 0.0
        line = [(f"evaluated in {format_seconds(took)}", "")]
    if history.finished and history.finished.status == "stopped":
        line.append(("   stopped", "muted"))
    elif history.ended and history.ended.reason != "completed":
        line.append((f"   {visible(history.ended.reason)}", "muted"))
    if history.best_step is not None and history.trains:
        line.append((f"   kept: step {format_count(history.best_step)}", "muted"))
    return line


def machine(history: History, status: str) -> Line:
    """Memory and use of the device, else of the process."""
    sample = history.system
    if sample is None or status not in ("running", "paused"):
        return []
    if sample.device_total > 0:
        line: Line = []
        if sample.device_use >= 0:
            line.append((f"GPU {sample.device_use * 100:.0f} %  ", ""))
        used = f"{format_bytes(sample.device_memory)} of {format_bytes(sample.device_total)}"
        return [*line, (used, "muted")]
    return [(f"{sample.cpu:.1f} cores  ", "muted"), (format_bytes(sample.memory), "muted")]
