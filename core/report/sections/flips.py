"""The rows that the tuned model fixed and broke, or whose loss changed most."""

from __future__ import annotations

from collections.abc import Sequence

from ...judgement.judged import of_models
from ...judgement.selection import SPLITS
from ...metrics.analyses import Flip, Flips
from ...wording.numbers import DASH, format_count, format_p, format_value, read_number
from ...wording.text import visible
from ..blocks import Block, Heading, Paragraph, Table, section
from ..document import Report

SHOWN = 10  # rows of each changed kind
TEXT = 120  # characters of an input
MODELS = {"base": "the base", "probe": "the linear probe", "majority": "the majority label"}
LOSS_WORDS = {"fell": "fell most", "rose": "rose most"}


@section(70, more=None)
def show_flips(report: Report) -> list[Block]:
    blocks: list[Block] = []
    analyses = report["analyses"]
    for split in sorted(analyses, key=lambda s: SPLITS.index(s) if s in SPLITS else len(SPLITS)):
        for found in of_models(analyses, Flips, split).values():
            blocks += _split_blocks(split, found)
    if not blocks:
        return []
    return [Heading("Which rows changed"), *blocks]


def _split_blocks(split: str, r: Flips) -> list[Block]:
    against = MODELS.get(r.from_model, r.from_model)
    blocks: list[Block] = [Heading(f"{split}, the tuned model against {against}", 3)]
    blocks.append(Paragraph(tell_counts(r, split)))
    labelled = "fixed" in r.counts
    for kind, rows in r.rows.items():
        if not rows:
            continue
        most = min(SHOWN, len(rows))
        title = f"{kind.capitalize()}, the tuned model's most confident first"
        if not labelled:
            title = f"Rows whose loss {LOSS_WORDS[kind]}, in {r.unit}"
        rest = f": {most} of {r.counts[kind]:,}" if r.counts[kind] > most else ""
        blocks += [Paragraph(f"{title}{rest}."), flip_table(rows[:SHOWN], r.from_model, TEXT)]
    return blocks


def tell_counts(r: Flips, split: str) -> str:
    """The counts of every kind in words, and what they say and do not say."""
    counts, n, before = r.counts, r.n, r.from_model
    if "fixed" in counts:
        text = (
            f"Of {format_count(n, 'row')} of {split}, the tuned model fixed {counts['fixed']:,} "
            f"({before} wrong, tuned right) and broke {counts['broke']:,} ({before} right, tuned "
            f"wrong); {counts['wrong']:,} are wrong in both and {counts['right']:,} right in both."
        )
        if r.wrong_otherwise:
            text += f" Of those wrong in both, {r.wrong_otherwise:,} got another wrong label."
        return text
    text = (
        f"Of {format_count(n, 'row')} of {split}, the loss under the tuned model is lower than "
        f"under {before} on {counts['fell']:,}, higher on {counts['rose']:,} and the same on "
        f"{counts['same']:,} ({_sign_test(r)} p {format_p(r.p)})."
    )
    if r.quartiles:
        low, middle, high = (f"{q:+.3f}" for q in r.quartiles)
        text += f" The middle change is {middle} {r.unit}, half lie from {low} to {high}."
    for kind, words in (
        ("unscored", "nothing to score"),
        ("undefined", "a loss that is not finite"),
    ):
        if counts.get(kind):
            text += f" {format_count(counts[kind], 'row')} had {words}."
    return text + " The change of a single row is no evidence of its own: it may be chance."


def _sign_test(r: Flips) -> str:
    if r.clusters is not None:
        return f"sign test of {format_count(r.clusters, 'cluster')} of rows,"
    return "exact sign test"


def flip_table(rows: Sequence[Flip], before: str, most: int) -> Table:
    """Rows as a table: row, label, both answers with confidence; or the losses; and the input."""
    texts = any(row.input is not None for row in rows)
    if rows[0].label is not None:
        columns = ["row", "label", before, "tuned"]
        cells = [
            [
                str(r.row_id),
                r.label or "",
                _answer(r.before, r.before_confidence),
                _answer(r.after, r.after_confidence),
            ]
            for r in rows
        ]
        words = ["label", before, "tuned", "input"]
    else:
        columns, words = ["row", before, "tuned", "change", "tokens"], ["input"]
        cells = [
            [
                str(r.row_id),
                *(f"{read_number(loss):.3f}" for loss in (r.before, r.after)),
                f"{read_number(r.change):+.3f}",
                f"{r.tokens or 0:,}",
            ]
            for r in rows
        ]
    if texts:
        columns.append("input")
        for row, line in zip(rows, cells, strict=True):
            line.append(visible(DASH if row.input is None else row.input, most))
    return Table(columns, cells, words)


def _answer(label: str | float | None, confidence: float | None) -> str:
    shown = f" ({format_value('accuracy', confidence)})" if confidence is not None else ""
    return f"{DASH if label is None else label}{shown}"
