"""Can the probabilities be believed? Reliability, ECE with its null value, temperature (B1, B2)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from ..metrics.analyses import BeforeAfter, Calibration, Change, FittedTemperature, NullEce
from ..metrics.bootstrap import Resampling, bootstrap_rows, interval_of
from ..metrics.calibration import NULL_DRAWS, Null, null_ece, reliability
from ..metrics.clusters import Clusters, as_if_independent, sign_flip_p, together
from ..metrics.counts import Draws
from ..metrics.probabilities import ProbabilityScores
from ..metrics.results import ModelResult
from ..metrics.rows import ClassificationRows, positive_label, read_classification
from ..run.events import AnalysisComputed
from .predictions import Evaluation, as_in_results

RESAMPLING = Resampling()  # of the change of the loss: all else is as in the results
NULL_METHOD = (
    f"mean of {NULL_DRAWS:,} simulated samples in which each answer is right with exactly its "
    "stated probability, seed 0; p is the share of them with an ECE at least as high"
)


def calibration(e: Evaluation) -> Iterator[AnalysisComputed]:
    """One result for each classifier with probabilities on a split."""
    if not e.config.task_type.has_labels:
        return
    for model, frame in e.frames.items():
        rows = read_classification(frame, e.labels)
        if rows.probabilities is not None:
            yield e.found(_result(e, model, rows), model)


def _result(e: Evaluation, model: str, rows: ClassificationRows) -> Calibration:
    scores, clusters = _scores(e, rows), rows.clusters
    if not np.isfinite(scores.probabilities).all():
        return Calibration(n=rows.n, why_not="a probability is not a number")
    found = _measures(e.result(model), scores, clusters)
    if e.split == "validation":  # a temperature is fitted here, so nothing is shown as its merit
        return found
    fitted = _temperature(e, model, scores, clusters)
    if isinstance(fitted, str):
        return replace(found, no_temperature=fitted)
    return replace(found, temperature=fitted)


def _scores(e: Evaluation, rows: ClassificationRows) -> ProbabilityScores:
    assert rows.probabilities is not None
    positive = positive_label(e.labels, e.positive, rows.truth)
    code = None if positive is None else list(e.labels).index(positive)
    return ProbabilityScores(rows.truth, rows.probabilities, code)


def _measures(
    result: ModelResult, scores: ProbabilityScores, clusters: Clusters | None
) -> Calibration:
    """ECE with its null value, Brier and loss, each with its interval as in the results."""
    caveat = as_if_independent(clusters)
    known = "What a calibrated model shows is simulated row by row."
    return Calibration(
        n=scores.n,
        null_caveat=f"{known} {caveat}" if caveat else None,
        brier=as_in_results(result.metrics["brier"]),
        loss=as_in_results(result.metrics["loss"]),
        ece=as_in_results(result.metrics["ece"]),
        ece_null=_null(scores.null),
        bins=reliability(scores.answers),
    )


def _null(null: Null) -> NullEce:
    return NullEce(null.value, null.high, null.p, NULL_METHOD)


def _temperature(
    e: Evaluation, model: str, scores: ProbabilityScores, clusters: Clusters | None
) -> FittedTemperature | str:
    """The temperature of validation, frozen, on this split; else why there is none."""
    if model not in e.validation:
        return "there are no validation rows to fit it on"
    known = read_classification(e.validation[model], e.labels)
    if known.probabilities is None:
        return "the validation rows have no probabilities"
    fitted = fit_temperature(known.truth, known.probabilities)
    if fitted is None:
        return "the loss on validation is not finite at any temperature"
    if fitted.at_limit:
        return (
            f"the fit on {known.n:,} validation rows ran into its limit: every answer there is "
            "right, or confidence says nothing"
        )
    return _applied(scores, fitted, known.n, clusters)


def _applied(
    scores: ProbabilityScores, fitted: Temperature, known: int, clusters: Clusters | None
) -> FittedTemperature:
    probabilities = at_temperature(scores.probabilities, fitted.value)
    after = dataclasses.replace(scores, probabilities=probabilities)
    return FittedTemperature(
        fitted.value,
        "validation",
        fitted.rows,
        _how_fitted(fitted, known),
        ece=BeforeAfter(scores.answers.ece, after.answers.ece),
        ece_null=_null(null_ece(after.answers)),
        loss=BeforeAfter(float(scores.nll.mean()), float(after.nll.mean())),
        loss_change=_loss_change(scores, after, clusters),
    )


def _how_fitted(fitted: Temperature, known: int) -> str:
    drawn = f"{fitted.rows:,} of {known:,} rows drawn with seed 0 ({FITTED_CELLS:,} cells)"
    which = drawn if fitted.rows < known else f"all {known:,} rows"
    return f"least mean negative log-likelihood on validation, {which}"


def _loss_change(
    before: ProbabilityScores, after: ProbabilityScores, clusters: Clusters | None
) -> Change:
    """Paired: after less before, row by row."""
    with np.errstate(invalid="ignore"):  # infinite before and after: the difference is NaN
        change = after.nll - before.nll
    rows = together(MeanOfRows("change", change), clusters)
    drawn, by_rows = bootstrap_rows([rows], RESAMPLING)
    p, p_how = sign_flip_p(change, clusters, RESAMPLING.seed, RESAMPLING.draws)
    method = RESAMPLING.method(paired=True, limit=not by_rows)
    (low, high), how = interval_of(drawn[0]["change"], rows.n, method)
    return Change(float(change.mean()), low, high, p, f"{p_how}; {how}")


FloatArray = NDArray[np.float64]

FITTED_CELLS = 2_000_000  # rows × labels from which a temperature is fitted; above, rows are drawn
LIMITS = (-4.0, 4.0)  # of log T
_ROWS_AT_ONCE = 65_536


@dataclass(frozen=True)
class Temperature:
    value: float
    rows: int  # from which it was fitted
    at_limit: bool  # the loss falls on beyond the limits: every row is right, or none is


def fit_temperature(truth: NDArray[Any], probabilities: FloatArray) -> Temperature | None:
    """The T with the least mean negative log-likelihood; truth int [n], probabilities [n, C].

    None where a true label has probability 0 or one is not a number: no T gives a finite loss.
    """
    n, n_labels = probabilities.shape
    most = max(1, FITTED_CELLS // n_labels)
    if n > most:
        chosen = np.sort(np.random.default_rng(0).choice(n, most, replace=False))
        truth, probabilities = truth[chosen], probabilities[chosen]
    margins = list(_margins(truth, probabilities))
    if not all(np.isfinite(own).all() for own, _ in margins):
        return None
    found = minimize_scalar(
        lambda t: _loss(margins, float(np.exp(-t))), bounds=LIMITS, method="bounded"
    )
    log_t = float(found.x)
    at_limit = min(log_t - LIMITS[0], LIMITS[1] - log_t) < 0.01
    return Temperature(float(np.exp(log_t)), len(truth), at_limit)


def _margins(
    truth: NDArray[Any], probabilities: FloatArray
) -> Iterator[tuple[FloatArray, FloatArray]]:
    """By blocks of rows: log p of the true label, and of every label less that of the true one."""
    for start in range(0, len(truth), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.log(probabilities[rows])
            own = logs[np.arange(len(logs)), truth[rows]]
            logs -= own[:, None]
        yield own, logs


def _loss(margins: list[tuple[FloatArray, FloatArray]], inverse: float) -> float:
    """Mean of log Σ exp((log p - log p of the true label) ÷ T)."""
    with np.errstate(over="ignore"):
        total = sum(float(_log_sum_exp(away * inverse).sum()) for _, away in margins)
    return total / sum(len(own) for own, _ in margins)


def _log_sum_exp(x: FloatArray) -> FloatArray:
    if x.shape[1] == 2:
        return np.asarray(np.logaddexp(x[:, 0], x[:, 1]))
    top = x.max(axis=1, keepdims=True)
    return np.asarray(top[:, 0] + np.log(np.exp(x - top).sum(axis=1)))


def at_temperature(probabilities: FloatArray, temperature: float) -> FloatArray:
    """softmax(log p ÷ T) of probabilities [n, C], in a new array."""
    out = np.empty_like(probabilities)
    for start in range(0, len(out), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        with np.errstate(divide="ignore"):
            scaled = np.log(probabilities[rows]) / temperature
        scaled -= scaled.max(axis=1, keepdims=True)
        np.exp(scaled, out=scaled)
        out[rows] = scaled / scaled.sum(axis=1, keepdims=True)
    return out


@dataclass(frozen=True)
class MeanOfRows:
    """Values of rows [n] whose mean is wanted; a `bootstrap.RowScores`."""

    name: str
    values: FloatArray

    @property
    def n(self) -> int:
        return len(self.values)

    def features(self, rows: slice) -> FloatArray:
        return self.values[rows, None]

    def metrics_of_totals(self, totals: FloatArray) -> Draws:
        return {self.name: totals[..., 0] / self.n}

    def reweighted(self, weights: FloatArray) -> Draws:
        return {}
