"""The pitfalls that were found, the gravest first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...pitfalls.case import EVIDENCE_ROWS
from ..blocks import Block, Heading, Notice, Paragraph

SHOWN_ROWS = 5
NONE_FOUND = (
    "None of the pitfalls that ftev looks for was found in what this run has stored. "
    "ftev-tui explain lists them."
)


def show_findings(report: Mapping[str, Any]) -> list[Block]:
    found = report["findings"]
    if not found:
        return [Heading("Findings"), Paragraph(NONE_FOUND)] if report["results"] else []
    return [
        Heading("Findings"),
        *(Notice(f["severity"], f["code"], sentences_of(f)) for f in found),
    ]


def sentences_of(f: Mapping[str, Any]) -> str:
    """What was found, what to do about it, and on which rows."""
    told = [_ended(f["message"])]
    if f.get("remedy"):
        told.append(_ended(f["remedy"]))
    if rows := f.get("rows"):
        named = ", ".join(f"{split} {row}" for split, row in rows[:SHOWN_ROWS])
        more = f" and {len(rows) - SHOWN_ROWS:,} more" if len(rows) > SHOWN_ROWS else ""
        if len(rows) >= EVIDENCE_ROWS:  # the list is cut: how many there are, the message says
            more = " and more"
        told.append(f"Rows: {named}{more}.")
    return " ".join(told)


def _ended(text: str) -> str:
    sentence = text[:1].upper() + text[1:]
    return sentence if sentence.endswith((".", "?", "!")) else f"{sentence}."
