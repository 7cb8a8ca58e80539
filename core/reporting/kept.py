"""Which evaluation chose the checkpoint that was kept, and what it measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..config import RunConfig
from ..events import Evaluated
from ..history import History
from ..numbers.metric_table import REFERENCE_METRICS


def describe_kept(history: History, config: RunConfig | None) -> dict[str, Any] | None:
    """Step, metric and, where the evaluation's sums give it, the value; None without a choice."""
    if config is None or history.best_step is None or not config.trains:
        return None
    e = history.evaluation("validation", "tuned", history.best_step)
    e = next((x for x in history.validation_series() if x.step == history.best_step), e)
    if e is None:
        return None
    metric = chosen_by(config)
    told: dict[str, Any] = {"step": e.step, "metric": metric, "epoch": e.epoch}
    value = _value(history, e, metric)
    return told if math.isnan(value) else told | {"value": value}


def chosen_by(config: RunConfig) -> str:
    """What chooses the checkpoint; a metric of answers is measured at the end only (T3)."""
    default = "macro_f1" if config.is_classification else "loss"
    declared = None if config.objective.metric in REFERENCE_METRICS else config.objective.metric
    return config.train.best_metric or declared or default


def _value(history: History, e: Evaluated, metric: str) -> float:
    if not e.loss_count:
        return math.nan
    loss = e.loss_sum / e.loss_count
    if metric == "loss":
        return loss
    if history.task != "classification":
        found = {"perplexity": math.exp(min(loss, 700)), "average_log_likelihood": -loss}
        found["token_accuracy"] = e.correct / e.count if e.count else math.nan
        found["bits_per_byte"] = e.loss_sum / (math.log(2) * e.bytes) if e.bytes else math.nan
        return found.get(metric, math.nan)
    return _of_counts(history, e, metric)


def _of_counts(history: History, e: Evaluated, metric: str) -> float:
    from ..metrics import classification_metrics, confusion_of_cells

    labels = _order(history)
    counts, none = confusion_of_cells(e.confusion, len(labels))
    return classification_metrics(counts, labels, history.positive, none).get(metric, math.nan)


def _order(history: History) -> Sequence[str]:
    """The labels as the scored model has them: its codes are those of the confusion cells."""
    for models in history.results.values():
        order = models.get("tuned", {}).get("confusion", {}).get("labels", [])
        if sorted(order) == sorted(history.labels):
            return list(order)
    return history.labels
