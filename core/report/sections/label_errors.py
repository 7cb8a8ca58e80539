"""Rows whose labels may be wrong, the most suspect first."""

from __future__ import annotations

from collections.abc import Sequence

from ...judgement.judged import of_models
from ...metrics.analyses import LabelErrors, SuspectRow
from ...wording.numbers import format_count, format_interval, format_value
from ...wording.text import visible
from ..blocks import Block, Heading, Paragraph, Table, section
from ..document import Report

SPLITS = ("test", "validation")
MODELS = {"tuned": "tuned model", "probe": "linear probe"}
SHOWN_ROWS = 20
SHOWN_CELLS = 10
TEXT_LENGTH = 120  # characters


@section(130, more=20)
def show_label_errors(report: Report) -> list[Block]:
    """For each held-out split: how many labels are suspect, in which cells, and the first rows."""
    blocks: list[Block] = []
    for split in SPLITS:
        for found in of_models(report["analyses"], LabelErrors, split).values():
            if found.suspected:
                blocks += _of_split(split, found)
    return [Heading("Labels that may be wrong"), *blocks] if blocks else []


def _of_split(split: str, found: LabelErrors) -> list[Block]:
    told = (
        f"{format_count(found.suspected, 'label')} of the {found.n:,} rows of {split} "
        f"{'is' if found.suspected == 1 else 'are'} suspect."
    )
    if found.share is not None:
        told += (
            f" By the errors where the {MODELS[found.model or 'tuned']} is sure, "
            f"{format_value('accuracy', found.share)} of the labels are wrong (95 %: "
            f"{format_interval('accuracy', found.low, found.high)})."
        )
    if found.probe_agrees is not None:
        told += f" In {found.probe_agrees:,} of them the linear probe gives the same answer."
    rows, cells = (found.rows or [])[:SHOWN_ROWS], (found.cells or [])[:SHOWN_CELLS]
    blocks: list[Block] = [
        Heading(f"{split}", 3),
        Paragraph(f"{told} {found.caveat or ''}"),
        Table(
            ("given label", "looks like", "suspect rows"),
            [(c.label, c.suggested, f"{c.rows:,}") for c in cells],
            words=("looks like",),
        ),
        _listing(rows),
    ]
    if len(rows) < found.suspected:
        more = found.suspected - len(rows)
        blocks.append(Paragraph(f"{format_count(more, 'more row')} not shown here."))
    return blocks


def _listing(rows: Sequence[SuspectRow]) -> Table:
    return Table(
        ("row", "given label", "its probability", "looks like", "probability", "text"),
        [
            (
                f"{row.row_id}",
                row.label,
                format_value("accuracy", row.label_probability),
                row.suggested,
                format_value("accuracy", row.probability),
                visible(row.text, TEXT_LENGTH),
            )
            for row in rows
        ],
        words=("given label", "looks like", "text"),
    )
