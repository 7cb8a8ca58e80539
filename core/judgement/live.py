"""What a run under way measures: its declared metric on validation, beside what needs no training.

A head that was initialised at random is no meaningful baseline: a run with one stands against the
majority answer, which the labels of validation give without any model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..metrics.metric import METRICS, observed
from ..metrics.sums import margins_of_cells, token_totals
from ..run.events import Evaluated
from ..run.history import History, Stage
from ..tasks import Task

ACTIVITIES = (  # what goes on while each stage runs
    "loading the base model",
    "preparing the training data",
    "fine-tuning",
    "preparing the evaluation data",
    "evaluating",
)
FALLBACKS = ("accuracy", "loss")  # where the declared metric needs probabilities or answers


@dataclass(frozen=True)
class LiveFigure:
    """A metric of the last evaluation on validation, and of the reference on the same rows."""

    metric: str
    step: int
    value: float
    reference: float | None = None
    reference_model: str | None = None


def live_figure(history: History, metric: str) -> LiveFigure | None:
    """None before the first evaluation; another metric only where this one is not measured yet."""
    series = history.validation_series()
    if not series:
        return None
    last = series[-1]
    values = evaluation_values(last, history)
    known = next((name for name in (metric, *FALLBACKS) if name in values), None)
    if known is None:
        return None
    model, e = live_reference(history)
    reference = evaluation_values(e, history).get(known) if e else None
    if reference is None or e is last:
        return LiveFigure(known, last.step, values[known])
    return LiveFigure(known, last.step, values[known], reference, model)


def live_reference(history: History) -> tuple[str, Evaluated | None]:
    """What the tuned model stands against while it trains, and what that scored."""
    if history.model is not None and history.model.new_head:
        return "majority", majority_evaluation(history)
    base = history.evaluation("validation", "base", 0)
    return "base", base or history.evaluation("validation", "tuned", 0)


def majority_evaluation(history: History) -> Evaluated | None:
    """The commonest label of train, answered on every row of validation (C6)."""
    train, validation = history.splits.get("train"), history.splits.get("validation")
    if not train or not validation or not train.labels or not validation.labels:
        return None
    answer = max(history.labels, key=lambda label: train.labels.get(label, 0), default=None)
    if answer is None:
        return None
    code, rows = history.labels.index(answer), sum(validation.labels.values())
    cells = [(i, code, validation.labels.get(name, 0)) for i, name in enumerate(history.labels)]
    return Evaluated(
        split="validation",
        model="majority",
        step=0,
        epoch=0.0,
        rows=rows,
        loss_sum=0.0,
        loss_count=0,
        correct=validation.labels.get(answer, 0),
        count=rows,
        confusion=[cell for cell in cells if cell[2]],
    )


def activity(history: History, stage: Stage) -> str:
    """What goes on while a stage runs; where nothing is trained the third loads the tuned model."""
    loads = stage.number == 3 and not history.trains
    return "loading the tuned model" if loads else ACTIVITIES[stage.number - 1]


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
