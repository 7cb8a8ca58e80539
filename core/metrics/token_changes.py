"""Which tokens of a text became likelier under another model, and which less likely."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from .analyses import TokenChange, TokenChanges

KEPT = 10  # tokens of each kind that a run keeps of a text, the greatest change first

Token = Sequence[Any]  # token, log-likelihood in nats, rank among the whole vocabulary


def token_changes(before: Sequence[Token], after: Sequence[Token]) -> list[dict[str, Any]]:
    """Each scored token of a text under two models that cut it alike, in its order; nats.

    Errors: `ValueError` where the two have not as many tokens.
    """
    return [
        {
            "position": i,
            "token": token,
            "from": a,
            "to": b,
            "difference": b - a,
            "rank_from": rank_a,
            "rank_to": rank_b,
        }
        for i, ((token, a, rank_a), (_, b, rank_b)) in enumerate(zip(before, after, strict=True))
    ]


def gained_and_lost(before: Sequence[Token], after: Sequence[Token]) -> dict[str, Any]:
    """Every token that became likelier or less likely, the greatest change first."""
    ordered = sorted(token_changes(before, after), key=lambda t: -abs(t["difference"]))
    return {
        "gained": [t for t in ordered if t["difference"] > 0],
        "lost": [t for t in ordered if t["difference"] < 0],
    }


def greatest_changes(before: Sequence[Token], after: Sequence[Token]) -> TokenChanges | None:
    """What a run keeps of a text; None where the two models cut it into other tokens (K4)."""
    if not before or [t[0] for t in before] != [t[0] for t in after]:
        return None
    changed = gained_and_lost(before, after)
    gained, lost = (msgspec.convert(changed[k], list[TokenChange]) for k in ("gained", "lost"))
    return TokenChanges(
        tokens=len(before),
        kept=KEPT,
        gained_tokens=len(gained),
        gained=gained[:KEPT],
        lost_tokens=len(lost),
        lost=lost[:KEPT],
    )
