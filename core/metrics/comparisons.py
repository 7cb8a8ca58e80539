"""One model against another on the same rows: paired differences, their intervals and p."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np
import polars as pl

from .bootstrap import (
    FEW_ROWS,
    ROWS_DRAWN,
    Resampling,
    RowScores,
    Statistic,
    beyond_of,
    bootstrap_cells,
    bootstrap_rows,
    interval_of,
    moments_of,
    shown_interval,
    student_half,
    values_of,
    widened,
)
from .calibration import DIFFERENCE_METHOD, ece_difference, how_ece
from .clusters import Clustered, Clusters, cluster_words, design_effect, unit_of
from .counts import Cells, Draws, FloatArray, MarginScores, joint_cells
from .exchange import Null, delong, exchange_cells, exchange_ranks, exchange_rows
from .metric import METRICS, repeats
from .probabilities import RANKINGS, ProbabilityScores, RankedScores
from .references import read_references
from .results import Comparison
from .rows import (
    AddedRows,
    ClassificationRows,
    TextRows,
    are_same_rows,
    check_same_rows,
    positive_label,
    read_classification,
    read_pairs,
    read_text,
)
from .smoothing import (
    FEW,
    Ends,
    are_few,
    bounds,
    differences,
    smoothed_counts,
    smoothed_margins,
    smoothed_method,
    smoothed_scores,
)
from .statistics import Interval, holm, mcnemar, smallest_detectable_of, smallest_shown, tango

STUDENT = "Student's t"
TANGO = "Tango score 95 %"
RANKED = "ranks exchanged within each model"
DELONG = "normal limit (DeLong) of the permutation p"
DEFAULT = Resampling()


def adjust_secondary(found: Sequence[Comparison], primary: str) -> list[Comparison]:
    """The comparisons of two models on a split, all but the primary with their Holm p (S6).

    The primary metric was declared before the run and is tested alone; the others are one family.
    Metrics that are functions of one another (loss, perplexity, average log-likelihood) are one
    test; one that is the primary under another name has no p of its own.
    """
    there = {c.metric for c in found}
    declared = _tested_as(primary, there)
    family: dict[str, float] = {}
    tests = [_tested_as(c.metric, there) for c in found]
    for c, test in zip(found, tests, strict=True):
        if test != declared and (c.metric == test or test not in family):
            family[test] = c.p
    adjusted = holm(family)
    return [
        msgspec.structs.replace(c, p_holm=adjusted[test]) if test in adjusted else c
        for c, test in zip(found, tests, strict=True)
    ]


def _tested_as(metric: str, there: Container[str]) -> str:
    """With several labels to a row micro F1 is no accuracy, and is tested by itself."""
    if metric not in METRICS or (METRICS[metric].same_as and not repeats(metric, there)):
        return metric
    return METRICS[metric].tested_as


@dataclass(frozen=True)
class Difference:
    """A metric's paired difference, its interval, its p, and how both were made."""

    value: float
    interval: Interval
    how: str
    p: float
    p_how: str
    smallest: float  # NaN where so few rows show nothing
    changed: tuple[int, int] | None = None  # fixed, broke
    design_effect: float | None = None


Differences = dict[str, Difference]


def compare(
    split: str,
    from_model: str,
    frame_a: pl.DataFrame,
    to_model: str,
    frame_b: pl.DataFrame,
    labels: Sequence[str] | None = None,
    positive: str | None = None,
    metrics: Sequence[str] | None = None,
    resampling: Resampling = DEFAULT,
) -> list[Comparison]:
    """Compare two models' stored predictions of one split, a Comparison for each metric.

    Frames as for `evaluate_classification`, or, with `labels` None, for `evaluate_text`. Metrics:
    those named that both models have; by default all that are not equal to another by arithmetic.
    Every p is exact or of a permutation test: accuracy and exact match have McNemar's, the others
    exchange the models' answers. Rows of one cluster are resampled and exchanged together. Raises
    DataError when the rows or their truth do not agree.
    """
    names = (from_model, to_model)
    if labels is None:
        a, b = read_text(frame_a), read_text(frame_b)
        clusters = a.clusters
        found = _answer_differences(frame_a, frame_b, names, resampling)
        if not found or not np.array_equal(a.row_id, b.row_id):
            check_same_rows(a, b, names)
        if are_same_rows(a, b):  # another template scores other texts: only answers compare
            found = _text_differences(a, b, resampling) | found
    else:
        before, after = (read_classification(f, labels) for f in (frame_a, frame_b))
        check_same_rows(before, after, names)
        found = _classification_differences((before, after), labels, positive, resampling)
        clusters = before.clusters
    return comparisons_of(found, (split, from_model, to_model), metrics, clusters)


def comparisons_of(
    found: Differences,
    of: tuple[str, str, str],
    metrics: Sequence[str] | None,
    clusters: Clusters | None,
) -> list[Comparison]:
    """Of the metrics named, else of all that do not repeat another. `of`: split, from and to."""
    wanted = metrics if metrics is not None else [m for m in found if not repeats(m, found)]
    return [_comparison(name, of, found[name], clusters) for name in wanted if name in found]


def _comparison(
    metric: str, of: tuple[str, str, str], d: Difference, clusters: Clusters | None
) -> Comparison:
    split, from_model, to_model = of
    fixed, broke = d.changed or (None, None)
    return Comparison(
        split=split,
        metric=metric,
        from_model=from_model,
        to_model=to_model,
        difference=d.value,
        low=d.interval.low,
        high=d.interval.high,
        p=d.p,
        method=f"{d.p_how}; {d.how}",
        fixed=fixed,
        broke=broke,
        smallest_detectable=None if math.isnan(d.smallest) else d.smallest,
        clusters=None if clusters is None else clusters.count,
        design_effect=d.design_effect,
    )


@dataclass(frozen=True)
class _Evidence:
    """What the intervals and p of a family of differences are made from."""

    resampling: Resampling
    clusters: Clusters | None
    n: int  # rows, or clusters
    draws: Draws  # of differences
    how: Callable[[str], str]  # the draws of a metric were made
    null: Null
    ends: Ends | None = None  # where draws of the rows degenerate
    by_row: Draws | None = None  # draws of single rows, where `draws` are of clusters

    def differences(self, before: Mapping[str, float], after: Mapping[str, float]) -> Differences:
        names = [name for name in before if name in after and name in self.draws]
        return {name: self._difference(name, before[name], after[name]) for name in names}

    def _difference(self, name: str, before: float, after: float) -> Difference:
        with np.errstate(invalid="ignore"):
            value = float(np.subtract(after, before))
        interval, how = self._interval(name, value)
        effect = self._design_effect(name)
        return Difference(
            value,
            interval,
            how + cluster_words(self.clusters, effect),
            self.null.p(name, value, max(abs(before), abs(after))),
            self.null.method(self.resampling, unit_of(self.clusters), name),
            _within(name, smallest_detectable_of(self.null.standard_error(name, value))),
            design_effect=effect,
        )

    def _interval(self, name: str, value: float) -> tuple[Interval, str]:
        smooth = self.ends is not None and name in self.ends.worst and math.isfinite(value)
        if self.ends is not None and smooth and self.n > 1:
            return shown_interval(
                self.ends.interval(name, value), smoothed_method(self.resampling, paired=True)
            )
        found, how = interval_of(self.draws[name], self.n, self.how(name))
        if name == "ece" and not np.isnan(found.low):
            how = how_ece(DIFFERENCE_METHOD, self.resampling) + widened(self.n)
            found = ece_difference(value, self.draws[name], beyond_of(self.n))
        if self.n < FEW_ROWS and not np.isnan(found.low):  # percentiles end at the largest row
            half = student_half(self.draws[name], self.n)
            least, most = bounds(METRICS[name].unit, paired=True)
            low, high = min(found.low, value - half), max(found.high, value + half)
            found = Interval(max(least, low), min(most, high))
            how += f", at least {STUDENT}"
        return found, how

    def _design_effect(self, name: str) -> float | None:
        if self.by_row is None:
            return None
        return design_effect(self.draws[name], self.by_row[name])


def _within(metric: str, smallest: float) -> float:
    """NaN where the metric has no room for such a difference."""
    room = {"share": 1.0, "points": 100.0, "coefficient": 2.0}.get(METRICS[metric].unit, np.inf)
    return smallest if smallest <= room else float("nan")


def _classification_differences(
    pair: tuple[ClassificationRows, ClassificationRows],
    labels: Sequence[str],
    positive: str | None,
    resampling: Resampling,
) -> Differences:
    a, b = pair
    positive = positive_label(labels, positive, a.truth)
    code = None if positive is None else list(labels).index(positive)
    found = _count_differences(a, b, (len(labels), code), resampling)
    if a.probabilities is not None and b.probabilities is not None:
        before = ProbabilityScores(a.truth, a.probabilities, code)
        after = ProbabilityScores(b.truth, b.probabilities, code)
        ends = _ends_of_scores((a, b), (before, after), len(labels), resampling)
        found |= row_differences((before, after), a.clusters, resampling, ends)
        found = with_ranks(found, (before, after), a.clusters, resampling)
    return found


def _ends_of_scores(
    pair: tuple[ClassificationRows, ClassificationRows],
    scores: tuple[ProbabilityScores, ProbabilityScores],
    n_labels: int,
    r: Resampling,
) -> Ends | None:
    """Where few answers changed, a row that changes much may be to come; ECE has its own way."""
    few = are_few(pair[0].truth, [rows.predicted for rows in pair], n_labels, pair[0].clusters)
    if not few or not all(np.isfinite(s.probabilities).all() for s in scores):
        return None
    ends = smoothed_scores(scores, pair[0].clusters, r)
    del ends.worst["ece"], ends.best["ece"]
    return ends


def _count_differences(
    a: ClassificationRows, b: ClassificationRows, task: tuple[int, int | None], r: Resampling
) -> Differences:
    n_labels, code = task
    cells = joint_cells(a.truth, (a.predicted, b.predicted), n_labels)
    before, after = (cells.sums(model).observed(cells.counts, code) for model in (0, 1))
    found = _evidence_of_counts(cells, (a, b), task, r).differences(before, after)
    right = [(rows.truth == rows.predicted).astype(np.float64) for rows in (a, b)]
    return found | {
        name: of_shares(d, right[1] - right[0], a.clusters)
        for name, d in found.items()
        if METRICS[name].right_or_wrong
    }


def _evidence_of_counts(
    cells: Cells,
    pair: tuple[ClassificationRows, ClassificationRows],
    task: tuple[int, int | None],
    r: Resampling,
) -> _Evidence:
    of_cells = _statistic_of(task[1])
    models = [MarginScores(rows.truth, rows.predicted, *task) for rows in pair]
    clusters = pair[0].clusters
    few = are_few(pair[0].truth, [rows.predicted for rows in pair], task[0], clusters)
    plain = bootstrap_cells(cells.counts, of_cells(cells), r)
    if clusters is None:
        return _Evidence(
            resampling=r,
            clusters=None,
            n=pair[0].n,
            draws=plain,
            how=lambda _: r.method(paired=True),
            null=exchange_cells(cells, (models[0], models[1]), r),
            ends=smoothed_counts(cells, of_cells, r) if few else None,
        )
    before, after = (Clustered(model, clusters) for model in models)
    draws, by_rows = bootstrap_rows((before, after), r)
    return _Evidence(
        resampling=r,
        clusters=clusters,
        n=clusters.count,
        draws=differences(*draws),
        how=lambda _: r.method(paired=True, limit=not by_rows),
        null=exchange_rows((before, after), r),
        ends=smoothed_margins(models, clusters, r) if few else None,
        by_row=plain,
    )


def _statistic_of(code: int | None) -> Callable[[Cells], Statistic]:
    """Of joint cells: what makes differences of their counts."""

    def of_cells(cells: Cells) -> Statistic:
        sums = [cells.sums(model) for model in (0, 1)]
        return lambda counts: differences(*(s.metrics(counts, code) for s in sums))

    return of_cells


def of_shares(d: Difference, change: FloatArray, clusters: Clusters | None) -> Difference:
    """A share of rows, of which `change` [n] is 1 where a row was fixed and -1 where it was broken.

    Of independent rows p is exact McNemar's. Where few rows changed, the interval is a score
    interval: of as many rows as would say as much if they were independent.
    """
    fixed, broke, n = int((change > 0).sum()), int((change < 0).sum()), len(change)
    effect = 1.0 if clusters is None else clusters.design_effect(change)
    if min(fixed, broke) / effect < FEW:
        about = cluster_words(clusters, None if clusters is None else effect)
        interval = tango(fixed / effect, broke / effect, n / effect)
        d = replace(d, interval=interval, how=TANGO + about)
        d = replace(d, design_effect=effect if about else None)
    d = replace(d, changed=(fixed, broke))
    if clusters is not None:
        return d
    test = mcnemar(broke, fixed)
    smallest = smallest_shown(n, (fixed + broke) / n)
    return replace(d, p=test.exact, p_how=f"{test.method} and power", smallest=smallest)


def row_differences(
    pair: tuple[RowScores, RowScores],
    clusters: Clusters | None,
    r: Resampling,
    ends: Ends | None = None,
) -> Differences:
    """Differences of the metrics that both have, under one resample of the rows or clusters."""
    before, after = pair
    values = values_of(before), values_of(after)
    models = pair
    if clusters is not None:
        models = Clustered(before, clusters), Clustered(after, clusters)
    by_rows = models[0].n * r.draws <= ROWS_DRAWN
    moments = None if by_rows else moments_of(models)
    draws, _ = bootstrap_rows(models, r, moments)

    def how(name: str) -> str:
        expanded = any(isinstance(s, RankedScores) and s.is_expanded(name, by_rows) for s in pair)
        return r.method(paired=True, limit=not by_rows, first_order=expanded)

    evidence = _Evidence(
        resampling=r,
        clusters=clusters,
        n=models[0].n,
        draws=differences(*draws),
        how=how,
        null=exchange_rows(models, r, moments),
        ends=ends,
        by_row=None if clusters is None else differences(*bootstrap_rows(pair, r)[0]),
    )
    return evidence.differences(*values)


def with_ranks(
    found: Differences,
    models: tuple[RankedScores, RankedScores],
    clusters: Clusters | None,
    r: Resampling,
) -> Differences:
    """The ranking areas with p of exchanged ranks, or of DeLong's normal limit."""
    names = [name for name in RANKINGS if name in found]
    if not names:
        return found
    null = exchange_ranks(models, r, clusters)
    tests = {} if null is not None else delong(models, clusters)
    for name in names:
        d = found[name]
        if null is not None:
            p, error = null.p(name, d.value, 1.0), null.standard_error(name, 0.0)
            how = f"{null.method(r, unit_of(clusters))}, {RANKED}"
        else:
            (p, error), how = tests[name], DELONG
        smallest = _within(name, smallest_detectable_of(error))
        found[name] = replace(d, p=p, p_how=how, smallest=smallest)
    return found


def _text_differences(a: TextRows, b: TextRows, resampling: Resampling) -> Differences:
    """Per token only where both models scored the same tokens, else in bits per byte alone."""
    scored = (a.tokens > 0) & (b.tokens > 0)
    same_tokens = np.array_equal(a.tokens, b.tokens)
    a, b = a.where(scored), b.where(scored)
    if not a.n:
        return {}
    defined = a.values().keys() & b.values().keys()
    found = row_differences((a, b), a.clusters, resampling)
    return {
        name: d
        for name, d in found.items()
        if name in defined and (same_tokens or METRICS[name].any_tokenizer)
    }


def _answer_differences(
    frame_a: pl.DataFrame, frame_b: pl.DataFrame, names: tuple[str, str], r: Resampling
) -> Differences:
    """Both models' answers against the same references; nothing where one has not answered."""
    a, b = read_references(frame_a), read_references(frame_b)
    if a is None or b is None:
        return {}
    check_same_rows(a, b, names)
    answered = f", {a.n:,} answered rows"
    found = added_differences(a, b, r)
    return {name: replace(d, how=d.how + answered) for name, d in found.items()}


def added_differences(a: AddedRows, b: AddedRows, r: Resampling) -> Differences:
    """Of the same rows."""
    found = row_differences((a, b), a.clusters, r)
    for name in [name for name in found if METRICS[name].right_or_wrong]:
        exact = of_shares(found[name], b.columns[name] - a.columns[name], a.clusters)
        fixed, broke = exact.changed or (0, 0)
        found[name] = replace(exact, p_how=f"{exact.p_how}, fixed {fixed:,}, broke {broke:,}")
    return found


def compare_preferences(
    split: str,
    from_model: str,
    frame_a: pl.DataFrame,
    to_model: str,
    frame_b: pl.DataFrame,
    metrics: Sequence[str] | None = None,
    resampling: Resampling = DEFAULT,
) -> list[Comparison]:
    """As `compare`, of frames as for `evaluate_preferences`."""
    a, b = read_pairs(frame_a), read_pairs(frame_b)
    check_same_rows(a, b, (from_model, to_model))
    found = added_differences(a, b, resampling) if a.n else {}
    texts = read_text(frame_a), read_text(frame_b)
    if are_same_rows(*texts):
        found |= _text_differences(*texts, resampling)
    return comparisons_of(found, (split, from_model, to_model), metrics, a.clusters)
