"""Is a confidence of 90 % right nine times in ten? Reliability, ECE, and what chance makes of it.

The ECE of a sample is never 0: rows are few, and gaps count without their sign. So it is shown
beside what a perfectly calibrated model would show with the same confidences, and its interval
allows for the bias that resampling doubles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .analyses import Bin
from .bootstrap import Resampling, percentile_interval
from .counts import FloatArray, IntArray
from .statistics import Interval, wilson

BINS = 15
NULL_DRAWS = 2_000
DRAWN_ROWS = 2_000  # rows of a bin up to which their answers are drawn one by one
_AT_ONCE = 1_000_000  # drawn answers held in memory
ECE_METHOD = (
    "bootstrap of {draws:,} draws, seed {seed}, 95 %: the wider of the basic and the centred "
    "interval, as resampling adds to the bias of this metric; it begins at 0 where a perfectly "
    "calibrated model shows as much in 39 of 40 samples"
)
DIFFERENCE_METHOD = (
    "paired bootstrap of {draws:,} draws, seed {seed}, 95 %: the wider of the basic and the "
    "centred interval"
)


@dataclass(frozen=True)
class TopLabel:
    """The answer of each row: its probability, whether it is right, and its bin (l, u]."""

    confidence: FloatArray  # [n]
    right: NDArray[np.bool_]  # [n]
    bins: NDArray[np.int8]  # [n], 0 to BINS - 1

    @property
    def n(self) -> int:
        return len(self.confidence)

    @property
    def gap(self) -> FloatArray:
        return self.confidence - self.right

    def count(self, weights: ArrayLike | None = None) -> FloatArray:
        """Rows, or the sum of their weights, in each bin [BINS]."""
        return np.bincount(self.bins, weights, minlength=BINS).astype(np.float64)

    @property
    def ece(self) -> float:
        return float(np.abs(self.count(self.gap)).sum() / self.n)


class Null(NamedTuple):
    """The ECE of a perfectly calibrated model with these confidences on this many rows."""

    value: float  # expected
    high: float  # exceeded in 1 sample of 40
    p: float  # share of its samples with at least the observed ECE


def top_label(truth: IntArray, probabilities: FloatArray) -> TopLabel:
    """truth int [n], probabilities [n, C]; of equal probabilities the first label's."""
    top = probabilities.argmax(axis=1)
    return of_label(top == truth, probabilities[np.arange(len(top)), top])


def of_label(right: NDArray[np.bool_], probabilities: FloatArray) -> TopLabel:
    """How often something is so, [n], beside its probability, [n]."""
    bins = np.searchsorted(np.linspace(0, 1, BINS + 1), probabilities, side="left") - 1
    return TopLabel(probabilities, right, bins.clip(0, BINS - 1).astype(np.int8))


def reliability(rows: TopLabel) -> list[Bin]:
    """The bins that have rows, from the least confident, with Wilson intervals of the accuracy."""
    sums = (rows.count(), rows.count(rows.confidence), rows.count(rows.right))
    table = []
    for b, (n, confidence, right) in enumerate(zip(*(x.tolist() for x in sums), strict=True)):
        if not n:
            continue
        low, high = wilson(right, n)
        bounds = b / BINS, (b + 1) / BINS
        table.append(Bin(*bounds, int(n), confidence / n, right / n, low, high))
    return table


def null_ece(rows: TopLabel, seed: int = 0, draws: int = NULL_DRAWS) -> Null:
    """Simulate answers that are right with exactly the stated probability.

    In bins of more than `DRAWN_ROWS` rows the number of right ones is drawn from its normal limit.
    """
    rng = np.random.default_rng(seed)
    counts = rows.count()
    spread = np.sqrt(rows.count(rows.confidence * (1 - rows.confidence)))
    total = np.zeros(draws)
    for b in np.flatnonzero(counts):
        if counts[b] > DRAWN_ROWS:
            total += np.abs(rng.standard_normal(draws)) * spread[b]
        else:
            total += np.abs(_drawn_gaps(rng, rows.confidence[rows.bins == b], draws))
    eces = total / rows.n
    reached = rows.ece * (1 - 1e-12)
    p = (1 + int((eces >= reached).sum())) / (1 + draws)
    return Null(float(eces.mean()), float(np.quantile(eces, 0.975)), p)


def _drawn_gaps(rng: np.random.Generator, confidence: FloatArray, draws: int) -> FloatArray:
    """Summed gap of one bin [draws]."""
    size = max(1, _AT_ONCE // len(confidence))
    right = [
        (rng.random((min(size, draws - start), len(confidence))) < confidence).sum(axis=1)
        for start in range(0, draws, size)
    ]
    return float(confidence.sum()) - np.concatenate(right)


def how_ece(method: str, resampling: Resampling) -> str:
    return method.format(draws=resampling.draws, seed=resampling.seed)


def ece_interval(value: float, draws: FloatArray, null: Null, beyond: float = 0.025) -> Interval:
    """95 % interval of an ECE from its bootstrap draws, a share `beyond` left out on either side.

    Simulated at 50 to 5,000 rows, calibrated or not, it holds the true binned ECE in 94 to 97 of
    100 samples; the percentile interval does so in none of 100 where the model is calibrated.
    """
    low, high = _both_ways(value, draws, beyond)
    return Interval(0.0 if value <= null.high else max(0.0, low), min(1.0, max(high, value)))


def ece_difference(value: float, draws: FloatArray, beyond: float = 0.025) -> Interval:
    """95 % interval of a paired difference of two ECEs, from its bootstrap draws."""
    return _both_ways(value, draws, beyond)


def _both_ways(value: float, draws: FloatArray, beyond: float) -> Interval:
    ends = np.array([percentile_interval(moved, beyond) for moved in _moved(value, draws)])
    return Interval(float(ends[:, 0].min()), float(ends[:, 1].max()))


def _moved(value: float, draws: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The draws reflected at the value (basic bootstrap), and moved so that it is their mean."""
    return 2 * value - draws, draws - (draws.mean() - value)
