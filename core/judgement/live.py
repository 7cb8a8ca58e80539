"""What a run under way measures: its declared metric on validation beside what needs no training,
and whether its training loss fell between two moments.

A head that was initialised at random is no meaningful baseline: a run with one stands against the
majority answer, which the labels of validation give without any model.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from ..metrics.metric import METRICS, observed
from ..metrics.sums import margins_of_cells, token_totals
from ..run.events import Evaluated
from ..run.history import NOISE_ERRORS, History, Stage
from ..run.logged import VALIDATION_LOSS
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
        return _logged_figure(history)
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


def _logged_figure(history: History) -> LiveFigure | None:
    """The validation loss as another loop logged it."""
    logged = history.scalars.series.get(VALIDATION_LOSS)
    return LiveFigure("loss", logged.step[-1], logged.value[-1]) if logged else None


def live_reference(history: History) -> tuple[str, Evaluated | None]:
    """What the tuned model stands against while it trains, and what that scored."""
    if history.model is not None and history.model.new_head:
        return "majority", majority_evaluation(history)
    base = history.evaluation("validation", "base", 0)
    return "base", base or history.evaluation("validation", "tuned", 0)


def majority_evaluation(history: History) -> Evaluated | None:
    """The commonest label of train, answered on every row of validation (C6).

    None where rows have several labels: their counts do not say which come together.
    """
    if not history.task_type.has_labels:
        return None
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
    if task.writes:
        return observed("tokens", token_totals(e.loss_sum, e.loss_count, e.correct, e.bytes))
    found = {"loss": mean_loss(e)} | e.values
    if not task.has_labels:
        return found
    found["accuracy"] = e.correct / e.count if e.count else math.nan
    if not e.confusion:
        return found
    code = list(labels).index(positive) if positive and positive in labels else None
    counted = observed("counts", margins_of_cells(e.confusion, len(labels), code))
    # accuracy stays that of all rows: cells leave out rows that have no prediction
    return found | {name: value for name, value in counted.items() if name != "accuracy"}


def mean_loss(e: Evaluated) -> float:
    return e.loss_sum / e.loss_count if e.loss_count else math.nan


WINDOWS = 500  # places at which a mean is taken
FEW_STEPS = 20  # fewer have no noise that could be known: only a gross rise counts
CLEAR = 2.0  # standard errors
FLAT = 0.02  # of a loss: a fall this small, and not a clear one, is next to nothing
STILL = 0.002  # of a validation loss: no training that did anything moves it so little


@dataclass(frozen=True)
class Window:
    """Mean training loss over consecutive steps."""

    first: int  # place of its first step in the series
    last_step: int
    mean: float
    error: float  # standard error of the mean; infinite where the steps are too few to know it


def windows(history: History) -> list[Window]:
    """Means over a tenth of the steps, sliding; empty for hardly any steps and losses not finite.

    The first and the last are at the ends of the series, at most `WINDOWS` more between them.
    """
    n = len(history.steps)
    if n < 3 or not all(map(math.isfinite, history.steps.loss)):
        return []
    k = max(5, n // 10) if n >= FEW_STEPS else max(1, n // 4)
    sums = [0.0, *accumulate(history.steps.loss)]
    squares = [0.0, *accumulate(x * x for x in history.steps.loss)]
    places = [*range(0, n - k, max(1, (n - k) // WINDOWS)), n - k]
    return [_window(history, (sums, squares), i, k) for i in places]


def _window(history: History, totals: tuple[list[float], list[float]], i: int, k: int) -> Window:
    sums, squares = totals
    mean = (sums[i + k] - sums[i]) / k
    # The mean of squares less the square of the mean: from running sums every window costs the same
    # whatever its length. Rounding may leave a little less than nothing.
    variance = max(0.0, (squares[i + k] - squares[i]) / k - mean * mean)
    known = len(history.steps) >= FEW_STEPS and k > 1
    # variance / (k - 1): the unbiased variance k / (k - 1) times as large, over k for the mean
    error = math.sqrt(variance / (k - 1)) if known else math.inf
    return Window(i, history.steps.step[i + k - 1], mean, error)


def between(history: History, after: int, to: int) -> Window | None:
    """The steps after one and up to another; None where these are fewer than two, or not finite."""
    i, j = bisect_right(history.steps.step, after), bisect_right(history.steps.step, to)
    losses = history.steps.loss[i:j]
    k = len(losses)
    if k < 2 or not all(map(math.isfinite, losses)):
        return None
    mean = math.fsum(losses) / k
    variance = math.fsum((x - mean) ** 2 for x in losses) / (k - 1)
    return Window(i, history.steps.step[j - 1], mean, math.sqrt(variance / k))


def fell(before: Window | None, after: Window | None) -> bool | None:
    """Whether the training loss fell (True) or rose (False) beyond its noise; else None."""
    if before is None or after is None:
        return None
    # means over other steps are independent: their errors add as squares
    change, error = after.mean - before.mean, math.hypot(before.error, after.error)
    return None if abs(change) <= CLEAR * error else change < 0


def training_fell(history: History, step: int) -> bool | None:
    """The same from the steps that led to one to as many at the end of training."""
    steps = history.steps.step
    k = max(3, len(steps) // 10)
    i = bisect_left(steps, step)
    if not len(steps) or len(steps) < 2 * k:
        return None
    start = max(0, min(i + 1, len(steps)) - k)
    led = between(history, steps[start] - 1, steps[start + k - 1])
    return fell(led, between(history, steps[-k] - 1, steps[-1]))


def hardly_moved(history: History) -> bool:
    """Training changed next to nothing: neither its own loss nor that of validation shows it.

    Where few steps make a noisy mean, validation decides: the same rows, scored twice.
    """
    found = windows(history)
    if not found or not math.isfinite(found[0].error):
        return False
    first, last = found[0], found[-1]
    apart = abs(first.mean - last.mean)
    if fell(first, last) or apart > CLEAR * math.hypot(first.error, last.error) + FLAT * first.mean:
        return False
    series = history.validation_series()
    change = history.change(series[0].step, series[-1].step) if len(series) > 1 else None
    flat = apart < FLAT * first.mean
    if change is None or (change.level and flat):
        return flat
    moved = abs(change.difference) + NOISE_ERRORS * change.standard_error
    return moved < STILL * series[0].loss_sum / series[0].loss_count
