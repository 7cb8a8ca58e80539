"""Shares of rows and paired changes, of rows that may belong together (S9)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bootstrap import RowScores
from .clusters import Clustered, Clusters, told_clusters, unit_of
from .metrics import FloatArray
from .statistics import Interval, mcnemar, sign_flip, wilson

WILSON = "Wilson 95 %"


def share(right: NDArray[Any], clusters: Clusters | None = None) -> dict[str, Any]:
    """The share of rows [n] that are so, with its interval as it is written down."""
    count, n = int(np.sum(right)), len(right)
    (low, high), effect = share_interval(right, clusters)
    method = WILSON + told_clusters(clusters, effect)
    return {"count": count, "value": count / n, "low": low, "high": high, "method": method}


def share_interval(right: NDArray[Any], clusters: Clusters | None) -> tuple[Interval, float | None]:
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
    return sign_flip(summed, seed, draws), method + told_clusters(clusters, None)


def together(model: RowScores, clusters: Clusters | None) -> RowScores:
    """The model's rows, summed by cluster where there are any."""
    return model if clusters is None else Clustered(model, clusters)
