"""Closed choices: a base that labels untrained, completions of which there are only a few."""

from __future__ import annotations

from collections.abc import Iterator

from ...judgement.judged import of_models
from ...metrics.analyses import ClosedChoice, ZeroShot
from ...wording.numbers import (
    format_count,
    format_difference,
    format_estimate,
    format_p,
    format_value,
)
from ..blocks import Block, Heading, Paragraph, Table, section
from ..document import Report


@section(90, more=None)
def show_choices(report: Report) -> list[Block]:
    blocks: list[Block] = []
    analyses = report["analyses"]
    for split in analyses:
        for closed in of_models(analyses, ClosedChoice, split).values():
            blocks += _closed(split, closed)
        for zero_shot in of_models(analyses, ZeroShot, split).values():
            blocks += _zero_shot(split, zero_shot)
    return [Heading("Choosing the likeliest answer"), *blocks] if blocks else []


def _closed(split: str, r: ClosedChoice) -> Iterator[Block]:
    yield Paragraph(
        f"Train has only {r.candidates} different completions, so each of "
        f"{format_count(r.rows, 'row')} of {split} is also a choice: {r.rule}."
    )
    rows = [
        ["base", format_estimate("accuracy", r.accuracy.base)],
        ["tuned", format_estimate("accuracy", r.accuracy.tuned)],
        ["always the commonest completion", format_value("accuracy", r.commonest.value)],
        ["guessing", format_value("accuracy", 1 / r.candidates)],
    ]
    yield Table(["", "chosen rightly"], rows)
    how, _, more = r.method.partition(" p")  # of which test the p is, and over what
    yield Paragraph(
        f"The tuned model changes this by {format_difference('accuracy', r.difference)}: it "
        f"fixed {format_count(r.fixed, 'row')} and broke {r.broke:,} "
        f"({how} p {format_p(r.p)}{more})."
    )


def _zero_shot(split: str, r: ZeroShot) -> Iterator[Block]:
    text = (
        f"On {split} the base labels {format_count(r.rows, 'row')} without any training: "
        f"it chooses {r.rule} ({r.method}). "
        f"It is right on {format_estimate('accuracy', r.accuracy)}; chosen by log-likelihood "
        f"per byte of the label it would be right on "
        f"{format_estimate('accuracy', r.accuracy_by_byte)}, which is shown for comparison "
        "and enters no result."
    )
    if r.fallbacks:
        text += (
            f" Of {r.scored:,} labels scored, {r.fallbacks:,} were cut into tokens by "
            "themselves, because text and label together gave other tokens at their join."
        )
    if r.texts_cut:
        text += f" {format_count(r.texts_cut, 'text')} were too long and lost their beginning."
    yield Paragraph(text)
