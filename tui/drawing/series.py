"""One series of a chart: where its points stand on each axis, and their values as far as read."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

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
    """Points with a name, a sign and a role: never known by colour alone."""

    name: str
    sign: str
    role: str
    xs: Places
    values: Pyramid
    kind: str = "steps"  # "evaluations": measured now and then, drawn as points; "samples";
    # "logged", and "logged evaluations": a figure of another loop, with steps of its own
    noisy: bool = False  # from step to step: a moving average shows more
    _averages: dict[float, Average] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def as_points(self) -> bool:
        return self.kind.endswith("evaluations")

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
        return next((s for s in self.series if s.kind == "evaluations"), None)


def rates(counts: Iterable[float], seconds: Iterable[float]) -> array[float]:
    """Counts per second; NaN where no time has passed."""
    return array("d", [n / s if s > 0 else math.nan for n, s in zip(counts, seconds, strict=False)])


FAN = 32  # values a block
AT_ONCE = 1 << 16  # values looked at together for one that is not finite


class Pyramid:
    """An append-only series with the least and greatest of any range in O(log n).

    Minimum and maximum keep every spike, which strides and means do not. What is not finite is left
    out of the ranges and counted. The values may be another's array, which is read and never
    written: `catch_up` takes in what it has grown by.
    """

    def __init__(self, values: array[float] | None = None) -> None:
        self.values: array[float] = array("d") if values is None else values
        self.not_finite: array[int] = array("q")  # positions
        self._seen = 0
        self._levels: list[tuple[array[float], array[float]]] = []  # least and greatest of blocks
        self.catch_up()

    def __len__(self) -> int:
        return self._seen

    def append(self, value: float) -> None:
        self.extend((value,))

    def extend(self, values: Iterable[float]) -> None:
        self.values.extend(values)
        self.catch_up()

    def catch_up(self) -> None:
        """Take in values that were appended since."""
        while self._seen < len(self.values):
            new = self.values[self._seen : self._seen + AT_ONCE]
            if not math.isfinite(sum(new)):  # of all at once: asking each costs ten times as much
                lost = (i for i, v in enumerate(new, self._seen) if not math.isfinite(v))
                self.not_finite.extend(lost)
            self._seen += len(new)
        self._build_blocks()

    def _build_blocks(self) -> None:
        """Blocks of values, blocks of blocks: each level as far as its blocks are full."""
        if self._seen < FAN:
            return
        if not self._levels:
            self._levels.append((array("d"), array("d")))
        lows, highs = self._levels[0]
        for start in range(len(lows) * FAN, self._seen - FAN + 1, FAN):
            block = self._finite(start, start + FAN)
            lows.append(min(block, default=math.inf))
            highs.append(max(block, default=-math.inf))
        level = 0
        while len(self._levels[level][0]) >= FAN:
            if level + 1 == len(self._levels):
                self._levels.append((array("d"), array("d")))
            (lows, highs), (above_lows, above_highs) = self._levels[level : level + 2]
            for start in range(len(above_lows) * FAN, len(lows) - FAN + 1, FAN):
                above_lows.append(min(lows[start : start + FAN]))
                above_highs.append(max(highs[start : start + FAN]))
            level += 1

    def _finite(self, start: int, end: int) -> array[float] | list[float]:
        lost = self.not_finite
        at = bisect_left(lost, start)
        if at < len(lost) and lost[at] < end:
            return [v for v in self.values[start:end] if math.isfinite(v)]
        return self.values[start:end]

    def span(self, start: int, end: int) -> tuple[float, float]:
        """Least and greatest of values[start:end]; (inf, -inf) where nothing is finite."""
        lows, highs = [math.inf], [-math.inf]
        edges, start, end = _edges(start, end)
        for a, b in edges:
            if part := self._finite(a, b):
                lows.append(min(part))
                highs.append(max(part))
        for level_lows, level_highs in self._levels:
            edges, start, end = _edges(start, end)
            for a, b in edges:
                lows.append(min(level_lows[a:b]))
                highs.append(max(level_highs[a:b]))
        return min(lows), max(highs)


def _edges(start: int, end: int) -> tuple[list[tuple[int, int]], int, int]:
    """What of a range no whole block holds, and the range of blocks between, empty if none."""
    first, last = -(-start // FAN), end // FAN
    if first >= last:
        return [(start, end)] if start < end else [], 0, 0
    edges = [(start, first * FAN), (last * FAN, end)]
    return [(a, b) for a, b in edges if a < b], first, last
