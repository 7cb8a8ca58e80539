"""A long series that tells the extremes of any part of it at once."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Iterable

FAN = 32  # values a block
AT_ONCE = 1 << 16  # values looked at together for one that is not finite


class Pyramid:
    """An append-only series that tells the least and greatest of any range in O(log n).

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
