"""The non-empty joint cells of truth and predictions: all that count metrics need of the rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from .bootstrap import Draws
from .metrics import FloatArray, IntArray, Margins, count_metrics

DENSE_CODES = 1_000_000  # joint codes up to which they are counted in a table


@dataclass(frozen=True)
class Cells:
    """K combinations of truth and the models' predictions, and how many rows have each."""

    counts: IntArray  # [K]
    truth: IntArray  # [K]
    predicted: tuple[IntArray, ...]  # one [K] a model
    n_labels: int

    def sums(self, model: int) -> CellSums:
        return CellSums(self.truth, self.predicted[model], self.n_labels)


def joint_cells(truth: NDArray[Any], predicted: tuple[NDArray[Any], ...], n_labels: int) -> Cells:
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
        cells = np.arange(len(truth))
        right, named = truth == predicted, predicted < n_labels
        lines = np.concatenate((truth[right], n_labels + truth, 2 * n_labels + predicted[named]))
        columns = np.concatenate((cells[right], cells, cells[named]))
        shape = (3 * n_labels, len(truth))
        self._matrix = sparse.csr_array((np.ones(len(lines)), (lines, columns)), shape=shape)
        self._n_labels = n_labels

    def margins(self, counts: FloatArray) -> Margins:
        """Counts [m, K] to margins [m, C]."""
        summed = np.asarray(self._matrix @ counts.T).reshape(3, self._n_labels, -1)
        right, support, predicted = summed.transpose(0, 2, 1)
        return Margins(right, support, predicted)

    def metrics(self, counts: FloatArray, positive: int | None) -> Draws:
        """Counts [m, K] to every count metric [m]."""
        return count_metrics(self.margins(counts), positive)
