"""The receipt of a number: how it was made and from what."""

from __future__ import annotations

import math
from typing import ClassVar

from textual.binding import Binding, BindingType

from ...core.numbers.metric_table import METRICS
from ...core.reporting.text import visible
from ..widgets.format import fit, fit_right, format_count, format_number, wrap
from ..widgets.metric_rows import Change, MetricRow, MetricTable, Value
from ..widgets.metrics import format_difference, format_interval, format_value
from ..widgets.spans import Line
from .modal import Modal

WIDTH = 66
LABEL_WIDTH = 14


class Receipt(Modal[None]):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "close", show=False),
    ]

    def __init__(self, table: MetricTable, row: MetricRow) -> None:
        super().__init__(f"Receipt: {row.title}", receipt_lines(table, row))

    def action_close(self) -> None:
        self.dismiss(None)


def receipt_lines(table: MetricTable, row: MetricRow) -> list[Line]:
    known = METRICS.get(row.metric)
    lines = _told("metric", known.title if known else row.metric)
    if known:
        lines += _told("formula", known.formula)
        lines += _told("better", known.direction)
    lines += _told("split", table.split)
    lines += _told("rows scored", format_count(table.rows_scored))
    lines.append([])
    for model, value in row.values.items():
        lines.append(_value_line(model, value, row.unit))
    if row.change:
        lines += _change_lines(row, row.change)
    return lines


def _told(label: str, text: str) -> list[Line]:
    first, *rest = wrap(visible(text), WIDTH - LABEL_WIDTH) or [""]
    return [
        [(fit(label, LABEL_WIDTH), "muted"), (first, "")],
        *([(" " * LABEL_WIDTH + more, "")] for more in rest),
    ]


def _value_line(model: str, value: Value, unit: str) -> Line:
    line: Line = [
        (fit(visible(model), LABEL_WIDTH), "muted"),
        (fit_right(format_value(value, unit), 8), "strong"),
    ]
    if not math.isnan(value.low) and not math.isnan(value.high):
        ends = (format_value(Value(end), unit) for end in (value.low, value.high))
        line.append((f"  95 %: {' to '.join(ends)}", ""))
    return [*line, ("  " + visible(value.method), "muted")]


def _change_lines(row: MetricRow, change: Change) -> list[Line]:
    told: Line = [
        (fit("change", LABEL_WIDTH), "muted"),
        (fit_right(format_difference(change, row.unit), 8), "strong"),
        ("  " + format_interval(change, row.unit), ""),
        ("  " + visible(change.method), "muted"),
    ]
    lines: list[Line] = [[], told]
    if row.before:
        lines += _told("from", row.before)
    if not math.isnan(change.p):
        lines += _told("p", format_number(change.p, 3))
    if change.fixed is not None and change.broke is not None:
        lines += _told("rows", f"fixed {change.fixed}, broke {change.broke}")
    if not math.isnan(change.smallest_detectable):
        least = Change(change.smallest_detectable)
        words = f"from {format_difference(least, row.unit)} on, with so many rows"
        lines += _told("detectable", words)
    return lines
