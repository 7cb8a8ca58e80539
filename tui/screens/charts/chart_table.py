"""The chart as a table: only the rows that are seen are made into words."""

from __future__ import annotations

from ...drawing.format import format_count, format_number
from ...drawing.spans import Column, Line, header, row, table_width
from .chart_data import ChartData

COLUMNS = [
    Column("step", 8),
    Column("epoch", 6),
    Column("training", 10),
    Column("validation", 10),
    Column("learning rate", 13),
    Column("grad. norm", 10),
    Column("tokens/s", 9),
]


def table_lines(data: ChartData, width: int, height: int, from_end: int) -> tuple[list[Line], int]:
    """Header and the rows up to `from_end` before the last; also `from_end`, kept in bounds."""
    columns = _fitting(width)
    room = max(1, height - 1)
    from_end = min(max(0, from_end), max(0, len(data) - room))
    end = len(data) - from_end
    measured = {
        e.step: loss for e, loss in zip(data.validation, data.validation_loss.values, strict=True)
    }
    lines = [header(columns)]
    lines += [_row(data, i, measured, columns) for i in range(max(0, end - room), end)]
    return lines, from_end


def _fitting(width: int) -> list[Column]:
    """The columns that are whole: a figure without its end would be another figure."""
    count = len(COLUMNS)
    while count > 1 and table_width(COLUMNS[:count]) > width:
        count -= 1
    return COLUMNS[:count]


def _row(data: ChartData, i: int, measured: dict[int, float], columns: list[Column]) -> Line:
    steps = data.history.steps
    step, seconds = steps.step[i], steps.seconds[i]
    return row(
        columns,
        [
            (format_count(step), ""),
            (f"{steps.epoch[i]:.2f}", "muted"),
            (format_number(steps.loss[i]), "train"),
            (format_number(measured[step]) if step in measured else "", "validation"),
            (format_number(steps.learning_rate[i], 3), "muted"),
            (format_number(steps.grad_norm[i], 3), "muted"),
            (format_count(steps.tokens[i] / seconds) if seconds > 0 else "", "muted"),
        ][: len(columns)],
    )
