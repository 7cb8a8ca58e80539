"""One line on what a run did between two looks at it."""

from __future__ import annotations

import math
from typing import Any

from ...core.run.history import History
from ..drawing.format import format_count, format_number

Seen = dict[str, Any]
_NEWS = {
    "finished": "finished",
    "stopped": "stopped",
    "failed": "failed",
    "died": "the worker died",
    "paused": "paused",
}


def seen_of(history: History, status: str) -> Seen:
    """What a person who looks at the screen now has seen of the run; plain values."""
    return {
        "step": history.step,
        "epochs": len(history.epochs),
        "loss": _validation_loss(history),
        "checkpoint": max((c.step for c in history.checkpoints), default=0),
        "status": status,
    }


def while_away(seen: Seen, history: History, status: str) -> str:
    """3 epochs, validation loss 0.310 → 0.270, checkpoint of step 900, finished. "" for nothing."""
    now = seen_of(history, status)
    told = []
    if epochs := _growth(seen, now, "epochs"):
        told.append(_counted(epochs, "epoch"))
    elif steps := _growth(seen, now, "step"):
        told.append(_counted(steps, "step"))
    before, after = seen.get("loss"), now["loss"]
    if isinstance(before, float) and after is not None and before != after:
        told.append(f"validation loss {format_number(before)} → {format_number(after)}")
    if _growth(seen, now, "checkpoint"):
        told.append(f"checkpoint of step {now['checkpoint']:,}")
    if status != seen.get("status") and status in _NEWS:
        told.append(_NEWS[status])
    return f"While you were away: {', '.join(told)}." if told else ""


def _counted(number: int, what: str) -> str:
    return f"{format_count(number)} {what}{'s' if number != 1 else ''}"


def _growth(seen: Seen, now: Seen, name: str) -> int:
    before = seen.get(name)
    return max(0, now[name] - before) if type(before) is int else 0


def _validation_loss(history: History) -> float | None:
    series = history.validation_series()
    if not series or not series[-1].loss_count:
        return None
    loss = series[-1].loss_sum / series[-1].loss_count
    return loss if math.isfinite(loss) else None
