"""Can the probabilities be believed? Reliability, ECE with its null value, temperature (B1, B2)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
from msgspec.structs import replace

from ..metrics.analyses import BeforeAfter, Calibration, Change, FittedTemperature, NullEce
from ..metrics.bootstrap import Resampling, bootstrap_rows, interval_of
from ..metrics.calibration import NULL_DRAWS, Null, null_ece, reliability
from ..metrics.clusters import Clusters, as_if_independent, sign_flip_p, together
from ..metrics.probabilities import ProbabilityScores
from ..metrics.results import ModelResult
from ..metrics.rows import ClassificationRows, positive_label, read_classification
from ..run.events import AnalysisComputed
from .evaluation import Evaluation, as_in_results
from .temperature import FITTED_CELLS, MeanOfRows, Temperature, at_temperature, fit_temperature

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
