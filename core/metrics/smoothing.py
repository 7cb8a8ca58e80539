"""Intervals where plain resampling degenerates: next to no row is wrong, or next to none is right.

Rows that were not seen cannot be drawn: 5 right rows of 5 say nothing of the wrong ones to come. So
rows have gamma weights (the Bayesian bootstrap), and for either end of the interval imagined rows
are added: the worst possible for the lower end, the best possible for the upper one. For a single
share with one imagined row this is the interval of Clopper and Pearson (1934).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from .bootstrap import (
    Resampling,
    RowScores,
    Statistic,
    bootstrap_rows,
    percentile_interval,
    rows_are_drawn,
    smoothed_cells,
)
from .clusters import Clustered, Clusters
from .counts import Cells, Draws, FloatArray, IntArray, MarginScores, joint_cells
from .metric import METRICS, Unit
from .probabilities import ProbabilityScores
from .statistics import Interval

LEAST = 1e-9  # probability of an imagined row: its loss is finite
Counts = NDArray[np.float64] | NDArray[np.signedinteger]
FEW = 5  # rows on a side from which plain resampling will do


@dataclass(frozen=True)
class Ends:
    """Draws with the worst and with the best rows added."""

    worst: Draws
    best: Draws
    paired: bool = False

    def interval(self, metric: str, value: float) -> Interval:
        """Holds the value itself: with no wrong row the upper end is where the value is."""
        found = [percentile_interval(draws[metric]) for draws in (self.worst, self.best)]
        ends = [x for interval in found for x in interval]
        least, most = bounds(METRICS[metric].unit, self.paired)
        # Gamma weights are no whole numbers: what they give passes a bound by its last bits.
        low, high = max(least, min(ends)), min(most, max(ends))
        return Interval(min(value, low), max(value, high))


def bounds(unit: Unit, paired: bool) -> tuple[float, float]:
    """What a metric, or a difference of two, cannot pass."""
    if unit == "share":
        return (-1.0, 1.0) if paired else (0.0, 1.0)
    if unit == "coefficient":
        return (-2.0, 2.0) if paired else (-1.0, 1.0)
    return -np.inf, np.inf


def smoothed_method(resampling: Resampling, paired: bool = False) -> str:
    words = "paired smoothed bootstrap 95 %" if paired else "smoothed bootstrap 95 %"
    drawn = f"{resampling.draws:,} draws, seed {resampling.seed}"
    return f"{words} (few rows on a side: gamma weights, imagined rows added), {drawn}"


def are_few(
    truth: IntArray, predicted: Sequence[IntArray], n_labels: int, clusters: Clusters | None
) -> bool:
    """Whether some label has fewer than 5 right or fewer than 5 wrong rows, or clusters of them.

    Of two models: fewer than 5 that one of them fixed, or broke. Labels without rows do not count.
    """
    joint = joint_cells if clusters is None else partial(_cells_of_clusters, clusters)
    return _few_cells(joint(truth, tuple(predicted), n_labels))


def _cells_of_clusters(
    clusters: Clusters, truth: IntArray, predicted: tuple[IntArray, ...], n_labels: int
) -> Cells:
    """Each cluster counts once in each of the cells that it has rows in."""
    once = np.unique(np.stack((clusters.codes, truth, *predicted)), axis=1)
    return joint_cells(once[1], tuple(once[2:]), n_labels)


def _few_cells(cells: Cells) -> bool:
    if len(cells.predicted) == 1:
        right = cells.counts * (cells.truth == cells.predicted[0])
        support = np.bincount(cells.truth, cells.counts, minlength=cells.n_labels)
        return _few(support, np.bincount(cells.truth, right, minlength=cells.n_labels))
    before, after = (cells.truth == predicted for predicted in cells.predicted)
    fixed = np.bincount(cells.truth, cells.counts * (after & ~before), minlength=cells.n_labels)
    broke = np.bincount(cells.truth, cells.counts * (before & ~after), minlength=cells.n_labels)
    present = np.bincount(cells.truth, minlength=cells.n_labels) > 0
    return bool((np.minimum(fixed, broke)[present] < FEW).any())


def _few(support: Counts, right: Counts) -> bool:
    present = support > 0
    return bool((np.minimum(right, support - right)[present] < FEW).any())


@dataclass(frozen=True)
class Imagined:
    """Imagined rows: one a label that occurs, and its weight."""

    truth: IntArray  # [j]
    wrong: IntArray  # [j] another label
    weight: FloatArray  # [j]

    @classmethod
    def of(cls, labels: IntArray, n_labels: int) -> Imagined:
        """Each label answered as the next one that occurs: every label is once too often named."""
        labels = labels[labels < n_labels]
        wrong = np.roll(labels, -1) if len(labels) > 1 else (labels + 1) % n_labels
        return cls(labels, wrong, np.full(len(labels), weight_of(len(labels))))


def weight_of(labels: int) -> float:
    """Of an imagined row: 1 of two labels; of many, all together weigh as two rows."""
    return min(1.0, 2.0 / labels)


def smoothed_counts(
    cells: Cells, statistic_of: Callable[[Cells], Statistic], resampling: Resampling
) -> Ends:
    """Draws of counted answers. `statistic_of(cells)` gives the statistic of extended cells."""
    labels = np.unique(np.concatenate((cells.truth, *cells.predicted)))
    rows = Imagined.of(labels, cells.n_labels)
    ends = []
    for answers in _answers(rows, len(cells.predicted)):
        extended = replace(
            cells,
            counts=np.concatenate((cells.counts, rows.weight)),
            truth=np.concatenate((cells.truth, rows.truth)),
            predicted=tuple(
                np.concatenate(pair) for pair in zip(cells.predicted, answers, strict=True)
            ),
        )
        statistic = statistic_of(extended)
        ends.append(smoothed_cells(extended.counts.astype(np.float64), statistic, resampling))
    return Ends(ends[0], ends[1], paired=len(cells.predicted) == 2)


def _answers(rows: Imagined, models: int) -> Sequence[Sequence[IntArray]]:
    """What each model answers to the worst and to the best rows."""
    if models == 1:
        return (rows.wrong,), (rows.truth,)
    return (rows.truth, rows.wrong), (rows.wrong, rows.truth)


def smoothed_margins(
    models: Sequence[MarginScores], clusters: Clusters, resampling: Resampling
) -> Ends:
    """The same of rows in clusters."""
    first = models[0]
    labels = np.unique(np.concatenate((first.truth, *(m.predicted for m in models))))
    rows = Imagined.of(labels, first.n_labels)
    ends = [
        [
            replace(
                model,
                truth=np.concatenate((model.truth, rows.truth)),
                predicted=np.concatenate((model.predicted, answer)),
            )
            for model, answer in zip(models, answers, strict=True)
        ]
        for answers in _answers(rows, len(models))
    ]
    return smoothed_ends(ends, rows.weight, clusters, resampling)


def smoothed_scores(
    models: Sequence[ProbabilityScores], clusters: Clusters | None, resampling: Resampling
) -> Ends:
    """Draws of probabilities. The imagined rows are the least and the most likely of each label."""
    labels = np.unique(models[0].truth)
    pair = len(models) == 2
    weight = np.full(len(labels), weight_of(len(labels)) / len(models))
    worst = [_with_rows(m, labels, best=pair and i == 0) for i, m in enumerate(models)]
    best = [_with_rows(m, labels, best=not (pair and i == 0)) for i, m in enumerate(models)]
    return smoothed_ends([worst, best], weight, clusters, resampling)


def _with_rows(scores: ProbabilityScores, labels: IntArray, best: bool) -> ProbabilityScores:
    of_labels = scores.probabilities[:, labels]
    places = of_labels.argmax(axis=0) if best else of_labels.argmin(axis=0)
    imagined = np.maximum(scores.probabilities[places], LEAST)
    return replace(
        scores,
        truth=np.concatenate((scores.truth, labels)),
        probabilities=np.concatenate((scores.probabilities, imagined)),
    )


def smoothed_ends(
    ends: Sequence[Sequence[RowScores]],
    weight: FloatArray,
    clusters: Clusters | None,
    resampling: Resampling,
) -> Ends:
    """Draws of models whose last rows are imagined, of one or of the difference of two.

    Both ends are of the same weights: where rows are drawn, these are drawn once.
    """
    units = ends[0][0].n - len(weight) if clusters is None else clusters.count
    shapes = np.concatenate((np.ones(units), weight))
    rows = [
        [model if clusters is None else _clustered(model, clusters) for model in models]
        for models in ends
    ]
    if rows_are_drawn(rows[0], resampling):
        rows = [[model for models in rows for model in models]]
    drawn = [d for models in rows for d in bootstrap_rows(models, resampling, shapes=shapes)[0]]
    if len(drawn) == 2:
        return Ends(drawn[0], drawn[1], paired=False)
    return Ends(differences(*drawn[:2]), differences(*drawn[2:]), paired=True)


def _clustered(model: RowScores, clusters: Clusters) -> Clustered:
    """An imagined row stands for a cluster of the mean size."""
    more = model.n - clusters.n
    codes = np.concatenate((clusters.codes, clusters.count + np.arange(more)))
    size = clusters.n / clusters.count
    weights = np.concatenate((np.ones(clusters.n), np.full(more, size)))
    return Clustered(model, Clusters(codes, clusters.count + more), weights)


def differences(before: Draws, after: Draws) -> Draws:
    """Of the metrics that both have."""
    with np.errstate(invalid="ignore"):
        return {name: after[name] - before[name] for name in before if name in after}
