"""Arithmetic of line charts: ranges of many points, ticks, dots in cells. No widget, no clock."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

from .pyramid import Pyramid
from .spans import Line


class Part(NamedTuple):
    """What a series does within one column of dots."""

    x: int
    low: float
    high: float
    first: float
    last: float


def column_parts(
    xs: Sequence[float], series: Pyramid, left: float, right: float, dots: int
) -> list[Part]:
    """The series between `left` and `right` as at most `dots` columns, empty ones left out."""
    start, end = bisect_left(xs, left), min(bisect_right(xs, right), len(series))
    scale = (dots - 1) / (right - left) if right > left else 0.0
    parts, values = [], series.values
    while start < end:
        x = int((xs[start] - left) * scale + 0.5)
        limit = left + (x + 0.5) / scale if scale else math.inf
        stop = min(end, max(start + 1, bisect_left(xs, limit, start, end)))
        first, last = values[start], values[stop - 1]
        if stop == start + 1:  # a column of its own, as in most charts of a young run
            if math.isfinite(first):
                parts.append(Part(x, first, first, first, first))
        else:
            low, high = series.span(start, stop)
            if low <= high:
                first = first if math.isfinite(first) else low
                parts.append(Part(x, low, high, first, last if math.isfinite(last) else high))
        start = stop
    return parts


def nice_step(span: float, count: int) -> float:
    """1, 2 or 5 times a power of ten, so that about `count` of them fill the span."""
    raw = span / max(1, count)
    power = 10.0 ** math.floor(math.log10(raw)) if raw > 0 else 1.0
    factor = raw / power
    return power * (1 if factor < 1.5 else 2 if factor < 3 else 5 if factor < 7 else 10)


def nice_ticks(low: float, high: float, count: int) -> list[float]:
    """Round values within [low, high], about `count` of them."""
    if not high > low:
        return [low]
    step = nice_step(high - low, count)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [n * step for n in range(first, last + 1)]


def nice_range(low: float, high: float, count: int = 8) -> tuple[float, float]:
    """The range widened to round values: it moves seldom while data grows."""
    if not math.isfinite(low) or not math.isfinite(high):
        return 0.0, 1.0
    if high <= low:
        pad = abs(low) * 0.1 or 1.0
        low, high = low - pad, high + pad
    step = nice_step(high - low, count)
    return math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step


@dataclass(frozen=True)
class Scale:
    """Values to rows of dots, counted from the top; logarithmic if asked."""

    low: float
    high: float
    dots: int
    log: bool = False

    def row(self, value: float) -> int:
        low, span = self._range
        share = (self._place(value) - low) / span
        last = self.dots - 1
        row = last - int(share * last + 0.5)
        return 0 if row < 0 else last if row > last else row

    @cached_property
    def _range(self) -> tuple[float, float]:
        low, high = self._place(self.low), self._place(self.high)
        return low, (high - low) or 1.0

    def _place(self, value: float) -> float:
        return math.log10(max(value, 1e-12)) if self.log else value

    def ticks(self, count: int) -> list[float]:
        if not self.log:
            return nice_ticks(self.low, self.high, count)
        low, high = self._place(self.low), self._place(self.high)
        if high - low < 1:  # less than a decade: linear ticks read better
            return nice_ticks(self.low, self.high, count)
        return [
            m * 10.0**e
            for e in range(math.floor(low), math.ceil(high) + 1)
            for m in (1, 2, 5)
            if self.low <= m * 10.0**e <= self.high
        ]


@dataclass(frozen=True)
class Marker:
    """How dots fill a cell."""

    name: str
    across: int
    down: int


BRAILLE, BLOCK, ASCII = Marker("braille", 2, 4), Marker("block", 1, 2), Marker("ascii", 1, 1)
MARKERS = (BRAILLE, BLOCK, ASCII)
_BRAILLE_BITS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_DOTS = " " + "".join(chr(0x2800 + bits) for bits in range(1, 256))
_BLOCKS = " ▀▄█"


def _runs(bits: tuple[int, ...]) -> list[list[int]]:
    """The bits of a column of dots from one row to another, both included."""
    rows = range(len(bits))
    return [[sum(bits[start : end + 1]) for end in rows] for start in rows]


_RUNS = {
    "braille": [_runs(column) for column in _BRAILLE_BITS],
    "block": [_runs((1, 2))],
    "ascii": [_runs((1,))],
}
LETTERS = {"validation": "o", "reference": "-", "muted": ".", "train": "*"}


def letter_of(role: str) -> str:
    """What a series of this role is drawn with where a cell holds one character."""
    return LETTERS.get(role, "*")


def _after(before: int, row: int) -> tuple[int, int]:
    """Top and bottom of the dots that lead on from a row in the column before."""
    if row > before:
        return before + 1, row
    return (row, before - 1) if row < before else (row, row)


class Raster:
    """A grid of cells in which dots are set; a cell has the role of the last one who drew in it."""

    def __init__(self, width: int, height: int, marker: Marker) -> None:
        self.width, self.height, self.marker = width, height, marker
        self.dots_across, self.dots_down = width * marker.across, height * marker.down
        self._bits = [[0] * width for _ in range(height)]
        self._runs = _RUNS[marker.name]
        self._roles = [[""] * width for _ in range(height)]
        self._signs: dict[int, dict[int, str]] = {}  # by line, then column of cells

    def set_dots(self, x: int, top: int, bottom: int, role: str) -> None:
        """A vertical run of dots; coordinates in dots, both ends included."""
        column, in_cell = divmod(x, self.marker.across)
        top, bottom = max(0, top), min(self.dots_down - 1, bottom)
        if not 0 <= column < self.width or top > bottom:
            return
        runs, down = self._runs[in_cell], self.marker.down
        (cell, start), (last, end) = divmod(top, down), divmod(bottom, down)
        while cell < last:
            self._bits[cell][column] |= runs[start][down - 1]
            self._roles[cell][column] = role
            cell, start = cell + 1, 0
        self._bits[cell][column] |= runs[start][end]
        self._roles[cell][column] = role

    def draw_dotted(self, y: int, role: str, every: int = 3) -> None:
        """A dotted line across the whole width."""
        for x in range(0, self.dots_across, every):
            self.set_dots(x, y, y, role)

    def draw_parts(self, parts: list[Part], scale: Scale, role: str) -> None:
        """A line through the columns of a series, each from its least to its greatest value."""
        before: tuple[int, int] | None = None
        for part in parts:
            top = bottom = first = last = scale.row(part.high)
            if part.low < part.high:
                bottom, first, last = map(scale.row, (part.low, part.first, part.last))
            if before and part.x - before[0] == 1:
                if before[1] > bottom:
                    bottom = before[1] - 1
                elif before[1] < top:
                    top = before[1] + 1
            elif before:
                self._draw_line(before, (part.x, first), role)
            self.set_dots(part.x, top, bottom, role)
            before = part.x, last

    def _draw_line(self, start: tuple[int, int], end: tuple[int, int], role: str) -> None:
        (x0, y0), (x1, y1) = start, end
        y = y0
        for x in range(x0 + 1, x1):
            towards = round(y0 + (y1 - y0) * (x - x0) / (x1 - x0))
            self.set_dots(x, *_after(y, towards), role)
            y = towards
        self.set_dots(x1, *_after(y, y1), role)

    def put_sign(self, x: int, y: int, sign: str, role: str) -> None:
        """A character in the cell that holds the dot (x, y)."""
        column, cell = x // self.marker.across, y // self.marker.down
        if 0 <= column < self.width and 0 <= cell < self.height:
            self._signs.setdefault(cell, {})[column] = sign
            self._roles[cell][column] = role

    def mark_column(self, x: int, role: str) -> None:
        """Give a column of cells a role of its own, a thin line where it is empty."""
        column = x // self.marker.across
        if not 0 <= column < self.width:
            return
        for cell in range(self.height):
            signs = self._signs.setdefault(cell, {})
            if not self._bits[cell][column] and column not in signs:
                signs[column] = "│" if self.marker is not ASCII else "|"
                self._roles[cell][column] = role

    def lines(self) -> list[Line]:
        return [self._line(cell) for cell in range(self.height)]

    def _line(self, cell: int) -> Line:
        roles = self._roles[cell]
        if self.marker is ASCII:
            bits = zip(self._bits[cell], roles, strict=True)
            signs = [letter_of(role) if bit else " " for bit, role in bits]
        else:
            table = _DOTS if self.marker is BRAILLE else _BLOCKS
            signs = [table[bit] for bit in self._bits[cell]]
        for column, sign in self._signs.get(cell, {}).items():
            signs[column] = sign
        edges = [0, *(i for i in range(1, self.width) if roles[i] != roles[i - 1]), self.width]
        return [("".join(signs[a:b]), roles[a]) for a, b in pairwise(edges) if a < b]
