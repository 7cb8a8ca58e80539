"""Arithmetic of line charts: ranges of many points, ticks, dots in cells. No widget, no clock."""

from __future__ import annotations

import math
import re
from bisect import bisect_left, bisect_right
from codecs import charmap_decode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import NamedTuple

from .lines import Line
from .series import Pyramid


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
        # Bisection per column: a million points cost as many look-ups as there are columns.
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


def edge_parts(
    xs: Sequence[float], values: Sequence[float], left: float, right: float, dots: int
) -> tuple[list[Part], list[Part]]:
    """Where the line through a series enters what is in sight, and where it leaves it."""

    def crossing(before: int, edge: float, column: int) -> list[Part]:
        after = before + 1
        if before < 0 or after >= min(len(xs), len(values)) or not xs[before] < edge < xs[after]:
            return []
        share = (edge - xs[before]) / (xs[after] - xs[before])
        value = values[before] + (values[after] - values[before]) * share
        return [Part(column, value, value, value, value)] if math.isfinite(value) else []

    enters = crossing(bisect_left(xs, left) - 1, left, 0)
    return enters, crossing(bisect_right(xs, right) - 1, right, dots - 1)


def nice_step(span: float, count: int) -> float:
    """1, 2 or 5 times a power of ten, so that about `count` of them fill the span."""
    raw = span / max(1, count)
    power = 10.0 ** math.floor(math.log10(raw)) if raw > 0 else 1.0
    factor = raw / power
    # near the geometric means of 1, 2, 5, 10
    return power * (1 if factor < 1.5 else 2 if factor < 3 else 5 if factor < 7 else 10)


def nice_ticks(low: float, high: float, count: int) -> list[float]:
    """Round values within [low, high], about `count` of them."""
    if not high > low:
        return [low]
    step = nice_step(high - low, count)
    # 0.3 / 0.1 is a little below 3: a tick on the end must not be lost to it.
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [n * step for n in range(first, last + 1)]


def nice_range(low: float, high: float, count: int = 8) -> tuple[float, float]:
    """The range widened to round values: it moves seldom while data grows."""
    if not math.isfinite(low) or not math.isfinite(high):
        return 0.0, 1.0
    if high <= low:
        # A single value, or a flat series, stands in the middle.
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
        return math.log10(max(value, 1e-12)) if self.log else value  # a loss of 0 has no logarithm

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
_BITS = {  # of the dots of a cell, column by column
    "braille": ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80)),
    "block": ((1, 2),),
    "ascii": ((1,),),
}
_SIGNS = {  # by the bits of a cell
    "braille": " " + "".join(chr(0x2800 + bits) for bits in range(1, 256)),
    "block": " ▀▄█",
    "ascii": " *",
}
_TOUCHED = bytes([0] + [255] * 255)
_RUN_OF_EQUALS = re.compile(rb"(.)\1*", re.DOTALL)
LETTERS = {"validation": "o", "reference": "-", "muted": ".", "train": "*"}


def letter_of(role: str) -> str:
    """What a series of this role is drawn with where a cell holds one character."""
    return LETTERS.get(role, "*")


@lru_cache(64)
def _dots_above(marker: Marker, height: int) -> list[list[int]]:
    """The dots above each row of dots, as the bits of a column of cells, a byte a cell."""
    above = []
    for bits in _BITS[marker.name]:
        rows = (bit << 8 * cell for cell in range(height) for bit in bits)
        above.append(list(accumulate(rows, initial=0)))
    return above


class Raster:
    """A grid of cells in which dots are set; a cell has the role of the last one who drew in it.

    Dots and roles are kept as integers with a byte a cell, column by column: a run of dots costs
    one operation however long it is. Charts are half of what a picture of a run costs.
    """

    def __init__(self, width: int, height: int, marker: Marker) -> None:
        self.width, self.height, self.marker = width, height, marker
        self.dots_across, self.dots_down = width * marker.across, height * marker.down
        self._bits = self._roles = 0
        self._names = [""]  # a role is kept as its place here
        self._signs: dict[tuple[int, int], tuple[str, str]] = {}  # by line and column of cells
        self._above = _dots_above(marker, height)

    def set_dots(self, x: int, top: int, bottom: int, role: str) -> None:
        """A vertical run of dots; coordinates in dots, both ends included."""
        top, bottom = max(0, top), min(self.dots_down - 1, bottom)
        if 0 <= x < self.dots_across and top <= bottom:
            self.draw_runs([(x, top, bottom)], role)

    def draw_runs(self, runs: Iterable[tuple[int, int, int]], role: str) -> None:
        """Vertical runs of dots (x, top, bottom) that are all within the raster."""
        across, above = self.marker.across, self._above
        columns = [0] * self.width
        for x, top, bottom in runs:
            until = above[x % across]
            # Bits are powers of two: the difference of two sums is the run between them.
            columns[x // across] |= until[bottom + 1] - until[top]
        cells = b"".join([column.to_bytes(self.height, "little") for column in columns])
        if role not in self._names:
            self._names.append(role)
        number = bytes([0] + [self._names.index(role)] * 255)
        touched = int.from_bytes(cells.translate(_TOUCHED), "little")
        self._bits |= int.from_bytes(cells, "little")
        self._roles &= ~touched
        self._roles |= int.from_bytes(cells.translate(number), "little")

    def draw_dotted(self, y: int, role: str, every: int = 3) -> None:
        """A dotted line across the whole width."""
        if 0 <= y < self.dots_down:
            self.draw_runs(((x, y, y) for x in range(0, self.dots_across, every)), role)

    def draw_parts(self, parts: list[Part], scale: Scale, role: str) -> None:
        """A line through the columns of a series, each from its least to its greatest value."""
        runs: list[tuple[int, int, int]] = []
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
                runs += _line_between(before, (part.x, first))
            runs.append((part.x, top, bottom))
            before = part.x, last
        self.draw_runs(runs, role)

    def put_sign(self, x: int, y: int, sign: str, role: str) -> None:
        """A character in the cell that holds the dot (x, y)."""
        column, cell = x // self.marker.across, y // self.marker.down
        if 0 <= column < self.width and 0 <= cell < self.height:
            self._signs[cell, column] = sign, role

    def mark_column(self, x: int, role: str, sign: str = "") -> None:
        """A thin line where a column of cells is empty."""
        column = x // self.marker.across
        if not 0 <= column < self.width:
            return
        sign = sign or ("│" if self.marker is not ASCII else "|")
        for cell, row in enumerate(self._rows(self._bits)):
            if not row[column]:
                self._signs.setdefault((cell, column), (sign, role))

    def lines(self) -> list[Line]:
        rows = zip(self._rows(self._bits), self._rows(self._roles), strict=True)
        lines = [self._line(bits, roles) for bits, roles in rows]
        for (cell, column), (sign, role) in self._signs.items():
            lines[cell] = _with_sign(lines[cell], column, sign, role)
        return lines

    def _rows(self, cells: int) -> list[bytes]:
        columns = cells.to_bytes(self.width * self.height, "little")
        return [columns[row :: self.height] for row in range(self.height)]

    def _line(self, bits: bytes, roles: bytes) -> Line:
        names = self._names
        text = charmap_decode(bits, "strict", _SIGNS[self.marker.name])[0]
        line = []
        for run in _RUN_OF_EQUALS.finditer(roles):
            role, part = names[run[0][0]], text[run.start() : run.end()]
            if self.marker is ASCII:
                part = part.replace("*", letter_of(role))
            line.append((part, role))
        return line


def _line_between(start: tuple[int, int], end: tuple[int, int]) -> Iterator[tuple[int, int, int]]:
    """Runs of dots from one dot to another that is not in the next column, both rows included."""
    (x0, y0), (x1, y1) = start, end
    before = y0
    for x in range(x0 + 1, x1 + 1):
        y = round(y0 + (y1 - y0) * (x - x0) / (x1 - x0))
        yield (x, before + 1, y) if y > before else (x, y, before - 1) if y < before else (x, y, y)
        before = y


def _with_sign(line: Line, column: int, sign: str, role: str) -> Line:
    """The line with one of its characters replaced."""
    changed: Line = []
    for text, before in line:
        if 0 <= column < len(text):
            parts = [(text[:column], before), (sign, role), (text[column + 1 :], before)]
            changed += [part for part in parts if part[0]]
        else:
            changed.append((text, before))
        column -= len(text)
    return changed
