"""One series of a chart: where its points stand on each axis, and their values as far as read."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from .pyramid import Pyramid

SMOOTHINGS = (0.0, 0.9, 0.98)  # share of the past in the moving average
Places = Callable[[str], Sequence[float]]  # axis -> where each point stands, in order


class Average:
    """A moving average of another series, its start unbiased; what is not finite is left out."""

    def __init__(self, share: float, source: Pyramid) -> None:
        self.share, self.source, self.series = share, source, Pyramid()
        self._average = self._weight = 0.0

    def catch_up(self, most: int | None = None) -> Pyramid:
        """Take in what the source has grown by, or so many of its values at most."""
        begun = len(self.series)
        end = len(self.source) if most is None else min(len(self.source), begun + most)
        new = self.source.values[begun:end]
        lost = self.source.not_finite
        calm = not lost or lost[-1] < len(self.series)
        made: list[float] = []
        for value in new:
            if calm and self._weight == self._next_weight():
                break  # full weight for good: the rest is one sum that runs on
            if math.isfinite(value):
                self._average = self.share * self._average + (1 - self.share) * value
                self._weight = self._next_weight()
            made.append(self._average / self._weight if self._weight else math.nan)
        made += self._run_on(new[len(made) :])
        self.series.extend(made)
        return self.series

    def _next_weight(self) -> float:
        return self.share * self._weight + (1 - self.share)

    def _run_on(self, values: array[float]) -> list[float]:
        if not values:
            return []
        share, rest, weight = self.share, 1 - self.share, self._weight
        averages = list(
            accumulate(values, lambda so_far, v: share * so_far + rest * v, initial=self._average)
        )
        self._average = averages[-1]
        return [average / weight for average in averages[1:]]


@dataclass
class Series:
    """Points with a name, a sign and a role: never told by colour alone."""

    name: str
    sign: str
    role: str
    xs: Places
    values: Pyramid
    kind: str = "steps"  # "evaluations": measured now and then, drawn as points; "samples"
    noisy: bool = False  # from step to step: a moving average tells more
    _averages: dict[float, Average] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def as_points(self) -> bool:
        return self.kind == "evaluations"

    def smoothed(self, share: float) -> Pyramid:
        """The moving average, made when first asked for; what is not noisy has none."""
        if not share or not self.noisy:
            return self.values
        return self.average(share).catch_up()

    def average(self, share: float) -> Average:
        """The moving average as far as it is made."""
        if share not in self._averages:
            self._averages[share] = Average(share, self.values)
        return self._averages[share]


@dataclass(frozen=True)
class Chart:
    """One or two series over one y-axis."""

    name: str  # as a metric is named
    title: str
    unit: str  # of core.numbers.metric_table, "rate", "GiB", "count" or ""
    series: tuple[Series, ...]
    lower_is_better: bool = True

    @property
    def points(self) -> Series | None:
        """The series of evaluations, if it has one."""
        return next((s for s in self.series if s.as_points), None)


def rates(counts: Iterable[float], seconds: Iterable[float]) -> array[float]:
    return array("d", [n / s if s > 0 else math.nan for n, s in zip(counts, seconds, strict=False)])
