"""The metrics of a split, each model's with its interval, and how the tuned one differs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ....core.judgement.selection import Outcome, read_difference
from ....core.metrics.results import Comparison, Estimate, ModelResult
from ....core.report.document import Report
from ....core.report.sections.thresholds import describe_other_threshold
from ....core.wording.names import name_class, name_metric, positive_label_of, short_name
from ....core.wording.numbers import (
    DASH,
    format_count,
    format_difference,
    format_difference_interval,
    format_estimate,
    format_p,
    format_point,
)
from ...drawing.format import fit, fit_right, with_minus
from ...drawing.lines import GAP, Line, Span
from ..run.metric_rows import MetricRow, MetricTable, Value
from .reading import MODEL_WORDS, prose
from .sections import ListSection, Opened, OpenReceipt, Shown

ORDER = ("majority", "mean", "probe", "base", "tuned")
RESULTS: dict[Outcome, Span] = {
    "better": ("▲", "good"),
    "worse": ("▼", "bad"),
    "the same": ("=", "muted"),
    "cannot tell": ("·", "muted"),
}
NAME_WIDTH = 14
UNITS = {"share": "points", "points": "points", "nats": "nats"}


@dataclass(frozen=True)
class Row:
    """A metric of every model, and the report's comparison of the tuned one with its reference."""

    metric: str
    estimates: Mapping[str, Estimate]
    comparison: Comparison | None
    primary: bool
    positive: str | None = None  # the label of precision, recall and F1


def metric_rows(report: Report, split: str, reference: str, table: MetricTable) -> list[Row]:
    """A row per metric of `table`, in its order, as the report has it."""
    results = report["results"][split]
    compared = {
        c.metric: c
        for c in report["comparisons"]
        if (c.split, c.from_model, c.to_model) == (split, reference, "tuned")
    }
    rows, positive = [], positive_label_of(results.values())
    for row in table.rows:
        found = {m: _estimate(results[m], row.metric) for m in results}
        known = {m: e for m, e in found.items() if e is not None}
        rows.append(Row(row.metric, known, compared.get(row.metric), row.primary, positive))
    return rows


def _estimate(result: ModelResult, metric: str) -> Estimate | None:
    # A loss that has no interval stands beside the metrics.
    if metric == "loss" and metric not in result.metrics and result.loss is not None:
        return Estimate(result.loss, math.nan, math.nan, "")
    return result.metrics.get(metric)


def receipt_row(row: Row, reference: str) -> MetricRow:
    """What the receipt is asked for."""
    values = {model: Value(e.value, e.low, e.high) for model, e in row.estimates.items()}
    models = [m for m in ORDER if m in values] + [m for m in values if m not in ORDER]
    return MetricRow(row.metric, {m: values[m] for m in models}, before=reference)


def metric_lines(
    rows: Sequence[Row], reference: str, models: Sequence[str], width: int, cursor: int
) -> list[Line]:
    """Header and rows in the fullest form that fits."""
    shown = [m for m in ORDER if m in models] + [m for m in models if m not in ORDER]
    few = [m for m in (reference, "tuned") if m in shown]
    for table in _forms(rows, shown, few):
        widths = _widths(table)
        if _fits(widths, width):
            break
    lines: list[Line] = []
    for at, cells in enumerate(table):
        row = rows[at - 1] if at else None
        lines.append(_line(row, cells, widths, chosen=at - 1 == cursor))
    return lines


def _forms(
    rows: Sequence[Row], shown: Sequence[str], few: Sequence[str]
) -> Iterator[list[list[Span]]]:
    """The table, fuller forms first; in the last ones signs stand without their words."""
    # Intervals of two models say more than bare values of four.
    for columns, whole in ((shown, True), (few, True), (shown, False), (few, False)):
        yield _table(rows, columns, whole)
    for columns in (few, few[-1:]):
        yield _signs_alone(_table(rows, columns, False))


def _signs_alone(table: Sequence[Sequence[Span]]) -> list[list[Span]]:
    """Without the words behind the signs: the sentence below has them."""
    return [
        [*line[:-1], ("" if not at else line[-1][0][:1], line[-1][1])]
        for at, line in enumerate(table)
    ]


def _widths(table: Sequence[Sequence[Span]]) -> list[int]:
    return [max(len(line[i][0]) for line in table) for i in range(len(table[0]))]


def _fits(widths: Sequence[int], width: int) -> bool:
    return sum(widths) + len(GAP) * (len(widths) - 1) + NAME_WIDTH + 4 <= width  # pointer and star


def _table(rows: Sequence[Row], models: Sequence[str], whole: bool) -> list[list[Span]]:
    # An older run, or one comparison alone, has no adjusted p: its column would be dashes.
    corrected = whole and any(r.comparison and r.comparison.p_holm is not None for r in rows)
    heads = [*models, "change", "95 % interval"]
    if whole:
        heads += ["p", *(["p (Holm)"] if corrected else []), "detectable"]
    table: list[list[Span]] = [[(head, "muted") for head in [*heads, "result"]]]
    for row in rows:
        cells = _cells(row, models, whole, corrected)
        table.append([(with_minus(text), role) for text, role in cells])
    return table


def _cells(row: Row, models: Sequence[str], whole: bool, corrected: bool) -> list[Span]:
    shown = format_estimate if whole else format_point
    cells: list[Span] = [(shown(row.metric, row.estimates.get(m)), _role(m)) for m in models]
    c = row.comparison
    if c is None:
        return [*cells, *[("", "")] * (3 + whole * (2 + corrected))]
    outcome = read_difference(c)
    mark, role = RESULTS[outcome]
    change = format_difference(row.metric, c.difference).removesuffix(" points")
    cells += [
        (change, role),
        (format_difference_interval(row.metric, c.low, c.high), "muted"),
    ]
    if whole:
        cells.append((format_p(c.p), "muted"))
        if corrected:
            cells.append((format_p(c.p_holm), "muted"))
        cells.append((_smallest(c), "muted"))
    return [*cells, (f"{mark} {outcome}", role)]


def _smallest(comparison: Comparison) -> str:
    least = comparison.smallest_detectable
    if least is None or math.isnan(least):
        return DASH
    return format_difference(comparison.metric, abs(least)).lstrip("+").removesuffix(" points")


def _line(row: Row | None, cells: list[Span], widths: list[int], chosen: bool) -> Line:
    name = short_name(row.metric) if row else "metric"
    role = "muted" if row is None else "strong" if row.primary or chosen else ""
    mark = "★" if row is not None and row.primary else " "
    line: Line = [
        ("▸ " if chosen else "  ", "accent"),
        (fit(name, NAME_WIDTH), role),
        (f"{mark} ", "accent"),
    ]
    last = len(cells) - 1
    for i, ((text, cell_role), size) in enumerate(zip(cells, widths, strict=True)):
        gap = GAP if i else ""
        # Words of the last column start alike; figures end alike.
        placed = fit(text, size) if i == last else fit_right(text, size)
        line += [(gap, ""), (placed, cell_role)]
    return line


def _role(model: str) -> str:
    return model if model in ("base", "tuned") else "muted"


def describe_metric(row: Row, reference: str, width: int) -> list[Line]:
    """The metric under the cursor in sentences: its change, the evidence, what is detectable."""
    name = name_metric(row.metric, row.positive)
    text = f"{name} of tuned is {format_estimate(row.metric, row.estimates.get('tuned'))}"
    c = row.comparison
    if c is None:
        return prose(f"{text}. It was not compared with another model.", width)
    against = MODEL_WORDS.get(reference, reference)
    text += (
        f", of {against} {format_estimate(row.metric, row.estimates.get(reference))}: "
        f"{format_difference(row.metric, c.difference)}, paired 95 % "
        f"{format_difference_interval(row.metric, c.low, c.high)}, p {format_p(c.p)}"
    )
    if c.p_holm is not None:
        text += f" (Holm: {format_p(c.p_holm)})"
    text += f": {read_difference(c)}."
    if (least := _smallest(c)) != DASH:
        text += f" Detectable with these rows: {least}{_unit(row.metric)} or more."
    return prose(with_minus(text), width)


def _unit(metric: str) -> str:
    from ....core.wording.numbers import unit_of

    return " points" if unit_of(metric) == "share" else ""


def doubt_note(rows: Sequence[Row]) -> str:
    """Why an interval that excludes 0 may mean "cannot tell"; empty where none does."""
    doubted = [
        c
        for row in rows
        if (c := row.comparison) and read_difference(c) == "cannot tell"
        if c.low > 0 or c.high < 0
    ]
    if not doubted:
        return ""
    corrected = any(c.p_holm is not None for c in doubted)
    adjusted = ", adjusted for multiple comparisons," if corrected else ""
    return f"· where the interval excludes 0: p{adjusted} is above 0.05."


def fixed_and_broke(rows: Sequence[Row], reference: str) -> str:
    """`20 rows fixed, 6 broke against the linear probe.` Empty where answers are not labels."""
    for row in rows:
        c = row.comparison
        if c is not None and c.fixed is not None:
            fixed = format_count(c.fixed, "row")
            against = MODEL_WORDS.get(reference, reference)
            return f"Against {against}, tuned fixed {fixed} and broke {c.broke or 0:,}."
    return ""


class MetricsSection(ListSection):
    """The table of metrics; below, the one under the cursor in sentences."""

    title = "Metrics"

    def rows(self, shown: Shown) -> list[Row]:
        return metric_rows(shown.report, shown.split, shown.reference, shown.table)

    def count(self, shown: Shown) -> int:
        return len(shown.table.rows)

    def head(self, shown: Shown, width: int) -> list[Line]:
        notes = [
            fixed_and_broke(self.rows(shown), shown.reference),
            self._class(shown),
            describe_other_threshold(shown.report, shown.split),
        ]
        lines = [line for text in notes if text for line in prose(text, width)]
        return [*lines, []] if lines else []

    def _class(self, shown: Shown) -> str:
        """Whose precision, recall and F1 the table has."""
        named = name_class((row.metric for row in shown.table.rows), shown.table.positive)
        return f"In the table: {named}." if named else ""

    def body(self, shown: Shown, width: int, height: int) -> list[Line]:
        models = list(shown.report["results"].get(shown.split, {}))
        rows = self.rows(shown)
        return metric_lines(rows, shown.reference, models, width, self.cursor)

    def foot(self, shown: Shown, width: int) -> list[Line]:
        rows = self.rows(shown)
        if not rows:
            return []
        doubt = doubt_note(rows)
        lines = prose(doubt, width, "muted") if doubt else []
        return [[], *lines, *describe_metric(rows[self.cursor], shown.reference, width)]

    def opened(self, shown: Shown) -> Opened:
        return OpenReceipt(self.cursor) if self.count(shown) else None

    def term(self, shown: Shown) -> str | None:
        return shown.table.rows[self.cursor].metric if self.count(shown) else None
