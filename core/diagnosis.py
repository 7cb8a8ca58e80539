"""What the numbers say, in words: a line for each epoch, findings with evidence, the verdict."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .findings import Finding, find
from .verdict import Verdict, judge

if TYPE_CHECKING:
    from .history import Epoch

__all__ = ["Finding", "Verdict", "find", "judge", "observe_epoch"]

STEADY = 0.01  # relative change of a loss that is called level


def observe_epoch(epochs: list[Epoch], skipped_steps: int = 0) -> str:
    """One sentence on the last epoch, computed from the losses and accuracies so far."""
    now = epochs[-1]
    if not math.isfinite(now.train_loss):
        return "training loss is not finite: lower the learning rate"
    told = f"; {skipped_steps} steps skipped (gradient not finite)" if skipped_steps else ""
    if len(epochs) == 1:
        return _observe_first(now) + told
    return _observe_change(epochs) + told


def _observe_first(now: Epoch) -> str:
    if not math.isfinite(now.validation_loss):
        return "nothing to judge it by: there is no validation split"
    change = now.accuracy_change
    if math.isfinite(change) and abs(change) >= 0.005:
        verb = "rose" if change > 0 else "fell"
        return f"accuracy {verb} by {abs(change) * 100:.1f} points in the first epoch"
    return "little learnt yet: accuracy has hardly moved"


def _observe_change(epochs: list[Epoch]) -> str:
    before, now = epochs[-2], epochs[-1]
    train = now.train_loss - before.train_loss
    if not math.isfinite(now.validation_loss) or not math.isfinite(before.validation_loss):
        return f"training loss {_moved(train, before.train_loss)}"
    validation = now.validation_loss - before.validation_loss
    told = [e for e in epochs[:-1] if math.isfinite(e.validation_loss)]
    best = min(told, key=lambda e: e.validation_loss)
    level = STEADY * abs(before.validation_loss)
    points = (now.validation_accuracy - before.validation_accuracy) * 100
    if validation > level and train < 0:
        begins = (
            "overfitting begins" if best is before else f"overfitting since epoch {best.epoch + 1}"
        )
        return f"validation loss rose by {_by(validation)} while training loss fell: {begins}"
    if validation > level:
        return f"both losses rose (validation by {_by(validation)}): training is unstable"
    if validation < -level:
        gain = f", accuracy {points:+.1f} points" if abs(points) >= 0.05 else ""
        means = "still learning"
        if points <= -0.05:
            means = "loss and accuracy disagree, little more to gain"
        return f"validation loss fell by {_by(validation)}{gain}: {means}"
    return f"validation loss is level ({validation:+.3f}): little more to gain"


def _moved(change: float, reference: float) -> str:
    if abs(change) <= STEADY * abs(reference):
        return "is level"
    return f"{'rose' if change > 0 else 'fell'} by {_by(change)}"


def _by(change: float) -> str:
    """Two decimals, three where two would say 0.00 or 0.01."""
    size = abs(change)
    return f"{size:.2f}" if size >= 0.015 else f"{size:.3f}"
