"""The metrics of an evaluation from the sums and counts that it wrote down, without NumPy."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..metrics.metric import METRICS, observed
from ..metrics.sums import margins_of_cells, token_totals
from ..run.events import Evaluated
from ..run.history import History
from ..tasks import Task


def evaluation_values(e: Evaluated, history: History) -> dict[str, float]:
    """The metrics that have a chart; one that is undefined is absent."""
    found = values_given(e, history.task_type, history.labels, history.positive)
    return {
        name: value
        for name, value in found.items()
        if METRICS[name].chart is not None and not math.isnan(value)
    }


def values_given(
    e: Evaluated, task: Task, labels: Sequence[str], positive: str | None
) -> dict[str, float]:
    """Every metric that the sums and the confusion cells give; `labels` in the order of cells."""
    if not task.has_labels:
        return observed("tokens", token_totals(e.loss_sum, e.loss_count, e.correct, e.bytes))
    found = {"loss": mean_loss(e), "accuracy": e.correct / e.count if e.count else math.nan}
    if not e.confusion:
        return found
    code = list(labels).index(positive) if positive and positive in labels else None
    counted = observed("counts", margins_of_cells(e.confusion, len(labels), code))
    return found | {name: value for name, value in counted.items() if name != "accuracy"}


def mean_loss(e: Evaluated) -> float:
    return e.loss_sum / e.loss_count if e.loss_count else math.nan
