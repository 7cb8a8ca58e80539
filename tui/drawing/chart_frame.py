"""What frames every chart: its scale, the labels of both axes, where a place stands in it."""

from __future__ import annotations

import math
from collections.abc import Iterable

from .format import fit_right, format_clock, format_short_count
from .plot import Part, Raster, Scale, nice_range, nice_ticks
from .spans import Line

GUTTER = 8  # cells of the y-axis with its labels
AXIS_ROWS = 2
OUTLIER_SHARE = 0.02  # of the columns at each end, clipped on request
FROM_ZERO_SHARE = 0.3
_LABEL_WIDTH = 10


def plot_width(width: int) -> int:
    return max(1, width - GUTTER)


def dot_at(x: float, left: float, right: float, dots: int) -> int:
    return int((x - left) / ((right - left) or 1.0) * (dots - 1) + 0.5)


def range_of(drawn: Iterable[tuple[list[Part], bool]]) -> tuple[float, float]:
    """The least and greatest of what is in sight; a part that says so gives up its outliers."""
    lows: list[float] = []
    highs: list[float] = []
    for parts, clipped in drawn:
        spare = int(len(parts) * OUTLIER_SHARE)
        if clipped and spare:
            lows += sorted(p.low for p in parts)[spare:]
            highs += sorted(p.high for p in parts)[:-spare]
        else:
            lows += [p.low for p in parts]
            highs += [p.high for p in parts]
    return min(lows, default=0.0), max(highs, default=1.0)


def scale_of(low: float, high: float, dots: int, *, log: bool, most: float = math.inf) -> Scale:
    """Round ends; from zero where that costs little height: honest, and it seldom moves."""
    if log and high > 0:
        least = max(low, high / 1e6, 1e-12)
        top = min(max(high, least * 2) * 1.05, most)
        return Scale(min(least / 1.05, top / 2), top, dots, log=True)
    bottom, top = nice_range(low, high, min(8, max(2, dots // 6)))
    if 0 <= low < high * FROM_ZERO_SHARE:
        bottom = 0.0
    return Scale(bottom, min(top, most), dots)


def with_gutter(raster: Raster, scale: Scale, unit: str) -> list[Line]:
    labels: dict[int, str] = {}
    for tick in _y_ticks(scale, raster.height):
        labels.setdefault(scale.row(tick) // raster.marker.down, _y_label(tick, unit))
    lines: list[Line] = []
    for y, line in enumerate(raster.lines()):
        label = labels.get(y, "")
        edge = "┤" if label else "│"
        lines.append([(fit_right(label, GUTTER - 2) + " ", "muted"), (edge, "rule"), *line])
    return lines


def _y_ticks(scale: Scale, rows: int) -> list[float]:
    """Round values with a row between them at least; the ends where there is room for no more."""
    if rows <= 4 and not scale.log:
        return [scale.high, scale.low]
    ticks = scale.ticks(8)
    for count in range(7, 1, -1):
        if scale.log or len(ticks) * 2 <= rows + 1:
            break
        ticks = scale.ticks(count)
    return ticks


def _y_label(value: float, unit: str) -> str:
    if unit == "share":
        told = f"{value * 100:.4g}"
        return f"{told} %" if len(told) < GUTTER - 3 else f"{told}%"
    if unit == "GiB":
        told = f"{value:.3g} GiB"
        return told if len(told) < GUTTER - 1 else f"{value:.3g}Gi"
    if unit == "count":
        return format_short_count(value).replace(" ", "")
    told = f"{value:.4g}"
    return told if len(told) < GUTTER - 1 else f"{value:.0e}"


def x_labels(axis: str, columns: int, left: float, right: float) -> Line:
    """Round values under their places, and the axis's name at the right end."""
    cells = [" "] * columns
    taken = -1
    room = columns - len(axis) - 1
    for tick in nice_ticks(left, right, max(2, columns // _LABEL_WIDTH)):
        text = x_label(tick, axis)
        at = max(0, dot_at(tick, left, right, columns) - len(text) // 2)
        if at > taken and at + len(text) <= room:
            cells[at : at + len(text)] = text
            taken = at + len(text) + 1
    cells[columns - len(axis) :] = axis
    return [(" " * GUTTER + "".join(cells), "muted")]


def x_label(value: float, axis: str) -> str:
    if axis == "time":
        return format_clock(value)
    return f"{value:.3g}" if axis == "epoch" else format_short_count(value)
