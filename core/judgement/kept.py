"""Which evaluation chose the checkpoint that was kept, and what it measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NotRequired, TypedDict

from ..config.config import RunConfig
from ..metrics.metric import needs_answers
from ..run.events import Evaluated
from ..run.history import History
from ..wording.names import name_metric
from ..wording.numbers import format_value
from .evaluation_values import values_given


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
        f"Step {c.step:,} was kept: {name} on validation, {value}, cannot be told from the {top} "
        f"of step {c.top_step:,} (p = {c.p:.2f}), and its loss is lower, {c.loss:.3f} against "
        f"{c.top_loss:.3f}."
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
