"""Predictions counted: confusion matrices, joint cells, and the metrics that come of them.

A confusion matrix is int64 [C, C]: rows are truth, columns predictions, both in the order of an
explicit label list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .metric import draws_of, observed
from .results import LabelScores
from .sums import Margins, Ratio, SetMargins, Totals

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Draws = dict[str, FloatArray]  # by metric
DENSE_CODES = 1_000_000  # joint codes up to which they are counted in a table


def confusion(truth: IntArray, predicted: IntArray, n_labels: int) -> IntArray:
    """Count (truth, prediction) pairs; int codes [n], each in [0, n_labels), to int64 [C, C].

    Raises ValueError for a code outside the range.
    """
    for codes in (truth, predicted):
        if codes.size and (codes.min() < 0 or codes.max() >= n_labels):
            raise ValueError(f"a label code lies outside [0, {n_labels})")
    joint = truth.astype(np.int64) * n_labels + predicted
    return np.bincount(joint, minlength=n_labels**2).reshape(n_labels, n_labels)


def margins(
    counts: ArrayLike, no_prediction: Sequence[int] | None = None, positive: int | None = None
) -> Margins:
    """Diagonal, row sums and column sums of confusion counts [..., C, C].

    Rows without a prediction, [C] by true label, are support that no predicted column counts.
    """
    counts = np.asarray(counts, dtype=np.float64)
    support = counts.sum(axis=-1)
    if no_prediction is not None:
        support = support + np.asarray(no_prediction, dtype=np.float64)
    right = np.diagonal(counts, axis1=-2, axis2=-1).copy()
    positive = positive if counts.shape[-1] == 2 else None
    return Margins(right, support, counts.sum(axis=-2), positive)


def classification_metrics(
    counts: ArrayLike,
    labels: Sequence[str],
    positive: str | None,
    no_prediction: Sequence[int] | None = None,
) -> dict[str, float]:
    """Metrics of confusion counts [C, C]; a metric that does not apply is absent.

    Rows without a prediction, [C] by true label, count as wrong. The precision of a positive label
    that is never predicted is absent; its F1 is 0, where it has true rows.
    Raises ValueError when `positive` is not among `labels`.
    """
    code = None if positive is None else list(labels).index(positive)
    return observed("counts", margins(counts, no_prediction, code))


def label_ratios(
    counts: ArrayLike, labels: Sequence[str], no_prediction: Sequence[int] | None = None
) -> dict[str, dict[str, Ratio]]:
    """Precision, recall and F1 of each label in truth or predictions, from counts [C, C]."""
    m = margins(counts, no_prediction)
    return {
        label: {name: ratio.of_label(i).as_floats() for name, ratio in m.by_label.items()}
        for i, label in enumerate(labels)
        if m.support[i] + m.predicted[i] > 0
    }


def per_class(
    counts: ArrayLike, labels: Sequence[str], no_prediction: Sequence[int] | None = None
) -> dict[str, LabelScores]:
    """Precision, recall, F1 and support of each label in truth or predictions.

    Where only the precision or only the recall has nothing to divide by, it is 0.
    """
    return {
        label: LabelScores(
            **{name: ratio.quotient for name, ratio in ratios.items()},
            support=int(ratios["recall"].denominator),
        )
        for label, ratios in label_ratios(counts, labels, no_prediction).items()
    }


def undefined_labels(
    counts: ArrayLike, labels: Sequence[str], no_prediction: Sequence[int] | None = None
) -> list[str]:
    """The labels that occur in neither truth nor predictions: no macro average holds them."""
    m = margins(counts, no_prediction)
    return [label for i, label in enumerate(labels) if m.support[i] + m.predicted[i] == 0]


def set_metrics(
    truth: NDArray[np.bool_], predicted: NDArray[np.bool_], positive: int | None
) -> dict[str, float]:
    """The metrics that marks [n, C] alone give, where rows have several labels each."""
    right = truth & predicted
    named = (truth.sum(axis=1) + predicted.sum(axis=1)).astype(np.float64)
    f1 = np.divide(2.0 * right.sum(axis=1), named, out=np.ones(len(truth)), where=named > 0)
    n, c = truth.shape
    totals = {
        "rows": n,
        "decisions": n * c,
        "exact": (truth == predicted).all(axis=1).sum(),
        "decisions_wrong": (truth != predicted).sum(),
        "row_f1": f1.sum(),
    }
    a, b, p = (marks.sum(axis=0).astype(np.float64) for marks in (right, truth, predicted))
    sums = {name: np.float64(value) for name, value in totals.items()}
    return observed("label_sets", SetMargins(a, b, p, positive, cast("Totals", sums)))


def default_positive(labels: Sequence[str], counts: Mapping[str, int]) -> str | None:
    """The rarer of two labels, the second when they are even; None for any other number."""
    if len(labels) != 2:
        return None
    first, second = labels
    return first if counts.get(first, 0) < counts.get(second, 0) else second


def majority_label(labels: Sequence[str], train_counts: Mapping[str, int]) -> str:
    """The most frequent label of the training split; the first listed when several are."""
    return max(labels, key=lambda label: train_counts.get(label, 0))


def majority_counts(
    labels: Sequence[str], train_counts: Mapping[str, int], truth_counts: Mapping[str, int]
) -> IntArray:
    """Confusion [C, C] of always answering the majority label of the training split."""
    counts = np.zeros((len(labels), len(labels)), dtype=np.int64)
    answer = list(labels).index(majority_label(labels, train_counts))
    counts[:, answer] = [truth_counts.get(label, 0) for label in labels]
    return counts


@dataclass(frozen=True)
class Cells:
    """K combinations of truth and the models' predictions, and how many rows have each."""

    counts: IntArray  # [K]
    truth: IntArray  # [K]
    predicted: tuple[IntArray, ...]  # one [K] a model
    n_labels: int

    def sums(self, model: int) -> CellSums:
        return CellSums(self.truth, self.predicted[model], self.n_labels)


def joint_cells(truth: IntArray, predicted: tuple[IntArray, ...], n_labels: int) -> Cells:
    """Count the combinations of label codes [n], truth first.

    The predicted code `n_labels`, one past the last, is that of a row without a prediction.
    """
    known = n_labels + 1
    joint = truth.astype(np.int64)
    for codes in predicted:
        joint = joint * known + codes
    size = known ** (1 + len(predicted))
    if size <= DENSE_CODES:
        table = np.bincount(joint, minlength=size)
        found = np.flatnonzero(table)
        counts = table[found]
    else:
        found, counts = np.unique(joint, return_counts=True)
    parts = np.unravel_index(found, (known,) * (1 + len(predicted)))
    return Cells(counts, parts[0], tuple(parts[1:]), n_labels)


class CellSums:
    """Sums cell counts into the margins of one model's confusion matrix.

    Cells without a prediction are support alone: no predicted column counts them.
    """

    def __init__(self, truth: IntArray, predicted: IntArray, n_labels: int) -> None:
        from scipy import sparse  # here: a worker counts predictions before it needs any draws

        cells = np.arange(len(truth))
        right, named = truth == predicted, predicted < n_labels
        lines = np.concatenate((truth[right], n_labels + truth, 2 * n_labels + predicted[named]))
        columns = np.concatenate((cells[right], cells, cells[named]))
        shape = (3 * n_labels, len(truth))
        self._matrix = sparse.csr_array((np.ones(len(lines)), (lines, columns)), shape=shape)
        self._n_labels = n_labels

    def margins(self, counts: FloatArray, positive: int | None = None) -> Margins:
        """Counts [m, K] to margins [m, C]."""
        summed = np.asarray(self._matrix @ counts.T).reshape(3, self._n_labels, -1)
        right, support, predicted = summed.transpose(0, 2, 1)
        return Margins(right, support, predicted, positive if self._n_labels == 2 else None)

    def observed(self, counts: IntArray, positive: int | None) -> dict[str, float]:
        """Counts [K] to every count metric that is defined."""
        m = self.margins(counts[None, :].astype(np.float64), positive)
        return observed("counts", Margins(m.right[0], m.support[0], m.predicted[0], m.positive))

    def metrics(self, counts: FloatArray, positive: int | None) -> Draws:
        """Counts [m, K] to every count metric [m]."""
        return draws_of("counts", self.margins(counts, positive))


@dataclass(frozen=True)
class MarginScores:
    """Answers as margins of the confusion matrix: right, true and predicted rows of each label.

    The same metrics as those of `Cells`, of rows that can be summed by cluster.
    """

    truth: IntArray  # [n]
    predicted: IntArray  # [n]; `n_labels` is no prediction
    n_labels: int
    positive: int | None

    def __post_init__(self) -> None:
        if self.n_labels != 2:  # only of two labels one is the positive one
            object.__setattr__(self, "positive", None)

    @property
    def named(self) -> NDArray[np.bool_]:
        """[n] which rows have a prediction."""
        return self.predicted < self.n_labels

    @property
    def n(self) -> int:
        return len(self.truth)

    def features(self, rows: slice) -> FloatArray:
        truth, predicted, c = self.truth[rows], self.predicted[rows], self.n_labels
        block = np.zeros((len(truth), 3 * c))
        at = np.arange(len(truth))
        block[at, c + truth] = 1
        named = predicted < c
        block[at[named], 2 * c + predicted[named]] = 1
        right = truth == predicted
        block[at[right], truth[right]] = 1
        return block

    def metrics_of_totals(self, totals: FloatArray) -> Draws:
        right, support, predicted = np.split(totals, 3, axis=-1)
        return draws_of("counts", Margins(right, support, predicted, self.positive))

    def reweighted(self, weights: FloatArray) -> Draws:
        return {}
