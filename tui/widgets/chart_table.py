"""The chart as a table: only the rows that are seen are made into words."""

from __future__ import annotations

from .chart_data import ChartData
from .format import format_count, format_number
from .spans import Column, Line, header, row

COLUMNS = [
    Column("step", 8),
    Column("epoch", 6),
    Column("training", 10),
    Column("validation", 10),
    Column("learning rate", 13),
    Column("grad. norm", 10),
    Column("tokens/s", 9),
]


def table_lines(data: ChartData, height: int, from_end: int) -> tuple[list[Line], int]:
    """Header and the rows up to `from_end` before the last; also `from_end`, kept in bounds."""
    room = max(1, height - 1)
    from_end = min(max(0, from_end), max(0, len(data) - room))
    end = len(data) - from_end
    measured = {
        e.step: loss for e, loss in zip(data.validation, data.validation_loss.values, strict=True)
    }
    lines = [header(COLUMNS)]
    lines += [_row(data, i, measured) for i in range(max(0, end - room), end)]
    return lines, from_end


def _row(data: ChartData, i: int, measured: dict[int, float]) -> Line:
    steps = data.history.steps
    step, seconds = steps.step[i], steps.seconds[i]
    return row(
        COLUMNS,
        [
            (format_count(step), ""),
            (f"{steps.epoch[i]:.2f}", "muted"),
            (format_number(steps.loss[i]), "train"),
            (format_number(measured[step]) if step in measured else "", "validation"),
            (format_number(steps.learning_rate[i], 3), "muted"),
            (format_number(steps.grad_norm[i], 3), "muted"),
            (format_count(steps.tokens[i] / seconds) if seconds > 0 else "", "muted"),
        ],
    )
