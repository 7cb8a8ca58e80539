"""The runs as lines: the columns that fit, and the chosen run in detail. No widget, no clock."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from ....core.catalog.run_facts import RunEntry
from ....core.wording.names import name_metric
from ....core.wording.numbers import format_difference, unit_of
from ....core.wording.text import visible
from ...drawing.format import (
    ABSENT,
    MINUS,
    fit,
    fit_right,
    format_age,
    format_bytes,
    format_count,
    format_seconds,
    short_model_name,
    with_dots,
    with_minus,
    wrap,
)
from ...drawing.lines import DECISION_MARKS, GAP, STATUS_MARKS, Line, Span, cut, width_of
from ...drawing.plot import BRAILLE, Part, Raster, Scale
from ...widgets.pane import Pane

SIGNS_WIDTH = 3  # cursor, mark or baseline, space
STATUS_WIDTH, VERDICT_WIDTH, AGE_WIDTH = 14, 14, 9
SPARK_WIDTH, DIFFERENCE_WIDTH, TASK_WIDTH = 16, 14, 14
TOOK_WIDTH, BASE_WIDTH = 9, 22
LEAST_HEADLINE = 22  # cells; less of a headline is cut before its figures
ROOMY = 100  # cells from which on status and verdict have a column each
MEASURED = 200  # runs whose texts the widths go by: measuring thousands would be felt at a key
NAMED = 40  # cells that a name takes at most
LIVE = ("running", "paused", "starting")
NO_VERDICT = "no verdict without `eval` of its model or `judge` of its predictions"


@dataclass(frozen=True)
class Marks:
    """What the screen knows of the runs besides their facts, by their ids."""

    marked: frozenset[str] = frozenset()
    baseline: RunEntry | None = None


@dataclass(frozen=True)
class Columns:
    """Cells of the columns that depend on the terminal; 0 where one gives way."""

    name: int
    headline: int
    status: int = STATUS_WIDTH  # 0: it shares the column of the verdict
    difference: int = 0
    spark: int = 0
    task: int = 0
    took: int = 0
    base: int = 0


def fit_columns(entries: Sequence[RunEntry], width: int, *, difference: bool) -> Columns:
    """The least columns always, then the others in the order of their use."""
    entries = entries[:MEASURED]
    longest = max((name_width(e) for e in entries), default=0)
    name = max(8, min(longest, NAMED, width // 4))
    widest = max([LEAST_HEADLINE, *(cell_len(headline_of(e)[0]) for e in entries)])
    status = STATUS_WIDTH if width >= ROOMY else 0
    fixed = SIGNS_WIDTH + VERDICT_WIDTH + AGE_WIDTH + 2 * len(GAP) + bool(status) * len(GAP)
    left = width - fixed - status - name
    given = {"status": status}
    wanted = [("difference", DIFFERENCE_WIDTH)] if difference else []
    wanted += [("spark", SPARK_WIDTH), ("task", TASK_WIDTH)]
    wanted += [("took", TOOK_WIDTH), ("base", BASE_WIDTH)]
    # In the order of their use: the first that does not fit ends the row.
    for column, cells in wanted:
        room = (
            LEAST_HEADLINE
            if column == "difference"
            else min(widest, 34 if column == "spark" else 48)
        )
        if left - cells - len(GAP) < room:
            break
        given[column] = cells
        left -= cells + len(GAP)
    headline = min(max(0, left), max(widest, len("headline")))
    return Columns(name + min(left - headline, max(0, longest - name)), headline, **given)


def name_width(entry: RunEntry) -> int:
    """Cells of a name with its tags and the sign of a note."""
    tags = sum(cell_len(visible(tag)) + 2 for tag in entry.notes.tags)
    return cell_len(visible(entry.name)) + tags + 2 * bool(entry.notes.note)


def header_line(columns: Columns, width: int) -> Line:
    """The names of the columns."""
    parts = [" " * SIGNS_WIDTH + fit("run", columns.name)]
    parts += [fit("task", columns.task)] * bool(columns.task)
    parts += [fit("base model", columns.base)] * bool(columns.base)
    parts += [fit("status", columns.status)] * bool(columns.status)
    parts += [fit("loss", columns.spark)] * bool(columns.spark)
    parts += [fit("verdict", VERDICT_WIDTH), fit("headline", columns.headline)]
    parts += [fit_right("from baseline", columns.difference)] * bool(columns.difference)
    parts += [fit_right("took", columns.took)] * bool(columns.took)
    return _age_at_the_end([(GAP.join(parts), "muted")], "age", width)


def run_line(
    entry: RunEntry, columns: Columns, marks: Marks, now: float, width: int, *, chosen: bool
) -> Line:
    """A run in a line; `now` is in seconds since the epoch."""
    facts = entry.facts
    line: Line = [*_signs(entry, marks, chosen), *_name(entry, columns.name, chosen)]
    if columns.task:
        line.append((fit(visible(facts.task), columns.task) + GAP, "muted"))
    if columns.base:
        line.append((fit(base_of(entry), columns.base) + GAP, "muted"))
    if columns.status:
        line += _status(entry, columns.status)
    if columns.spark:
        line += [(spark(facts.course, columns.spark), "train"), (GAP, "")]
    if facts.decision or columns.status:
        sign, role = DECISION_MARKS.get(facts.decision, ("", ""))
        verdict = f"{sign} {visible(facts.decision)}".strip()
        line.append((fit(verdict, VERDICT_WIDTH) + GAP, role))
    else:
        line += _status(entry, VERDICT_WIDTH)
    headline, role = headline_of(entry)
    line.append((fit(headline, columns.headline), role))
    if columns.difference:
        difference = difference_of(entry, marks.baseline)
        line.append((GAP + fit_right(difference, columns.difference), ""))
    if columns.took:
        took = format_seconds(entry.seconds) if entry.seconds else ""
        line.append((GAP + fit_right(took, columns.took), "muted"))
    return _age_at_the_end(line, format_age(now - facts.created), width)


def _age_at_the_end(line: Line, age: str, width: int) -> Line:
    line = cut(line, max(0, width - AGE_WIDTH))
    space = width - AGE_WIDTH - width_of(line)
    return [*line, (" " * space + fit_right(age, AGE_WIDTH), "muted")]


def _signs(entry: RunEntry, marks: Marks, chosen: bool) -> Line:
    marked = entry.run.id in marks.marked
    if marks.baseline is not None and marks.baseline.run.id == entry.run.id:
        sign, role = "◉" if marked else "◆", "warn"
    else:
        sign, role = "●" if marked else " ", "accent"
    return [("▸" if chosen else " ", "accent"), (sign, role), (" ", "")]


def _name(entry: RunEntry, width: int, chosen: bool) -> Line:
    """The name, its tags behind it, and a sign where there is a note."""
    parts: Line = [(visible(entry.name), "strong" if chosen else "")]
    parts += [(f" #{visible(tag)}", "muted") for tag in entry.notes.tags]
    if entry.notes.note:
        parts.append((" ¶", "muted"))
    parts = cut(parts, width)
    return [*parts, (" " * (width - width_of(parts)) + GAP, "")]


def _status(entry: RunEntry, width: int) -> Line:
    mark, role = STATUS_MARKS.get(entry.status, ("·", "muted"))
    text = f"{mark} {visible(entry.status)}"
    if entry.status in LIVE and entry.facts.max_steps:
        text += f" {entry.facts.step / entry.facts.max_steps * 100:.0f} %"
    return [(fit(text, width) + GAP, role)]


def headline_of(entry: RunEntry) -> Span:
    """The figure that stands for the run; why it has none where it failed."""
    facts = entry.facts
    if entry.status == "failed" and facts.error:
        return visible(facts.error), "bad"
    if entry.status == "unreadable":
        return "cannot be read: check its permissions", "bad"
    if facts.headline:
        return with_minus(visible(facts.headline)), ""
    if not facts.whole:
        return "reading …", "muted"
    if entry.status in ("died", "stopped") and facts.step:
        return f"ended at step {format_count(facts.step)}", "muted"
    return "", ""


def base_of(entry: RunEntry) -> str:
    """The short name of the base model."""
    name = str(entry.facts.settings.get("model.base") or "")
    return visible(short_model_name(name))


def difference_of(entry: RunEntry, baseline: RunEntry | None) -> str:
    """From the baseline to this run in the baseline's metric; ≠ where the rows differ."""
    if baseline is None:
        return ""
    if baseline.run.id == entry.run.id:
        return "baseline"
    before, after = baseline.facts, entry.facts
    # A metric of two tasks is two metrics, whatever its name.
    if before.task != after.task:
        return ABSENT
    if before.value is None or after.split != before.split or before.metric not in after.metrics:
        return ABSENT
    difference = after.metrics[before.metric] - before.value
    if not math.isfinite(difference):
        return ABSENT
    text = format_difference(before.metric, difference).replace("-", MINUS)
    if unit_of(before.metric) == "share":
        text = text.replace(" points", " pts")
    return text if same_rows(before.rows, after.rows) else f"≠ {text}"


def same_rows(ours: str, theirs: str) -> bool:
    """Whether two runs were scored on the same rows, as far as is known from their files."""
    return not ours or not theirs or ours == theirs


def spark(course: Sequence[tuple[float, float]], width: int) -> str:
    """The loss in one line of braille, from the least to the greatest value of every part."""
    raster = Raster(width, 1, BRAILLE)
    if course:
        low, high = min(low for low, _ in course), max(high for _, high in course)
        scale = Scale(low, high if high > low else low + 1.0, raster.dots_down)
        raster.draw_parts(_spread(course, raster.dots_across), scale, "")
    return "".join(text for line in raster.lines() for text, _ in line)


def _spread(course: Sequence[tuple[float, float]], dots: int) -> list[Part]:
    """The parts of a course on so many columns of dots; several on one keep their extremes."""
    count = len(course)
    places: dict[int, list[tuple[float, float]]] = {}
    # More parts than columns: neighbours share one and keep the extremes, so no spike is lost.
    for i, part in enumerate(course):
        places.setdefault(i * dots // count if count > dots else _even(i, count, dots), []).append(
            part
        )
    parts = []
    for x, found in places.items():
        low, high = min(low for low, _ in found), max(high for _, high in found)
        middle = (low + high) / 2
        parts.append(Part(x, low, high, middle, middle))
    return parts


def _even(index: int, count: int, dots: int) -> int:
    return round(index * (dots - 1) / max(1, count - 1))


def group_line(title: str, count: int, by: str, width: int) -> Line:
    """The head of a group: what it shares, how many it holds."""
    runs = f"{format_count(count)} runs" if count != 1 else "1 run"
    line: Line = [("  ", ""), (visible(title), "strong"), (f"  {by}, {runs} ", "muted")]
    line = cut(line, width)
    return [*line, ("─" * max(0, width - width_of(line)), "rule")]


DETAIL_LINES = 4  # below the rule: which run, two of its outcome, one of the baseline or note


class RunDetail(Pane):
    """The lines about the run under the cursor, below the list."""

    def __init__(self) -> None:
        super().__init__(id="detail")
        self.entry: RunEntry | None = None
        self.baseline: RunEntry | None = None

    def show_entry(self, entry: RunEntry | None, baseline: RunEntry | None) -> None:
        self.entry, self.baseline = entry, baseline
        self.show()

    def draw(self, width: int, height: int) -> list[Line]:
        if self.entry is None:
            return []
        return detail_lines(self.entry, self.baseline, width, height)


def detail_lines(entry: RunEntry, baseline: RunEntry | None, width: int, height: int) -> list[Line]:
    """Which run it is; what came of it; how it stands to the baseline; the note on it."""
    lines: list[Line] = [[("─" * width, "rule")], _which(entry, width)]
    outcome = _outcome(entry, width)
    against = _against(entry, baseline)
    note: list[Line] = []
    if entry.notes.note:
        note = [cut([("¶ ", "muted"), (visible(entry.notes.note), "")], width)]
    room = height - len(lines) - len(against) - len(note)
    if len(outcome) > max(1, room):
        outcome = outcome[: max(1, room)]
        *before, (last, role) = outcome[-1]
        outcome[-1] = [*before, (with_dots(last, width - width_of(before)), role)]
    return [*lines, *outcome, *against, *note][:height]


def _which(entry: RunEntry, width: int) -> Line:
    facts = entry.facts
    parts = [facts.task, base_of(entry)]
    if source := facts.settings.get("data.train"):
        first = source[0] if isinstance(source, list) else source
        parts.append("on " + str(first).rpartition("/")[2])
    if facts.step:
        parts.append(f"{format_count(facts.step)} steps in {format_seconds(entry.seconds)}")
    # Asked of the system, so only of the run under the cursor.
    held = entry.run.memory_held() if facts.ended else None
    if held is not None:  # it answers prompts; S and `stop` end it
        parts.insert(0, f"its worker holds {format_bytes(held)}" if held else "its worker is alive")
    about = " · ".join(visible(part) for part in parts if part)
    return cut([(visible(entry.run.id), "strong"), ("   " + about, "muted")], width)


def _outcome(entry: RunEntry, width: int) -> list[Line]:
    facts = entry.facts
    if facts.decision:
        sign, role = DECISION_MARKS.get(facts.decision, ("·", ""))
        head = f"{sign} {visible(facts.decision)}: "
        first, *rest = wrap(with_minus(visible(facts.reason)), max(10, width - len(head))) or [""]
        return [
            [(head, f"strong {role}"), (first, "")],
            *([(" " * len(head), ""), (t, "")] for t in rest),
        ]
    if entry.status == "failed":
        return [cut([("✗ failed: ", "bad"), (visible(facts.error), "")], width)]
    if entry.status in ("running", "paused"):
        known = f" of {format_count(facts.max_steps)}" if facts.max_steps else ""
        comes = "; the verdict comes with the final evaluation" if facts.origin == "ftev" else ""
        return [[(f"step {format_count(facts.step)}{known}{comes}", "muted")]]
    if facts.origin != "ftev":
        return [cut([(f"logged by {visible(facts.origin)}: {NO_VERDICT}", "muted")], width)]
    if not facts.whole:
        return [[("reading …", "muted")]]
    return [[("no verdict: there was no final evaluation", "muted")]]


def _against(entry: RunEntry, baseline: RunEntry | None) -> list[Line]:
    """A difference of two figures is not yet evidence, and the line says so."""
    if baseline is None or baseline.run.id == entry.run.id:
        return []
    difference = difference_of(entry, baseline)
    name, metric = visible(baseline.name), name_metric(baseline.facts.metric)
    if difference == ABSENT:
        why = f"{metric or 'a metric'} on {baseline.facts.split or 'a split'} is not known for both"
        return [[("no difference from ", "muted"), (name, ""), (f": {why}", "muted")]]
    rows = (
        "c compares them row by row"
        if same_rows(baseline.facts.rows, entry.facts.rows)
        else "scored on other rows, so not a comparison of models"
    )
    return [[(f"{metric} {difference} from ", ""), (name, "strong"), (f": {rows}", "muted")]]
