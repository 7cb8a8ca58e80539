"""Charts as lines of text: plot, axis, and small charts beneath. The view is passed in."""

from __future__ import annotations

import math

from ...drawing.axes import (
    AXIS_ROWS,
    GUTTER,
    dot_at,
    plot_width,
    range_of,
    scale_of,
    with_gutter,
    x_labels,
)
from ...drawing.lines import Line, cut
from ...drawing.plot import ASCII, Part, Raster, Scale, column_parts, edge_parts, letter_of
from ...drawing.series import Chart, Series
from .data import ChartData
from .view import View, best_point, levels, marked_steps, small_legend

LEAST_MAIN, SMALL_ROWS = 11, 4  # lines of the chart in front; of a small one with its title
MOST_SMALL = 5  # small charts beneath


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
    """What else is worth seeing at this height, the most informative first."""
    room = min(MOST_SMALL, (height - LEAST_MAIN) // SMALL_ROWS)
    if room < 1:
        return []
    names, front = data.names, view.chart(data).name
    wanted = ["loss", *data.metrics()[:1], "grad_norm", "learning_rate", "tokens_per_second"]
    wanted += ["device_use", "device_memory", "memory", "cpu", *data.metrics()[1:]]
    return [n for n in wanted if n in names and n != front][:room]


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
    edges = [_edges(s, view.axis, left, right, dots) for s in chart.series]
    seen = [
        [*enters, *found, *leaves] for found, (enters, leaves) in zip(parts, edges, strict=True)
    ]
    scale = _scale(data, view, chart, seen, raster.dots_down)
    for level in levels(data, chart):
        if scale.low <= level.value <= scale.high:
            every = max(2, level.every * view.marker.across // 2)
            raster.draw_dotted(scale.row(level.value), level.role, every)
    # Lines between evaluations are only a guide: measured points are drawn over them.
    for series, line in zip(chart.series, seen, strict=True):
        if series.as_points:  # below the others: what was measured are its points
            raster.draw_parts(line, scale, series.role)
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
            raster.mark_column(dot_at(x, left, right, dots), "accent")
    return with_gutter(raster, scale, chart.unit)


def _scale(data: ChartData, view: View, chart: Chart, parts: list[list[Part]], dots: int) -> Scale:
    """The range of what is in sight; points are few and never outliers."""
    low, high = range_of(
        (found, view.clip_outliers and not series.as_points)
        for series, found in zip(chart.series, parts, strict=True)
    )
    for level in levels(data, chart):
        if low - (high - low) < level.value < high + (high - low) / 2:
            low, high = min(low, level.value), max(high, level.value)
    # No axis of a proportion goes beyond 100 %.
    most = 1.0 if chart.unit == "share" and high <= 1 else math.inf
    return scale_of(low, high, dots, log=view.log, most=most)


def _edges(
    series: Series, axis: str, left: float, right: float, dots: int
) -> tuple[list[Part], list[Part]]:
    """Between two evaluations there may be no point in sight; the line through them is."""
    if not series.as_points:
        return [], []
    return edge_parts(series.xs(axis), series.values.values, left, right, dots)


def _draw_points(raster: Raster, parts: list[Part], scale: Scale, role: str) -> None:
    """The points of a line, where they do not stand too close."""
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
            dot = dot_at(x, left, right, raster.dots_across)
            raster.put_sign(dot, scale.row(best[1]), "◆", "accent")


def _axis(data: ChartData, view: View, columns: int, left: float, right: float) -> list[Line]:
    """The axis with a tick at each epoch's end, × where a loss was not finite and ! where a step
    was skipped; the labels."""
    rule = ["─"] * columns
    roles = ["rule"] * columns
    for x in _epoch_ends(data, view.axis):
        if left < x <= right:
            rule[dot_at(x, left, right, columns)] = "┴"
    lost, skipped = marked_steps(data)
    # Lost steps last: where both fall on a column, × is what must be seen.
    for steps, sign, role in ((skipped, "!", "warn"), (lost, "×", "bad")):
        for step in steps:
            x = data.x_at_step(step, view.axis)
            if left <= x <= right:
                at = dot_at(x, left, right, columns)
                rule[at], roles[at] = sign, role
    marked: Line = [(" " * (GUTTER - 1) + "└", "rule")]
    # Neighbours of a role become one span: fewer colour codes on the wire.
    for sign, role in zip(rule, roles, strict=True):
        if marked[-1][1] == role:
            marked[-1] = marked[-1][0] + sign, role
        else:
            marked.append((sign, role))
    return [marked, x_labels(view.axis, columns, left, right)]


def _epoch_ends(data: ChartData, axis: str) -> list[float]:
    if axis == "epoch":
        return [float(n) for n in range(1, int(data.full_range(axis)[1]) + 1)]
    plan = data.history.plan
    if plan and axis == "step" and plan.steps_per_epoch:
        return [
            float(s) for s in range(plan.steps_per_epoch, plan.max_steps + 1, plan.steps_per_epoch)
        ]
    return [data.x_at_step(e.step, axis) for e in data.history.epochs]
