"""The metrics of an evaluation from the sums and counts that it wrote down, without NumPy.

The same arithmetic as `core.metrics.metrics`, for whoever shows a run before NumPy is there.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable

from ..run.events import Evaluated
from ..run.history import History

Counts = defaultdict[int, int]  # by label


def evaluation_values(e: Evaluated, history: History) -> dict[str, float]:
    """Metric to value; what is undefined is absent."""
    if history.task_type.has_labels:
        found = _of_counts(e, history.labels, history.positive)
    else:
        found = _of_text(e)
    return {name: value for name, value in found.items() if not math.isnan(value)}


def mean_loss(e: Evaluated) -> float:
    return e.loss_sum / e.loss_count if e.loss_count else math.nan


def _of_text(e: Evaluated) -> dict[str, float]:
    loss = mean_loss(e)
    return {
        "loss": loss,
        "perplexity": math.exp(loss) if loss < 709 else math.inf if loss >= 709 else math.nan,
        "token_accuracy": _ratio(e.correct, e.count, math.nan),
        "average_log_likelihood": -loss,
        "bits_per_byte": _ratio(e.loss_sum, math.log(2) * e.bytes, math.nan),
    }


def _of_counts(e: Evaluated, labels: list[str], positive: str | None) -> dict[str, float]:
    found = {"loss": mean_loss(e), "accuracy": _ratio(e.correct, e.count, math.nan)}
    if not e.confusion:
        return found
    right: Counts = defaultdict(int)
    support: Counts = defaultdict(int)
    predicted: Counts = defaultdict(int)
    for truth, prediction, count in e.confusion:
        support[truth] += count
        predicted[prediction] += count  # one past the last label: no prediction
        if truth == prediction:
            right[truth] += count
    named = [k for k in support.keys() | predicted.keys() if k < len(labels)]
    present = [k for k in named if support[k] + predicted[k]]
    precision = {k: _ratio(right[k], predicted[k]) for k in present}
    recall = {k: _ratio(right[k], support[k]) for k in present}
    f1 = {k: _ratio(2 * right[k], support[k] + predicted[k]) for k in present}
    rows = sum(support.values())
    found |= {
        "macro_f1": _mean(f1.values()),
        "balanced_accuracy": _mean(recall[k] for k in present if support[k]),
        "macro_precision": _mean(precision.values()),
        "macro_recall": _mean(recall.values()),
        "weighted_f1": _ratio(sum(f1[k] * support[k] for k in present), rows, math.nan),
        "mcc": _mcc(right, support, predicted),
    }
    if positive in labels and len(labels) == 2:
        k = labels.index(positive)
        found["precision"] = _ratio(right[k], predicted[k], math.nan)
        found["recall"] = _ratio(right[k], support[k], math.nan)
        found["f1"] = _ratio(2 * right[k], support[k] + predicted[k], math.nan)
    return found


def _mcc(right: Counts, support: Counts, predicted: Counts) -> float:
    rows = sum(support.values())
    together = sum(right.values()) * rows - sum(n * predicted[k] for k, n in support.items())
    truth = rows**2 - sum([n * n for n in support.values()])
    answers = rows**2 - sum([n * n for n in predicted.values()])
    return _ratio(together, math.sqrt(max(0, truth)) * math.sqrt(max(0, answers)))


def _ratio(above: float, below: float, otherwise: float = 0.0) -> float:
    return above / below if below > 0 else otherwise


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found) if found else math.nan
