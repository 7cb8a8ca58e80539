"""Charts as lines of text: plot, axis, and small charts beneath. The view is passed in."""

from __future__ import annotations

import math

from .chart_data import ChartData
from .chart_legend import small_legend
from .chart_marks import best_point, levels, marked_steps
from .chart_view import GUTTER, View, plot_width
from .format import fit_right, format_clock, format_short_count
from .plot import ASCII, Part, Raster, Scale, column_parts, letter_of, nice_range, nice_ticks
from .series import Chart
from .spans import Line, cut

AXIS_ROWS = 2
OUTLIER_SHARE = 0.02  # of the columns at each end, clipped on request
FROM_ZERO_SHARE = 0.3
LEAST_MAIN, SMALL_ROWS = 11, 4  # lines of the chart in front; of a small one with its title
MOST_SMALL = 5
_LABEL_WIDTH = 10


def chart_lines(data: ChartData, view: View, top: Line, width: int, height: int) -> list[Line]:
    """The chart in front under its legend; where there is room, others beneath, linked by x."""
    small = small_charts(data, view, height)
    rows = max(SMALL_ROWS, height // 2 // len(small)) if small else 0
    main = height - rows * len(small)
    lines = [cut(top, width), *plot_lines(data, view, width, main - 1)]
    for name in small:
        chart = data.chart(name)
        lines.append(cut(small_legend(data, view, chart, width), width))
        lines += plain_plot(data, view, chart, width, rows - 1)
    return lines


def small_charts(data: ChartData, view: View, height: int) -> list[str]:
    """What else is worth seeing at this height, the most telling first."""
    room = min(MOST_SMALL, (height - LEAST_MAIN) // SMALL_ROWS)
    if room < 1:
        return []
    names, front = data.names, view.chart(data).name
    told = ["loss", *data.metrics()[:1], "grad_norm", "learning_rate", "tokens_per_second"]
    told += ["device_use", "device_memory", "memory", "cpu", *data.metrics()[1:]]
    return [n for n in told if n in names and n != front][:room]


def plot_lines(data: ChartData, view: View, width: int, height: int) -> list[Line]:
    """`height` lines: the plot with its y labels, the axis with the epochs, the x labels."""
    columns, rows = plot_width(width), height - AXIS_ROWS
    if columns < 10 or rows < 2:
        return []
    left, right = view.range(data)
    plot = plain_plot(data, view, view.chart(data), width, rows)
    return [*plot, *_axis(data, view, columns, left, right)]


def plain_plot(data: ChartData, view: View, chart: Chart, width: int, height: int) -> list[Line]:
    """The curves of one chart with its y labels, marks and cursor; no x-axis."""
    raster = Raster(plot_width(width), max(1, height), view.marker)
    left, right = view.range(data)
    dots = raster.dots_across
    parts = [column_parts(s.xs(view.axis), s.values, left, right, dots) for s in chart.series]
    scale = _scale(data, view, chart, parts, raster.dots_down)
    for level in levels(data, chart):
        if scale.low <= level.value <= scale.high:
            every = max(2, level.every * view.marker.across // 2)
            raster.draw_dotted(scale.row(level.value), level.role, every)
    for series, found in zip(chart.series, parts, strict=True):
        if series.as_points:
            _draw_points(raster, found, scale, series.role)
        elif view.smoothing and series.noisy:
            raster.draw_parts(found, scale, "muted")
            smooth = series.smoothed(view.smoothing)
            found = column_parts(series.xs(view.axis), smooth, left, right, dots)
            raster.draw_parts(found, scale, series.role)
        else:
            raster.draw_parts(found, scale, series.role)
    _mark_best(raster, data, chart, view, scale)
    if view.cursor is not None and len(data):
        x = data.xs(view.axis)[min(view.cursor, len(data) - 1)]
        if left <= x <= right:
            raster.mark_column(_dot(x, left, right, dots), "accent")
    return _with_gutter(raster, scale, chart.unit)


def _scale(data: ChartData, view: View, chart: Chart, parts: list[list[Part]], dots: int) -> Scale:
    """The range of what is in sight; points are few and never outliers."""
    lows: list[float] = []
    highs: list[float] = []
    for series, found in zip(chart.series, parts, strict=True):
        ends = sorted(p.low for p in found), sorted(p.high for p in found)
        spare = int(len(found) * OUTLIER_SHARE)
        if view.clip_outliers and spare and not series.as_points:
            ends = ends[0][spare:], ends[1][:-spare]
        lows += ends[0]
        highs += ends[1]
    low, high = min(lows, default=0.0), max(highs, default=1.0)
    for level in levels(data, chart):
        if low - (high - low) < level.value < high + (high - low) / 2:
            low, high = min(low, level.value), max(high, level.value)
    if view.log and high > 0:
        least = max(low, high / 1e6, 1e-12)
        top = max(high, least * 2) * 1.05
        top = min(top, 1.0) if chart.unit == "share" and high <= 1 else top
        return Scale(min(least / 1.05, top / 2), top, dots, log=True)
    bottom, top = nice_range(low, high, min(8, max(2, dots // 6)))
    if 0 <= low < high * FROM_ZERO_SHARE:
        bottom = 0.0  # where it costs little height: the axis is honest and seldom moves
    return Scale(bottom, min(top, 1.0) if chart.unit == "share" and high <= 1 else top, dots)


def _draw_points(raster: Raster, parts: list[Part], scale: Scale, role: str) -> None:
    """Points joined by a line; where they stand too close, the line alone."""
    raster.draw_parts(parts, scale, role)
    if len(parts) * 3 <= raster.width:
        for part in parts:
            sign = letter_of(role).upper() if raster.marker is ASCII else "●"
            raster.put_sign(part.x, scale.row(part.last), sign, role)


def _mark_best(raster: Raster, data: ChartData, chart: Chart, view: View, scale: Scale) -> None:
    best = best_point(data, chart)
    left, right = view.range(data)
    if best and math.isfinite(best[1]):
        x = data.x_at_step(best[0], view.axis)
        if left <= x <= right:
            dot = _dot(x, left, right, raster.dots_across)
            raster.put_sign(dot, scale.row(best[1]), "◆", "accent")


def _dot(x: float, left: float, right: float, dots: int) -> int:
    return int((x - left) / ((right - left) or 1.0) * (dots - 1) + 0.5)


def _with_gutter(raster: Raster, scale: Scale, unit: str) -> list[Line]:
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
        return f"{value * 100:.4g} %"
    if unit == "GiB":
        told = f"{value:.3g} GiB"
        return told if len(told) < GUTTER - 1 else f"{value:.3g}Gi"
    if unit == "count":
        return format_short_count(value).replace(" ", "")
    told = f"{value:.4g}"
    return told if len(told) < GUTTER - 1 else f"{value:.0e}"


def _axis(data: ChartData, view: View, columns: int, left: float, right: float) -> list[Line]:
    """The axis with a tick at each epoch's end, × where a loss was not finite and ! where a step
    was skipped; the labels."""
    rule = ["─"] * columns
    roles = ["rule"] * columns
    for x in _epoch_ends(data, view.axis):
        if left < x <= right:
            rule[_dot(x, left, right, columns)] = "┴"
    lost, skipped = marked_steps(data)
    for steps, sign, role in ((skipped, "!", "warn"), (lost, "×", "bad")):
        for step in steps:
            x = data.x_at_step(step, view.axis)
            if left <= x <= right:
                at = _dot(x, left, right, columns)
                rule[at], roles[at] = sign, role
    marked: Line = [(" " * (GUTTER - 1) + "└", "rule")]
    for sign, role in zip(rule, roles, strict=True):
        if marked[-1][1] == role:
            marked[-1] = marked[-1][0] + sign, role
        else:
            marked.append((sign, role))
    return [marked, [(" " * GUTTER + _x_labels(view.axis, columns, left, right), "muted")]]


def _epoch_ends(data: ChartData, axis: str) -> list[float]:
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
