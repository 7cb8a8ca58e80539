"""The receipt of a number: how it was made, from what, and what it means."""

from __future__ import annotations

from collections.abc import Iterable

from ....core.config.config import RunConfig
from ....core.errors import FtevError
from ....core.report.explained import (
    LineOfReceipt,
    difference_lines,
    explain_metric,
    meaning_lines,
    receipt_lines,
)
from ....core.report.glossary import lookup
from ....core.report.receipts import evaluation_receipt
from ....core.run.history import History
from ....core.wording.text import visible
from ...drawing.format import fit, wrap
from ...drawing.lines import Line
from ...widgets.framed import Page
from .metric_rows import MetricRow, MetricTable
from .metrics import format_difference, format_interval

WIDTH = 70  # cells: what a box leaves on a screen of 80 columns
LABEL_WIDTH = 13


class Receipt(Page):
    """A metric's receipt in a box."""

    def __init__(
        self, table: MetricTable, row: MetricRow, history: History, config: RunConfig | None
    ) -> None:
        blocks = receipt_blocks(table, row, history, config)
        super().__init__(f"Receipt: {row.title}", _drawn(blocks))


def receipt_blocks(
    table: MetricTable, row: MetricRow, history: History, config: RunConfig | None
) -> list[list[LineOfReceipt]]:
    """Of the tuned model and its change where there are results, else of the last evaluation."""
    if table.split not in history.results:
        return _live_blocks(table, row, history, config)
    model = "tuned" if "tuned" in row.values else list(row.values)[-1]
    try:
        found = explain_metric(history, config, row.metric, table.split, model)
    except FtevError as error:  # results of another version, with a metric not known here
        return [[("no receipt", str(error))]]
    changes = [d for d in found.differences if d.from_model == row.before]
    blocks = [list(receipt_lines(found.receipt)), *(list(difference_lines(d)) for d in changes)]
    return [*blocks, list(meaning_lines(found))]


def _live_blocks(
    table: MetricTable, row: MetricRow, history: History, config: RunConfig | None
) -> list[list[LineOfReceipt]]:
    series = history.validation_series()
    found = evaluation_receipt(history, config, series[-1], row.metric) if series else None
    blocks = [list(receipt_lines(found))] if found else []
    if row.change:
        change, unit = row.change, row.unit
        text = f"{format_difference(change, unit)} {format_interval(change, unit)} {change.method}"
        blocks.append([("change", f"{text.rstrip()}, since {row.before}")])
    if entry := lookup(row.metric):
        blocks.append([("meaning", entry.meaning), ("trap", entry.trap)])
    return blocks


def _drawn(blocks: Iterable[list[LineOfReceipt]]) -> list[Line]:
    lines: list[Line] = []
    for block in blocks:
        lines += [[]] if lines else []
        for label, text in block:
            first, *rest = wrap(visible(text), WIDTH - LABEL_WIDTH) or [""]
            lines.append([(fit(label, LABEL_WIDTH), "muted"), (first, "")])
            lines += [[(" " * LABEL_WIDTH + more, "")] for more in rest]
    return lines
