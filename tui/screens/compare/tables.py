"""A comparison as lines: figures with their paired differences, settings, and the losses of several
runs in one chart, each run with its dashes and sign."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from ....core.compare.compared import (
    ComparedRun,
    ComparedRuns,
    format_setting,
    name_in,
    other_metrics,
    primary_comparisons,
)
from ....core.judgement.selection import Outcome, read_difference
from ....core.metrics.metric import METRICS
from ....core.metrics.results import Comparison
from ....core.run.history import History
from ....core.wording.names import name_decision
from ....core.wording.numbers import (
    format_difference,
    format_difference_interval,
    format_estimate,
    format_p,
    format_value,
)
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
from ...drawing.format import ABSENT, MINUS, fit, format_number, with_minus, wrap
from ...drawing.lines import (
    DECISION_MARKS,
    GAP,
    Column,
    Line,
    Span,
    cut,
    header,
    join_fitting,
    row,
    width_of,
)
from ...drawing.plot import BRAILLE, Part, Raster, Scale, column_parts
from ...drawing.series import SMOOTHINGS
from ...widgets.plot_pane import AXES, Look
from ..charts.data import ChartData

SETTING_WIDTH, LEAST_VALUE = 28, 10
BESIDE_METRIC = 62  # cells of the other columns
ROOMY = 100  # cells from which on a value has its own interval beside it
OUTCOMES: dict[Outcome, Span] = {
    "better": ("▲ better", "good"),
    "worse": ("▼ worse", "bad"),
    "the same": ("= the same", "muted"),
    "cannot tell": ("· not shown", "muted"),
}


def metric_lines(compared: ComparedRuns, width: int) -> list[Line]:
    """The primary metric of every run, then the other metrics, a table per run."""
    metric = compared["metric"]
    direction = METRICS[metric].direction
    title = f"{name_in(compared, metric)} of {compared['model']} on {compared['split']}"
    lines: list[Line] = [[(title, "strong"), (f"  {direction} is better", "muted")]]
    lines += _primary_table(compared, width)
    for unpaired in compared["unpaired"]:
        lines.append([])
        text = f"{unpaired['run']} is not paired: {unpaired['reason']}."
        lines += [[(part, "warn")] for part in wrap(visible(text), width)]
    lines += _reasons(compared)
    first, *rest = compared["runs"]
    for r in rest:
        lines += _others(compared, first, r, width)
    for note in compared["notes"]:
        lines.append([])
        lines += [[(part, "muted")] for part in wrap(f"{visible(note)}.", width)]
    return lines


def _primary_table(compared: ComparedRuns, width: int) -> list[Line]:
    found = {c.to_model: c for c in primary_comparisons(compared)}
    # One comparison is not adjusted for others.
    several = len(found) > 1
    roomy = width >= ROOMY
    longest = max(8, *(cell_len(visible(r["name"])) for r in compared["runs"]))
    columns = [
        Column("run", min(longest, max(10, width // 5)), right=False),
        Column("value", 22 if roomy else 9, right=not roomy),
        Column("difference", 10),
        Column("95 % interval", 16),
        Column("result", 11, right=False),
        Column("p (Holm)" if several else "p", 8),
        Column("fixed", 6),
        Column("broke", 6),
    ]
    cells = [_run_cells(r, compared, found.get(r["name"]), roomy=roomy) for r in compared["runs"]]
    columns, cells = _fitting(columns, cells, width)
    return [header(columns), *(row(columns, line) for line in cells)]


def _run_cells(
    run: ComparedRun, compared: ComparedRuns, comparison: Comparison | None, *, roomy: bool
) -> list[Span]:
    metric = compared["metric"]
    estimate = run["metrics"][metric]
    value = format_estimate(metric, estimate) if roomy else format_value(metric, estimate.value)
    cells: list[Span] = [(visible(run["name"]), ""), (_minus(value), "")]
    if comparison is None:
        first = run["name"] == compared["baseline"]
        return [*cells, ("baseline" if first else ABSENT, "muted"), *([("", "")] * 5)]
    word, role = OUTCOMES[read_difference(comparison)]
    return [
        *cells,
        (_difference(comparison), "strong"),
        (_minus(format_difference_interval(metric, comparison.low, comparison.high)), ""),
        (word, role),
        (format_p(comparison.adjusted_p), "muted"),
        *(("" if n is None else f"{n:,}", "muted") for n in (comparison.fixed, comparison.broke)),
    ]


def _difference(comparison: Comparison) -> str:
    return _minus(format_difference(comparison.metric, comparison.difference)).replace(
        " points", " pts"
    )


def _fitting(
    columns: list[Column], cells: list[list[Span]], width: int
) -> tuple[list[Column], list[list[Span]]]:
    """As many of the columns as the width has room for; the first ones matter most."""
    kept, used = 0, 0
    for column in columns:
        used += column.width + len(GAP) * (kept > 0)
        if used > width:
            break
        kept += 1
    return columns[:kept], [line[:kept] for line in cells]


def _minus(text: str) -> str:
    return text.replace("-", MINUS)


def _reasons(compared: ComparedRuns) -> list[Line]:
    """The verdict of each run against its own objective."""
    lines: list[Line] = []
    for r in compared["runs"]:
        if verdict := r["verdict"]:
            sign, role = DECISION_MARKS[verdict["decision"]]
            head: Line = [(fit(f"{sign} {verdict['decision']}", 13), role)]
            if verdict.get("preliminary"):
                head = [(fit(f"{sign} {name_decision(verdict)} ", 26), role)]
            text = f"{visible(r['name'])}: {with_minus(visible(verdict['objective']))}"
            lines.append([*head, (text, "muted")])
    return [[], [("verdicts, each against its own objective", "muted")], *lines] if lines else []


def _others(compared: ComparedRuns, first: ComparedRun, run: ComparedRun, width: int) -> list[Line]:
    others = other_metrics(compared, run["name"])
    longest = max((cell_len(name_in(compared, name)) for name, _ in others), default=0)
    columns = [
        Column("metric", min(longest, max(20, width - BESIDE_METRIC)), right=False),
        Column("baseline", 9),
        Column("this run", 9),
        Column("difference", 10),
        Column("95 % interval", 16),
        Column("p", 8),
    ]
    cells: list[list[Span]] = []
    for name, c in others:
        values: list[Span] = [
            (_minus(format_value(name, side["metrics"][name].value)), "") for side in (first, run)
        ]
        cells.append([(name_in(compared, name), ""), *values, *_change(name, c)])
    if not cells:
        return []
    columns, cells = _fitting(columns, cells, width)
    note = "p not adjusted" if compared["comparisons"] else ""
    head: Line = [(f"other metrics of {visible(run['name'])}", "strong"), (f"  {note}", "muted")]
    return [[], head, header(columns), *(row(columns, line) for line in cells)]


def _change(metric: str, comparison: Comparison | None) -> list[Span]:
    if comparison is None:
        return [(ABSENT, "muted")] * 3
    role = {"better": "good", "worse": "bad"}.get(read_difference(comparison), "")
    return [
        (_difference(comparison), role),
        (_minus(format_difference_interval(metric, comparison.low, comparison.high)), ""),
        (format_p(comparison.p), "muted"),
    ]


def setting_lines(
    config: Mapping[str, Sequence[object]], names: Sequence[str], width: int
) -> list[Line]:
    """The settings that differ, a column per run; what a run lacks is a dash."""
    if not config:
        return [[("No setting differs, and the files are the same.", "muted")]]
    first = min(SETTING_WIDTH, max(len(visible(name)) for name in config))
    each = (width - first - len(GAP) * len(names)) // max(1, len(names))
    longest = max(
        cell_len(visible(_setting_text(v), 200)) for values in config.values() for v in values
    )
    each = max(LEAST_VALUE, min(each, max(longest, *(cell_len(visible(n)) for n in names))))
    columns = [Column("setting", first, right=False)]
    columns += [Column(visible(name), each, right=False) for name in names]
    lines = [header(columns)]
    for name, values in config.items():
        cells: list[Span] = [(visible(name), "muted")]
        for value in values:
            differs = value != values[0]  # from the baseline
            text = _end_of_path(visible(_setting_text(value), 200), each)
            cells.append((text, "strong" if differs else ""))
        lines.append(row(columns, cells))
    return lines


def _end_of_path(text: str, width: int) -> str:
    """A path that does not fit keeps its end, which distinguishes it better than its start."""
    if "/" not in text or cell_len(text) <= width:
        return text
    while text and cell_len(text) >= width:
        text = text[1:]
    return f"…{text}"


def _setting_text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return format_setting(value)


MOST_RUNS = 6  # as many as HANDS distinguish without colours


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
    # A cursor set on a point must count it: tokens in the millions round off in their last digits.
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
        # nearer there is a step or less
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
    legend = legend[: max(1, height - AXIS_ROWS - 3)]  # three rows of plot in any case
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
    # Spikes of single batches may be cut off; evaluations are means of many rows, and all count.
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
    # Blocks and ASCII are one or two dots wide: a gap in them looks like missing points.
    if not left_out or raster.marker is not BRAILLE:
        raster.draw_parts(parts, scale, curve.hand.role)
        return
    period = drawn + left_out
    run: list[Part] = []
    for part in parts:
        tall = scale.row(part.low) - scale.row(part.high) > 2  # dots
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
    crowded = len(parts) * 3 > raster.width  # fewer than three dots for a sign
    if alone or crowded:
        _draw_dashed(raster, parts, scale, curve)
    if not crowded:
        for part in parts:
            raster.put_sign(part.x, scale.row(part.last), curve.hand.sign, curve.hand.role)
