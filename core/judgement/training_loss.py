"""Means of the training loss with their noise, and whether it fell between two moments.

Of a history alone: the first screen says so of each epoch, and loads none of the findings.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import accumulate

from ..run.history import NOISE_ERRORS, History

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
