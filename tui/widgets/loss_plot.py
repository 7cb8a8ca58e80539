"""The loss chart as lines of text: legend, plot, axis. The view is passed in; nothing is kept."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .format import fit_right, format_clock, format_number, format_short_count
from .loss_data import LossData
from .plot import BRAILLE, Marker, Part, Raster, Scale, column_parts, nice_range, nice_ticks
from .spans import Line, join_fitting

GUTTER = 8  # cells of the y-axis with its labels
AXIS_ROWS = 2
OUTLIER_SHARE = 0.02  # of the columns at each end, clipped on request
FROM_ZERO_SHARE = 0.3
_LABEL_WIDTH = 10


@dataclass
class View:
    """What part of the data is looked at, and how."""

    axis: str = "step"
    window: tuple[float, float] | None = None
    cursor: int | None = None  # index of a step
    smoothing: float = 0.0
    log: bool = False
    clip_outliers: bool = False
    marker: Marker = BRAILLE

    def range(self, data: LossData) -> tuple[float, float]:
        return self.window or data.full_range(self.axis)

    def zoom(self, data: LossData, factor: float) -> None:
        """Around the cursor, else around the newest step."""
        full_left, full_right = data.full_range(self.axis)
        left, right = self.range(data)
        xs = data.xs(self.axis)
        index = self.cursor if self.cursor is not None else len(data) - 1
        centre = xs[index] if len(data) else right
        if not left <= centre <= right:
            centre = (left + right) / 2
        span = (right - left) * factor
        if span >= full_right - full_left:
            self.window = None
            return
        if span < (full_right - full_left) / max(4.0, float(len(data))):
            return
        start = centre - (centre - left) / (right - left) * span
        start = min(max(full_left, start), full_right - span)
        self.window = start, start + span

    def keep_in_sight(self, data: LossData) -> None:
        """Move the window along with the cursor."""
        if self.window is None or self.cursor is None:
            return
        left, right = self.window
        x = data.xs(self.axis)[self.cursor]
        if not left <= x <= right:
            shift = x - (right if x > right else left)
            self.window = left + shift, right + shift


def plot_width(width: int) -> int:
    return max(1, width - GUTTER)


def legend(data: LossData, view: View, width: int) -> Line:
    """The series with their signs and newest values: never colour alone."""
    groups: list[Line] = []
    if len(data):
        values = data.smoothed[view.smoothing] if view.smoothing else data.loss
        name = "training, smoothed" if view.smoothing else "training"
        last = format_number(values.values[-1])
        groups.append([("━ ", "train"), (name, ""), (f" {last}", "strong")])
    if len(data.validation_loss):
        last = format_number(data.validation_loss.values[-1])
        groups.append([("● ", "validation"), ("validation", ""), (f" {last}", "strong")])
    if data.loss.not_finite:
        groups.append([(f"× {len(data.loss.not_finite)} not finite", "bad")])
    if data.history.steps.skipped:
        groups.append([(f"{data.history.steps.skipped} skipped", "warn")])
    best = best_point(data)
    if best:
        groups.append([("◆ ", "accent"), ("best", ""), (f" at step {best[0]:,}", "muted")])
    groups += _reference_words(data)
    return [(" " * GUTTER, ""), *join_fitting(groups, "   ", width - GUTTER)]


def _reference_words(data: LossData) -> list[Line]:
    reference = data.history.random_loss
    if reference is None:
        return []
    name = f"ln {round(math.exp(reference)):,}"
    return [[("┄ ", "reference"), (f"chance {name} = {reference:.3f}", "muted")]]


def cursor_line(data: LossData, view: View, width: int) -> Line:
    """The exact values under the cursor."""
    i, steps = min(view.cursor or 0, len(data) - 1), data.history.steps
    groups: list[Line] = [
        [(f"step {steps.step[i]:,}", "strong")],
        [("━ ", "train"), (format_number(steps.loss[i]), "strong")],
    ]
    near = data.validation_near(steps.step[i])
    if near:
        at = "" if near[0] == steps.step[i] else f" at {near[0]:,}"
        groups.append([("● ", "validation"), (format_number(near[1]), "strong"), (at, "muted")])
    groups.append([(f"epoch {steps.epoch[i]:.2f}", "muted")])
    groups.append([(f"learning rate {format_number(steps.learning_rate[i], 3)}", "muted")])
    groups.append([(f"gradient norm {format_number(steps.grad_norm[i], 3)}", "muted")])
    groups.append([(f"{format_short_count(data.tokens[i])} tokens read", "muted")])
    return [(fit_right("at ", GUTTER), "accent"), *join_fitting(groups, "   ", width - GUTTER)]


def best_point(data: LossData) -> tuple[int, float] | None:
    """The step whose checkpoint is kept, with its validation loss."""
    best = data.history.best_step
    for e, loss in zip(data.validation, data.validation_loss.values, strict=True):
        if e.step == best:
            return e.step, loss
    return None


def plot_lines(data: LossData, view: View, width: int, height: int) -> list[Line]:
    """`height` lines: the plot with its y labels, the axis with the epochs, the x labels."""
    columns, rows = plot_width(width), height - AXIS_ROWS
    if columns < 10 or rows < 2:
        return []
    raster = Raster(columns, rows, view.marker)
    left, right = view.range(data)
    dots = raster.dots_across
    raw = column_parts(data.xs(view.axis), data.loss, left, right, dots)
    measured = column_parts(data.validation_xs(view.axis), data.validation_loss, left, right, dots)
    scale = _scale(data, view, raw, measured, raster.dots_down)
    reference = data.history.random_loss
    if reference is not None and scale.low <= reference <= scale.high:
        raster.draw_dotted(scale.row(reference), "reference", 3 * view.marker.across // 2 + 1)
    raster.draw_parts(raw, scale, "muted" if view.smoothing else "train")
    if view.smoothing:
        smoothed = data.smoothed[view.smoothing]
        parts = column_parts(data.xs(view.axis), smoothed, left, right, dots)
        raster.draw_parts(parts, scale, "train")
    _draw_validation(raster, measured, scale)
    _mark_best(raster, data, view, scale)
    if view.cursor is not None and len(data):
        x = data.xs(view.axis)[min(view.cursor, len(data) - 1)]
        raster.mark_column(_dot(x, left, right, dots), "accent")
    return [*_with_gutter(raster, scale), *_axis(data, view, columns, left, right)]


def _scale(data: LossData, view: View, raw: list[Part], measured: list[Part], dots: int) -> Scale:
    lows, highs = [p.low for p in raw], [p.high for p in raw]
    if view.clip_outliers and len(lows) > 10:
        lows, highs = sorted(lows), sorted(highs)
        cut = max(1, int(len(lows) * OUTLIER_SHARE))
        lows, highs = lows[cut:], highs[:-cut]
    low = min([*lows, *(p.low for p in measured)], default=0.0)
    high = max([*highs, *(p.high for p in measured)], default=1.0)
    reference = data.history.random_loss
    if reference is not None and low - (high - low) < reference < high + (high - low) / 2:
        low, high = min(low, reference), max(high, reference)
    if view.log:
        return Scale(max(low, 1e-6) / 1.05, max(high, 2e-6) * 1.05, dots, log=True)
    bottom, top = nice_range(low, high)
    if 0 <= low < high * FROM_ZERO_SHARE:
        bottom = 0.0  # where it costs little height: the axis is honest and seldom moves
    return Scale(bottom, top, dots)


def _draw_validation(raster: Raster, parts: list[Part], scale: Scale) -> None:
    """Points joined by a line; where they stand too close, the line alone."""
    raster.draw_parts(parts, scale, "validation")
    if len(parts) * 3 <= raster.width:
        for part in parts:
            raster.put_sign(part.x, scale.row(part.last), "●", "validation")


def _mark_best(raster: Raster, data: LossData, view: View, scale: Scale) -> None:
    best = best_point(data)
    left, right = view.range(data)
    if best and math.isfinite(best[1]):
        x = data.x_at_step(best[0], view.axis)
        if left <= x <= right:
            dot = _dot(x, left, right, raster.dots_across)
            raster.put_sign(dot, scale.row(best[1]), "◆", "accent")


def _dot(x: float, left: float, right: float, dots: int) -> int:
    return int((x - left) / ((right - left) or 1.0) * (dots - 1) + 0.5)


def _with_gutter(raster: Raster, scale: Scale) -> list[Line]:
    labels: dict[int, str] = {}
    for tick in scale.ticks(min(8, max(2, raster.height // 2))):
        labels.setdefault(scale.row(tick) // raster.marker.down, _y_label(tick))
    lines: list[Line] = []
    for y, line in enumerate(raster.lines()):
        label = labels.get(y, "")
        edge = "┤" if label else "│"
        lines.append([(fit_right(label, GUTTER - 2) + " ", "muted"), (edge, "rule"), *line])
    return lines


def _y_label(value: float) -> str:
    return f"{value:.4g}"


def _axis(data: LossData, view: View, columns: int, left: float, right: float) -> list[Line]:
    """The axis with a tick at each epoch's end and × where a loss was not finite; the labels."""
    rule = ["─"] * columns
    for x in _epoch_ends(data, view.axis):
        if left < x <= right:
            rule[_dot(x, left, right, columns)] = "┴"
    xs = data.xs(view.axis)
    lost = [xs[i] for i in data.loss.not_finite if left <= xs[i] <= right]
    for x in lost:
        rule[_dot(x, left, right, columns)] = "×"
    return [
        [(" " * (GUTTER - 1) + "└", "rule"), ("".join(rule), "bad" if lost else "rule")],
        [(" " * GUTTER + _x_labels(view.axis, columns, left, right), "muted")],
    ]


def _epoch_ends(data: LossData, axis: str) -> list[float]:
    if axis == "epoch":
        return [float(n) for n in range(1, int(data.full_range(axis)[1]) + 1)]
    plan = data.history.plan
    if plan and axis == "step" and plan.steps_per_epoch:
        return [
            float(s) for s in range(plan.steps_per_epoch, plan.max_steps + 1, plan.steps_per_epoch)
        ]
    return [data.x_at_step(e.step, axis) for e in data.history.epochs]


def _x_labels(axis: str, columns: int, left: float, right: float) -> str:
    """Round values under their places, and the axis's name at the right end."""
    cells = [" "] * columns
    taken = -1
    room = columns - len(axis) - 1
    for tick in nice_ticks(left, right, max(2, columns // _LABEL_WIDTH)):
        text = _x_label(tick, axis)
        at = max(0, _dot(tick, left, right, columns) - len(text) // 2)
        if at > taken and at + len(text) <= room:
            cells[at : at + len(text)] = text
            taken = at + len(text) + 1
    cells[columns - len(axis) :] = axis
    return "".join(cells)


def _x_label(value: float, axis: str) -> str:
    if axis == "time":
        return format_clock(value)
    if axis == "epoch":
        return f"{value:g}"
    return format_short_count(value)
