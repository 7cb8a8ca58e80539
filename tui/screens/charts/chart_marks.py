"""What is marked in a chart: lost and skipped steps, the checkpoint kept, lines to compare with."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass

from ....core.config.config import EarlyStopping
from ...drawing.series import Chart
from .chart_data import ChartData


@dataclass(frozen=True)
class Level:
    """A horizontal line with its words."""

    value: float
    sign: str
    words: str
    role: str
    every: int  # dots from one to the next


def levels(data: ChartData, chart: Chart) -> list[Level]:
    """Chance, in the chart of the loss; what has to be beaten, in the one that is stopped by."""
    found = []
    chance = data.history.random_loss
    if chance is not None and chart.name == "loss":
        words = f"chance ln {round(math.exp(chance)):,} = {chance:.3f}"
        found.append(Level(chance, "┄", words, "reference", 4))
    if data.early_stopping and chart.name == data.best_metric:
        found += early_stopping_level(data, chart, data.early_stopping)
    return found


def early_stopping_level(data: ChartData, chart: Chart, stop: EarlyStopping) -> list[Level]:
    points = chart.points
    first = next((i for i, e in enumerate(data.validation) if e.step > 0), None)
    if points is None or first is None:
        return []
    best, since = waited(
        points.values.values[first:], stop.min_delta, lower_is_better=chart.lower_is_better
    )
    if best is None:
        return []
    left = max(0, stop.patience - since)
    words = f"to beat {best:.4g}: {left} of {stop.patience} evaluations left"
    return [Level(best, "╌", words, "warn" if left <= 1 else "reference", 6)]


def waited(
    values: Iterable[float], min_delta: float, *, lower_is_better: bool
) -> tuple[float | None, int]:
    """What an evaluation has to beat, and how many did not since it was measured (T2)."""
    best: float | None = None
    since = 0
    for value in values:
        gain = math.inf if best is None else (best - value if lower_is_better else value - best)
        if not math.isnan(value) and gain > min_delta:
            best, since = value, 0
        else:
            since += 1
    return best, since


def best_point(data: ChartData, chart: Chart | None = None) -> tuple[int, float] | None:
    """The step whose checkpoint is kept, with what this chart shows of it (the loss by default)."""
    best, points = data.history.best_step, (chart or data.chart("loss")).points
    if best is None or points is None:
        return None
    index = bisect_left(data.validation, best, key=lambda e: e.step)
    if index < len(data.validation) and data.validation[index].step == best:
        return best, points.values.values[index]
    return None


def marked_steps(data: ChartData) -> tuple[list[int], list[int]]:
    """Steps whose loss was not finite, and steps that made no update."""
    steps = data.history.steps
    return [steps.step[i] for i in data.loss.not_finite], list(steps.skipped_steps)
