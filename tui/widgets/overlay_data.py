"""The losses of several runs as one chart needs them: on common axes, each with its sign."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from ...core.history import History
from .pyramid import Pyramid

AXES = ("step", "epoch", "time", "tokens")
SMOOTHINGS = (
    0.9,
    0.98,
    0.0,
)  # share of the past in the moving average; noise of many runs hides all
MOST_RUNS = 6


@dataclass(frozen=True)
class Hand:
    """How one run is drawn: its colour, how its line is broken, the sign of its evaluations."""

    role: str
    dash: tuple[int, int]  # columns of dots drawn, columns left out
    line: str
    sign: str


HANDS = (  # signs that stay apart in ASCII too
    Hand("train", (1, 0), "━", "●"),
    Hand("validation", (4, 2), "╍", "▲"),
    Hand("tuned", (2, 2), "┅", "◆"),
    Hand("warn", (6, 2), "╌", "○"),
    Hand("good", (1, 2), "┉", "▼"),
    Hand("base", (1, 4), "┄", "×"),
)


class Curve:
    """One run of the chart."""

    def __init__(self, name: str, hand: Hand, history: History) -> None:
        self.name, self.hand, self.steps = name, hand, history.steps
        self.loss = Pyramid()
        self.loss.extend(history.steps.loss)
        self.smoothed = {share: _smooth(history.steps.loss, share) for share in SMOOTHINGS if share}
        self._tokens = array("d", _running_sum(history.steps.tokens))
        self._seconds = array("d", _never_back(history.steps.time))
        series = history.validation_series()
        self._validation_steps = [e.step for e in series]
        self._validation_epochs = [e.epoch for e in series]
        self.validation = Pyramid()
        self.validation.extend(
            e.loss_sum / e.loss_count if e.loss_count else math.nan for e in series
        )

    def training(self, smoothing: float) -> Pyramid:
        return self.smoothed[smoothing] if smoothing else self.loss

    def xs(self, axis: str) -> Sequence[float]:
        if axis == "epoch":
            return self.steps.epoch
        if axis == "time":
            return self._seconds
        return self._tokens if axis == "tokens" else self.steps.step

    def validation_xs(self, axis: str) -> list[float]:
        if axis == "epoch":
            return self._validation_epochs
        return [self._at_step(step, axis) for step in self._validation_steps]

    def _at_step(self, step: int, axis: str) -> float:
        if axis == "step" or step <= 0:
            return float(max(0, step))
        index = min(bisect_left(self.steps.step, step), len(self.steps) - 1)
        return self.xs(axis)[index] if index >= 0 else 0.0

    def end(self, axis: str) -> float:
        return max([0.0, *self.xs(axis)[-1:], *self.validation_xs(axis)[-1:]])

    def values_at(self, x: float, axis: str, smoothing: float) -> tuple[float | None, float | None]:
        """Training and validation loss at the last point that is not after `x`."""
        return (
            _value_at(x, self.xs(axis), self.training(smoothing).values),
            _value_at(x, self.validation_xs(axis), self.validation.values),
        )


def _value_at(x: float, xs: Sequence[float], values: Sequence[float]) -> float | None:
    index = bisect_left(xs, x * (1 + 1e-9) + 1e-9) - 1
    return values[index] if 0 <= index < len(values) else None


def _smooth(losses: Sequence[float], share: float) -> Pyramid:
    series, average, weight = Pyramid(), 0.0, 0.0
    for loss in losses:
        if math.isfinite(loss):
            average = share * average + (1 - share) * loss
            weight = share * weight + (1 - share)
        series.append(average / weight if weight else math.nan)
    return series


def _running_sum(values: Sequence[float]) -> list[float]:
    total, sums = 0.0, []
    for value in values:
        total += value
        sums.append(total)
    return sums


def _never_back(times: Sequence[float]) -> list[float]:
    """Seconds since the first; a clock that was set back does not fold the axis."""
    latest, seconds = 0.0, []
    for moment in times:
        latest = max(latest, moment - times[0])
        seconds.append(latest)
    return seconds
