"""From stored predictions to results: what a run ends with, and what `verify` computes again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
import polars as pl
from msgspec.structs import replace

from .metrics import (
    FloatArray,
    IntArray,
    Margins,
    classification_metrics,
    confusion,
    majority_label,
    margins,
    per_class,
    text_metrics,
    undefined_labels,
)
from .numbers.bootstrap import (
    DRAWS,
    Resampling,
    bootstrap_cells,
    bootstrap_rows,
    interval_of,
    values_of,
)
from .numbers.calibration import ECE_METHOD, ece_interval
from .numbers.cells import joint_cells
from .numbers.comparisons import Comparison, adjust_secondary, compare
from .numbers.probabilities import ProbabilityScores
from .numbers.ratios import described, probability_ratios, reference_ratios, text_ratios
from .numbers.references import ReferenceRows, read_references
from .numbers.scored import ClassificationRows, positive_label, read_classification, read_text
from .statistics import wilson

__all__ = [
    "Comparison",
    "Confusion",
    "Estimate",
    "ModelResult",
    "adjust_secondary",
    "compare",
    "evaluate_classification",
    "evaluate_text",
    "majority_frame",
]

WILSON = "Wilson 95 %"
NOTHING = "no interval: nothing to divide by"


class Estimate(msgspec.Struct, frozen=True, omit_defaults=True):
    """A metric with its 95 % interval; low and high are NaN where `method` says there is none.

    Numerator and denominator are what was divided; absent where the confusion counts tell it.
    """

    value: float
    low: float
    high: float
    method: str
    numerator: float | None = None
    denominator: float | None = None


class Confusion(msgspec.Struct, frozen=True, omit_defaults=True):
    labels: list[str]
    counts: list[list[int]]  # rows are truth, columns predictions
    no_prediction: list[int] | None = None  # rows without one, by true label; None where none is


class ModelResult(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A model on a split, as in report.json (`msgspec.to_builtins`); what is None is absent."""

    n: int  # rows scored
    loss: float | None = None
    metrics: dict[str, Estimate]
    per_class: dict[str, dict[str, float]] | None = None
    confusion: Confusion | None = None
    positive: str | None = None
    undefined: list[str] = []  # labels in neither truth nor predictions
    unscored: list[int] = []  # ids of rows with nothing to score
    no_prediction: list[int] = []  # ids of rows whose scores are not finite: they count as wrong
    method: str | None = None  # how a model answers that was not made for the task
    answered: int | None = None  # rows with an answer and a reference, where they are not all rows
    signatures: dict[str, str] | None = None  # metric against references -> how it was computed
    threshold: float | None = None  # of the positive label, where predictions are not at 0.5


def evaluate_classification(
    frame: pl.DataFrame,
    labels: Sequence[str],
    positive: str | None = None,
    seed: int = 0,
    draws: int = DRAWS,
) -> ModelResult:
    """Metrics with intervals from rows of row_id, label, predicted and maybe probabilities, method.

    `labels` is the explicit, ordered list that probabilities follow. With two labels and no
    `positive`, the rarer one in these rows is positive. Proportions of rows have Wilson
    intervals, the rest the percentile bootstrap over rows. Raises DataError.
    """
    rows = read_classification(frame, labels)
    counts, none = _confusion_of(rows, len(labels))
    positive = positive_label(labels, positive, rows.truth)
    code = None if positive is None else list(labels).index(positive)
    resampling = Resampling(seed, draws)
    estimates = _count_estimates(rows, labels, code, resampling)
    if rows.probabilities is not None:
        scores = ProbabilityScores(rows.truth, rows.probabilities, code)
        estimates |= _probability_estimates(scores, resampling)
    return ModelResult(
        n=rows.n,
        loss=estimates["loss"].value if "loss" in estimates else None,
        metrics=estimates,
        per_class=per_class(counts, labels, none),
        confusion=Confusion(list(labels), counts.tolist(), none),
        positive=positive,
        undefined=undefined_labels(counts, labels, none),
        no_prediction=rows.row_id[rows.predicted == len(labels)].tolist(),
        method=frame["method"][0] if "method" in frame.columns else None,
        threshold=frame["threshold"][0] if "threshold" in frame.columns else None,
    )


def evaluate_text(frame: pl.DataFrame, seed: int = 0, draws: int = DRAWS) -> ModelResult:
    """Language-model metrics from rows of row_id, nll, tokens, correct and bytes.

    Each metric is one division of sums over the rows; its interval is the percentile bootstrap
    of that ratio over rows. Rows without scored tokens are left out and listed. Where rows have
    completion and reference, they are measured too, on these rows alone. Raises DataError.
    """
    every = read_text(frame)
    scored = every.tokens > 0
    rows, unscored = every.where(scored), every.row_id[~scored].tolist()
    values = text_metrics(*rows.sums.T)
    if not values:
        return ModelResult(n=0, metrics={}, unscored=unscored)
    resampling = Resampling(seed, draws)
    drawn, by_rows = bootstrap_rows([rows], resampling)
    ratios = text_ratios(rows.sums.sum(axis=0))
    estimates = {
        name: replace(
            _estimate(value, drawn[0][name], rows.n, resampling.method(limit=not by_rows)),
            **described(ratios, name),
        )
        for name, value in values.items()
    }
    answers = read_references(frame)
    if answers is not None:
        estimates |= _reference_estimates(answers, resampling)
    return ModelResult(
        n=rows.n,
        loss=values["loss"],
        metrics=estimates,
        unscored=unscored,
        no_prediction=rows.row_id[~np.isfinite(rows.sums[:, 0])].tolist(),
        answered=answers.n if answers else None,
        signatures=answers.signatures if answers else None,
    )


def _reference_estimates(answers: ReferenceRows, resampling: Resampling) -> dict[str, Estimate]:
    """Answers against references; the number of rows stands in the method: it is not `n`."""
    values = values_of(answers)
    drawn, by_rows = bootstrap_rows([answers], resampling)
    method = resampling.method(limit=not by_rows)
    found = {
        name: _estimate(value, drawn[0][name], answers.n, method) for name, value in values.items()
    }
    found["exact_match"] = _wilson_estimate(
        values["exact_match"], (int(answers.exact.sum()), answers.n)
    )
    ratios, told = reference_ratios(answers), f", {answers.n:,} answered rows"
    return {
        name: replace(e, method=e.method + told, **described(ratios, name))
        for name, e in found.items()
    }


def majority_frame(
    frame: pl.DataFrame, labels: Sequence[str], train_counts: Mapping[str, int]
) -> pl.DataFrame:
    """The same rows, each predicted as the majority label of the training split."""
    answer = majority_label(labels, train_counts)
    return frame.select("row_id", "label", predicted=pl.lit(answer))


def _confusion_of(rows: ClassificationRows, n_labels: int) -> tuple[IntArray, list[int] | None]:
    """Counts [C, C], and by true label the rows without a prediction; None where none is."""
    known = rows.predicted < n_labels
    counts = confusion(rows.truth[known], rows.predicted[known], n_labels)
    none = None if known.all() else np.bincount(rows.truth[~known], minlength=n_labels).tolist()
    return counts, none


def _count_estimates(
    rows: ClassificationRows, labels: Sequence[str], code: int | None, resampling: Resampling
) -> dict[str, Estimate]:
    counts, none = _confusion_of(rows, len(labels))
    cells = joint_cells(rows.truth, (rows.predicted,), len(labels))
    sums = cells.sums(0)
    drawn = bootstrap_cells(cells.counts, lambda c: sums.metrics(c, code), resampling)
    positive = None if code is None else labels[code]
    values = classification_metrics(counts, labels, positive, none)
    shares = _shares_of_rows(margins(counts, none), code)
    return {
        name: _wilson_estimate(value, shares[name])
        if name in shares
        else _estimate(value, drawn[name], rows.n, resampling.method())
        for name, value in values.items()
    }


def _shares_of_rows(m: Margins, code: int | None) -> dict[str, tuple[float, float]]:
    """The metrics that are a share of independent rows, as (rows that count, rows)."""
    right, rows, named = (float(x.sum()) for x in (m.right, m.support, m.predicted))
    shares = dict.fromkeys(("accuracy", "micro_recall", "weighted_recall"), (right, rows))
    shares["micro_precision"] = right, named
    if named == rows:  # else it is the share of neither
        shares["micro_f1"] = right, rows
    if code is not None and len(m.right) == 2:
        shares["precision"] = float(m.right[code]), float(m.predicted[code])
        shares["recall"] = float(m.right[code]), float(m.support[code])
    return shares


def _probability_estimates(
    scores: ProbabilityScores, resampling: Resampling
) -> dict[str, Estimate]:
    values = values_of(scores)
    drawn, by_rows = bootstrap_rows([scores], resampling)
    ratios = probability_ratios(scores)
    found = {
        name: replace(
            _estimate(
                value,
                drawn[0][name],
                scores.n,
                resampling.method(limit=not by_rows, first_order=scores.is_expanded(name, by_rows)),
            ),
            **described(ratios, name),
        )
        for name, value in values.items()
    }
    return found | {"ece": _ece_estimate(found["ece"], drawn[0]["ece"], scores, resampling)}


def _ece_estimate(
    percentile: Estimate, draws: FloatArray, scores: ProbabilityScores, resampling: Resampling
) -> Estimate:
    """Resampling adds to the bias of an ECE: its interval is not that of percentiles."""
    if math.isnan(percentile.low):  # there is none, and the method says why
        return percentile
    low, high = ece_interval(percentile.value, draws, scores.null)
    method = ECE_METHOD.format(draws=resampling.draws, seed=resampling.seed)
    return replace(percentile, low=low, high=high, method=method)


def _wilson_estimate(value: float, share: tuple[float, float]) -> Estimate:
    method = WILSON if share[1] else NOTHING
    return Estimate(value, *wilson(*share), method, *map(float, share))


def _estimate(value: float, draws: FloatArray, n: int, method: str) -> Estimate:
    (low, high), method = interval_of(draws, n, method)
    return Estimate(value, low, high, method)
