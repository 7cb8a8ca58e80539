"""The training trace: a row an epoch, with what happened in words."""

from __future__ import annotations

import math

from ...core.events import Evaluated
from ...core.history import Change, Epoch, History
from .format import (
    ABSENT,
    format_number,
    format_seconds,
    format_share,
    format_signed,
    with_minus,
    wrap,
)
from .pane import NumberedPane
from .spans import GAP, Column, Line, header, row, table_width

TIME_WIDTH = 140  # from here on the time of an epoch is told
LOWEST = "▾ "  # not the ◆ of the chart: the checkpoint that is kept may be another one
ONE_LINE_WIDTH = 110  # from here on an observation stands beside its numbers


class TracePane(NumberedPane):
    NUMBER, NAME = 2, "Training"

    def __init__(self) -> None:
        super().__init__()
        self.history = History()

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
        return trace_lines(self.history, width)


def trace_lines(history: History, width: int) -> list[Line]:
    if not history.epochs and not history.validation_series():
        return [[("A row appears here at the end of each epoch.", "muted")]]
    columns = _columns(history, width)
    lines = [header(columns)]
    start = history.evaluation("validation", "tuned", 0)
    if start:
        lines += _with_words(columns, _start_row(start, columns), "before training", width)
    best = min((e.validation_loss for e in history.epochs), default=math.nan)
    for epoch in history.epochs:
        change = history.change(0, epoch.step)
        cells = _epoch_row(epoch, columns, epoch.validation_loss == best, change)
        lines += _with_words(columns, cells, with_minus(epoch.observation), width)
    return lines


def _columns(history: History, width: int) -> list[Column]:
    accuracy = "accuracy" if history.task != "generation" else "next token"
    columns = [
        Column("epoch", 5),
        Column("train loss", 10),
        Column("val. loss", 9),
        Column(accuracy, 10 if history.task == "generation" else 8),
        Column("change", 6),
    ]
    if width >= TIME_WIDTH:
        columns.append(Column("time", 7))
    return columns


def _start_row(start: Evaluated, columns: list[Column]) -> Line:
    loss = start.loss_sum / start.loss_count if start.loss_count else math.nan
    accuracy = start.correct / start.count if start.count else math.nan
    cells = [
        ("0", "muted"),
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
