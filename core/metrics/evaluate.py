"""From stored predictions to results: what a run ends with, and what `verify` computes again."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from msgspec.structs import replace
from numpy.typing import NDArray

from .bootstrap import (
    DRAWS,
    FEW_ROWS,
    Moments,
    Resampling,
    RowScores,
    Statistic,
    beyond_of,
    bootstrap_cells,
    bootstrap_rows,
    interval_of,
    moments_of,
    rows_are_drawn,
    shown_interval,
    student_half,
    totals_of,
    values_of,
    widened,
)
from .calibration import ECE_METHOD, ece_interval, how_ece
from .clusters import WILSON, Clustered, Clusters, cluster_words, design_effect
from .counts import (
    Cells,
    Draws,
    FloatArray,
    IntArray,
    MarginScores,
    classification_metrics,
    confusion,
    joint_cells,
    majority_label,
    per_class,
    undefined_labels,
)
from .metric import METRICS, RowShare, ratios
from .probabilities import ProbabilityScores, RankedScores
from .references import read_references
from .results import Confusion, Estimate, ModelResult
from .rows import (
    AddedRows,
    ClassificationRows,
    positive_label,
    read_classification,
    read_pairs,
    read_text,
)
from .smoothing import (
    Ends,
    are_few,
    bounds,
    smoothed_counts,
    smoothed_margins,
    smoothed_method,
    smoothed_scores,
)
from .statistics import wilson
from .sums import Ratio

Rows = NDArray[np.bool_]
AT_LEAST_T = "at least Student's t"
LOG_T = "at least Student's t of the logarithm"
NOTHING = "no interval: nothing to divide by"


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
    intervals, the rest the percentile bootstrap over rows; where next to no row is wrong (or
    right), the smoothed one. Rows of one `cluster` are resampled together. Raises DataError.
    """
    rows = read_classification(frame, labels)
    counts, none = _confusion_of(rows, len(labels))
    positive = positive_label(labels, positive, rows.truth)
    code = None if positive is None else list(labels).index(positive)
    resampling = Resampling(seed, draws)
    estimates = _count_estimates(rows, labels, code, resampling)
    if rows.probabilities is not None:
        scores = ProbabilityScores(rows.truth, rows.probabilities, code)
        few = are_few(rows.truth, [rows.predicted], len(labels), rows.clusters)
        estimates |= _probability_estimates(scores, rows.clusters, few, resampling)
    return ModelResult(
        n=rows.n,
        clusters=None if rows.clusters is None else rows.clusters.count,
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
    if not rows.n:
        return ModelResult(n=0, metrics={}, unscored=unscored)
    values, resampling = rows.values(), Resampling(seed, draws)
    drawn = drawn_rows(rows, rows.clusters, resampling)
    estimates = drawn.estimates(values, ratios("tokens", rows.totals(totals_of(rows))))
    estimates |= _of_few_rows(estimates, drawn)
    answers = read_references(frame)
    if answers is not None:
        answered = f", {answers.n:,} answered rows"
        found = added_estimates(answers, resampling)
        estimates |= {n: replace(e, method=e.method + answered) for n, e in found.items()}
    return ModelResult(
        n=rows.n,
        clusters=None if rows.clusters is None else rows.clusters.count,
        loss=values["loss"],
        metrics=estimates,
        unscored=unscored,
        no_prediction=rows.row_id[~np.isfinite(rows.sums[:, 0])].tolist(),
        answered=answers.n if answers else None,
        signatures=answers.signatures if answers else None,
    )


def _of_few_rows(estimates: Mapping[str, Estimate], drawn: Drawn) -> dict[str, Estimate]:
    """Percentiles of few rows end at the largest row: the interval is at least that of Student's t,
    of losses on the logarithm, as they are skewed."""
    found: dict[str, Estimate] = {}
    if drawn.n >= FEW_ROWS:
        return found
    for name, e in estimates.items():
        rule = METRICS[name].few_rows
        if rule is None or not math.isfinite(e.low) or (rule.of_logarithm and e.value <= 0):
            continue
        half = student_half(drawn.draws[name], drawn.n)
        if rule.of_logarithm:
            factor = math.exp(half / e.value)
            low, high, how = e.value / factor, e.value * factor, LOG_T
        else:
            low, high, how = e.value - half, e.value + half, AT_LEAST_T
        least, most = bounds(METRICS[name].unit, paired=False)
        low, high = max(least, min(e.low, low)), min(most, max(e.high, high))
        found[name] = replace(e, low=low, high=high, method=f"{e.method}, {how}")
    for name, e in estimates.items():
        function = METRICS[name].function
        if function is not None and (other := found.get(function.of)) is not None:
            low, high = sorted(map(function.value, (other.low, other.high)))
            found[name] = replace(e, low=low, high=high, method=other.method)
    return found


def evaluate_preferences(frame: pl.DataFrame, seed: int = 0, draws: int = DRAWS) -> ModelResult:
    """Metrics of pairs, and those of the chosen texts' tokens, from rows as for `evaluate_text`
    with rejected_nll and rejected_tokens. Raises DataError.
    """
    result, pairs = evaluate_text(frame, seed, draws), read_pairs(frame)
    estimates = added_estimates(pairs, Resampling(seed, draws)) if pairs.n else {}
    lost = frame["row_id"].filter(~frame["row_id"].is_in(pairs.row_id))
    broken = frame.filter(~(pl.col("nll").is_finite() & pl.col("rejected_nll").is_finite()))
    return replace(
        result,
        metrics=estimates | result.metrics,
        unscored=sorted(lost),
        no_prediction=sorted(broken["row_id"]),
    )


def added_estimates(rows: AddedRows, resampling: Resampling) -> dict[str, Estimate]:
    values, clusters = values_of(rows), rows.clusters
    drawn = drawn_rows(rows, clusters, resampling)
    divided = ratios(rows.source, rows.totals(totals_of(rows)))
    found = drawn.estimates(values, divided)
    found |= _of_few_rows(found, drawn)
    for name in [name for name in found if METRICS[name].right_or_wrong]:
        found[name] = wilson_estimate(values[name], rows.columns[name], clusters)
    return found


@dataclass(frozen=True)
class Drawn:
    """What the intervals of a model's metrics are made from."""

    resampling: Resampling
    clusters: Clusters | None
    n: int  # rows, or clusters
    draws: Draws
    how: Callable[[str], str]  # the draws of a metric were made
    ends: Ends | None = None  # where draws of the rows degenerate
    by_row: Draws | None = None  # draws of single rows, where `draws` are of clusters

    def estimate(self, name: str, value: float) -> Estimate:
        effect = None
        if self.by_row is not None:
            effect = design_effect(self.draws[name], self.by_row[name])
        smooth = self.ends is not None and name in self.ends.worst and math.isfinite(value)
        if self.ends is not None and smooth and self.n > 1:
            ends = self.ends.interval(name, value)
            (low, high), method = shown_interval(ends, smoothed_method(self.resampling))
        else:
            (low, high), method = interval_of(self.draws[name], self.n, self.how(name))
        method += cluster_words(self.clusters, effect)
        return Estimate(value, low, high, method, design_effect=effect)

    def estimates(
        self, values: Mapping[str, float], ratios: Mapping[str, Ratio]
    ) -> dict[str, Estimate]:
        """Of each value, with what was divided by what where it is a quotient."""
        found = {name: self.estimate(name, value) for name, value in values.items()}
        return {
            name: replace(e, numerator=ratios[name].numerator, denominator=ratios[name].denominator)
            if name in ratios
            else e
            for name, e in found.items()
        }


def drawn_rows(
    rows: RowScores,
    clusters: Clusters | None,
    resampling: Resampling,
    ends: Ends | None = None,
    moments: Moments | None = None,
) -> Drawn:
    model = rows if clusters is None else Clustered(rows, clusters)
    draws, by_rows = bootstrap_rows([model], resampling, moments)

    def how(name: str) -> str:
        expanded = isinstance(rows, RankedScores) and rows.is_expanded(name, by_rows)
        return resampling.method(limit=not by_rows, first_order=expanded)

    by_row = None if clusters is None else bootstrap_rows([rows], resampling)[0][0]
    return Drawn(resampling, clusters, model.n, draws[0], how, ends, by_row)


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
    positive = None if code is None else labels[code]
    few = are_few(rows.truth, [rows.predicted], len(labels), rows.clusters)
    drawn = _drawn_counts(rows, cells, (len(labels), code), few, resampling)
    answers = MarginScores(rows.truth, rows.predicted, len(labels), code)
    found = {}
    for name, value in classification_metrics(counts, labels, positive, none).items():
        share = METRICS[name].share
        of_share = _share_estimate(share, value, answers, rows.clusters, few) if share else None
        found[name] = of_share or drawn.estimate(name, value)
    return found


def _share_estimate(
    share: RowShare, value: float, answers: MarginScores, clusters: Clusters | None, few: bool
) -> Estimate | None:
    """Of a metric that is a share of right rows, or a function of one; None: not in this case."""
    among = slice(None) if share.among is None else share.among(answers)
    if among is None or (share.then and (clusters is not None or not few)):
        return None
    right = (answers.truth == answers.predicted)[among]
    if share.then is None:
        of_those = (
            clusters if clusters is None or isinstance(among, slice) else clusters.where(among)
        )
        return wilson_estimate(value, right, of_those)
    low, high = map(share.then, wilson(float(right.sum()), float(len(right))))
    return Estimate(value, low, high, share.words)


def _drawn_counts(
    rows: ClassificationRows,
    cells: Cells,
    task: tuple[int, int | None],
    few: bool,
    resampling: Resampling,
) -> Drawn:
    def of_cells(cells: Cells) -> Statistic:
        sums = cells.sums(0)
        return lambda counts: sums.metrics(counts, task[1])

    plain = bootstrap_cells(cells.counts, of_cells(cells), resampling)
    if rows.clusters is None:
        ends = smoothed_counts(cells, of_cells, resampling) if few else None
        return Drawn(resampling, None, rows.n, plain, lambda _: resampling.method(), ends)
    scores = MarginScores(rows.truth, rows.predicted, *task)
    ends = smoothed_margins([scores], rows.clusters, resampling) if few else None
    return dataclasses.replace(drawn_rows(scores, rows.clusters, resampling, ends), by_row=plain)


def _probability_estimates(
    scores: ProbabilityScores,
    clusters: Clusters | None,
    few: bool,
    resampling: Resampling,
) -> dict[str, Estimate]:
    by_rows = clusters is not None or rows_are_drawn([scores], resampling)
    moments = None if by_rows else moments_of([scores])  # one pass over the rows, totals included
    totals = totals_of(scores) if moments is None else moments.total
    values = {name: float(value) for name, value in scores.metrics_of_totals(totals).items()}
    divided = ratios("probabilities", {**scores.totals(totals), **scores.area_ratios})
    ends = smoothed_scores([scores], clusters, resampling) if few and scores.rankable else None
    drawn = drawn_rows(scores, clusters, resampling, ends, moments)
    found = drawn.estimates(values, divided)
    return found | {"ece": _ece_estimate(found["ece"], drawn, scores)}


def _ece_estimate(found: Estimate, drawn: Drawn, scores: ProbabilityScores) -> Estimate:
    """Resampling adds to the bias of an ECE: its interval is not that of percentiles."""
    draws = drawn.draws["ece"]
    if math.isnan(found.low) or np.isnan(draws).any():  # there is none, and the method says why
        return found
    null = scores.null
    if drawn.clusters is not None:  # gaps of dependent rows cancel less
        effect = math.sqrt(drawn.clusters.design_effect(scores.answers.right))
        null = null._replace(value=null.value * effect, high=null.high * effect)
    low, high = ece_interval(found.value, draws, null, beyond_of(drawn.n))
    if drawn.ends is not None:
        high = max(high, drawn.ends.interval("ece", found.value).high)
    method = how_ece(ECE_METHOD, drawn.resampling) + widened(drawn.n)
    method += cluster_words(drawn.clusters, found.design_effect)
    if drawn.ends is not None:
        method += ", the upper end that of the smoothed bootstrap where it is higher"
    return replace(found, low=low, high=high, method=method)


def wilson_estimate(value: float, right: FloatArray | Rows, clusters: Clusters | None) -> Estimate:
    """Of clusters: with so many rows as would say as much if they were independent."""
    count, n = float(right.sum()), float(len(right))
    effect = None if clusters is None or not n else clusters.design_effect(right)
    low, high = wilson(count / (effect or 1), n / (effect or 1))
    method = (WILSON if n else NOTHING) + cluster_words(clusters, effect)
    return Estimate(value, low, high, method, count, n, effect)
