"""What was divided by what, from what a run stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...metrics.ratios import BY_LABEL, Ratio, count_ratios, label_ratios, text_ratios
from ...run.history import History
from ...wording.numbers import read_number
from .forms import Part


def ratio_of(
    history: History, result: Mapping[str, Any], split: str, model: str, metric: str
) -> Ratio | None:
    """From the confusion counts, else as stored, else from the sums of the final evaluation."""
    if table := result.get("confusion"):
        none = table.get("no_prediction")
        found = count_ratios(table["counts"], table["labels"], result.get("positive"), none)
        if metric in found:
            return found[metric]
    estimate = result.get("metrics", {}).get(metric, {})
    if estimate.get("numerator") is not None and estimate.get("denominator") is not None:
        return Ratio(read_number(estimate["numerator"]), read_number(estimate["denominator"]))
    return _evaluated_ratio(history, split, model, metric)


def _evaluated_ratio(history: History, split: str, model: str, metric: str) -> Ratio | None:
    e = history.evaluation(split, model)
    if e is None or e.epoch >= 0:  # of a moment in training, not of the end
        return None
    if history.task_type.has_labels:
        return Ratio(e.loss_sum, e.loss_count) if metric == "loss" else None
    return text_ratios([e.loss_sum, e.loss_count, e.correct, e.bytes]).get(metric)


def label_parts(result: Mapping[str, Any], metric: str) -> list[Part]:
    """The labels' values that an average is made of."""
    kind, _, name = metric.partition("_")
    if metric == "balanced_accuracy":
        name = "recall"
    elif kind not in ("macro", "weighted") or name not in BY_LABEL or metric == "weighted_recall":
        return []
    table = result.get("confusion")
    if not table:
        return []
    none = table.get("no_prediction") or [0] * len(table["labels"])
    found = label_ratios(table["counts"], table["labels"], none)
    rows = zip(table["labels"], table["counts"], none, strict=True)
    support = {label: sum(row) + missing for label, row, missing in rows}
    return [
        Part(label, ratios[name].quotient, *ratios[name])
        for label, ratios in found.items()
        if metric != "balanced_accuracy" or support[label]
    ]
