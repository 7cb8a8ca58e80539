"""One sentence on each epoch: how the losses moved."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import takewhile
from typing import NotRequired, TypedDict

from ..config.config import RunConfig
from ..metrics.metric import needs_answers
from ..run.events import Evaluated
from ..run.history import Change, Epoch, History
from ..wording.names import name_metric
from ..wording.numbers import format_value
from .live import between, fell, values_given


def observe_epoch(history: History, now: Epoch) -> str:
    """An epoch that ended, by its losses and those of the epochs before.

    `History.change` alone says whether the validation loss moved (V10); the training loss has the
    noise of its steps.
    """
    if not math.isfinite(now.train_loss):
        return "training loss is not finite: lower the learning rate"
    skipped = bisect_right(history.steps.skipped_steps, now.step)
    note = f"; {skipped} steps skipped (gradient not finite)" if skipped else ""
    before = list(takewhile(lambda e: e is not now, history.epochs))
    return (
        _observe_change(history, before, now) if before else _observe_first(history, now)
    ) + note


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
    rise = f"validation loss rose by {_by(change)}"
    if train is False:
        return f"both losses rose (validation by {_by(change)}): training is unstable"
    if not train:
        return rise + accuracy
    return f"{rise} while training loss fell{_overfitting(history, earlier, now)}"


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


class Kept(TypedDict):
    """The evaluation that chose the checkpoint; `value` and `loss` where its sums give them."""

    step: int
    metric: str
    epoch: float
    value: NotRequired[float]
    loss: NotRequired[float]
    reason: NotRequired[str]


def describe_kept(history: History, config: RunConfig | None) -> Kept | None:
    """Step, metric and, where the evaluation's sums give it, the value; None without a choice."""
    if config is None or history.best_step is None or not config.trains:
        return None
    e = history.evaluation("validation", "tuned", history.best_step)
    e = next((x for x in history.validation_series() if x.step == history.best_step), e)
    if e is None:
        return None
    metric = chosen_by(config)
    kept: Kept = {"step": e.step, "metric": metric, "epoch": e.epoch}
    if not math.isnan(value := _value(history, e, metric)):
        kept["value"] = value
    if not math.isnan(loss := _value(history, e, "loss")):
        kept["loss"] = loss
    if reason := reason_kept(history):
        kept["reason"] = reason
    return kept


def reason_kept(history: History) -> str:
    """Which checkpoint is kept and why, in a sentence (V11); empty where the run does not say."""
    if not history.choices or history.choices[-1].step != history.best_step:
        return ""
    c = history.choices[-1]
    name, value = name_metric(c.metric, history.positive), format_value(c.metric, c.value)
    if c.step == c.top_step or c.p is None:
        count = sum(e.step > 0 for e in history.validation_series())
        if count < 2:
            only = "the only one that was evaluated"
            return f"Step {c.step:,} was kept, {only}: its {name} on validation is {value}."
        of = f"the best of {count:,} evaluations"
        return f"Step {c.step:,} was kept: its {name} on validation, {value}, is {of}."
    top = format_value(c.metric, c.top_value)
    return (
        f"Step {c.step:,} was kept: {name} on validation, {value}, is indistinguishable "
        f"from the {top} of step {c.top_step:,} (p = {c.p:.2f}), and its loss "
        f"is lower, {c.loss:.3f} against {c.top_loss:.3f}."
    )


def chosen_by(config: RunConfig) -> str:
    """What chooses the checkpoint; a metric of answers is measured at the end only (T3)."""
    declared = None if needs_answers(config.objective.metric) else config.objective.metric
    return config.train.best_metric or declared or config.task_type.default_metric


def _value(history: History, e: Evaluated, metric: str) -> float:
    found = values_given(e, history.task_type, _order(history), history.positive)
    return found.get(metric, math.nan)


def _order(history: History) -> Sequence[str]:
    """The labels as the scored model has them: its codes are those of the confusion cells."""
    for models in history.results.values():
        confusion = models["tuned"].confusion if "tuned" in models else None
        order = confusion.labels if confusion else []
        if sorted(order) == sorted(history.labels):
            return list(order)
    return history.labels
