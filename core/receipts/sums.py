"""What was divided by what, from what a run stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..history import History
from ..numbers.ratios import BY_LABEL, Ratio, count_ratios, label_ratios, text_ratios
from ..reporting.numbers import read_number
from .forms import Part


def stored_ratio(estimate: Mapping[str, Any]) -> Ratio | None:
    if estimate.get("numerator") is None or estimate.get("denominator") is None:
        return None
    return Ratio(read_number(estimate["numerator"]), read_number(estimate["denominator"]))


def summed_ratio(
    history: History, result: Mapping[str, Any], split: str, model: str, metric: str
) -> Ratio | None:
    """From the confusion counts, else from the sums that an evaluation wrote down."""
    table = result.get("confusion")
    if table:
        found = count_ratios(table["counts"], table["labels"], result.get("positive"))
        if metric in found:
            return found[metric]
    e = history.evaluation(split, model)
    if e is None or e.epoch >= 0:  # not the final one
        return None
    if history.task == "classification":
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
    found = label_ratios(table["counts"], table["labels"])
    support = {label: sum(row) for label, row in zip(table["labels"], table["counts"], strict=True)}
    return [
        Part(label, ratios[name].quotient, *ratios[name])
        for label, ratios in found.items()
        if metric != "balanced_accuracy" or support[label]
    ]
