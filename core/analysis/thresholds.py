"""The threshold of a binary task: chosen on validation, frozen, then applied (B2).

Where an objective asks for a threshold, each model has its own, and its predictions are made at
it before anything is measured: one operating point for every figure of a run (V13).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import msgspec
import numpy as np
import polars as pl
from msgspec.structs import replace
from numpy.typing import NDArray

from ..config.config import ObjectiveConfig
from ..judgement.selection import CONSTANT, REFERENCES
from ..metrics.analyses import Change, OperatingPoint, Operation, Rival, ThresholdAim, Thresholds
from ..metrics.bootstrap import Resampling, interval_of
from ..metrics.clusters import WILSON, Clusters, cluster_words, unit_of
from ..metrics.counts import FloatArray, IntArray
from ..metrics.exchange import Null
from ..metrics.results import Confusion, Estimate
from ..metrics.rows import positive_label, read_classification
from ..metrics.statistics import wilson
from ..metrics.thresholds import Aim, Sweep, choose, exchange_calls, figures, sweep, thin, trivial
from ..run.events import AnalysisComputed
from .predictions import Evaluation, Frames, as_in_results, reference_of

RESAMPLING = Resampling()
AT_HALF = "predicted_at_half"  # what the model answers by itself, beside `predicted`
Mask = NDArray[np.bool_]


def at_operating_point(
    frames: Frames,
    validation: Frames,
    labels: Sequence[str],
    positive: str | None,
    objective: ObjectiveConfig,
) -> Frames:
    """The frames with `predicted` at each model's own threshold, and the columns added by it:
    `threshold`, and `predicted_at_half`. Unchanged where no objective asks for a threshold, or
    where validation gives the tuned model none.
    """
    aim = aim_of(objective)
    if aim.kind == "f1" or positive is None or len(labels) != 2:
        return frames
    chosen = {model: _threshold(validation.get(model), labels, positive, aim) for model in frames}
    if chosen.get("tuned") is None:
        return frames
    return {
        model: frame if (t := chosen[model]) is None else _called(frame, labels, positive, t)
        for model, frame in frames.items()
    }


def _threshold(
    known: pl.DataFrame | None, labels: Sequence[str], positive: str, aim: Aim
) -> float | None:
    if known is None or "probabilities" not in known.columns:
        return None
    is_positive, scores = _scores(known, labels, positive)
    if not np.isfinite(scores).all():
        return None
    s = sweep(is_positive, scores)
    index = choose(s, aim)
    return None if index is None else float(s.thresholds[index])


def _called(
    frame: pl.DataFrame, labels: Sequence[str], positive: str, threshold: float
) -> pl.DataFrame:
    """A row without a prediction keeps none."""
    [other] = [label for label in labels if label != positive]
    score = pl.col("probabilities").list.get(list(labels).index(positive))
    called = pl.when(score >= threshold).then(pl.lit(positive)).otherwise(pl.lit(other))
    unknown = pl.col("predicted").is_null()
    return frame.with_columns(
        pl.when(unknown).then(pl.lit(None, pl.String)).otherwise(called).alias("predicted"),
        pl.col("predicted").alias(AT_HALF),
        threshold=pl.lit(threshold),
    )


def own_answers(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with `predicted` as the model itself answers, without a chosen threshold."""
    if AT_HALF not in frame.columns:
        return frame
    own = frame.with_columns(pl.col(AT_HALF).alias("predicted"))
    return own.drop(AT_HALF, "threshold", "thresholds", strict=False)


def thresholds(e: Evaluation) -> Iterator[AnalysisComputed]:
    """One result for each classifier with probabilities; none where there are not two labels."""
    if len(e.labels) != 2 or not e.config.task_type.has_labels:
        return
    for model, frame in e.frames.items():
        if "probabilities" not in frame.columns:
            continue
        known = frame if e.split == "validation" else e.validation.get(model)
        yield e.found(_result(e, model, frame, known), model)


def aim_of(objective: ObjectiveConfig) -> Aim:
    """What the threshold is to be chosen for; by default F1, which is shown and not used."""
    if cost := objective.cost:
        return Aim("cost", fp=cost.fp, fn=cost.fn)
    if objective.recall_at_least is not None:
        return Aim("recall_at_least", objective.recall_at_least)
    if objective.precision_at_least is not None:
        return Aim("precision_at_least", objective.precision_at_least)
    return Aim()


def _result(
    e: Evaluation, model: str, frame: pl.DataFrame, known: pl.DataFrame | None
) -> Thresholds:
    aim = aim_of(e.config.objective)
    positive = _positive(e, frame)
    asked = ThresholdAim(**asdict(aim))
    found = Thresholds(positive=positive, aim=asked, in_use=False)
    if known is None or "probabilities" not in known.columns:
        return replace(found, why_not="there are no validation rows to choose a threshold on")
    is_positive, scores = _scores(known, e.labels, positive)
    if not np.isfinite(scores).all():
        return replace(found, why_not="a probability on validation is not a number")
    s = sweep(is_positive, scores)
    found = replace(found, fitted_rows=len(scores), fitted_positives=s.positives)
    index = choose(s, aim)
    if e.split == "validation":
        found = replace(found, curve=_curve(s, aim, index))
    if index is None:
        return replace(found, why_not=_why_not(s, aim, positive))
    in_use, calls = aim.kind != "f1", trivial(s, index)
    chosen = OperatingPoint(**_point(s, aim, index))
    found = replace(found, in_use=in_use, chosen=chosen, calls=calls or None)
    if e.split == "validation":
        return found
    found = _applied(e, model, found, aim)
    if found.in_use and model == "tuned":
        found = replace(found, against=list(_rivals(e, positive, aim, chosen.threshold)))
    return found


def _positive(e: Evaluation, frame: pl.DataFrame) -> str:
    if e.positive is not None:
        return e.positive
    truth = read_classification(frame.drop("probabilities"), e.labels).truth
    positive = positive_label(e.labels, e.positive, truth)
    assert positive is not None  # of two labels one is
    return positive


def _scores(frame: pl.DataFrame, labels: Sequence[str], positive: str) -> tuple[Mask, FloatArray]:
    """Which rows are positive, and their probability of it, each [n]."""
    rows = read_classification(frame, labels)
    code = list(labels).index(positive)
    assert rows.probabilities is not None
    return rows.truth == code, np.ascontiguousarray(rows.probabilities[:, code])


def _answers(frame: pl.DataFrame, labels: Sequence[str], positive: str) -> Mask:
    """Which rows are predicted positive, [n]."""
    rows = read_classification(frame, labels)
    return np.asarray(rows.predicted == list(labels).index(positive))


def _why_not(s: Sweep, aim: Aim, positive: str) -> str:
    rows = s.positives + s.others
    if not s.positives:
        return f'none of the {rows:,} validation rows is "{positive}"'
    if not s.others:
        return f'each of the {rows:,} validation rows is "{positive}"'
    best = float(np.nanmax(s.precision))
    return (
        f"no threshold reaches a precision of {100 * (aim.target or 0):g} % on validation: "
        f"the highest that {rows:,} rows allow is {100 * best:.1f} %"
    )


def _point(s: Sweep, aim: Aim, index: int) -> dict[str, float]:
    columns = _columns(s, aim)
    return {name: float(values[index]) for name, values in columns.items()}


def _columns(s: Sweep, aim: Aim) -> dict[str, FloatArray]:
    columns = {"threshold": s.thresholds, "precision": s.precision, "recall": s.recall, "f1": s.f1}
    return columns | ({"cost": s.cost(aim)} if aim.priced else {})


def _curve(s: Sweep, aim: Aim, index: int | None) -> dict[str, list[float]]:
    """From the highest threshold down, thinned; the first point calls no row positive."""
    kept = thin(s, index)
    return {name: values[kept].tolist() for name, values in _columns(s, aim).items()}


def _applied(e: Evaluation, model: str, found: Thresholds, aim: Aim) -> Thresholds:
    """The frozen threshold on these rows, beside the predictions as they are, and the change."""
    assert found.chosen is not None
    frame, positive, threshold = e.frames[model], found.positive, found.chosen.threshold
    is_positive, scores = _scores(frame, e.labels, positive)
    if not np.isfinite(scores).all():
        why_not = f"a probability on {e.split} is not a number"
        return replace(found, in_use=False, why_not=why_not)
    predicted, after = _answers(own_answers(frame), e.labels, positive), scores >= threshold
    clusters = read_classification(frame, e.labels).clusters
    counts, values, draws = figures(is_positive, predicted, after, aim, RESAMPLING, clusters)
    n, labels = len(scores), _other_first(e, positive)
    known = e.result(model)
    judged = known.metrics if known.positive == positive else {}
    shown = (judged, {}) if AT_HALF not in frame.columns else ({}, judged)
    ways = [
        Operation(
            n,
            Confusion(labels, counts[way].reshape(2, 2).tolist()),
            {
                name: as_in_results(shown[way][name])
                if name in shown[way]
                else _estimate(name, values[name][way, 0], draws[name][way], counts[way], clusters)
                for name in values
                if not np.isnan(values[name][way, 0])
            },
        )
        for way in (0, 1)
    ]
    null = exchange_calls(is_positive, predicted, after, aim, RESAMPLING, clusters)
    changes = {
        name: _change(name, pair[:, 0], draws[name][1] - draws[name][0], (n, clusters), null)
        for name, pair in values.items()
        if not np.isnan(pair).any()
    }
    false = 1000 * float(counts[1][1]) / n
    chosen = replace(ways[1], threshold=threshold, false_positives_per_1000=false)
    return replace(found, at_half=ways[0], at_threshold=chosen, changes=changes)


def _rivals(e: Evaluation, positive: str, aim: Aim, threshold: float) -> Iterator[Rival]:
    """The chosen rule against the constant answers and each reference at its own threshold (V6).

    By cost where it has a price; else by what a threshold of that aim is to have the most of.
    """
    is_positive, scores = _scores(e.frames["tuned"], e.labels, positive)
    clusters = read_classification(e.frames["tuned"], e.labels).clusters
    after = scores >= threshold
    constants = {f'calling every row "{positive}"': np.ones_like(after)}
    metric = "cost" if aim.priced else "precision"
    if aim.priced:
        constants[f'calling no row "{positive}"'] = np.zeros_like(after)
    for rule, before in constants.items():
        yield Rival(rule=rule, **_difference((is_positive, clusters), before, after, aim, metric))
    wanted = {"recall_at_least": "precision", "precision_at_least": "recall"}.get(aim.kind, "cost")
    first = reference_of(e.frames)
    known = [m for m in REFERENCES if m in e.frames and m not in CONSTANT]
    for reference in sorted(known, key=lambda m: m != first):
        frame = e.frames[reference]
        before = _answers(frame, e.labels, positive)
        yield Rival(
            rule=reference,
            model=reference,
            threshold=frame["threshold"][0] if "threshold" in frame.columns else None,
            also=reference != first,  # asked only whether it is better than the tuned model
            **_difference((is_positive, clusters), before, after, aim, wanted),
        )


def _difference(
    rows: tuple[Mask, Clusters | None], before: Mask, after: Mask, aim: Aim, metric: str
) -> dict[str, Any]:
    """Paired: the chosen rule less the other one, on the same rows."""
    is_positive, clusters = rows
    _, values, draws = figures(is_positive, before, after, aim, RESAMPLING, clusters)
    pair, moved = values[metric][:, 0], draws[metric][1] - draws[metric][0]
    null = exchange_calls(is_positive, before, after, aim, RESAMPLING, clusters)
    change = _change(metric, pair, moved, (len(after), clusters), null)
    known = {"metric": metric, "value": float(pair[1]), "other": float(pair[0])}
    return known | msgspec.structs.asdict(change)


def _other_first(e: Evaluation, positive: str) -> list[str]:
    """Labels in the order of the counts: the other one, then the positive one."""
    return [label for label in e.labels if label != positive] + [positive]


def _estimate(
    name: str, value: float, draws: FloatArray, counts: IntArray, clusters: Clusters | None
) -> Estimate:
    """As in the results: Wilson for shares of independent rows, else the bootstrap."""
    _, false, missed, found = counts.tolist()
    shares = {"precision": found + false, "recall": found + missed}
    if name in shares and clusters is None:
        (low, high), method = wilson(found, shares[name]), WILSON
    else:
        n = int(counts.sum()) if clusters is None else clusters.count
        method = RESAMPLING.method() + cluster_words(clusters, None)
        (low, high), method = interval_of(draws, n, method)
    return Estimate(float(value), low, high, method)


def _change(
    name: str,
    values: FloatArray,
    draws: FloatArray,
    rows: tuple[int, Clusters | None],
    null: Null,
) -> Change:
    before, after = values.tolist()
    n, clusters = rows
    method = RESAMPLING.method(paired=True) + cluster_words(clusters, None)
    (low, high), method = interval_of(draws, n if clusters is None else clusters.count, method)
    p = null.p(name, after - before, max(abs(before), abs(after)))
    how = f"{null.method(RESAMPLING, unit_of(clusters))}; {method}"
    return Change(after - before, low, high, p, how)
