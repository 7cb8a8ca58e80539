"""The losses of several runs in one chart, on common axes, each run with its dashes and sign."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from ....core.run.history import History
from ....core.wording.text import visible
from ...drawing.axes import (
    AXIS_ROWS,
    GUTTER,
    dot_at,
    plot_width,
    range_of,
    scale_of,
    with_gutter,
    x_label,
    x_labels,
)
from ...drawing.format import ABSENT, format_number
from ...drawing.lines import Line, cut, join_fitting, width_of
from ...drawing.plot import BRAILLE, Part, Raster, Scale, column_parts
from ...drawing.series import SMOOTHINGS
from ...widgets.plot_pane import AXES, Look
from ..charts.data import ChartData

MOST_RUNS = 6


@dataclass(frozen=True)
class Hand:
    """How one run is drawn: its colour, how its line is broken, the sign of its evaluations."""

    role: str
    dash: tuple[int, int]  # columns of dots drawn, columns left out
    line: str
    sign: str


HANDS = (  # signs that stay apart in ASCII too
    Hand("train", (1, 0), "━", "●"),
    Hand("validation", (4, 2), "╍", "▲"),
    Hand("tuned", (2, 2), "┅", "◆"),
    Hand("warn", (6, 2), "╌", "○"),
    Hand("good", (1, 2), "┉", "▼"),
    Hand("base", (1, 4), "┄", "×"),
)


class Curve:
    """One run of the chart. Everything is made at once: in a thread this costs no key a wait."""

    def __init__(self, name: str, hand: Hand, history: History) -> None:
        self.name, self.hand, self.data = name, hand, ChartData()
        self.data.update(history)
        self.training, self.validation = self.data.chart("loss").series
        for axis in AXES:
            self.data.xs(axis)
            self.data.validation_xs(axis)
        for share in SMOOTHINGS:
            self.training.smoothed(share)

    def end(self, axis: str) -> float:
        return max([0.0, *self.training.xs(axis)[-1:], *self.validation.xs(axis)[-1:]])

    def values_at(self, x: float, axis: str, smoothing: float) -> tuple[float | None, float | None]:
        """Training and validation loss at the last point that is not after `x`."""
        return (
            _value_at(x, self.training.xs(axis), self.training.smoothed(smoothing).values),
            _value_at(x, self.validation.xs(axis), self.validation.values.values),
        )


def _value_at(x: float, xs: Sequence[float], values: Sequence[float]) -> float | None:
    index = bisect_left(xs, x * (1 + 1e-9) + 1e-9) - 1
    return values[index] if 0 <= index < len(values) else None


SHOWN = ("training and validation", "validation", "training")


@dataclass
class OverlayView(Look):
    """What part of the runs is looked at, and how; the cursor is a place on the axis."""

    smoothing: float = SMOOTHINGS[1]  # the noise of many runs hides all
    shown: str = SHOWN[0]

    def full_range(self, curves: Sequence[Curve]) -> tuple[float, float]:
        return 0.0, max([1e-9, *(curve.end(self.axis) for curve in curves)])

    def range(self, curves: Sequence[Curve]) -> tuple[float, float]:
        return self.window or self.full_range(curves)

    def zoom(self, curves: Sequence[Curve], factor: float) -> None:
        """Around the cursor, else around the right end."""
        full = self.full_range(curves)
        centre = self.cursor if self.cursor is not None else self.range(curves)[1]
        self.zoom_around(centre, factor, full, (full[1] - full[0]) / 4096)

    def move_cursor(self, curves: Sequence[Curve], cells: int, columns: int) -> None:
        """The first press sets it on the right end; the window follows it."""
        left, right = self.range(curves)
        if self.cursor is None:
            self.cursor = right
            return
        full_left, full_right = self.full_range(curves)
        a_cell = (right - left) / max(1, columns)
        self.cursor = min(max(full_left, self.cursor + cells * a_cell), full_right)
        self.keep_in_sight(self.cursor)

    @property
    def training(self) -> bool:
        return self.shown != SHOWN[1]

    @property
    def validation(self) -> bool:
        return self.shown != SHOWN[2]


def overlay_lines(
    curves: Sequence[Curve], view: OverlayView, width: int, height: int
) -> list[Line]:
    """What is shown, a line of legend per run, the plot and its axis."""
    legend = [_what(view, width), *(_legend(curve, view, width) for curve in curves)]
    legend = legend[: max(1, height - AXIS_ROWS - 3)]
    return [*legend, *_plot(curves, view, width, height - len(legend))]


def _what(view: OverlayView, width: int) -> Line:
    groups: list[Line] = []
    if view.training:
        smoothed = ", smoothed" if view.smoothing else ""
        groups.append([("━ ", "muted"), (f"training{smoothed}", "muted")])
    if view.validation:
        groups.append([("● ", "muted"), ("validation", "muted")])
    if view.cursor is not None:
        at = x_label(view.cursor, view.axis)
        groups.append([(f"at {view.axis} {at}", "strong")])
    return [(" " * GUTTER, ""), *join_fitting(groups, "   ", width - GUTTER)]


def _legend(curve: Curve, view: OverlayView, width: int) -> Line:
    """A run's signs, its name, and its losses at the cursor or at its end."""
    hand = curve.hand
    x = view.cursor if view.cursor is not None else math.inf
    training, validation = curve.values_at(x, view.axis, view.smoothing)
    head: Line = [(" " * GUTTER, ""), (f"{hand.line}{hand.line}{hand.sign} ", hand.role)]
    tail: Line = []
    for name, value, wanted in (
        ("training", training, view.training),
        ("validation", validation, view.validation),
    ):
        if wanted:
            number = format_number(value) if value is not None else ABSENT
            tail += [(f"   {name} ", "muted"), (number, "strong")]
    room = max(8, width - width_of(head) - width_of(tail))
    return cut([*head, *cut([(visible(curve.name), "")], room), *tail], width)


def _plot(curves: Sequence[Curve], view: OverlayView, width: int, height: int) -> list[Line]:
    columns, rows = plot_width(width), height - AXIS_ROWS
    if columns < 10 or rows < 2:
        return []
    raster = Raster(columns, rows, view.marker)
    left, right = view.range(curves)
    dots = raster.dots_across
    trained, measured = [], []
    for curve in curves:
        noisy, calm = curve.training, curve.validation
        xs, values = noisy.xs(view.axis), noisy.smoothed(view.smoothing)
        trained.append(column_parts(xs, values, left, right, dots) if view.training else [])
        xs = calm.xs(view.axis)
        measured.append(column_parts(xs, calm.values, left, right, dots) if view.validation else [])
    ends = [*((parts, view.clip_outliers) for parts in trained), *((m, False) for m in measured)]
    scale = scale_of(*range_of(ends), raster.dots_down, log=view.log)
    for curve, parts in zip(curves, trained, strict=True):
        _draw_dashed(raster, parts, scale, curve)
    for curve, parts in zip(curves, measured, strict=True):
        _draw_measured(raster, parts, scale, curve, alone=not view.training)
    if view.cursor is not None:
        raster.mark_column(dot_at(view.cursor, left, right, dots), "accent")
    axis: Line = [(" " * (GUTTER - 1) + "└" + "─" * columns, "rule")]
    return [*with_gutter(raster, scale, ""), axis, x_labels(view.axis, columns, left, right)]


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
