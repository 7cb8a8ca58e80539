"""p of a paired difference: the two models' answers are exchanged at random (S2b).

If neither model is better, it does not matter which of them gave which of the two answers to a row.
Exchanging them row by row (cluster by cluster) shows how far apart chance alone puts the models:
p is the share of such exchanges with a difference at least as far from 0. Where all exchanges are
few they are all made, and p is exact; else 10,000 are drawn, the observed one counted among them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, stdtr

from .bootstrap import (
    ROWS_DRAWN,
    Moments,
    Resampling,
    RowScores,
    blocks,
    chunks,
    draws_of_moments,
    joined,
    moments_of,
)
from .clusters import Clusters
from .counts import Cells, CellSums, Draws, FloatArray, IntArray, MarginScores
from .metric import METRICS
from .probabilities import RANKINGS, RankedScores, ranking_areas, twice_ranks
from .statistics import one_blas_thread

RANKED_ROWS = 2_000  # rows × ranked labels up to which each exchange is ranked anew
NEAR = 1e-11  # of a metric: differences that are equal may differ in their last bits
LEAST_UNITS = 6  # fewer exchangeable rows have no p at or below 0.05


class OfTotals(Protocol):
    """What gives metrics of sums over rows; a `RowScores` is one."""

    def metrics_of_totals(self, totals: FloatArray) -> Draws:
        """Totals [..., k] to metrics [...]."""


@dataclass(frozen=True)
class Null:
    """Differences that exchanged answers give, by metric, and how they were made."""

    draws: Draws
    units: int  # rows or clusters in which the models differ
    weights: FloatArray | None = None  # of each exchange where all were made; else None
    limit: bool = False

    def p(self, metric: str, difference: float, scale: float) -> float:
        """Two-sided; NaN where the metric is not defined. `scale` is the metric's magnitude."""
        draws = self.draws[metric]
        if np.isnan(difference) or np.isnan(draws).any():
            return float("nan")
        reached = np.abs(draws) >= abs(difference) - NEAR * max(scale, abs(difference))
        if self.weights is not None:
            return float(min(1.0, self.weights[reached].sum()))
        return float((1 + reached.sum()) / (1 + len(draws)))

    def standard_error(self, metric: str, difference: float) -> float:
        """Root mean square of the differences, without what the observed one itself adds to it.

        Exchanging rows that all moved by the same amount spreads the null by that amount: a small
        difference on the same rows would be tested against less. NaN where so few rows can show
        nothing.
        """
        draws = self.draws[metric]
        if self.units < LEAST_UNITS or np.isnan(draws).any():
            return float("nan")
        square = float(np.average(np.square(draws), weights=self.weights))
        return float(np.sqrt(max(0.0, square - difference**2 / self.units)))

    def method(self, resampling: Resampling, unit: str, metric: str = "") -> str:
        flips = metric in METRICS and METRICS[metric].sign_flip
        words = "sign-flip permutation p" if flips else "permutation p"
        if self.weights is not None:
            return f"exact {words}, every exchange by {unit}"
        words = f"normal limit of the {words}" if self.limit else words
        return f"{words}, {resampling.draws:,} exchanges by {unit}, seed {resampling.seed}"


@dataclass(frozen=True)
class Signs:
    """Signs of units under exchange: each -1 or 1, or the sum of `counts` of them."""

    counts: IntArray  # [u] how many times a unit is there
    resampling: Resampling

    @property
    def every(self) -> bool:
        """Whether all exchanges are few enough to be made."""
        return bool(np.log1p(self.counts).sum() <= np.log(self.resampling.draws) + 1e-9)

    def all(self) -> tuple[FloatArray, FloatArray]:
        """Every pattern [m, u] of sums of signs, and its probability [m]."""
        exchanged = np.zeros((1, 0))
        logs = np.zeros(1)
        for n in self.counts.tolist():
            k = np.arange(n + 1.0)
            chance = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1) - n * np.log(2)
            exchanged = np.column_stack(
                (np.repeat(exchanged, n + 1, axis=0), np.tile(k, len(exchanged)))
            )
            logs = np.repeat(logs, n + 1) + np.tile(chance, len(logs))
        return 2 * exchanged - self.counts, np.exp(logs)

    def drawn(self) -> Iterator[FloatArray]:
        """Random ones, [m, u] at a time."""
        rng = np.random.default_rng(self.resampling.seed)
        u, single = len(self.counts), bool((self.counts == 1).all())
        for m in chunks(self.resampling.draws, u):
            if single:
                packed = np.frombuffer(rng.bytes(m * -(-u // 8)), np.uint8).reshape(m, -1)
                kept = np.unpackbits(packed, axis=1, count=u).astype(np.float64)
            else:
                kept = rng.binomial(self.counts, 0.5, size=(m, u)).astype(np.float64)
            signs: FloatArray = 2 * kept - self.counts
            yield signs


def exchange_rows(
    models: tuple[RowScores, RowScores], resampling: Resampling, moments: Moments | None = None
) -> Null:
    """Exchanges of whole rows of two models that have the metrics of their totals.

    Up to `ROWS_DRAWN` rows × draws the rows themselves are exchanged; beyond, the change of the
    totals is drawn from the normal distribution that it tends to (covariance exact). `moments` are
    those of both models, where they are known already.
    """
    if models[0].n * resampling.draws > ROWS_DRAWN:
        return _limit(models, resampling, moments or moments_of(models))
    a, b = (model.features(slice(None)) for model in models)
    with np.errstate(invalid="ignore"):  # infinite in both: NaN, and so is p
        change, totals = b - a, (a.sum(axis=0), b.sum(axis=0))
    moved = (change != 0).any(axis=1)
    signs = Signs(np.ones(int(moved.sum()), dtype=np.int64), resampling)
    return _of_signs(models, totals, change[moved], signs)


def exchange_cells(cells: Cells, models: tuple[OfTotals, OfTotals], resampling: Resampling) -> Null:
    """The same of counted answers: in each pair of mirrored cells a binomial number is exchanged.

    `models` give the metrics of margins [3 C]. The cost does not grow with the number of rows.
    """
    a, b = cells.predicted
    moved = a != b
    key = np.stack((cells.truth, np.minimum(a, b), np.maximum(a, b)))[:, moved]
    pairs, places = np.unique(key, axis=1, return_inverse=True)
    counts = np.bincount(places.ravel(), cells.counts[moved]).astype(np.int64)
    truth, low, high = pairs
    changed = [MarginScores(truth, answers, cells.n_labels, None) for answers in (low, high)]
    weighted = cells.counts[None, :].astype(np.float64)
    totals = tuple(_flat(cells.sums(model), weighted) for model in (0, 1))
    if len(counts) * resampling.draws > ROWS_DRAWN:
        return _limit_of_changes(models, totals, changed, counts, resampling)
    one, other = (scores.features(slice(None)) for scores in changed)
    return _of_signs(models, totals, other - one, Signs(counts, resampling))


def _flat(sums: CellSums, counts: FloatArray) -> FloatArray:
    m = sums.margins(counts)
    return np.concatenate((m.right[0], m.support[0], m.predicted[0]))


def _of_signs(
    models: tuple[OfTotals, OfTotals],
    totals: tuple[FloatArray, ...],
    changes: FloatArray,
    signs: Signs,
) -> Null:
    """Totals of both models under signs of the changes [u, k] between them."""
    usable = np.isfinite(totals[0]) & np.isfinite(totals[1]) & np.isfinite(changes).all(axis=0)
    finite = np.where(usable, changes, 0.0)
    units = int(signs.counts.sum())

    def differences(pattern: FloatArray) -> Draws:
        moved = np.where(usable, pattern @ finite, np.nan)
        return _difference(models, totals, moved)

    with one_blas_thread():
        if signs.every:
            patterns, weights = signs.all()
            return Null(differences(patterns), units, weights)
        return Null(joined(differences(pattern) for pattern in signs.drawn()), units)


def _difference(
    models: tuple[OfTotals, OfTotals], totals: tuple[FloatArray, ...], moved: FloatArray
) -> Draws:
    """Of metrics, where the second model's totals are `moved` [m, k] above the first one's."""
    with np.errstate(invalid="ignore"):
        middle = totals[0] + totals[1]
        first = models[0].metrics_of_totals((middle - moved) / 2)
        second = models[1].metrics_of_totals((middle + moved) / 2)
        return {name: second[name] - first[name] for name in first if name in second}


def _limit(models: tuple[RowScores, RowScores], resampling: Resampling, moments: Moments) -> Null:
    k = len(moments.total) // 2
    p = moments.products
    totals = moments.total[:k], moments.total[k:]
    usable = np.isfinite(totals[0] + totals[1])
    with np.errstate(invalid="ignore"):
        squares = p[:k, :k] + p[k:, k:] - p[:k, k:] - p[k:, :k]
    squares = np.where(np.outer(usable, usable), squares, 0.0)
    moved = draws_of_moments(Moments(models[0].n, np.zeros(k), squares), resampling)
    found = _difference(models, totals, np.where(usable, moved, np.nan))
    return Null(found, models[0].n, limit=True)


def _limit_of_changes(
    models: tuple[OfTotals, OfTotals],
    totals: tuple[FloatArray, ...],
    changed: Sequence[MarginScores],
    counts: IntArray,
    resampling: Resampling,
) -> Null:
    """The normal limit for very many pairs of mirrored cells."""
    k = len(totals[0])
    squares = np.zeros((k, k))
    for rows in blocks(len(counts)):
        change = changed[1].features(rows) - changed[0].features(rows)
        squares += (change * counts[rows, None]).T @ change
    moved = draws_of_moments(Moments(1, np.zeros(k), squares), resampling)
    return Null(_difference(models, totals, moved), int(counts.sum()), limit=True)


def exchange_ranks(
    models: tuple[RankedScores, RankedScores],
    resampling: Resampling,
    clusters: Clusters | None,
) -> Null | None:
    """The ranking areas when the ranks of rows, not their scores, are exchanged.

    Two models may score on other scales, so each row's scores are made ranks within their model
    first (Venkatraman and Begg 1996). None where there is nothing to rank or too much of it.
    """
    before = models[0]
    labels = before.ranked_labels
    rankable = all(np.isfinite(model.probabilities).all() for model in models)
    if not labels or not rankable or before.n * len(labels) > RANKED_ROWS:
        return None
    ranks = [np.stack([twice_ranks(m.probabilities[:, c]) for c in labels]) for m in models]
    codes = np.arange(before.n) if clusters is None else clusters.codes
    moved = np.unique(codes[(ranks[0] != ranks[1]).any(axis=0)])
    signs = Signs(np.ones(len(moved), dtype=np.int64), resampling)
    place = np.searchsorted(moved, codes).clip(0, max(len(moved) - 1, 0))
    still = np.isin(codes, moved, invert=True)
    marked = np.stack([before.marked(c) for c in labels])

    def differences(pattern: FloatArray) -> Draws:
        swapped = np.zeros((len(pattern), before.n), dtype=bool)
        if len(moved):
            swapped = (pattern[:, place] < 0) & ~still
        return _areas_of_ranks(ranks, marked, swapped)

    if signs.every:
        patterns, weights = signs.all()
        return Null(differences(patterns), len(moved), weights)
    return Null(joined(differences(pattern) for pattern in signs.drawn()), len(moved))


def _areas_of_ranks(
    ranks: list[IntArray], marked: NDArray[np.bool_], swapped: NDArray[np.bool_]
) -> Draws:
    """Differences of the mean areas over the labels, [m] each."""
    areas = []
    for one, other in (ranks, ranks[::-1]):
        by_label = [
            _areas(np.where(swapped, other[i], one[i]), marked[i]) for i in range(len(marked))
        ]
        areas.append(np.mean(by_label, axis=0))
    return dict(zip(RANKINGS, areas[1] - areas[0], strict=True))


def _areas(ranks: IntArray, marked: NDArray[np.bool_]) -> FloatArray:
    """ROC AUC and average precision [2, m] of ranks [m, n], all below 2 n."""
    m, n = ranks.shape
    width = 2 * n
    joint = (width - 1 - ranks) + width * np.arange(m)[:, None]  # from the highest down
    every = np.bincount(joint.ravel(), minlength=m * width)
    gained = np.bincount(joint[:, marked].ravel(), minlength=m * width)
    counts = gained.reshape(m, width).astype(np.float64)
    return np.stack(ranking_areas(counts, every.reshape(m, width) - counts))


def delong(
    models: tuple[RankedScores, RankedScores], clusters: Clusters | None
) -> dict[str, tuple[float, float]]:
    """p and standard error of the difference of both ranking areas, of many rows.

    From what each row adds to the areas (DeLong 1988; by cluster: Obuchowski 1997). The t
    distribution has the degrees of freedom of as many rows as carry the variance: a few positive
    rows among many others are few.
    """
    found = {}
    for name in RANKINGS:
        change = models[1].influence_on(name) - models[0].influence_on(name)
        if clusters is not None:
            change = clusters.sum(change)
        square = float(np.square(change).sum())
        error = np.sqrt(square) / models[0].n
        difference = models[1].area(name) - models[0].area(name)
        carried = square**2 / float((change**4).sum()) if square else 0.0
        p = 1.0
        if error > 0:
            p = 2 * float(stdtr(max(1.0, carried - 1), -abs(difference) / error))
        found[name] = p, float(error) if carried >= LEAST_UNITS else float("nan")
    return found
