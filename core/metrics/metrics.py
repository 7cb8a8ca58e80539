"""Counts and row sums to metrics.

A confusion matrix is int64 [C, C]: rows are truth, columns predictions, both in the order of an
explicit label list. The same arithmetic gives the metric itself and, with a leading axis of draws,
its bootstrap distribution.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .metric_table import METRICS, Metric

__all__ = [
    "METRICS",
    "Margins",
    "Metric",
    "classification_metrics",
    "confusion",
    "confusion_of_cells",
    "count_metrics",
    "default_positive",
    "majority_counts",
    "majority_label",
    "margins",
    "per_class",
    "text_metrics",
    "undefined_labels",
]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
LN_2 = float(np.log(2.0))


@dataclass(frozen=True)
class Margins:
    """What every count metric needs, [..., C] float64: leading axes are bootstrap draws."""

    right: FloatArray
    support: FloatArray  # true rows
    predicted: FloatArray


def confusion(truth: NDArray[Any], predicted: NDArray[Any], n_labels: int) -> IntArray:
    """Count (truth, prediction) pairs; int codes [n], each in [0, n_labels), to int64 [C, C].

    Raises ValueError for a code outside the range.
    """
    for codes in (truth, predicted):
        if codes.size and (codes.min() < 0 or codes.max() >= n_labels):
            raise ValueError(f"a label code lies outside [0, {n_labels})")
    joint = truth.astype(np.int64) * n_labels + predicted
    return np.bincount(joint, minlength=n_labels**2).reshape(n_labels, n_labels)


def margins(counts: NDArray[Any], no_prediction: Sequence[int] | None = None) -> Margins:
    """Diagonal, row sums and column sums of confusion counts [..., C, C].

    Rows without a prediction, [C] by true label, are support that no predicted column counts.
    """
    counts = np.asarray(counts, dtype=np.float64)
    support = counts.sum(axis=-1)
    if no_prediction is not None:
        support = support + np.asarray(no_prediction, dtype=np.float64)
    return Margins(np.diagonal(counts, axis1=-2, axis2=-1).copy(), support, counts.sum(axis=-2))


def confusion_of_cells(
    cells: Iterable[tuple[int, int, int]], n_labels: int
) -> tuple[IntArray, list[int] | None]:
    """Cells of (truth, prediction, rows) to counts [C, C] and the rows without a prediction.

    A prediction outside the labels is none: its rows are counted by true label.
    """
    counts = np.zeros((n_labels, n_labels), dtype=np.int64)
    none = [0] * n_labels
    for truth, predicted, n in cells:
        if 0 <= predicted < n_labels:
            counts[truth, predicted] += n
        else:
            none[truth] += n
    return counts, none if any(none) else None


def count_metrics(m: Margins, positive: int | None) -> dict[str, FloatArray]:
    """Every count metric, each [...]; NaN where it is undefined.

    A label with true rows that is never predicted has F1 0; a label in neither truth nor
    predictions is left out of the macro averages. With two labels and a `positive` code,
    precision, recall and F1 of that label are added.
    """
    rows = m.support.sum(axis=-1)
    precision = _ratio(m.right, m.predicted)
    recall = _ratio(m.right, m.support)
    f1 = _ratio(2 * m.right, m.support + m.predicted)
    labels_present = (m.support + m.predicted > 0).sum(axis=-1)
    labels_true = (m.support > 0).sum(axis=-1)
    accuracy = _ratio(m.right.sum(axis=-1), rows, np.nan)
    found = {"accuracy": accuracy}
    found["balanced_accuracy"] = _ratio(recall.sum(axis=-1), labels_true, np.nan)
    for name, values in (("precision", precision), ("recall", recall), ("f1", f1)):
        found[f"macro_{name}"] = _ratio(values.sum(axis=-1), labels_present, np.nan)
        weighted = _ratio((values * m.support).sum(axis=-1), rows, np.nan)
        found[f"weighted_{name}"] = weighted
    right, named = m.right.sum(axis=-1), m.predicted.sum(axis=-1)
    # One answer per row: all three are right rows ÷ rows, but for rows without a prediction.
    found["micro_precision"] = _ratio(right, named)
    found["micro_recall"] = found["weighted_recall"] = accuracy
    found["micro_f1"] = _ratio(2 * right, rows + named, np.nan)
    found["mcc"] = _mcc(m)
    if positive is not None and m.right.shape[-1] == 2:
        found |= _positive_metrics(m, positive)
    return found


def _positive_metrics(m: Margins, positive: int) -> dict[str, FloatArray]:
    right, support, predicted = (
        values[..., positive] for values in (m.right, m.support, m.predicted)
    )
    never_named = np.where(support > 0, 0.0, np.nan)  # in a draw of rows; observed, it is undefined
    return {
        "precision": _ratio(right, predicted, never_named),
        "recall": _ratio(right, support, np.nan),
        "f1": _ratio(2 * right, support + predicted, np.nan),
    }


def _mcc(m: Margins) -> FloatArray:
    """Gorodkin 2004, for any number of labels; 0 where truth or predictions never vary."""
    rows = m.support.sum(axis=-1)
    together = m.right.sum(axis=-1) * rows - (m.support * m.predicted).sum(axis=-1)
    truth = rows**2 - (m.support**2).sum(axis=-1)
    no_prediction = rows - m.predicted.sum(axis=-1)  # a column of its own, which no row is right in
    predicted = rows**2 - (m.predicted**2).sum(axis=-1) - no_prediction**2
    # Weighted rows may leave a last bit below 0 where truth or predictions do not vary.
    spread = [np.sqrt(np.maximum(square, 0.0)) for square in (truth, predicted)]
    return _ratio(together, spread[0] * spread[1])


def _ratio(above: Any, below: Any, otherwise: Any = 0.0) -> FloatArray:
    """above / below, and `otherwise` where below is 0, without a warning."""
    out = np.array(np.broadcast_to(otherwise, np.broadcast(above, below).shape), dtype=np.float64)
    np.divide(above, below, out=out, where=np.asarray(below) > 0)
    return out


def classification_metrics(
    counts: NDArray[Any],
    labels: Sequence[str],
    positive: str | None,
    no_prediction: Sequence[int] | None = None,
) -> dict[str, float]:
    """Metrics of confusion counts [C, C]; a metric that does not apply is absent.

    Rows without a prediction, [C] by true label, count as wrong.

    So is the precision of a positive label that is never predicted: 0 ÷ 0 is no share of anything.
    Its F1 is 0, where it has true rows.
    Raises ValueError when `positive` is not among `labels`.
    """
    code = None if positive is None else list(labels).index(positive)
    m = margins(counts, no_prediction)
    found = count_metrics(m, code)
    if code is not None and m.predicted[code] == 0:
        found.pop("precision", None)
    return {name: float(value) for name, value in found.items() if not np.isnan(value)}


def per_class(
    counts: NDArray[Any], labels: Sequence[str], no_prediction: Sequence[int] | None = None
) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and support (an int) of each label in truth or predictions.

    Where only the precision or only the recall has nothing to divide by, it is 0.
    """
    m = margins(counts, no_prediction)
    columns = {
        "precision": _ratio(m.right, m.predicted),
        "recall": _ratio(m.right, m.support),
        "f1": _ratio(2 * m.right, m.support + m.predicted),
    }
    return {
        label: {name: float(values[i]) for name, values in columns.items()}
        | {"support": int(m.support[i])}
        for i, label in enumerate(labels)
        if m.support[i] + m.predicted[i] > 0
    }


def undefined_labels(
    counts: NDArray[Any], labels: Sequence[str], no_prediction: Sequence[int] | None = None
) -> list[str]:
    """The labels that occur in neither truth nor predictions: no macro average holds them."""
    m = margins(counts, no_prediction)
    return [label for i, label in enumerate(labels) if m.support[i] + m.predicted[i] == 0]


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


def text_metrics(
    nll: NDArray[Any], tokens: NDArray[Any], correct: NDArray[Any], n_bytes: NDArray[Any]
) -> dict[str, float]:
    """Language-model metrics from per-row sums, each [n]; nll in nats over the scored tokens.

    Rows with nothing to score (0 tokens) are left out; with no other rows the result is empty.
    NaN and infinity stay what they are.
    """
    kept = tokens > 0
    if not kept.any():
        return {}
    columns = (nll, tokens, correct, n_bytes)
    totals = np.array([np.asarray(c)[kept].sum(dtype=np.float64) for c in columns])
    found = text_metrics_of_totals(totals)
    if totals[3] == 0:
        del found["bits_per_byte"]
    return {name: float(value) for name, value in found.items()}


def text_metrics_of_totals(totals: FloatArray) -> dict[str, FloatArray]:
    """Totals [..., 4] of nll, tokens, correct and bytes to metrics [...]: one division each."""
    nll, tokens, correct, n_bytes = np.moveaxis(totals, -1, 0)
    loss = nll / tokens
    with np.errstate(over="ignore"):  # a loss above 709 nats: its perplexity is infinite
        perplexity = np.exp(loss)
    return {
        "loss": loss,
        "perplexity": perplexity,
        "token_accuracy": correct / tokens,
        "average_log_likelihood": -loss,
        "bits_per_byte": _ratio(nll, LN_2 * n_bytes, np.nan),
    }
