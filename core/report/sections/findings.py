"""The pitfalls that were found, the gravest first."""

from __future__ import annotations

from collections.abc import Mapping

from ...judgement.findings.case import EVIDENCE_ROWS
from ...wording.names import name_rows, rows_of_report
from ...wording.numbers import format_count
from ..blocks import Block, Heading, Notice, Paragraph, section
from ..document import FindingPart, Report

SHOWN_ROWS = 5
NONE_FOUND = (
    "None of the pitfalls that ftev looks for was found in what this run has stored. "
    "ftev-tui explain lists them."
)


@section(20, more=None)
def show_findings(report: Report) -> list[Block]:
    found = report["findings"]
    if not found:
        return [Heading("Findings"), Paragraph(NONE_FOUND)] if report["results"] else []
    return [
        Heading("Findings"),
        *(Notice(f["severity"], f["code"], sentences_of(f, report["data"])) for f in found),
    ]


def sentences_of(f: FindingPart, data: Mapping[str, object]) -> str:
    """What was found, what to do about it, and on which rows. `data`: of the report."""
    told = [_ended(f["message"])]
    if f.get("remedy"):
        told.append(_ended(f["remedy"]))
    if rows := f.get("rows"):
        if len(rows) >= EVIDENCE_ROWS:  # the list is cut: how many there are, the message says
            named = f"{name_rows(rows_of_report(data), rows[:SHOWN_ROWS])} and more"
        else:
            named = name_rows(rows_of_report(data), rows, SHOWN_ROWS)
        told.append(f"Rows: {named}.")
        if is_cut(f):
            told.append(f"Listed: {tell_listed(f)}.")
    return " ".join(told)


def tell_listed(f: FindingPart) -> str:
    """`34 of 112 test rows, 16 validation rows`: how many rows of each split are listed."""
    splits = dict.fromkeys(split for split, _ in f["rows"])
    return ", ".join(tell_listed_of(f, split) for split in splits)


def tell_listed_of(f: FindingPart, split: str) -> str:
    """`34 of 112 test rows`; the whole is left out where it is listed, or not known."""
    listed = sum(1 for at, _ in f["rows"] if at == split)
    every = max(listed, f.get("counted", {}).get(split, 0))
    told = format_count(every, f"{split} row")
    return told if listed == every else f"{listed:,} of {told}"


def is_cut(f: FindingPart) -> bool:
    return sum(f.get("counted", {}).values()) > len(f["rows"])


def _ended(text: str) -> str:
    sentence = text[:1].upper() + text[1:]
    return sentence if sentence.endswith((".", "?", "!")) else f"{sentence}."
