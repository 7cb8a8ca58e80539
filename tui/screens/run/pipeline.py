"""The panes of how a run went: five stages with what was found, the log, and the training trace,
a row per epoch with what happened in words."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ....core.judgement.observations import observe_epoch, reason_kept
from ....core.run.events import Evaluated, Note
from ....core.run.history import Change, Epoch, History, Stage
from ....core.wording.text import visible
from ...drawing.format import (
    ABSENT,
    fit,
    fit_right,
    format_bytes,
    format_count,
    format_number,
    format_seconds,
    format_shape,
    format_share,
    format_signed,
    format_time,
    progress_bar,
    with_minus,
    wrap,
)
from ...drawing.lines import (
    GAP,
    STATUS_MARKS,
    Column,
    Line,
    cut,
    header,
    row,
    table_width,
    width_of,
)
from ...widgets.pane import NumberedPane

NAME_WIDTH = 24
TIME_WIDTH = 7
SHAPE_WIDTH = 25
BAR_WIDTH = 16
NOTE_INDENT = 4
ALONE = "Figures and charts alone: evaluate its model with `eval`, or its predictions with `judge`."
LEAST_NOTE = 24  # cells: less of a note says nothing
_MARKS = STATUS_MARKS | {"waiting": ("·", "muted"), "done": ("✓", "good")}


class PipelinePane(NumberedPane):
    """The five stages, each with its time, shapes and findings."""

    NUMBER, NAME = 1, "Pipeline"

    def __init__(self) -> None:
        super().__init__()
        self.history, self.status = History(), "starting"
        self.asides: dict[int, str] = {}  # stage -> what stands before its note

    def show_history(self, history: History, status: str) -> None:
        self.history, self.status = history, status
        self.show()

    def lines(self, width: int, height: int) -> list[Line]:
        return pipeline_lines(self.history, self.status, width, height, self.asides)


def pipeline_lines(
    history: History, status: str, width: int, height: int, asides: Mapping[int, str] | None = None
) -> list[Line]:
    """A line per stage; with room to spare the notes are shown in full beneath."""
    if history.origin != "ftev":
        return _elsewhere(history, width)[:height]
    lines: list[Line] = []
    for stage in history.stages:
        line = stage_line(history, stage, status, width)
        if stage.done and (aside := (asides or {}).get(stage.number)):
            if not line[-2][0].strip():  # where it has no shape
                del line[-2]
                aside = fit(aside, max(SHAPE_WIDTH, len(aside)))
            else:
                aside = "  " + aside
            line.insert(-1, (aside, "muted"))
        # A note in full takes two lines more per stage.
        if height <= 3 * len(history.stages):
            tight = stage.done is not None and width - width_of(line[:-1]) < LEAST_NOTE
            lines.append(line[:-1] if tight else line)
            continue
        if stage.done and stage.done.note:
            note = wrap(visible(stage.done.note), width - NOTE_INDENT)
            lines += [line[:-1], *([(" " * NOTE_INDENT + text, "muted")] for text in note)]
        else:
            lines += [line, []]
        lines.append([])
    return lines


def _elsewhere(history: History, width: int) -> list[Line]:
    """Of a training that another loop does: it has no stages here, and its settings are told."""
    begun = format_time(history.created)
    who: Line = [("logged by ", "muted"), (visible(history.origin), "strong")]
    lines = [cut([*who, (f"   begun {begun}", "muted")], width)]
    lines += [[(text, "muted")] for text in wrap(ALONE, width)]
    for note in history.notes:
        lines += [[(text, "")] for text in wrap(visible(note.text), width)]
    return lines


def stage_line(history: History, stage: Stage, status: str, width: int = 1_000) -> Line:
    """✓ training data prepared    1.20 s   1,000 × 10 → 900 × 3   note"""
    state = state_of(stage, status)
    mark, role = _MARKS[state]
    name_role = "strong" if state == "running" else "muted" if state == "waiting" else ""
    line: Line = [
        (f"{mark} ", role),
        (f"{stage.number} ", "muted"),
        (fit(_name_of(history, stage), NAME_WIDTH), name_role),
        (fit_right(_time_of(history, stage), TIME_WIDTH) + "  ", "muted"),
    ]
    if stage.done:
        shape = shapes(stage)
        line.append((fit(shape, max(SHAPE_WIDTH, len(shape))), ""))
        line.append(("  " + visible(stage.done.note), "muted"))
    elif stage.state == "running":
        line += _progress(history, stage, state, width - width_of(line))
    return line


def _name_of(history: History, stage: Stage) -> str:
    """Where nothing is trained the third stage loads the tuned model that was given."""
    return stage.name if stage.number != 3 or history.trains else "tuned model loaded"


def state_of(stage: Stage, status: str) -> str:
    """What became of a stage that was running when its run ended."""
    if stage.state == "running" and status in ("failed", "died", "stopped", "paused"):
        return status
    return stage.state


def _time_of(history: History, stage: Stage) -> str:
    if stage.done:
        return format_seconds(stage.done.seconds)
    if stage.state == "running":
        # By the events' clock: the screen may run on another machine.
        return format_seconds(max(0.0, history.last_time - stage.started))
    return ""


def shapes(stage: Stage) -> str:
    """1,000 × 10 → 900 × 3"""
    if not stage.done:
        return ""
    before = format_shape(stage.done.rows_in, stage.done.columns_in)
    after = format_shape(stage.done.rows_out, stage.done.columns_out)
    return f"{before} → {after}" if before and after else before or after


def _progress(history: History, stage: Stage, state: str, room: int) -> Line:
    """Bar, share and counts; the bar gives way to the counts."""
    what, done, total = _how_far(history, stage)
    if total <= 0:
        return [(state if state != "running" else "", "muted")]
    counts: Line = [
        (f"  {done / total * 100:3.0f} %", ""),
        (f"  {what} {format_count(done)} of {format_count(total)}", "muted"),
    ]
    bar = max(0, min(BAR_WIDTH, room - width_of(counts)))
    return [(progress_bar(done / total, bar), "accent" if state == "running" else "warn"), *counts]


def beside_estimate(took: Mapping[str, float]) -> str:
    """13.9 s of 19.0 s, 956 MiB of 631 MiB estimated; `took` is of `compare_with_estimate`."""
    parts = [
        f"{as_words(took[name])} of {as_words(took[f'estimated_{name}'])}"
        for name, as_words in (("seconds", format_seconds), ("memory", format_bytes))
        if name in took
    ]
    return f"{', '.join(parts)} estimated;"


def _how_far(history: History, stage: Stage) -> tuple[str, int, int]:
    progress = history.progress
    # While fine-tuning, progress is that of an evaluation between two steps; done, the steps count
    # again.
    if progress and (stage.number != 3 or progress.done < progress.total):
        return visible(progress.what), progress.done, progress.total
    if stage.number == 3:
        return "step", history.step, history.max_steps
    return "", 0, 0


_NOTE_ROLES = {"warning": "warn", "error": "bad"}
_NOTE_MARKS = {"warning": "!", "error": "✗"}


class LogPane(NumberedPane):
    """The run's notes and its error, then the end of worker.log."""

    NUMBER, NAME = 6, "Log"

    def __init__(self) -> None:
        super().__init__()
        self.history = History()
        self.tail: list[str] = []

    @property
    def follows_end(self) -> bool:
        return True

    def show_history(self, history: History) -> None:
        self.history = history
        self.show()

    def show_tail(self, tail: list[str]) -> None:
        self.tail = tail
        self.show()

    def lines(self, width: int, height: int) -> list[Line]:
        return log_lines(self.history, self.tail, width)


def log_lines(history: History, tail: list[str], width: int) -> list[Line]:
    """`tail`: the last lines of worker.log."""
    lines: list[Line] = []
    if tail:
        lines.append([("worker.log", "strong")])
        lines += [[(visible(text), "muted")] for text in tail]
    if history.unreadable_lines:
        lines.append([(f"! {history.unreadable_lines} damaged lines in events.jsonl", "warn")])
    for note in history.notes:
        lines += note_lines(note, width)
    if history.finished and history.finished.error:
        for text in history.finished.error.splitlines():
            lines += [[(part, "bad")] for part in wrap(visible(text), width)]
    return lines or [[("No notes yet.", "muted")]]


def note_lines(note: Note, width: int) -> list[Line]:
    """14:05:09 ! the text, indented where it wraps"""
    role = _NOTE_ROLES.get(note.level, "")
    mark = _NOTE_MARKS.get(note.level, " ")
    first, *rest = wrap(visible(note.text), max(10, width - 11))
    return [
        [(format_time(note.time) + " ", "muted"), (mark + " ", role), (first, role)],
        *([(" " * 11 + text, role)] for text in rest),  # under the text: time and mark before it
    ]


TIME_FROM_WIDTH = 140  # from here on there is a column for the time of an epoch
LOWEST = "▾ "  # not the ◆ of the chart: the checkpoint that is kept may be another one
Observed = dict[tuple[int, float, float], str]  # by step and losses of an epoch
ONE_LINE_WIDTH = 110  # from here on an observation stands beside its numbers


class TracePane(NumberedPane):
    """The epochs so far, with what each did to the loss."""

    NUMBER, NAME = 2, "Training"

    def __init__(self) -> None:
        super().__init__()
        self.history = History()
        self._observed: Observed = {}

    @property
    def keeps_head(self) -> int:
        return 1

    @property
    def follows_end(self) -> bool:
        return True

    def show_history(self, history: History) -> None:
        self.history = history
        self.show()

    def lines(self, width: int, height: int) -> list[Line]:
        return trace_lines(self.history, width, self._observed)


def trace_lines(history: History, width: int, observed: Observed | None = None) -> list[Line]:
    """`observed`: sentences that are kept from one redraw to the next; some read every step."""
    if not history.epochs and not history.validation_series():
        none = "No epochs are told: the charts have every step."
        own = "A row appears here at the end of each epoch."
        return [[(own if history.origin == "ftev" else none, "muted")]]
    columns = _columns(history, width)
    lines = [header(columns)]
    start = history.evaluation("validation", "tuned", 0)
    if start:
        lines += _with_words(
            columns, _evaluation_row(start, columns, "0"), "before training", width
        )
    best = min((e.validation_loss for e in history.epochs), default=math.nan)
    for step, cells, words in _rows(history, columns, best, {} if observed is None else observed):
        reason = reason_kept(history) if step == history.best_step else ""
        sentences = ". ".join(part for part in (words, reason) if part)
        lines += _with_words(columns, cells, with_minus(sentences), width)
    return lines


def _rows(
    history: History, columns: list[Column], best: float, observed: Observed
) -> list[tuple[int, Line, str]]:
    """The epochs, and between them the evaluation whose checkpoint is kept and that of the last
    step, where no epoch ends: step, cells, words."""
    rows = []
    for e in history.epochs:
        change = history.change(0, e.step)
        key = (e.step, e.train_loss, e.validation_loss)
        if key not in observed:
            observed[key] = observe_epoch(history, e)
        cells = _epoch_row(e, columns, e.validation_loss == best, change)
        rows.append((e.step, cells, observed[key]))
    known = {0, *(step for step, *_ in rows)}
    rows += [
        (e.step, _evaluation_row(e, columns, f"{e.epoch:.2f}"[:5]), "")
        for e in history.validation_series()
        if e.step not in known and e.step in (history.best_step, history.max_steps)
    ]
    return sorted(rows, key=lambda row: row[0])


def _columns(history: History, width: int) -> list[Column]:
    accuracy = history.task_type.accuracy_heading
    columns = [
        Column("epoch", 5),
        Column("train loss", 10),
        Column("val. loss", 9),
        Column(accuracy, len(accuracy)),
        Column("change", 6),
    ]
    if width >= TIME_FROM_WIDTH:
        columns.append(Column("time", 7))
    return columns


def _evaluation_row(evaluation: Evaluated, columns: list[Column], epoch: str) -> Line:
    """An evaluation at which no epoch ends."""
    loss = evaluation.loss_sum / evaluation.loss_count if evaluation.loss_count else math.nan
    accuracy = evaluation.correct / evaluation.count if evaluation.count else math.nan
    cells = [
        (epoch, "muted"),
        (ABSENT, "muted"),
        (_loss(loss), "muted"),
        (format_share(accuracy), "muted"),
        ("", ""),
        ("", ""),
    ]
    return row(columns, cells[: len(columns)])


def _epoch_row(epoch: Epoch, columns: list[Column], best: bool, change: Change | None) -> Line:
    cells = [
        (str(epoch.epoch), "strong"),
        (_loss(epoch.train_loss), "train"),
        ((LOWEST if best else "") + _loss(epoch.validation_loss), "validation"),
        (format_share(epoch.validation_accuracy), ""),
        (_points(epoch.accuracy_change), _direction(epoch.accuracy_change, change)),
        (format_seconds(epoch.seconds), "muted"),
    ]
    return row(columns, cells[: len(columns)])


def _loss(value: float) -> str:
    return ABSENT if math.isnan(value) else format_number(value)


def _points(change: float) -> str:
    return format_signed(change * 100, 1)


def _direction(points: float, change: Change | None) -> str:
    """Good or bad only where the loss says the same, beyond noise (V10)."""
    if not math.isfinite(points) or abs(points) < 5e-4 or change is None or change.level:
        return "muted"
    better = change.difference < 0
    return "muted" if (points > 0) != better else "good" if better else "bad"


def _with_words(columns: list[Column], cells: Line, words: str, width: int) -> list[Line]:
    """The row with its words beside it, or below it where the pane is narrow."""
    used = table_width(columns) + len(GAP)
    beside = wrap(words, width - used) if width - used >= 24 else []
    if len(beside) == 1 or width >= ONE_LINE_WIDTH:
        first, *rest = beside or [""]
        indent = " " * used
        return [
            [*cells, (GAP + first, "muted")],
            *([(indent + text, "muted")] for text in rest),
        ]
    indent = " " * 7
    return [cells, *([(indent + text, "muted")] for text in wrap(words, width - len(indent)))]
