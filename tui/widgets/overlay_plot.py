"""Several runs in one loss chart, as lines of text. The view is passed in; nothing is kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ...core.reporting.text import visible
from .format import ABSENT, fit_right, format_clock, format_number, format_short_count
from .overlay_data import SMOOTHINGS, Curve
from .plot import BRAILLE, Marker, Part, Raster, Scale, column_parts, nice_range, nice_ticks
from .spans import Line, cut, join_fitting, width_of

GUTTER = 8  # cells of the y-axis with its labels
AXIS_ROWS = 2
SHOWN = ("training and validation", "validation", "training")
FROM_ZERO_SHARE = 0.3
OUTLIER_SHARE = 0.02
_LABEL_WIDTH = 10


@dataclass
class OverlayView:
    """What part of the runs is looked at, and how."""

    axis: str = "step"
    window: tuple[float, float] | None = None
    cursor: float | None = None  # a place on the axis
    smoothing: float = SMOOTHINGS[0]
    shown: str = SHOWN[0]
    log: bool = False
    clip_outliers: bool = False
    marker: Marker = BRAILLE

    def full_range(self, curves: Sequence[Curve]) -> tuple[float, float]:
        return 0.0, max([1e-9, *(curve.end(self.axis) for curve in curves)])

    def range(self, curves: Sequence[Curve]) -> tuple[float, float]:
        return self.window or self.full_range(curves)

    def zoom(self, curves: Sequence[Curve], factor: float) -> None:
        """Around the cursor, else around the right end."""
        full_left, full_right = self.full_range(curves)
        left, right = self.range(curves)
        span = (right - left) * factor
        if span >= full_right - full_left:
            self.window = None
            return
        if span < (full_right - full_left) / 4096:
            return
        centre = self.cursor if self.cursor is not None else right
        start = centre - (centre - left) / (right - left) * span
        start = min(max(full_left, start), full_right - span)
        self.window = start, start + span

    def move_cursor(self, curves: Sequence[Curve], cells: int, columns: int) -> None:
        """The first press sets it on the right end; the window follows it."""
        left, right = self.range(curves)
        if self.cursor is None:
            self.cursor = right
            return
        full_left, full_right = self.full_range(curves)
        a_cell = (right - left) / max(1, columns)
        self.cursor = min(max(full_left, self.cursor + cells * a_cell), full_right)
        if self.window is not None and not left <= self.cursor <= right:
            shift = self.cursor - (right if self.cursor > right else left)
            self.window = left + shift, right + shift

    @property
    def training(self) -> bool:
        return self.shown != SHOWN[1]

    @property
    def validation(self) -> bool:
        return self.shown != SHOWN[2]


def plot_columns(width: int) -> int:
    return max(1, width - GUTTER)


def overlay_lines(
    curves: Sequence[Curve], view: OverlayView, width: int, height: int
) -> list[Line]:
    """What is shown, a legend line a run, the plot and its axis."""
    legend = [_what(view, width), *(_legend(curve, view, width) for curve in curves)]
    legend = legend[: max(1, height - AXIS_ROWS - 3)]
    return [*legend, *_plot(curves, view, width, height - len(legend))]


def _what(view: OverlayView, width: int) -> Line:
    groups: list[Line] = []
    if view.training:
        told = ", smoothed" if view.smoothing else ""
        groups.append([("━ ", "muted"), (f"training{told}", "muted")])
    if view.validation:
        groups.append([("● ", "muted"), ("validation", "muted")])
    if view.cursor is not None:
        at = _x_label(view.cursor, view.axis)
        groups.append([(f"at {view.axis} {at}", "strong")])
    return [(" " * GUTTER, ""), *join_fitting(groups, "   ", width - GUTTER)]


def _legend(curve: Curve, view: OverlayView, width: int) -> Line:
    """A run's signs, its name, and its losses at the cursor or at its end."""
    hand = curve.hand
    x = view.cursor if view.cursor is not None else math.inf
    training, validation = curve.values_at(x, view.axis, view.smoothing)
    head: Line = [(" " * GUTTER, ""), (f"{hand.line}{hand.line}{hand.sign} ", hand.role)]
    tail: Line = []
    for told, value, wanted in (
        ("training", training, view.training),
        ("validation", validation, view.validation),
    ):
        if wanted:
            number = format_number(value) if value is not None else ABSENT
            tail += [(f"   {told} ", "muted"), (number, "strong")]
    room = max(8, width - width_of(head) - width_of(tail))
    return cut([*head, *cut([(visible(curve.name), "")], room), *tail], width)


def _plot(curves: Sequence[Curve], view: OverlayView, width: int, height: int) -> list[Line]:
    columns, rows = plot_columns(width), height - AXIS_ROWS
    if columns < 10 or rows < 2:
        return []
    raster = Raster(columns, rows, view.marker)
    left, right = view.range(curves)
    dots = raster.dots_across
    trained, measured = [], []
    for curve in curves:
        series = curve.training(view.smoothing) if view.training else None
        trained.append(
            column_parts(curve.xs(view.axis), series, left, right, dots) if series else []
        )
        xs = curve.validation_xs(view.axis)
        measured.append(
            column_parts(xs, curve.validation, left, right, dots) if view.validation else []
        )
    scale = _scale([*trained, *measured], view, raster.dots_down)
    for curve, parts in zip(curves, trained, strict=True):
        _draw_dashed(raster, parts, scale, curve)
    for curve, parts in zip(curves, measured, strict=True):
        _draw_measured(raster, parts, scale, curve, alone=not view.training)
    if view.cursor is not None:
        raster.mark_column(_dot(view.cursor, left, right, dots), "accent")
    return [*_with_gutter(raster, scale), *_axis(view, columns, left, right)]


def _draw_dashed(raster: Raster, parts: list[Part], scale: Scale, curve: Curve) -> None:
    """Dashes are groups of columns left out; a part with a spike is drawn in any case."""
    drawn, left_out = curve.hand.dash
    if not left_out or raster.marker is not BRAILLE:
        raster.draw_parts(parts, scale, curve.hand.role)
        return
    period = drawn + left_out
    run: list[Part] = []
    for part in parts:
        tall = scale.row(part.low) - scale.row(part.high) > 2
        if part.x % period < drawn or tall:
            run.append(part)
        else:
            raster.draw_parts(run, scale, curve.hand.role)
            run = []
    raster.draw_parts(run, scale, curve.hand.role)


def _draw_measured(
    raster: Raster, parts: list[Part], scale: Scale, curve: Curve, *, alone: bool
) -> None:
    """Evaluations as signs, where they do not crowd; alone they are joined by a line."""
    crowded = len(parts) * 3 > raster.width
    if alone or crowded:
        _draw_dashed(raster, parts, scale, curve)
    if not crowded:
        for part in parts:
            raster.put_sign(part.x, scale.row(part.last), curve.hand.sign, curve.hand.role)


def _scale(drawn: Sequence[list[Part]], view: OverlayView, dots: int) -> Scale:
    lows = sorted(part.low for parts in drawn for part in parts)
    highs = sorted(part.high for parts in drawn for part in parts)
    if view.clip_outliers and len(lows) > 10:
        left_out = max(1, int(len(lows) * OUTLIER_SHARE))
        lows, highs = lows[left_out:], highs[:-left_out]
    low, high = (lows[0], highs[-1]) if lows else (0.0, 1.0)
    if view.log:
        return Scale(max(low, 1e-6) / 1.05, max(high, 2e-6) * 1.05, dots, log=True)
    bottom, top = nice_range(low, high)
    if 0 <= low < high * FROM_ZERO_SHARE:
        bottom = 0.0
    return Scale(bottom, top, dots)


def _dot(x: float, left: float, right: float, dots: int) -> int:
    return int((x - left) / ((right - left) or 1.0) * (dots - 1) + 0.5)


def _with_gutter(raster: Raster, scale: Scale) -> list[Line]:
    labels: dict[int, str] = {}
    for tick in scale.ticks(min(8, max(2, raster.height // 2))):
        labels.setdefault(scale.row(tick) // raster.marker.down, f"{tick:.4g}")
    return [
        [
            (fit_right(labels.get(y, ""), GUTTER - 2) + " ", "muted"),
            ("┤" if y in labels else "│", "rule"),
            *line,
        ]
        for y, line in enumerate(raster.lines())
    ]


def _axis(view: OverlayView, columns: int, left: float, right: float) -> list[Line]:
    cells = [" "] * columns
    taken, room = -1, columns - len(view.axis) - 1
    for tick in nice_ticks(left, right, max(2, columns // _LABEL_WIDTH)):
        text = _x_label(tick, view.axis)
        at = max(0, _dot(tick, left, right, columns) - len(text) // 2)
        if at > taken and at + len(text) <= room:
            cells[at : at + len(text)] = text
            taken = at + len(text) + 1
    cells[columns - len(view.axis) :] = view.axis
    return [
        [(" " * (GUTTER - 1) + "└" + "─" * columns, "rule")],
        [(" " * GUTTER + "".join(cells), "muted")],
    ]


def _x_label(value: float, axis: str) -> str:
    if axis == "time":
        return format_clock(value)
    return f"{value:.3g}" if axis == "epoch" else format_short_count(value)
