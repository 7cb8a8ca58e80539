"""The receipt of a number: formula, what was divided by what, which rows, and how it was made.

Everything comes from what the run stored. A sum that an older run did not store is absent, and the
receipt says so: nothing is multiplied back from a quotient.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import TypeVar

from ...config.config import RunConfig
from ...errors import ConfigError
from ...judgement.selection import REFERENCES, judged_split
from ...metrics.counts import label_ratios, margins
from ...metrics.metric import METRICS, Metric, adds_up, ratios
from ...metrics.results import Comparison, Estimate, ModelResult
from ...metrics.statistics import COVERS
from ...metrics.sums import Ratio, token_totals
from ...run.history import History
from ...wording.names import title_metric
from ...wording.numbers import format_count
from ...wording.text import nearest
from .forms import (
    DifferenceReceipt,
    IntervalReceipt,
    Part,
    Receipt,
    Rows,
    Tokens,
    dtype_of,
    prefix_of,
    rows_of,
    tokens_of,
)
from .of_training import evaluation_receipt, training_receipts

__all__ = [
    "DifferenceReceipt",
    "IntervalReceipt",
    "Part",
    "Receipt",
    "Rows",
    "Tokens",
    "compared_with",
    "difference_receipt",
    "differences",
    "evaluation_receipt",
    "every_receipt",
    "explained_split",
    "receipt",
    "training_receipts",
]

Found = TypeVar("Found")
TUNED = "tuned"
NOT_STORED = "the run did not store what was divided by what"
NO_RATIO = "not a quotient of two sums over rows"
ZERO = "nothing to divide by: 0 by definition"


def receipt(
    history: History, config: RunConfig | None, split: str, model: str, metric: str
) -> Receipt:
    """The receipt of a final result.

    Raises ConfigError where the run has no such split, model or metric, with the nearest names.
    """
    result = _chosen("model", model, _chosen("split", split, history.results))
    metrics = estimates_of(result)
    _chosen_metric(metric, metrics, split, model)
    estimate, known = metrics[metric], METRICS[metric]
    ratio = _ratio_of(history, result, split, model, metric)
    positive = result.positive
    numerator_is, denominator_is, weighting = known.counts(history.task_type.loss_unit, positive)
    return Receipt(
        metric=metric,
        title=title_metric(metric, positive),
        split=split,
        model=model,
        value=estimate.value,
        unit=known.unit,
        better=known.direction,
        formula=known.formula,
        numerator=float(ratio.numerator) if ratio else None,
        numerator_is=numerator_is,
        denominator=float(ratio.denominator) if ratio else None,
        denominator_is=denominator_is,
        then=known.then,
        parts=_label_parts(result, known),
        weighting=weighting,
        positive=positive if known.positive else None,
        rows=rows_of(history, split, result, metric),
        tokens=tokens_of(history, split),
        dtype=dtype_of(config, model, history.evaluation(split, model)),
        prefix=prefix_of(history, model, result),
        interval=interval_receipt(estimate, estimate.method),
        training_seed=config.train.seed if config else None,
        notes=list(_notes(metric, result, estimate, ratio, model)),
    )


def differences(
    history: History, config: RunConfig | None, split: str, metric: str, to: str = TUNED
) -> list[DifferenceReceipt]:
    """The paired differences of a metric towards a model on a split."""
    return [
        difference_receipt(history, config, c)
        for c in history.comparisons
        if (c.split, c.metric, c.to_model) == (split, metric, to)
    ]


def difference_receipt(
    history: History, config: RunConfig | None, c: Comparison
) -> DifferenceReceipt:
    split, models = c.split, (c.from_model, c.to_model)
    before, after = (receipt(history, config, split, model, c.metric) for model in models)
    p_method, _, interval = c.method.partition("; ")
    shared = _shared_ratio(before, after)
    return DifferenceReceipt(
        metric=after.metric,
        title=after.title,
        split=split,
        from_model=before.model,
        to_model=after.model,
        value=c.difference,
        unit=after.unit,
        better=after.better,
        formula=f"{after.metric} of {after.model} - {after.metric} of {before.model}, same rows",
        numerator=float(shared.numerator) if shared else None,
        numerator_is=f"{after.numerator_is}: {after.model} less {before.model}" if shared else "",
        denominator=float(shared.denominator) if shared else None,
        denominator_is=after.denominator_is if shared else "",
        parts=[Part(r.model, r.value, r.numerator, r.denominator) for r in (before, after)],
        rows=after.rows,
        dtype=after.dtype,
        prefix=after.prefix,
        interval=interval_receipt(c, interval),
        p=c.p,
        p_method=p_method,
        p_holm=c.p_holm,
        fixed=c.fixed if adds_up(c.metric) else None,
        broke=c.broke if adds_up(c.metric) else None,
        smallest_detectable=c.smallest_detectable,
        training_seed=after.training_seed,
        notes=_difference_notes(before, after),
    )


def every_receipt(
    history: History, config: RunConfig | None
) -> Iterator[Receipt | DifferenceReceipt]:
    """Of each metric of each model on each split, then of each comparison."""
    for split, models in history.results.items():
        for model, result in models.items():
            for metric in estimates_of(result):
                yield receipt(history, config, split, model, metric)
    for c in history.comparisons:
        yield difference_receipt(history, config, c)


def estimates_of(result: ModelResult) -> dict[str, Estimate]:
    """The metrics of a result; a loss that stands by itself has no interval and no method."""
    found = dict(result.metrics)
    if "loss" not in found and result.loss is not None:
        found["loss"] = Estimate(result.loss, math.nan, math.nan, "")
    return found


def interval_receipt(ends: Estimate | Comparison, method: str) -> IntervalReceipt | None:
    """The method in words, and out of them the draws and the seed of a bootstrap."""
    if not method:
        return None
    draws = re.search(r"([\d,]+) draws", method)
    seed = re.search(r"seed (\d+)", method)
    return IntervalReceipt(
        ends.low,
        ends.high,
        method,
        int(draws[1].replace(",", "")) if draws else None,
        int(seed[1]) if seed else None,
    )


def explained_split(history: History, split: str | None) -> str:
    """The split that is asked for, else the one that the verdict reads."""
    found = split or judged_split(history)
    if found is None:
        raise ConfigError("this run has no final results yet: there is nothing to explain")
    return found


def compared_with(history: History, split: str, metric: str, model: str) -> dict[str, float]:
    """The same metric of the other models on these rows, and what random guessing gives."""
    beside = {
        other: estimates_of(result)[metric].value
        for other, result in history.results.get(split, {}).items()
        if other != model and metric in estimates_of(result)
    }
    order = [*REFERENCES, TUNED]
    beside = dict(sorted(beside.items(), key=lambda x: order.index(x[0]) if x[0] in order else 9))
    guess, function = history.random_loss, METRICS[metric].function
    if guess is None or METRICS[metric].tested_as != "loss":
        return beside
    return beside | {"random guessing": function.value(guess) if function else guess}


def _ratio_of(
    history: History, result: ModelResult, split: str, model: str, metric: str
) -> Ratio | None:
    """From the confusion counts, else as stored, else from the sums of the final evaluation."""
    if table := result.confusion:
        positive = result.positive
        code = table.labels.index(positive) if positive in table.labels else None
        found = ratios("counts", margins(table.counts, table.no_prediction, code))
        if metric in found:
            return found[metric]
    estimate = result.metrics.get(metric)
    if estimate and estimate.numerator is not None and estimate.denominator is not None:
        return Ratio(estimate.numerator, estimate.denominator)
    e = history.evaluation(split, model)
    if e is None or e.epoch >= 0:  # of a moment in training, not of the end
        return None
    if not history.task_type.writes:
        return Ratio(e.loss_sum, e.loss_count) if metric == "loss" else None
    totals = token_totals(e.loss_sum, e.loss_count, e.correct, e.bytes)
    return ratios("tokens", totals).get(metric)


def _label_parts(result: ModelResult, metric: Metric) -> list[Part]:
    """The labels' values that an average is made of."""
    table = result.confusion
    if not metric.mean_of or not table:
        return []
    found = label_ratios(table.counts, table.labels, table.no_prediction)
    return [
        Part(label, ratio.quotient, float(ratio.numerator), float(ratio.denominator))
        for label, by_name in found.items()
        for ratio in [by_name[metric.mean_of]]
        if not metric.over_true or by_name["recall"].denominator
    ]


def _chosen(what: str, name: str, among: Mapping[str, Found]) -> Found:
    if name in among:
        return among[name]
    there = ", ".join(among) or "none yet"
    raise ConfigError(f"--{what}: the run has no results of {name!r}. There: {there}")


def _chosen_metric(metric: str, metrics: Mapping[str, Estimate], split: str, model: str) -> None:
    if metric not in METRICS:
        near = nearest(metric, METRICS)
        raise ConfigError(f"there is no metric {metric!r}. Nearest: {', '.join(near)}")
    if metric not in metrics:
        there = ", ".join(metrics) or "none"
        raise ConfigError(f"{metric} was not computed for {model} on {split}. There: {there}")


def _notes(
    metric: str,
    result: ModelResult,
    estimate: Estimate,
    ratio: Ratio | None,
    model: str,
) -> Iterator[str]:
    if ratio is None:
        yield NOT_STORED if METRICS[metric].counted.denominator else NO_RATIO
    if result.method:
        yield f"how it answers: {result.method}"
    if metric in (signatures := result.signatures or {}):
        yield f"computed by: {signatures[metric]}"
    if ratio is not None and ratio.denominator == 0:
        yield ZERO
    if missing := len(result.no_prediction):
        yield f"{format_count(missing, 'row')} without a prediction: scores that are not finite"
    if result.undefined and metric.startswith("macro_"):
        yield f"excluded, in neither truth nor predictions: {', '.join(result.undefined)}"
    if model == TUNED and not math.isnan(estimate.low):
        yield f"the interval {COVERS}"


def _shared_ratio(before: Receipt, after: Receipt) -> Ratio | None:
    """One ratio for the difference, where both are divided by the same number."""
    numbers = before.numerator, after.numerator, after.denominator
    if before.then or before.denominator != after.denominator or None in numbers:
        return None
    assert before.numerator is not None
    assert after.numerator is not None
    assert after.denominator is not None
    return Ratio(after.numerator - before.numerator, after.denominator)


def _difference_notes(before: Receipt, after: Receipt) -> list[str]:
    notes = [f"the interval {COVERS}"]
    if before.rows.scored != after.rows.scored:
        notes.append("measured on the rows that both models scored: the parts are of all rows")
    return notes
