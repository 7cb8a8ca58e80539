"""Charts as lines of text: plot, axis, legend, small charts beneath, and the view of them, which is
passed in."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass

from ....core.config.config import EarlyStopping
from ....core.run.history import NOT_LOGGED
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
from ...drawing.format import (
    ABSENT,
    fit_right,
    format_bytes,
    format_clock,
    format_number,
    format_share,
    format_short_count,
)
from ...drawing.lines import Line, cut, join_fitting
from ...drawing.plot import ASCII, Part, Raster, Scale, column_parts, edge_parts, letter_of
from ...drawing.series import Chart, Series
from ...widgets.plot_pane import Look
from .data import GIB, ChartData

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
    wanted = [
        "loss",
        *data.metrics()[:1],
        *data.logged()[:2],
        "grad_norm",
        "learning_rate",
        "tokens_per_second",
    ]
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


@dataclass
class View(Look):
    """One view for every chart: they share the x-range, the cursor and the way they are drawn."""

    name: str = "loss"  # of the chart in front
    cursor: int | None = None  # index of a step

    def chart(self, data: ChartData) -> Chart:
        return data.chart(self.name if self.name in data.names else "loss")

    def turn(self, data: ChartData, direction: int) -> None:
        """The next or the previous chart, round and round."""
        names = data.names
        at = names.index(self.name) if self.name in names else 0
        self.name = names[(at + direction) % len(names)]

    def range(self, data: ChartData) -> tuple[float, float]:
        return self.window or data.full_range(self.axis)

    def zoom(self, data: ChartData, factor: float) -> None:
        """Around the cursor, else around the newest step."""
        left, right = self.range(data)
        index = self.cursor if self.cursor is not None else len(data) - 1
        centre = data.xs(self.axis)[index] if len(data) else right
        if not left <= centre <= right:
            centre = (left + right) / 2
        # A window of a few steps is the narrowest: below that nothing more shows.
        full = data.full_range(self.axis)
        self.zoom_around(centre, factor, full, (full[1] - full[0]) / max(4.0, float(len(data))))

    def put_cursor(self, data: ChartData, index: int) -> None:
        """On a step; the window follows it."""
        self.cursor = min(max(0, index), len(data) - 1)
        self.keep_in_sight(data.xs(self.axis)[self.cursor])

    def move_cursor(self, data: ChartData, cells: int, width: int) -> None:
        """By so many cells of a pane so wide; the first move sets the cursor on the last step."""
        if not len(data):
            return
        if self.cursor is None:
            self.cursor = len(data) - 1
            return
        index = min(self.cursor, len(data) - 1)
        left, right = self.range(data)
        x = data.xs(self.axis)[index] + cells * (right - left) / plot_width(width)
        target = data.index_at(x, self.axis)
        if target == index:  # several cells between two steps
            target += 1 if cells > 0 else -1
        self.put_cursor(data, target)


@dataclass(frozen=True)
class Level:
    """A horizontal line with its words."""

    value: float
    sign: str
    words: str
    role: str
    every: int  # dots from one to the next


def levels(data: ChartData, chart: Chart) -> list[Level]:
    """Chance in the chart of the loss; in that of early stopping, the value to beat."""
    found = []
    chance = data.history.random_loss
    if chance is not None and chart.name == "loss":
        words = f"chance ln {round(math.exp(chance)):,} = {chance:.3f}"
        found.append(Level(chance, "┄", words, "reference", 4))
    if data.early_stopping and chart.name == data.best_metric:
        found += early_stopping_level(data, chart, data.early_stopping)
    return found


def early_stopping_level(data: ChartData, chart: Chart, stop: EarlyStopping) -> list[Level]:
    """The value to beat, with the evaluations left until training stops; none before the first."""
    points = chart.points
    first = next((i for i, e in enumerate(data.validation) if e.step > 0), None)
    if points is None or first is None:
        return []
    best, since = waited(
        points.values.values[first:], stop.min_delta, lower_is_better=chart.lower_is_better
    )
    if best is None:
        return []
    left = max(0, stop.patience - since)
    words = f"to beat {best:.4g}: {left} of {stop.patience} evaluations left"
    return [Level(best, "╌", words, "warn" if left <= 1 else "reference", 6)]


def waited(
    values: Iterable[float], min_delta: float, *, lower_is_better: bool
) -> tuple[float | None, int]:
    """The value that an evaluation has to beat, and how many have failed to since (T2)."""
    best: float | None = None
    since = 0
    for value in values:
        # The trainer's own rule: a gain must exceed min_delta to reset the patience.
        gain = math.inf if best is None else (best - value if lower_is_better else value - best)
        if not math.isnan(value) and gain > min_delta:
            best, since = value, 0
        else:
            since += 1
    return best, since


def best_point(data: ChartData, chart: Chart | None = None) -> tuple[int, float] | None:
    """The step whose checkpoint is kept, with what this chart shows of it (the loss by default)."""
    best, points = data.history.best_step, (chart or data.chart("loss")).points
    if best is None or points is None:
        return None
    index = bisect_left(data.validation, best, key=lambda e: e.step)
    if index < len(data.validation) and data.validation[index].step == best:
        return best, points.values.values[index]
    return None


def marked_steps(data: ChartData) -> tuple[list[int], list[int]]:
    """Steps whose loss was not finite, and steps that made no update."""
    steps = data.history.steps
    lost = [i for i in data.loss.not_finite if steps.loss_count[i] != NOT_LOGGED]
    return [steps.step[i] for i in lost], list(steps.skipped_steps)


def format_reading(value: float, unit: str) -> str:
    """An exact value in its unit: 90.5 %, 0.353, 1.21 GiB, 14.1 k"""
    if not math.isfinite(value):
        return ABSENT if unit in ("GiB", "count") else format_number(value)
    if unit == "share":
        return format_share(value)
    if unit == "GiB":
        return format_bytes(value * GIB)
    if unit == "count":
        return format_short_count(value)
    return format_number(value, 3 if unit == "rate" else 4)


def legend(data: ChartData, view: View, width: int) -> Line:
    """The series with their signs and newest values: never colour alone."""
    chart = view.chart(data)
    groups = [_newest(series, chart, view) for series in chart.series if len(series)]
    # Counts stand in words too: their signs on the axis may share a column.
    if lost := marked_steps(data)[0]:
        groups.append([(f"× {len(lost):,} not finite", "bad")])
    if data.history.steps.skipped:
        groups.append([(f"! {data.history.steps.skipped:,} skipped", "warn")])
    best = best_point(data, chart)
    if best:
        groups.append([("◆ ", "accent"), ("best", ""), (f" at step {best[0]:,}", "muted")])
    groups += [
        [(f"{level.sign} ", level.role), (level.words, "muted")] for level in levels(data, chart)
    ]
    return [(" " * GUTTER, ""), *join_fitting(groups, "   ", width - GUTTER)]


def _newest(series: Series, chart: Chart, view: View) -> Line:
    smooth = view.smoothing if series.noisy else 0.0
    name = f"{series.name}, smoothed" if smooth else series.name
    last = format_reading(series.smoothed(smooth).values[-1], chart.unit)
    return [(f"{_sign(series, view)} ", series.role), (name, ""), (f" {last}", "strong")]


def small_legend(data: ChartData, view: View, chart: Chart, width: int) -> Line:
    """The title of a small chart with its value at the cursor, else its newest."""
    series = chart.series[0]
    if view.cursor is None:
        return [(" " * GUTTER, ""), *_newest(series, chart, view)]
    index = data.place_at(series, min(view.cursor, len(data) - 1))
    value = ABSENT if index is None else format_reading(series.values.values[index], chart.unit)
    groups: list[Line] = [
        [(f"{_sign(series, view)} ", series.role), (series.name, ""), (f" {value}", "strong")]
    ]
    return [(" " * GUTTER, ""), *join_fitting(groups, "   ", width - GUTTER)]


def cursor_line(data: ChartData, view: View, width: int) -> Line:
    """The exact values under the cursor."""
    chart, steps = view.chart(data), data.history.steps
    i = min(view.cursor or 0, len(data) - 1)
    groups: list[Line] = [[(f"step {steps.step[i]:,}", "strong")]]
    for series in chart.series:
        groups += _reading(data, series, chart, i, view)
    groups.append([(f"epoch {steps.epoch[i]:.2f}", "muted")])
    if chart.name == "loss":
        rate = format_number(steps.learning_rate[i], 3)
        groups.append([(f"learning rate {rate}", "muted")])
        groups.append([(f"gradient norm {format_number(steps.grad_norm[i], 3)}", "muted")])
    seconds, tokens = data.read_until(i)
    groups.append([(f"{format_short_count(tokens)} tokens read", "muted")])
    groups.append([(f"{format_clock(seconds)} since the first step", "muted")])
    return [(fit_right("at ", GUTTER), "accent"), *join_fitting(groups, "   ", width - GUTTER)]


def _sign(series: Series, view: View) -> str:
    """As the series is drawn: in ASCII by a letter, its points among them."""
    return letter_of(series.role) if view.marker is ASCII else series.sign


def _reading(data: ChartData, series: Series, chart: Chart, index: int, view: View) -> list[Line]:
    """A series at a step; where it was measured at an earlier one, that step too."""
    place = data.place_at(series, index)
    if place is None:
        return []
    value = format_reading(series.values.values[place], chart.unit)
    at = ""
    measured = data.step_of_point(series, place) if series.as_points else None
    if measured is not None and measured != data.history.steps.step[index]:
        at = f" at {measured:,}"
    return [[(f"{_sign(series, view)} ", series.role), (value, "strong"), (at, "muted")]]
