"""How training went: means of the training loss with their noise, and what they say of the run."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import accumulate

from ...run.history import NOISE_ERRORS, History
from .case import Case

WINDOWS = 500  # places at which a mean is taken
FEW_STEPS = 20  # fewer have no noise that could be known: only a gross rise counts
CLIMB = 0.2  # of the lowest mean loss
LEAST_RISE = 0.02  # of the loss of knowing nothing: a smaller rise is none, however sure
GROSS = 2.0  # times that loss: so large a rise needs no test
CERTAIN = 4.0  # standard errors
CLEAR = 2.0  # standard errors
FLAT = 0.02  # of a loss: a fall this small, and not a clear one, is next to nothing
STILL = 0.002  # of a validation loss: no training that did anything moves it so little
NEAR_FLOOR = 0.95  # of the loss of knowing nothing: at or above, little was learnt


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
    variance = max(0.0, (squares[i + k] - squares[i]) / k - mean * mean)
    known = len(history.steps) >= FEW_STEPS and k > 1
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


def floor(case: Case) -> tuple[float, str] | None:
    """The loss of knowing nothing of the input, in nats, and what has it."""
    if not case.task.has_labels:
        guess = case.history.random_loss
        return None if guess is None else (guess, "guessing tokens at random (ln V)")
    counts = case.train_labels()
    total = sum(counts.values())
    if len(counts) < 2:
        return None
    entropy = -sum(n / total * math.log(n / total) for n in counts.values())
    return entropy, "always answering with the labels' shares of train"


def unit(case: Case) -> float:
    """What a rise is measured by, besides the loss itself: the loss of knowing nothing, in nats."""
    known = floor(case)
    guess = known[0] if known else case.history.random_loss
    return guess or 1.0


def rose(case: Case, low: Window, high: Window) -> bool:
    """By more than a share of the loss, by more than a share of the floor, and beyond noise."""
    rise, known = high.mean - low.mean, unit(case)
    if rise <= CLIMB * low.mean or rise <= LEAST_RISE * known:
        return False
    return rise > CERTAIN * math.hypot(low.error, high.error) or rise > GROSS * known


def diverged(case: Case) -> tuple[Window, Window] | None:
    """The lowest mean of the training loss and the last one, where it rose between them for good.

    A loss that only rose from its start and came to rest where knowing nothing would put it is not
    meant: that is a rate too high for a start.
    """
    found = windows(case.history)
    if not found:
        return None
    low, last = min(found, key=lambda w: w.mean), found[-1]
    if not rose(case, low, last):
        return None
    from_start = low.first <= len(case.history.steps) // 10
    gross = last.mean - low.mean > GROSS * unit(case)
    return (low, last) if gross or not from_start else None


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


def ended_near_floor(case: Case) -> tuple[float, float, str] | None:
    """Training loss of the last epoch, that of knowing nothing and its name, where near."""
    losses = [e.train_loss for e in case.history.epochs if math.isfinite(e.train_loss)]
    known = floor(case)
    if not losses or known is None or losses[-1] < NEAR_FLOOR * known[0]:
        return None
    return losses[-1], *known


def learnt_nothing(case: Case) -> bool:
    """It hardly moved, or ended where knowing nothing of the input would."""
    return hardly_moved(case.history) or ended_near_floor(case) is not None


@dataclass(frozen=True)
class Training:
    """What a remedy must know of a run before it advises anything."""

    trains: bool
    adapter: bool
    diverged: bool
    learnt: bool
    steps: int
    rate: float  # at its peak; NaN where no step was made


def training(case: Case) -> Training:
    """How the run was trained, and with what success."""
    history = case.history
    steps, losses = len(history.steps), history.steps.loss
    gone = diverged(case) is not None or bool(losses and not math.isfinite(losses[-1]))
    return Training(
        trains=case.trains,
        adapter=case.adapter,
        diverged=gone,
        learnt=steps >= FEW_STEPS and not learnt_nothing(case),
        steps=steps,
        rate=max(history.steps.learning_rate) if steps else math.nan,
    )


def learn_more(case: Case, otherwise: str, also: str = "") -> str:
    """For a model that knows too little; `otherwise` where nothing was trained."""
    run = training(case)
    if not run.trains:
        return otherwise
    if run.diverged:
        return _gentler(run)
    return f"Raise train.learning_rate{_was(run)} or train.epochs" + (f", {also}" if also else "")


def learn_less(case: Case, otherwise: str) -> str:
    """For a model that was changed too much."""
    run = training(case)
    if not run.trains:
        return otherwise
    adapter = "" if run.adapter else ", or train a low-rank adapter (model.adapter)"
    return f"Lower train.learning_rate{_was(run)} or train.epochs{adapter}"


def steadier(case: Case) -> str:
    """For training that ran out of control."""
    return _gentler(training(case))


def for_label(case: Case, label: str, metric: str) -> str:
    """For one label that the model fails to find."""
    run = training(case)
    judge = f'Judge by {metric} of "{label}" or macro F1'
    if not run.trains:
        return f"{judge}; choose its threshold on validation, or take another model"
    if run.diverged:
        return f"{judge}; {_lowered(_gentler(run))}"
    if not run.learnt:
        return f"{judge}; raise train.learning_rate{_was(run)} or train.epochs first"
    return f"{judge}; choose a threshold on validation, or give the label more rows of train"


def _gentler(run: Training) -> str:
    return f"Lower train.learning_rate{_was(run)}, or raise train.warmup_ratio"


def _was(run: Training) -> str:
    return "" if math.isnan(run.rate) else f" (it was {run.rate:.3g} at its peak)"


def _lowered(text: str) -> str:
    return text[0].lower() + text[1:]
