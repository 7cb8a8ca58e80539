"""The charts as files: every point in sight as CSV, the front chart as SVG, written in a thread."""

from __future__ import annotations

import csv
import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from pathlib import Path

from ....core.errors import FtevError, RunError
from ....core.files.disk import replacing, write_whole
from ....core.report.blocks import Chart as Drawing
from ....core.report.blocks import Line as Curve
from ....core.report.formats.html import draw
from ....core.run.history import read_history
from ....core.run.runs import Run
from ....core.wording.text import visible
from ...app.background import Post, in_thread
from ...drawing.plot import column_parts
from ...drawing.series import Chart, Series
from ...widgets.framed import Outcome
from ...widgets.plot_pane import AXES
from .data import GIB, ChartData
from .plot import View, best_point, levels

FOLDER = "exports"  # in the run directory
COLUMNS_OF_SVG = 760  # places along x that can be distinguished; each keeps its extremes
X_TITLES = {"step": "step", "epoch": "epoch", "time": "seconds", "tokens": "tokens read"}
LIGHT = ("#fcfbf9", "#1f2328", "#5f6670", "#e3e0da", "#2a5f8f", "#a4561f", "#a8322a")
DARK = ("#14171a", "#e4e5e3", "#9ba2ab", "#30353b", "#82b4e0", "#e0a06c", "#f0918a")
SHAPES = """
svg { font: 12.5px system-ui, -apple-system, "Segoe UI", Arial, sans-serif; }
.mark { font-weight: 600; paint-order: stroke; stroke-width: 4px; }
.middle { text-anchor: middle; } .end { text-anchor: end; }
.grid, .axis, .line, .ring { fill: none; }
.line { stroke-width: 1.8; stroke-linejoin: round; } .dense { stroke-width: 1.1; }
.dashed { stroke-dasharray: 2 4; } .ring { stroke-width: 1.5; }
"""


def _coloured(colours: tuple[str, ...]) -> str:
    """Written out: many that draw SVG know no variables."""
    paper, ink, muted, rule, first, second, mark = colours
    return (
        f".paper {{ fill: {paper}; }} text {{ fill: {muted}; }} .legend, .mark {{ fill: {ink}; }} "
        f".mark, .point {{ stroke: {paper}; }} .grid {{ stroke: {rule}; }} "
        f".axis, .line.dashed {{ stroke: {muted}; }} .ring {{ stroke: {mark}; }} "
        f".line.s0 {{ stroke: {first}; }} .line.s1 {{ stroke: {second}; }} "
        f".point.s0 {{ fill: {first}; }} .point.s1 {{ fill: {second}; }}"
    )


STYLE = f"{SHAPES}{_coloured(LIGHT)}\n@media (prefers-color-scheme: dark) {{ {_coloured(DARK)} }}\n"
PAPER = '<rect class="paper" width="100%" height="100%"/>'


def write_chart(run: Run, data: ChartData, view: View, names: list[str]) -> list[Path]:
    """CSV of the charts named, within the x-range in sight, and SVG of the first of them.

    Into the run's `exports`, else into the current folder. RunError where neither can be written.
    """
    stem = f"{names[0]}-by-{view.axis}"
    why = ""
    # A run copied from elsewhere, or one of another user, may be read-only.
    for folder in (run.path / FOLDER, Path.cwd()):
        try:
            folder.mkdir(exist_ok=True)
            table, drawing = folder / f"{stem}.csv", folder / f"{stem}.svg"
            _write_table(table, data, view, [data.chart(name) for name in names])
            write_whole(drawing, svg_of(data, view, data.chart(names[0])).encode())
            return [table, drawing]
        except (OSError, RunError) as error:
            why = why or str(error)
    raise RunError(f"the chart cannot be written: {why}")


def _write_table(path: Path, data: ChartData, view: View, charts: list[Chart]) -> None:
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(table_rows(data, view, charts))


def table_rows(data: ChartData, view: View, charts: list[Chart]) -> Iterator[list[str]]:
    """A header, and a row per step, evaluation or sample in sight, in their order along x.

    Places on all four axes (time in seconds since the first step), then a column per series, empty
    where it was not measured; numbers in full, NaN and infinities by name.
    """
    series = [(chart, s) for chart in charts for s in chart.series]
    yield [*AXES, *(_column(chart, s) for chart, s in series)]
    left, right = view.range(data)
    rows: dict[tuple[float, ...], list[str]] = {}
    # Series have points at different steps: a row is a place, found by all four axes.
    for column, (chart, s) in enumerate(series):
        scale = GIB if chart.unit == "GiB" else 1.0
        places = [s.xs(axis) for axis in AXES]
        shown = s.xs(view.axis)
        for i in range(bisect_left(shown, left), min(len(s), bisect_right(shown, right))):
            place = tuple(float(xs[i]) for xs in places)
            row = rows.setdefault(place, [""] * len(series))
            row[column] = _number(s.values.values[i] * scale)
    for place in sorted(rows):
        step, *others = place
        yield [str(int(step)), *(_number(x) for x in others), *rows[place]]


def _column(chart: Chart, series: Series) -> str:
    if chart.name == "loss":
        return "train/loss" if series.kind == "steps" else "validation/loss"
    if series.kind.startswith("logged"):
        return chart.name
    split = {"steps": "train", "evaluations": "validation", "samples": "machine"}[series.kind]
    return f"{split}/{chart.name}"


def _number(value: float) -> str:
    if math.isfinite(value):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def svg_of(data: ChartData, view: View, chart: Chart) -> str:
    """A picture by itself, light or dark as its reader is; every spike stays."""
    left, right = view.range(data)
    curves = [_curve(view, series, left, right) for series in chart.series]
    curves = [curve for curve in curves if curve.x]
    drawn_left = min((min(c.x) for c in curves), default=left)
    drawn_right = max((max(c.x) for c in curves), default=right)
    for level in levels(data, chart):
        curves.append(
            Curve(level.words, (drawn_left, drawn_right), (level.value, level.value), dashed=True)
        )
    marks = []
    if best := best_point(data, chart):
        x = data.x_at_step(best[0], view.axis)
        if left <= x <= right:
            marks.append((x, best[1], f"best, step {best[0]:,}"))
    unit = f", {chart.unit}" if chart.unit in ("nats", "GiB") else ""
    description = f"{chart.title} by {view.axis}, every point from {left:,.6g} to {right:,.6g}"
    drawing = Drawing(
        chart.title.capitalize(),
        X_TITLES[view.axis],
        chart.title + unit,
        curves,
        description,
        marks,
    )
    # A chart without a point has no drawing; the file still is one.
    svg = draw(drawing, "chart") or '<svg class="chart" viewBox="0 0 760 340">'
    head, _, body = svg.partition(">")
    body = body if body.endswith("</svg>") else body + "</svg>"
    return f'{head} xmlns="http://www.w3.org/2000/svg"><style>{STYLE}</style>{PAPER}{body}\n'


def _curve(view: View, series: Series, left: float, right: float) -> Curve:
    """All points where they are few, else the least and greatest of each column."""
    xs, values = series.xs(view.axis), series.smoothed(view.smoothing)
    start, end = bisect_left(xs, left), min(len(values), bisect_right(xs, right))
    if end - start <= 2 * COLUMNS_OF_SVG:
        return Curve(series.name, list(xs[start:end]), list(values.values[start:end]))
    found = column_parts(xs, values, left, right, COLUMNS_OF_SVG)
    width = (right - left) / (COLUMNS_OF_SVG - 1)  # of a column, in units of x
    places, heights = [], []
    for part in found:
        falls = part.first > part.last
        places += [left + part.x * width] * 2
        heights += [part.high, part.low] if falls else [part.low, part.high]
    return Curve(series.name, places, heights)


def write_charts(run: Run, shown: ChartData, view: View, names: list[str], post: Post) -> None:
    """From a history of its own, read in the thread: the one on the screen goes on growing."""
    data = ChartData()
    # Read from the configuration once: their imports are heavy.
    data.best_metric, data.early_stopping = shown.best_metric, shown.early_stopping

    def write() -> None:
        post(written(run, data, view, names))

    in_thread(write)


def written(run: Run, data: ChartData, view: View, names: list[str]) -> Outcome:
    """What became of it, in a sentence that names the files."""
    try:
        data.update(read_history(run))
        known = [name for name in names if name in data.names] or ["loss"]
        table, drawing = write_chart(run, data, view, known)
    except FtevError as error:
        return Outcome(str(error), failed=True)
    place = _within(table.parent, run)
    return Outcome(f"written: {visible(f'{table.name}, {drawing.name} in {place}')}")


def _within(folder: Path, run: Run) -> str:
    return f"{folder.name}/ of the run" if folder.parent == run.path else str(folder)
