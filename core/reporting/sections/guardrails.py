"""What had to hold beside the objective, and whether it did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...objective import describe_guardrail
from ..blocks import Block, Bullets, Heading, Paragraph


def show_guardrails(report: Mapping[str, Any]) -> list[Block]:
    """Each condition of every split that has them, the rows that the verdict reads named there."""
    told = [
        f"{r['outcome'].capitalize()}: {describe_guardrail(r, split)}; {r['why']}."
        for split, analyses in report["analyses"].items()
        for r in analyses.get("guardrails", {}).get("tuned", {}).get("guardrails", [])
    ]
    if not told:
        return []
    needed = "All of them must be met for the model to ship."
    return [Heading("Guardrails"), Paragraph(needed), Bullets(told)]
