"""The training trace: a row per epoch, with what happened in words."""

from __future__ import annotations

import math

from ....core.judgement.observations import observe_epoch, reason_kept
from ....core.run.events import Evaluated
from ....core.run.history import Change, Epoch, History
from ...drawing.format import (
    ABSENT,
    format_number,
    format_seconds,
    format_share,
    format_signed,
    with_minus,
    wrap,
)
from ...drawing.lines import GAP, Column, Line, header, row, table_width
from ...widgets.pane import NumberedPane

TIME_WIDTH = 140  # from here on there is a column for the time of an epoch
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
        return [[("A row appears here at the end of each epoch.", "muted")]]
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
    if width >= TIME_WIDTH:
        columns.append(Column("time", 7))
    return columns


def _evaluation_row(e: Evaluated, columns: list[Column], epoch: str) -> Line:
    """An evaluation at which no epoch ends."""
    loss = e.loss_sum / e.loss_count if e.loss_count else math.nan
    accuracy = e.correct / e.count if e.count else math.nan
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
