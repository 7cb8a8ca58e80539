"""The reliability diagram: accuracy against confidence, with intervals and the null."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .plot import ASCII, BRAILLE, Marker, Raster
from .spans import Line

AXIS = 5  # cells before the frame


def reliability_lines(
    bins: Sequence[Mapping[str, Any]], width: int, height: int, *, ascii_only: bool = False
) -> list[Line]:
    """Both axes from 0 to 100 %; `●` a bin, its interval a line, dots where both are equal."""
    across, down = width - AXIS - 1, height - 2
    if across < 10 or down < 4 or not bins:
        return []
    marker: Marker = ASCII if ascii_only else BRAILLE
    raster = Raster(across, down, marker)
    _draw_diagonal(raster)
    for b in bins:
        x = _place(b["confidence"], raster.dots_across)
        low, high = (_flip(b[k], raster.dots_down) for k in ("accuracy_low", "accuracy_high"))
        raster.set_dots(x, high, low, "tuned")
    for b in bins:
        x = _place(b["confidence"], raster.dots_across)
        raster.put_sign(x, _flip(b["accuracy"], raster.dots_down), "●", "tuned")
    lines: list[Line] = []
    told = {0: "100 %", down // 2: " 50 %", down - 1: "  0 %"}
    for y, line in enumerate(raster.lines()):
        lines.append([(told.get(y, "").rjust(AXIS), "muted"), ("│", "rule"), *line])
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
