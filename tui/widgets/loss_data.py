"""The loss of a run as a chart needs it: series with four x-axes, brought up to date in place."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Sequence

from ...core.events import Evaluated, RunStarted
from ...core.history import History
from .plot import Pyramid, nice_step

AXES = ("step", "epoch", "time", "tokens")
SMOOTHINGS = (0.0, 0.9, 0.98)  # share of the past in the moving average


class LossData:
    """Training and validation loss, appended to as the history grows."""

    def __init__(self) -> None:
        self.history = History()
        self.validation: list[Evaluated] = []
        self.validation_loss = Pyramid()
        self._begin(None)

    def _begin(self, started: RunStarted | None) -> None:
        self._started = started
        self.loss = Pyramid()
        self.smoothed = {share: Pyramid() for share in SMOOTHINGS if share}
        self._averages = dict.fromkeys(self.smoothed, (0.0, 0.0))
        self.tokens: array[float] = array("d")
        self.seconds: array[float] = array("d")

    def update(self, history: History) -> None:
        self.history = history
        steps = history.steps
        if history.started is not self._started or len(steps) < len(self.loss):
            self._begin(history.started)  # a resumed run makes some steps again
        begin = len(self.loss)
        for i in range(begin, len(steps)):
            self._append(steps.loss[i], steps.tokens[i], steps.time[i] - steps.time[0])
        series = history.validation_series()
        if series != self.validation:
            self.validation, self.validation_loss = series, Pyramid()
            self.validation_loss.extend(
                e.loss_sum / e.loss_count if e.loss_count else math.nan for e in series
            )

    def _append(self, loss: float, tokens: int, seconds: float) -> None:
        self.loss.append(loss)
        self.tokens.append((self.tokens[-1] if self.tokens else 0.0) + tokens)
        # a clock that was set back must not fold the axis
        self.seconds.append(max(seconds, self.seconds[-1] if self.seconds else 0.0))
        for share, series in self.smoothed.items():
            average, weight = self._averages[share]
            if math.isfinite(loss):
                average = share * average + (1 - share) * loss
                weight = share * weight + (1 - share)
            self._averages[share] = average, weight
            series.append(average / weight if weight else math.nan)

    def __len__(self) -> int:
        return len(self.loss)

    def xs(self, axis: str) -> Sequence[float]:
        """Where each step stands on an axis."""
        if axis == "epoch":
            return self.history.steps.epoch
        if axis == "time":
            return self.seconds
        return self.tokens if axis == "tokens" else self.history.steps.step

    def validation_xs(self, axis: str) -> list[float]:
        if axis == "epoch":
            return [e.epoch for e in self.validation]
        return [self.x_at_step(e.step, axis) for e in self.validation]

    def x_at_step(self, step: int, axis: str) -> float:
        """Where a step stands on an axis; step 0 is at its left end."""
        if axis == "step" or step <= 0:
            return float(max(0, step))
        index = min(bisect_left(self.history.steps.step, step), len(self) - 1)
        return self.xs(axis)[index] if index >= 0 else 0.0

    def full_range(self, axis: str) -> tuple[float, float]:
        """The whole planned axis where it is known, so that columns stay where they are."""
        plan, last = self.history.plan, self.xs(axis)[-1] if len(self) else 1.0
        if plan and not self.history.ended and axis in ("step", "epoch"):
            return 0.0, max(float(plan.max_steps if axis == "step" else plan.epochs), last, 1e-9)
        if self.history.ended or not plan or not len(self):
            return 0.0, max(last, 1e-9)
        expected = last * plan.max_steps / max(1, self.history.step)
        step = nice_step(max(expected, 1e-9), 4)
        return 0.0, math.ceil(max(expected, last) / step) * step

    def index_at(self, x: float, axis: str) -> int:
        """The step nearest to a place on an axis."""
        xs = self.xs(axis)
        right = min(bisect_left(xs, x), len(xs) - 1)
        left = max(0, right - 1)
        return left if x - xs[left] <= xs[right] - x else right

    def validation_near(self, step: int) -> tuple[int, float] | None:
        """The last evaluation at or before a step: its step and loss."""
        found = None
        for e, loss in zip(self.validation, self.validation_loss.values, strict=True):
            if e.step > step:
                break
            found = e.step, loss
        return found
