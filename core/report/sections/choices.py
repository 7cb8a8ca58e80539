"""Closed choices: a base that labels untrained, completions of which there are only a few."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...wording.numbers import (
    format_count,
    format_difference,
    format_estimate,
    format_p,
    format_value,
)
from ..blocks import Block, Heading, Paragraph, Table, section

Found = Mapping[str, Any]


@section(90, more=None)
def show_choices(report: Found) -> list[Block]:
    blocks: list[Block] = []
    for split, analyses in report.get("analyses", {}).items():
        if "closed_choice" in analyses:
            blocks += _closed(split, analyses["closed_choice"][""])
        if "zero_shot" in analyses:
            blocks += _zero_shot(split, analyses["zero_shot"]["base"])
    return [Heading("Choosing the likeliest answer"), *blocks] if blocks else []


def _closed(split: str, told: Found) -> Iterator[Block]:
    n = told["rows"]
    yield Paragraph(
        f"Train has only {told['candidates']} different completions, so each of "
        f"{format_count(n, 'row')} of {split} is also a choice: {told['rule']}."
    )
    rows = [[m, format_estimate("accuracy", told["accuracy"][m])] for m in ("base", "tuned")]
    common = told["commonest"]
    rows.append(["always the commonest completion", format_value("accuracy", common["value"])])
    rows.append(["guessing", format_value("accuracy", 1 / told["candidates"])])
    yield Table(["", "chosen rightly"], rows)
    how, _, more = told["method"].partition(" p")  # of which test the p is, and over what
    yield Paragraph(
        f"The tuned model changes this by {format_difference('accuracy', told['difference'])}: it "
        f"fixed {format_count(told['fixed'], 'row')} and broke {told['broke']:,} "
        f"({how} p {format_p(told['p'])}{more})."
    )


def _zero_shot(split: str, told: Found) -> Iterator[Block]:
    text = (
        f"On {split} the base labels {format_count(told['rows'], 'row')} without any training: "
        f"it chooses {told['rule']} ({told['method']}). "
        f"It is right on {format_estimate('accuracy', told['accuracy'])}; chosen by log-likelihood "
        f"per byte of the label it would be right on "
        f"{format_estimate('accuracy', told['accuracy_by_byte'])}, which is told for comparison "
        "and enters no result."
    )
    if told["fallbacks"]:
        text += (
            f" Of {told['scored']:,} labels scored, {told['fallbacks']:,} were cut into tokens by "
            "themselves, because text and label together gave other tokens at their join."
        )
    if told["texts_cut"]:
        text += (
            f" {format_count(told['texts_cut'], 'text')} were too long and lost their beginning."
        )
    yield Paragraph(text)
