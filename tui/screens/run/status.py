"""Which run it is and how it stands, its pace and machine, and the orders to its worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual import on
from textual.message import Message

from ....core.judgement.live import activity
from ....core.run.control import AskCheckpoint, AskPause, AskResume, AskStop, Request
from ....core.run.events import CheckpointSaved, RunStarted
from ....core.run.history import History
from ....core.run.runs import NOT_OURS, Run, last_checkpoint, step_of
from ....core.wording.numbers import format_time
from ....core.wording.text import visible
from ...drawing.format import (
    format_bytes,
    format_clock,
    format_count,
    format_seconds,
    format_short_count,
    short_model_name,
)
from ...drawing.lines import STATUS_MARKS, Line, width_of
from ...widgets.framed import Notice, Outcome, TwoEnds
from ..prompt.asking import ask_request, resume_run

if TYPE_CHECKING:
    from ...app.background import Post

ROOMY = 84  # cells for the pace from which on it has the epoch too
AROUND = 3  # cells beside and between the two ends of the line of status
NOTHING_TO_STOP = "No worker is alive: there is nothing to stop."
OVER = "The run is over: there is nothing to pause and nothing new to save."
LOST = "No worker is alive, and no checkpoint is here to resume from."
ENDED_AS = {"stopped": "The run is stopped.", "failed": "The run failed.", "died": "It died."}
QUESTIONS: dict[str, tuple[str, str, Request]] = {
    "stop": (
        "Stop this run?",
        "A state to resume from is saved, then the worker ends and frees the device.",
        AskStop(),
    ),
    "end": (
        "End its worker?",
        "The run is over, it only answers prompts. The device is freed; a prompt starts another.",
        AskStop(),
    ),
    "pause": ("Pause this run?", "Training waits; the device stays taken.", AskPause()),
    "resume": ("Go on with this run?", "Training goes on where it is.", AskResume()),
    "checkpoint": (
        "Save a checkpoint now?",
        "Between two steps; training waits for it.",
        AskCheckpoint(),
    ),
}


@dataclass(eq=False)
class Order:
    """What the worker was asked to do; the notice of it stands no longer than until it is done."""

    what: str
    saved: list[CheckpointSaved]  # the last one when it was asked; saved anew, its time is another
    started: RunStarted | None

    def came_of_it(self, history: History, alive: bool) -> str:
        """A sentence once it is done; empty before."""
        if self.what == "end":
            return "" if alive else "its worker has ended"
        step = f"{history.step:,}"
        if self.what == "go on":
            started = history.started if history.started is not self.started else None
            return f"going on from step {started.resumed_from_step:,}" if started else ""
        if history.finished is not None:
            return f"{history.finished.status} at step {step}"
        if self.what == "pause" and history.paused:
            return f"paused after step {step}"
        if self.what == "resume" and not history.paused:
            return f"going on after step {step}"
        if self.what == "checkpoint" and history.checkpoints[-1:] != self.saved:
            return f"saved: {history.checkpoints[-1].path}"
        return ""


@dataclass
class OrderAnswered(Message):
    """The worker will do what it was asked to, or says why not."""

    order: Order
    outcome: Outcome


class StatusLine(TwoEnds):
    """How the run stands; orders to its worker are given here, each after a question.

    What comes of an order goes up as `Outcome`.
    """

    def __init__(self, run: Run) -> None:
        super().__init__("status")
        self.followed = run
        self.history, self.status, self.alive = History(), "reading", False
        self.resumable: int | None = None  # the step that an ended run can go on from
        self._order: Order | None = None  # the last one, until it is done

    def show_reading(self, share: float) -> None:
        self.show_ends([(f"reading the run  {share * 100:.0f} %", "muted")], [])

    def show_history(self, history: History, status: str, alive: bool) -> None:
        self.history, self.status, self.alive = history, status, alive
        self.resumable = resumable_step(self.followed, status)
        right = machine(history, status)
        room = self.screen.size.width - width_of(right) - AROUND
        self.show_ends(pace(history, status, room, self.followed.id, self.resumable), right)
        # The worker says that it will; only the run's own events say that it did.
        done = self._order.came_of_it(history, alive) if self._order is not None else ""
        if done:
            self._order = None
            self.post_message(Outcome(done))

    def ask(self, what: str) -> None:
        """Ask whether to "stop", "pause", "resume" or "checkpoint"; a notice says why not."""
        if self.followed.is_foreign:
            self.post_message(Notice(f"This run {NOT_OURS}.", "warn"))
            return
        alive, history = self.followed.worker_alive(), self.history
        # A worker outlives its run by some minutes, for prompts: to stop then means to free the
        # device.
        if history.finished is not None and alive and what == "stop":
            what = "end"
        elif history.finished is not None and history.finished.status == "finished":
            self.post_message(Notice(NOTHING_TO_STOP if what == "stop" else OVER, "warn"))
            return
        elif history.finished is not None or not alive:
            if what != "pause" or self.resumable is None:
                self.post_message(Notice(way_on(self.followed, self.status), "warn"))
            else:
                self._ask_to_resume(self.resumable)
            return
        from ...widgets.framed import Question

        question, consequence, request = QUESTIONS[what]

        def send(yes: bool | None) -> None:
            if yes:
                ask_request(self.followed, request, self._give_order(what))

        self.app.push_screen(Question(question, consequence), send)

    def _ask_to_resume(self, step: int) -> None:
        from ...widgets.framed import Question

        def resume(yes: bool | None) -> None:
            if yes:
                resume_run(self.followed, self._give_order("go on"))

        consequence = f"A worker starts and takes the device; training goes on from step {step:,}."
        self.app.push_screen(Question("Go on with this run?", consequence), resume)

    def _give_order(self, what: str) -> Post:
        """What the thread that asks the worker posts its answer by."""
        order = self._order = Order(what, self.history.checkpoints[-1:], self.history.started)

        def post(message: Message) -> None:
            if isinstance(message, Outcome):
                self.post_message(OrderAnswered(order, message))

        return post

    @on(OrderAnswered)
    def show_answer(self, message: OrderAnswered) -> None:
        """That an order will be done is no news once it is done."""
        if message.outcome.failed:
            self._order = None
        # The deed was seen before the answer came, or another order followed.
        elif self._order is not message.order:
            return
        self.post_message(message.outcome)


def way_on(run: Run, status: str) -> str:
    """How a run that ended early goes on; that it cannot, where no checkpoint is here."""
    step = resumable_step(run, status)
    if step is None:
        return LOST
    how = f"P or `ftev-tui resume {run.id}` goes on from step {step:,}."
    return f"{ENDED_AS.get(status, '')} {how}".lstrip()


def title_left(run: Run, history: History) -> Line:
    """Name, task, base model and device."""
    started, model, device = history.started, history.model, history.device
    name = started.name if started and started.name else run.id
    about = [history.task] if history.task else []
    if model:
        about.append(
            f"{short_model_name(model.name)}, {format_short_count(model.parameters)} parameters"
        )
    if device:
        times = f"{device.devices} × " if device.devices > 1 else ""
        about.append(f"{times}{device.device} {device.precision}")
    return [
        ("ftev  ", "muted"),
        (visible(name), "strong"),
        ("  " + visible(" · ".join(about)), "muted"),
    ]


def title_right(status: str) -> Line:
    """The status with its mark."""
    mark, role = STATUS_MARKS.get(status, ("·", "muted"))
    return [(f"{mark} {status}", f"strong {role}")]


def resumable_step(run: Run, status: str) -> int | None:
    """The step from which a run that ended early can go on; None where none is here."""
    # Asked per picture: the folder of a run in motion is not looked through each time.
    newest = last_checkpoint(run) if status in ("stopped", "failed", "died") else None
    return step_of(newest) if newest is not None else None


def pace(
    history: History, status: str, width: int, run_id: str = "", resumable: int | None = None
) -> Line:
    """Where the run stands: stage, step, what is left, speed; or how it ended, and goes on.

    `width`: the cells there are for it, beside the machine.
    """
    if status == "failed":
        error = history.finished.error if history.finished else ""
        # One line here; the whole of it is in the log pane.
        return [("failed  ", "bad"), (visible(error.partition("\n")[0]), "")]
    if status == "died":
        line: Line = [(f"the worker died at step {history.step:,}", "bad")]
        if resumable is None:
            return [*line, ("   no checkpoint is here to resume from", "muted")]
        return [*line, *_way_on(run_id, resumable, width - width_of(line))]
    if status == "quiet":
        return _quiet(history)
    if status in ("finished", "stopped"):
        line = _ended(history)
        if resumable is None:
            return line
        way = _way_on(run_id, resumable, width - width_of(line[:1]))
        return [*line, *way] if width_of(line) + width_of(way) < width else [*line[:1], *way]
    stage = history.current_stage
    line = [(activity(history, stage) if stage else _between(history), "strong")]
    if history.max_steps or history.origin != "ftev":
        line += [("   step ", "muted"), (format_count(history.step), "strong")]
    if history.max_steps:
        line.append((f" of {format_count(history.max_steps)}", "muted"))
    if history.plan and len(history.steps) and width >= ROOMY:
        line += [("   epoch ", "muted"), (f"{history.epoch:.2f}", "")]
        line.append((f" of {history.plan.epochs:g}", "muted"))
    left = history.eta_seconds()
    if left and status == "running":
        line += [("   ", ""), (format_clock(left), "strong"), (" of steps left", "muted")]
    speed = history.tokens_per_second() if status == "running" and not history.ended else 0.0
    if speed:
        rate: Line = [("   ", ""), (_round_speed(speed), ""), (" tokens/s", "muted")]
        line += rate if width_of(line) + width_of(rate) <= width else []
    return line


def _quiet(history: History) -> Line:
    """Of a log that is not written to: whether its process lives is not known."""
    at = format_time(history.last_time)
    line: Line = [("step ", "muted"), (format_count(history.step), "strong")]
    return [*line, (f"   nothing new since {at}" if at else "   nothing new", "muted")]


def _way_on(run_id: str, step: int, room: int) -> Line:
    """How an ended run goes on, as much of it as there is room for."""
    command = f"P or ftev-tui resume {visible(run_id)}"
    ways = f"{command} goes on from step {step:,}", command, f"P goes on from step {step:,}"
    way = next((w for w in ways if len(w) + 3 < room), ways[-1])  # three spaces before it
    return [("   " + way, "muted")]


def _between(history: History) -> str:
    if history.origin != "ftev":  # whose stages are not known
        return f"{'paused, ' if history.paused else ''}logged by {visible(history.origin)}"
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
        if sample.device_use >= 0:  # some drivers do not say it
            line.append((f"GPU {sample.device_use * 100:.0f} %  ", ""))
        used = f"{format_bytes(sample.device_memory)} of {format_bytes(sample.device_total)}"
        return [*line, (used, "muted")]
    return [(f"{sample.cpu:.1f} cores  ", "muted"), (format_bytes(sample.memory), "muted")]
