"""Axes around a plot: scale, labels, where a value stands; and the reliability diagram."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from ...core.metrics.analyses import Bin
from .format import fit_right, format_clock, format_short_count
from .lines import Line
from .plot import ASCII, BRAILLE, Marker, Part, Raster, Scale, nice_range, nice_ticks

GUTTER = 8  # cells of the y-axis with its labels
AXIS_ROWS = 2  # lines below the plot
OUTLIER_SHARE = 0.02  # of the columns at each end, clipped on request
FROM_ZERO_SHARE = 0.3  # of the height that starting at zero may cost
_LABEL_WIDTH = 10  # cells that a label of the x-axis takes with its gap


def plot_width(width: int) -> int:
    """Columns that are left beside the y-axis."""
    return max(1, width - GUTTER)


def dot_at(x: float, left: float, right: float, dots: int) -> int:
    """The dot of a place on an axis of so many dots."""
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
    """The raster's lines behind their labels of the y-axis."""
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
        label = f"{value * 100:.4g}"
        return f"{label} %" if len(label) < GUTTER - 3 else f"{label}%"
    if unit == "GiB":
        label = f"{value:.3g} GiB"
        return label if len(label) < GUTTER - 1 else f"{value:.3g}Gi"
    if unit == "count":
        return format_short_count(value).replace(" ", "")
    label = f"{value:.4g}"
    return label if len(label) < GUTTER - 1 else f"{value:.0e}"


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
    """A value of an axis in words: a clock, an epoch, or a short count."""
    if axis == "time":
        return format_clock(value)
    return f"{value:.3g}" if axis == "epoch" else format_short_count(value)


AXIS = 5  # cells before the frame


def reliability_lines(
    bins: Sequence[Bin], width: int, height: int, *, ascii_only: bool = False
) -> list[Line]:
    """Both axes from 0 to 100 %; `●` a bin, its interval a line, dots where both are equal."""
    across, down = width - AXIS - 1, height - 2
    if across < 10 or down < 4 or not bins:
        return []
    marker: Marker = ASCII if ascii_only else BRAILLE
    raster = Raster(across, down, marker)
    _draw_diagonal(raster)
    for b in bins:
        x = _place(b.confidence, raster.dots_across)
        low, high = (_flip(y, raster.dots_down) for y in (b.accuracy_low, b.accuracy_high))
        raster.set_dots(x, high, low, "tuned")
    for b in bins:
        x = _place(b.confidence, raster.dots_across)
        raster.put_sign(x, _flip(b.accuracy, raster.dots_down), "●", "tuned")
    lines: list[Line] = []
    labels = {0: "100 %", down // 2: " 50 %", down - 1: "  0 %"}
    for y, line in enumerate(raster.lines()):
        lines.append([(labels.get(y, "").rjust(AXIS), "muted"), ("│", "rule"), *line])
    lines.append([(" " * AXIS + "└" + "─" * across, "rule")])
    lines.append([(" " * (AXIS + 1) + _axis_words(across), "muted")])
    return lines


def _draw_diagonal(raster: Raster) -> None:
    """What a perfectly calibrated model would show."""
    runs = []
    for x in range(0, raster.dots_across, max(1, raster.marker.across)):
        y = _flip(x / max(1, raster.dots_across - 1), raster.dots_down)
        runs.append((x, y, y))
    raster.draw_runs(runs, "muted")


def _place(share: float, dots: int) -> int:
    return min(dots - 1, max(0, round(share * (dots - 1))))


def _flip(share: float, dots: int) -> int:
    return dots - 1 - _place(share, dots)


def _axis_words(across: int) -> str:
    left, middle, right = "0 %", "confidence", "100 %"
    if across < len(left) + len(middle) + len(right) + 2:
        return left.ljust(across - len(right)) + right
    return left + middle.center(across - len(left) - len(right)) + right
