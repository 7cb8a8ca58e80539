"""What had to hold beside the objective, and whether it did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...judgement.objective import describe_guardrail
from ..blocks import Block, Bullets, Heading, Paragraph, section


@section(30, more=None)
def show_guardrails(report: Mapping[str, Any]) -> list[Block]:
    """Each condition on the rows that the verdict reads: test, else validation."""
    known = {
        split: analyses["guardrails"]["tuned"]["guardrails"]
        for split, analyses in report["analyses"].items()
        if "guardrails" in analyses
    }
    judged = [split for split in known if split != "validation"] or list(known)
    told = [
        f"{r['outcome'].capitalize()}: {describe_guardrail(r, split)}; {r['why']}."
        for split in judged
        for r in known[split]
    ]
    if not told:
        return []
    needed = "All of them must be met for the model to ship."
    return [Heading("Guardrails"), Paragraph(needed), Bullets(told)]
