"""What had to hold beside the objective, and whether it did."""

from __future__ import annotations

from ...judgement.judged import of_models
from ...judgement.objective import describe_guardrail
from ...metrics.analyses import Guardrails
from ..blocks import Block, Bullets, Heading, Paragraph, section
from ..document import Report


@section(30, more=None)
def show_guardrails(report: Report) -> list[Block]:
    """Each condition on the rows that the verdict reads: test, else validation."""
    known = {
        split: found["tuned"].guardrails
        for split in report["analyses"]
        if (found := of_models(report["analyses"], Guardrails, split))
    }
    judged = [split for split in known if split != "validation"] or list(known)
    told = [
        f"{r.outcome.capitalize()}: {describe_guardrail(r, split)}; {r.why}."
        for split in judged
        for r in known[split]
    ]
    if not told:
        return []
    needed = "All of them must be met for the model to ship."
    return [Heading("Guardrails"), Paragraph(needed), Bullets(told)]
