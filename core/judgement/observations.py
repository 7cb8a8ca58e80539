"""One sentence on each epoch: how the losses moved."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import takewhile

from ..run.history import Change, Epoch, History
from .findings.course import between, fell


def observe_epoch(history: History, now: Epoch) -> str:
    """An epoch that ended, by its losses and those of the epochs before.

    `History.change` alone says whether the validation loss moved (V10); the training loss has the
    noise of its steps.
    """
    if not math.isfinite(now.train_loss):
        return "training loss is not finite: lower the learning rate"
    skipped = bisect_right(history.steps.skipped_steps, now.step)
    told = f"; {skipped} steps skipped (gradient not finite)" if skipped else ""
    before = list(takewhile(lambda e: e is not now, history.epochs))
    return (
        _observe_change(history, before, now) if before else _observe_first(history, now)
    ) + told


def _observe_first(history: History, now: Epoch) -> str:
    if not math.isfinite(now.validation_loss):
        return "nothing to judge it by: there is no validation split"
    change = history.change(0, now.step)
    accuracy = _accuracy(now.accuracy_change)
    if change is None:
        return f"validation loss is {now.validation_loss:.3f}{accuracy}"
    if change.level:
        return f"validation loss is level ({change.difference:+.3f}){accuracy}: little learnt yet"
    verb = "fell" if change.difference < 0 else "rose"
    return f"validation loss {verb} by {_by(change)} in the first epoch{accuracy}"


def _observe_change(history: History, earlier: Sequence[Epoch], now: Epoch) -> str:
    before, train = earlier[-1], _train_fell(history, earlier, now)
    if not math.isfinite(now.validation_loss) or not math.isfinite(before.validation_loss):
        return f"training loss {_moved(train)} ({before.train_loss:.3f} → {now.train_loss:.3f})"
    change = history.change(before.step, now.step)
    accuracy = _accuracy(now.validation_accuracy - before.validation_accuracy)
    if change is None:
        losses = f"{before.validation_loss:.3f} → {now.validation_loss:.3f}"
        return f"validation loss went {losses}{accuracy}"
    if change.level:
        return f"validation loss is level ({change.difference:+.3f}){accuracy}"
    if change.difference < 0:
        return f"validation loss fell by {_by(change)}{accuracy}: still learning"
    told = f"validation loss rose by {_by(change)}"
    if train is False:
        return f"both losses rose (validation by {_by(change)}): training is unstable"
    if not train:
        return told + accuracy
    return f"{told} while training loss fell{_overfitting(history, earlier, now)}"


def _train_fell(history: History, earlier: Sequence[Epoch], now: Epoch) -> bool | None:
    start = earlier[-2].step if len(earlier) > 1 else -1
    before = earlier[-1].step
    return fell(between(history, start, before), between(history, before, now.step))


def _overfitting(history: History, earlier: Sequence[Epoch], now: Epoch) -> str:
    """Nothing where the loss is not above its lowest."""
    finite = [e for e in earlier if math.isfinite(e.validation_loss)]
    best = min(finite, key=lambda e: e.validation_loss)
    change = history.change(best.step, now.step)
    if change is None or change.level:
        return ""
    began = best is earlier[-1]
    return ": overfitting begins" if began else f": overfitting since epoch {best.epoch + 1}"


def _moved(has_fallen: bool | None) -> str:
    return "is level" if has_fallen is None else "fell" if has_fallen else "rose"


def _accuracy(change: float) -> str:
    """A figure beside the loss, which says nothing by itself."""
    return f", accuracy {change * 100:+.1f} points" if abs(change) >= 0.0005 else ""


def _by(change: Change) -> str:
    """Two decimals, three where two would say 0.00 or 0.01."""
    size = abs(change.difference)
    return f"{size:.2f}" if size >= 0.015 else f"{size:.3f}"
