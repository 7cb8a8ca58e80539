"""Can the probabilities be believed? Reliability, ECE with its null value, temperature (B1, B2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ..metrics.bootstrap import Resampling, bootstrap_rows, interval_of
from ..metrics.calibration import NULL_DRAWS, null_ece, reliability
from ..metrics.clusters import Clusters, as_if_independent, sign_flip_p, together
from ..metrics.probabilities import ProbabilityScores
from ..metrics.results import ModelResult
from ..metrics.rows import ClassificationRows, positive_label, read_classification
from .evaluation import Analysis, Evaluation, as_in_results
from .temperature import FITTED_CELLS, MeanOfRows, Temperature, at_temperature, fit_temperature

RESAMPLING = Resampling()  # of the change of the loss: all else is as in the results
NULL_METHOD = (
    f"mean of {NULL_DRAWS:,} simulated samples in which each answer is right with exactly its "
    "stated probability, seed 0; p is the share of them with an ECE at least as high"
)


def calibration(e: Evaluation) -> Iterator[Analysis]:
    """One result for each classifier with probabilities on a split."""
    if not e.config.task_type.has_labels:
        return
    for model, frame in e.frames.items():
        rows = read_classification(frame, e.labels)
        if rows.probabilities is not None:
            yield Analysis("calibration", _result(e, model, rows), model)


def _result(e: Evaluation, model: str, rows: ClassificationRows) -> dict[str, Any]:
    scores, clusters = _scores(e, rows), rows.clusters
    if not np.isfinite(scores.probabilities).all():
        return {"n": rows.n, "why_not": "a probability is not a number"}
    found = _measures(e.result(model), scores, clusters) | {"bins": reliability(scores.answers)}
    if e.split == "validation":  # a temperature is fitted here, so nothing is shown as its merit
        return found
    return found | _temperature(e, model, scores, clusters)


def _scores(e: Evaluation, rows: ClassificationRows) -> ProbabilityScores:
    assert rows.probabilities is not None
    positive = positive_label(e.labels, e.positive, rows.truth)
    code = None if positive is None else list(e.labels).index(positive)
    return ProbabilityScores(rows.truth, rows.probabilities, code)


def _measures(
    result: ModelResult, scores: ProbabilityScores, clusters: Clusters | None
) -> dict[str, Any]:
    """ECE with its null value, Brier and loss, each with its interval as in the results."""
    found: dict[str, Any] = {"n": scores.n}
    if told := as_if_independent(clusters):
        found["null_caveat"] = f"What a calibrated model shows is simulated row by row. {told}"
    for name in ("brier", "loss", "ece"):
        found[name] = as_in_results(result.metrics[name])
    null = scores.null
    found["ece_null"] = {
        "value": null.value,
        "high": null.high,
        "p": null.p,
        "method": NULL_METHOD,
    }
    return found


def _temperature(
    e: Evaluation, model: str, scores: ProbabilityScores, clusters: Clusters | None
) -> dict[str, Any]:
    """The temperature of validation, frozen, on this split."""
    if model not in e.validation:
        return {"no_temperature": "there are no validation rows to fit it on"}
    known = read_classification(e.validation[model], e.labels)
    if known.probabilities is None:
        return {"no_temperature": "the validation rows have no probabilities"}
    fitted = fit_temperature(known.truth, known.probabilities)
    if fitted is None:
        return {"no_temperature": "the loss on validation is not finite at any temperature"}
    if fitted.at_limit:
        return {
            "no_temperature": f"the fit on {known.n:,} validation rows ran into its limit: every "
            "answer there is right, or confidence says nothing"
        }
    return {"temperature": _applied(scores, fitted, known.n, clusters)}


def _applied(
    scores: ProbabilityScores, fitted: Temperature, known: int, clusters: Clusters | None
) -> dict[str, Any]:
    after = replace(scores, probabilities=at_temperature(scores.probabilities, fitted.value))
    null = null_ece(after.answers)
    return {
        "value": fitted.value,
        "fitted_on": "validation",
        "rows": fitted.rows,
        "method": _how_fitted(fitted, known),
        "ece": {"before": scores.answers.ece, "after": after.answers.ece},
        "ece_null": {"value": null.value, "high": null.high, "p": null.p, "method": NULL_METHOD},
        "loss": {"before": float(scores.nll.mean()), "after": float(after.nll.mean())},
        "loss_change": _loss_change(scores, after, clusters),
    }


def _how_fitted(fitted: Temperature, known: int) -> str:
    drawn = f"{fitted.rows:,} of {known:,} rows drawn with seed 0 ({FITTED_CELLS:,} cells)"
    which = drawn if fitted.rows < known else f"all {known:,} rows"
    return f"least mean negative log-likelihood on validation, {which}"


def _loss_change(
    before: ProbabilityScores, after: ProbabilityScores, clusters: Clusters | None
) -> dict[str, Any]:
    """Paired: after less before, row by row."""
    with np.errstate(invalid="ignore"):  # infinite before and after: the difference is NaN
        change = after.nll - before.nll
    rows = together(MeanOfRows("change", change), clusters)
    drawn, by_rows = bootstrap_rows([rows], RESAMPLING)
    p, p_how = sign_flip_p(change, clusters, RESAMPLING.seed, RESAMPLING.draws)
    method = RESAMPLING.method(paired=True, limit=not by_rows)
    (low, high), how = interval_of(drawn[0]["change"], rows.n, method)
    return {
        "difference": float(change.mean()),
        "low": low,
        "high": high,
        "p": p,
        "method": f"{p_how}; {how}",
    }
