"""The rows that the tuned model fixed and broke, or whose loss changed most."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...judgement.selection import SPLITS
from ...wording.numbers import DASH, format_count, format_p, format_value, read_number
from ...wording.text import visible
from ..blocks import Block, Heading, Paragraph, Table, section

SHOWN = 10  # rows of each changed kind
TEXT = 120  # characters of an input
MODELS = {"base": "the base", "probe": "the linear probe", "majority": "the majority label"}
LOSS_WORDS = {"fell": "fell most", "rose": "rose most"}


@section(70, more=None)
def show_flips(report: Mapping[str, Any]) -> list[Block]:
    blocks: list[Block] = []
    analyses = report.get("analyses", {})
    for split in sorted(analyses, key=lambda s: SPLITS.index(s) if s in SPLITS else len(SPLITS)):
        for told in analyses[split].get("flips", {}).values():
            blocks += _split_blocks(split, told)
    if not blocks:
        return []
    return [Heading("Which rows changed"), *blocks]


def _split_blocks(split: str, told: Mapping[str, Any]) -> list[Block]:
    against = MODELS.get(told["from"], told["from"])
    blocks: list[Block] = [Heading(f"{split}, the tuned model against {against}", 3)]
    blocks.append(Paragraph(tell_counts(told, split)))
    labelled = "fixed" in told["counts"]
    for kind, rows in told["rows"].items():
        if not rows:
            continue
        most = min(SHOWN, len(rows))
        title = f"{kind.capitalize()}, the tuned model's most confident first"
        if not labelled:
            title = f"Rows whose loss {LOSS_WORDS[kind]}, in {told['unit']}"
        rest = f": {most} of {told['counts'][kind]:,}" if told["counts"][kind] > most else ""
        blocks += [Paragraph(f"{title}{rest}."), flip_table(rows[:SHOWN], told["from"], TEXT)]
    return blocks


def tell_counts(told: Mapping[str, Any], split: str) -> str:
    """The counts of every kind in words, and what they say and do not say."""
    counts, n, before = told["counts"], told["n"], told["from"]
    if "fixed" in counts:
        text = (
            f"Of {format_count(n, 'row')} of {split}, the tuned model fixed {counts['fixed']:,} "
            f"({before} wrong, tuned right) and broke {counts['broke']:,} ({before} right, tuned "
            f"wrong); {counts['wrong']:,} are wrong in both and {counts['right']:,} right in both."
        )
        if other := told.get("wrong_otherwise"):
            text += f" Of those wrong in both, {other:,} got another wrong label."
        return text
    text = (
        f"Of {format_count(n, 'row')} of {split}, the loss under the tuned model is lower than "
        f"under {before} on {counts['fell']:,}, higher on {counts['rose']:,} and the same on "
        f"{counts['same']:,} ({_sign_test(told)} p {format_p(told['p'])})."
    )
    if quartiles := told.get("quartiles"):
        low, middle, high = (f"{read_number(q):+.3f}" for q in quartiles)
        text += f" The middle change is {middle} {told['unit']}, half lie from {low} to {high}."
    for kind, words in (
        ("unscored", "nothing to score"),
        ("undefined", "a loss that is not finite"),
    ):
        if counts[kind]:
            text += f" {format_count(counts[kind], 'row')} had {words}."
    return text + " The change of a single row is no evidence of its own: it may be chance."


def _sign_test(told: Mapping[str, Any]) -> str:
    if "clusters" in told:
        return f"sign test of {format_count(told['clusters'], 'cluster')} of rows,"
    return "exact sign test"


def flip_table(rows: list[Mapping[str, Any]], before: str, most: int) -> Table:
    """Rows as a table: row, label, both answers with confidence; or the losses; and the input."""
    texts = any("input" in row for row in rows)
    if "label" in rows[0]:
        columns = ["row", "label", before, "tuned"]
        cells = [[str(r["row_id"]), r["label"], _answer(r, "from"), _answer(r, "to")] for r in rows]
        words = ["label", before, "tuned", "input"]
    else:
        columns, words = ["row", before, "tuned", "change", "tokens"], ["input"]
        cells = [
            [
                str(r["row_id"]),
                *(f"{read_number(r[c]):.3f}" for c in ("from", "to")),
                f"{read_number(r['change']):+.3f}",
                f"{r['tokens']:,}",
            ]
            for r in rows
        ]
    if texts:
        columns.append("input")
        for row, line in zip(rows, cells, strict=True):
            line.append(visible(row.get("input", DASH), most))
    return Table(columns, cells, words)


def _answer(row: Mapping[str, Any], side: str) -> str:
    confidence = row.get(f"{side}_confidence")
    told = f" ({format_value('accuracy', confidence)})" if confidence is not None else ""
    return f"{row[side]}{told}"
