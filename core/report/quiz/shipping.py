"""Would you ship this: from interval, reference and verdict."""

from __future__ import annotations

from ...config.config import RunConfig
from ...judgement.selection import judged_split
from ...judgement.verdict import judge
from ...run.history import History
from .question import Question, ask

DECISIONS = {
    "ship": "Ship: every question is answered in favour, by whole intervals and not by points",
    "hold": "Hold: something is shown to be missed, whatever else looks good",
    "no evidence": "Neither yet: nothing is shown to be missed, but these rows cannot prove it",
}
POINT = "Ship: the point is better than what was there before, and that is enough"
ANY_DOUBT = "Hold: there is an interval at all, so nothing is certain enough"


def about_shipping(history: History, config: RunConfig | None, seed: int) -> Question | None:
    if config is None or judged_split(history) is None:
        return None
    verdict = judge(history, config)
    if verdict.preliminary:
        return None
    facts = ". ".join(_fact(reason) for reason in sorted(verdict.reasons))
    text = f"The objective: {verdict.objective}. {facts}. Would you ship this?"
    right = DECISIONS[verdict.decision]
    wrong = [choice for decision, choice in DECISIONS.items() if decision != verdict.decision]
    rule = ANY_DOUBT if verdict.decision == "ship" else POINT
    why = f"The verdict is {verdict.decision}. {'. '.join(verdict.reasons)}."
    see = ["verdict", "interval", "paired", "target"]
    return ask("ship", text, right, [*wrong, rule], (why, see), seed)


def _fact(reason: str) -> str:
    """A reason of the verdict without its conclusion, which follows the last colon."""
    return reason.rpartition(": ")[0] or reason
