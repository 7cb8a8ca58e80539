"""The tables of a comparison as lines: figures with their paired differences, and settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
from ....core.wording.names import name_decision
from ....core.wording.numbers import (
    format_difference,
    format_difference_interval,
    format_estimate,
    format_p,
    format_value,
)
from ....core.wording.text import visible
from ...drawing.format import ABSENT, MINUS, fit, with_minus, wrap
from ...drawing.lines import DECISION_MARKS, GAP, Column, Line, Span, header, row

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
    r: ComparedRun, compared: ComparedRuns, c: Comparison | None, *, roomy: bool
) -> list[Span]:
    metric = compared["metric"]
    estimate = r["metrics"][metric]
    value = format_estimate(metric, estimate) if roomy else format_value(metric, estimate.value)
    cells: list[Span] = [(visible(r["name"]), ""), (_minus(value), "")]
    if c is None:
        first = r["name"] == compared["baseline"]
        return [*cells, ("baseline" if first else ABSENT, "muted"), *([("", "")] * 5)]
    word, role = OUTCOMES[read_difference(c)]
    return [
        *cells,
        (_difference(c), "strong"),
        (_minus(format_difference_interval(metric, c.low, c.high)), ""),
        (word, role),
        (format_p(c.adjusted_p), "muted"),
        *(("" if n is None else f"{n:,}", "muted") for n in (c.fixed, c.broke)),
    ]


def _difference(c: Comparison) -> str:
    return _minus(format_difference(c.metric, c.difference)).replace(" points", " pts")


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


def _others(compared: ComparedRuns, first: ComparedRun, r: ComparedRun, width: int) -> list[Line]:
    others = other_metrics(compared, r["name"])
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
            (_minus(format_value(name, side["metrics"][name].value)), "") for side in (first, r)
        ]
        cells.append([(name_in(compared, name), ""), *values, *_change(name, c)])
    if not cells:
        return []
    columns, cells = _fitting(columns, cells, width)
    note = "p not adjusted" if compared["comparisons"] else ""
    head: Line = [(f"other metrics of {visible(r['name'])}", "strong"), (f"  {note}", "muted")]
    return [[], head, header(columns), *(row(columns, line) for line in cells)]


def _change(metric: str, c: Comparison | None) -> list[Span]:
    if c is None:
        return [(ABSENT, "muted")] * 3
    role = {"better": "good", "worse": "bad"}.get(read_difference(c), "")
    return [
        (_difference(c), role),
        (_minus(format_difference_interval(metric, c.low, c.high)), ""),
        (format_p(c.p), "muted"),
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
            differs = value != values[0]
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
