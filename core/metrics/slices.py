"""Parts of a split against the rest of it: shares of rows, and ratios of sums over rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr
from scipy.stats import fisher_exact

from .clusters import Clusters, cluster_words, unit_of
from .counts import FloatArray, IntArray
from .statistics import Z_95, Interval, wilson

EXACT_ROWS = 10_000  # rows of a split up to which Fisher's exact p is computed
SHARES_METHOD = "Newcombe 95 %"
RATIO_METHOD = "normal limit of the bootstrap over {}s, 95 %"
NO_SLICE = -1  # code of a row that is in no slice of a grouping


@dataclass(frozen=True)
class Grouping:
    """One way to slice rows: the slice of each row, and the slices' names."""

    by: str  # "label", "characters", "scored tokens" or "column"
    codes: IntArray  # [n], NO_SLICE where a row is in none
    names: list[str]
    column: str = ""

    def count(self, weights: ArrayLike | None = None) -> FloatArray:
        """Rows, or the sum of their weights, in each slice."""
        inside = self.codes != NO_SLICE
        chosen = None if weights is None else np.asarray(weights, dtype=np.float64)[inside]
        return np.bincount(self.codes[inside], chosen, minlength=len(self.names)).astype(np.float64)


def quartiles(values: NDArray[Any], by: str, column: str = "") -> Grouping | None:
    """Slices by the quartiles of numbers [n]; NaN is in none. None where they are all equal."""
    known = np.isfinite(values.astype(np.float64))
    if not known.any():
        return None
    cuts = np.quantile(values[known], (0.25, 0.5, 0.75), method="inverted_cdf")
    codes = np.searchsorted(np.unique(cuts), values, side="left").astype(np.int64)
    codes[~known] = NO_SLICE
    used, inverse = np.unique(codes[known], return_inverse=True)
    if len(used) < 2:
        return None
    codes[known] = inverse
    names = []
    for code in range(len(used)):
        inside = values[codes == code]
        low, high = _plain(inside.min()), _plain(inside.max())
        names.append(low if low == high else f"{low} to {high}")
    return Grouping(by, codes, names, column)


def _plain(value: float) -> str:
    number = float(value)
    return f"{number:,.0f}" if number.is_integer() else f"{number:.4g}"


def newcombe(a: float, n: float, b: float, m: float) -> Interval:
    """95 % interval of a/n - b/m from the Wilson intervals of both (Newcombe 1998, method 10)."""
    p, q = a / n, b / m
    (low_p, high_p), (low_q, high_q) = wilson(a, n), wilson(b, m)
    below = math.sqrt((p - low_p) ** 2 + (high_q - q) ** 2)
    above = math.sqrt((high_p - p) ** 2 + (q - low_q) ** 2)
    return Interval(p - q - below, p - q + above)


def shares_p(a: float, n: float, b: float, m: float) -> float:
    """Two-sided p that a of n and b of m have one share: Fisher's exact, or its normal limit.

    Counts that are not whole, as of rows that say less than so many, are rounded for the former.
    """
    if n + m <= EXACT_ROWS:
        return float(fisher_exact(np.rint([[a, n - a], [b, m - b]]))[1])
    share = (a + b) / (n + m)
    error = math.sqrt(share * (1 - share) * (1 / n + 1 / m))
    return float(2 * ndtr(-abs(a / n - b / m) / error)) if error else 1.0


def shares_method(rows: int, clusters: Clusters | None) -> str:
    p = "Fisher's exact p" if rows <= EXACT_ROWS else "p of the score test"
    return f"{p}; {SHARES_METHOD}{cluster_words(clusters, None)}"


def ratio_method(clusters: Clusters | None) -> str:
    return RATIO_METHOD.format(unit_of(clusters)) + cluster_words(clusters, None)


@dataclass(frozen=True)
class Moments:
    """Sums over rows of above, below, their squares and product: all that a ratio needs."""

    above: FloatArray
    below: FloatArray
    above2: FloatArray
    below2: FloatArray
    product: FloatArray

    @classmethod
    def of(
        cls,
        grouping: Grouping,
        above: FloatArray,
        below: FloatArray,
        clusters: Clusters | None = None,
    ) -> Moments:
        """By slice; above and below are values of rows [n], squared by row or by cluster."""
        if clusters is not None:
            grouping, above, below, _ = _pieces(grouping, above, below, clusters)
        weights = (above, below, above * above, below * below, above * below)
        return cls(*(grouping.count(w) for w in weights))

    @property
    def ratio(self) -> FloatArray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(self.above / self.below)

    @property
    def error(self) -> FloatArray:
        """Standard error of the ratio over resampled rows, to first order (delta method)."""
        r = self.ratio
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = self.above2 - 2 * r * self.product + r * r * self.below2
            return np.asarray(np.sqrt(spread.clip(0)) / self.below)

    def rest(
        self,
        grouping: Grouping,
        above: FloatArray,
        below: FloatArray,
        clusters: Clusters | None = None,
    ) -> Moments:
        """The same of all rows that are not in each slice."""
        if clusters is not None:
            return self._rest_of_clusters(grouping, above, below, clusters)
        weights = (above, below, above * above, below * below, above * below)
        mine = (self.above, self.below, self.above2, self.below2, self.product)
        return Moments(*(w.sum() - part for w, part in zip(weights, mine, strict=True)))

    def _rest_of_clusters(
        self, grouping: Grouping, above: FloatArray, below: FloatArray, clusters: Clusters
    ) -> Moments:
        """A cluster that lies in a slice and outside it: (A - a)² = A² - 2 A a + a²."""
        pieces, a, b, at = _pieces(grouping, above, below, clusters)
        whole_a, whole_b = clusters.sum(above), clusters.sum(below)
        in_a, in_b = whole_a[at], whole_b[at]
        return Moments(
            whole_a.sum() - self.above,
            whole_b.sum() - self.below,
            np.square(whole_a).sum() - 2 * pieces.count(in_a * a) + self.above2,
            np.square(whole_b).sum() - 2 * pieces.count(in_b * b) + self.below2,
            (whole_a * whole_b).sum() - pieces.count(in_a * b + in_b * a) + self.product,
        )


def _pieces(
    grouping: Grouping, above: FloatArray, below: FloatArray, clusters: Clusters
) -> tuple[Grouping, FloatArray, FloatArray, IntArray]:
    """The part of each cluster in each slice: its sums, and which cluster it is of."""
    key = (grouping.codes - NO_SLICE) * clusters.count + clusters.codes
    known, inverse = np.unique(key, return_inverse=True)
    codes = known // clusters.count + NO_SLICE
    sums = [np.bincount(inverse, values).astype(np.float64) for values in (above, below)]
    pieces = Grouping(grouping.by, codes, grouping.names, grouping.column)
    return pieces, *sums, known % clusters.count


def normal_interval(value: float, error: float) -> Interval:
    return Interval(value - Z_95 * error, value + Z_95 * error)


def normal_p(difference: float, error: float) -> float:
    """Two-sided; 1 where nothing varies and nothing differs."""
    if error == 0:
        return 1.0 if difference == 0 else 0.0
    return float(2 * ndtr(-abs(difference) / error))
