"""Rows that belong together: clusters are resampled and exchanged whole (S9).

Windows of one document, answers to one prompt and the members of a group are not independent. A
model whose rows are summed by cluster is again a `bootstrap.RowScores`, of as many rows as there
are clusters; all that resamples and exchanges rows then does so with clusters.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from .analyses import Share
from .bootstrap import RowScores, blocks
from .counts import Draws, FloatArray, IntArray
from .statistics import Interval, mcnemar, sign_flip, wilson

Values = FloatArray | NDArray[np.bool_]
WILSON = "Wilson 95 %"


@dataclass(frozen=True)
class Clusters:
    """Which cluster each row is in."""

    codes: IntArray  # [n], 0 to count - 1
    count: int

    @property
    def n(self) -> int:
        return len(self.codes)

    @property
    def sizes(self) -> FloatArray:
        """Rows of each cluster, [count]."""
        return np.bincount(self.codes, minlength=self.count).astype(np.float64)

    def sum(self, values: FloatArray) -> FloatArray:
        """Row values [n] or [n, k], summed by cluster."""
        if values.ndim == 1:
            return np.bincount(self.codes, values, minlength=self.count).astype(np.float64)
        return np.stack([self.sum(column) for column in values.T], axis=1)

    def where(self, kept: NDArray[np.bool_] | slice) -> Clusters | None:
        return clusters_of(self.codes[kept])

    def design_effect(self, right: Values) -> float:
        """How many times the variance of a share [n] is what independent rows would have; >= 1.

        A share of 0 or 1 does not vary: there it is that of rows which are all alike inside.
        """
        off = right - np.mean(right)
        within = float(np.square(off).sum())
        if within > 0:
            return max(1.0, float(np.square(self.sum(off)).sum()) / within)
        return float(np.square(self.sizes).sum() / self.n)


def design_effect(clustered: FloatArray, by_row: FloatArray) -> float | None:
    """How many times the variance of draws of clusters is that of draws of single rows."""
    finite = [draws[np.isfinite(draws)] for draws in (clustered, by_row)]
    if not all(map(len, finite)):
        return None
    spread = [float(np.var(draws)) for draws in finite]
    return spread[0] / spread[1] if spread[1] > 0 else None


def unit_of(clusters: Clusters | None) -> str:
    """What is exchanged."""
    return "row" if clusters is None else "cluster"


def cluster_words(clusters: Clusters | None, effect: float | None) -> str:
    """What stands behind a method: how many rows are together, and what that costs."""
    if clusters is None:
        return ""
    words = f", {clusters.count:,} clusters of {clusters.n:,} rows"
    return words if effect is None else f"{words} (design effect {effect:.2f})"


def as_if_independent(clusters: Clusters | None) -> str:
    """Said of what knows nothing of clusters; empty where there are none."""
    if clusters is None:
        return ""
    return (
        f"Its {clusters.n:,} rows are {clusters.count:,} clusters, and are treated as independent "
        "here: this looks surer than it is."
    )


def clusters_of(codes: IntArray) -> Clusters | None:
    """None where every row is a cluster of its own."""
    known, inverse = np.unique(codes, return_inverse=True)
    return Clusters(inverse, len(known)) if len(known) < len(codes) else None


def read_clusters(frame: pl.DataFrame) -> Clusters | None:
    """The column `cluster` of predictions in their order; a row without one is by itself."""
    if "cluster" not in frame.columns:
        return None
    column = frame["cluster"]
    codes = column.fill_null(0).cast(pl.Int64).to_numpy()
    alone = column.is_null().to_numpy()
    _, codes = np.unique(codes, return_inverse=True)
    codes[alone] = len(codes) + np.arange(alone.sum())
    return clusters_of(codes)


@dataclass(frozen=True)
class Clustered:
    """A model's rows summed by cluster; a `bootstrap.RowScores` of `clusters.count` rows.

    `weights` [n] is how often a row counts in its cluster.
    """

    model: RowScores
    clusters: Clusters
    weights: FloatArray | None = None

    @property
    def n(self) -> int:
        return self.clusters.count

    @cached_property
    def _row_weights(self) -> FloatArray:
        return np.ones(self.clusters.n) if self.weights is None else self.weights

    @cached_property
    def _sums(self) -> FloatArray:
        """[count, k + 1]: the sums of each cluster, and its rows."""
        first = self.model.features(slice(0, 1))
        found = np.zeros((self.n, first.shape[1] + 1))
        for rows in blocks(self.clusters.n):
            weights = self._row_weights[rows]
            block = np.column_stack((self.model.features(rows), np.ones(len(weights))))
            here, local = np.unique(self.clusters.codes[rows], return_inverse=True)
            at = (local, np.arange(len(local)))
            found[here] += sparse.csr_array((weights, at), shape=(len(here), len(local))) @ block
        return found

    def features(self, rows: slice) -> FloatArray:
        return self._sums[rows]

    def metrics_of_totals(self, totals: FloatArray) -> Draws:
        """Totals are those of so many rows as were drawn: brought to the number there are."""
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = self._row_weights.sum() / totals[..., -1:]
        return self.model.metrics_of_totals(totals[..., :-1] * scale)

    def reweighted(self, weights: FloatArray) -> Draws:
        return self.model.reweighted(weights[:, self.clusters.codes] * self._row_weights)


def share(right: Values, clusters: Clusters | None = None) -> Share:
    """The share of rows [n] that are so, with its interval as it is written down."""
    count, n = int(np.sum(right)), len(right)
    (low, high), effect = share_interval(right, clusters)
    method = WILSON + cluster_words(clusters, effect)
    return Share(count, count / n, low, high, method)


def share_interval(right: Values, clusters: Clusters | None) -> tuple[Interval, float | None]:
    """Of clusters: of as many rows as would say as much if they were independent; and how many
    times fewer those are."""
    effect = None if clusters is None else clusters.design_effect(right)
    return wilson(float(np.sum(right)) / (effect or 1), len(right) / (effect or 1)), effect


def change_p(change: FloatArray, clusters: Clusters | None) -> tuple[float, str]:
    """Two-sided p of rows [n] that were fixed (1) and broken (-1), and how it was made."""
    if clusters is None:
        test = mcnemar(int((change < 0).sum()), int((change > 0).sum()))
        return test.exact, test.method
    return sign_flip_p(change, clusters)


def sign_flip_p(
    change: FloatArray, clusters: Clusters | None, seed: int = 0, draws: int = 10_000
) -> tuple[float, str]:
    """Two-sided p that paired changes [n] sum to 0; those of a cluster change sign together."""
    summed = change if clusters is None else clusters.sum(change)
    method = f"sign-flip permutation p over {unit_of(clusters)}s"
    return sign_flip(summed, seed, draws), method + cluster_words(clusters, None)


def together(model: RowScores, clusters: Clusters | None) -> RowScores:
    """The model's rows, summed by cluster where there are any."""
    return model if clusters is None else Clustered(model, clusters)
