"""The line above a chart: the series with their signs and values, and what is marked in it."""

from __future__ import annotations

import math

from ...drawing.chart_frame import GUTTER
from ...drawing.format import (
    ABSENT,
    fit_right,
    format_bytes,
    format_clock,
    format_number,
    format_share,
    format_short_count,
)
from ...drawing.plot import ASCII, letter_of
from ...drawing.series import Chart, Series
from ...drawing.spans import Line, join_fitting
from .chart_data import GIB, ChartData
from .chart_marks import best_point, levels
from .chart_view import View


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
    if data.loss.not_finite:
        groups.append([(f"× {len(data.loss.not_finite):,} not finite", "bad")])
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
    told = ABSENT if index is None else format_reading(series.values.values[index], chart.unit)
    groups: list[Line] = [
        [(f"{_sign(series, view)} ", series.role), (series.name, ""), (f" {told}", "strong")]
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
    told = format_reading(series.values.values[place], chart.unit)
    at = ""
    if series.as_points and data.validation[place].step != data.history.steps.step[index]:
        at = f" at {data.validation[place].step:,}"
    return [[(f"{_sign(series, view)} ", series.role), (told, "strong"), (at, "muted")]]
