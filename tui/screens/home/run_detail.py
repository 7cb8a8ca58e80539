"""What is worth a sentence about the chosen run: below the list."""

from __future__ import annotations

from ....core.catalog.run_facts import RunEntry
from ....core.wording.metric_names import name_metric
from ....core.wording.text import visible
from ...drawing.format import (
    format_bytes,
    format_count,
    format_seconds,
    with_dots,
    with_minus,
    wrap,
)
from ...drawing.spans import Line, cut, width_of
from ...widgets.pane import Pane
from ..run.status import DECISION_MARKS
from .run_columns import base_of, difference_of, same_rows

DETAIL_LINES = 4


class RunDetail(Pane):
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
    told = _outcome(entry, width)
    against = _against(entry, baseline)
    note: list[Line] = []
    if entry.notes.note:
        note = [cut([("¶ ", "muted"), (visible(entry.notes.note), "")], width)]
    room = height - len(lines) - len(against) - len(note)
    if len(told) > max(1, room):
        told = told[: max(1, room)]
        *before, (last, role) = told[-1]
        told[-1] = [*before, (with_dots(last, width - width_of(before)), role)]
    return [*lines, *told, *against, *note][:height]


def _which(entry: RunEntry, width: int) -> Line:
    facts = entry.facts
    parts = [facts.task, base_of(entry)]
    if source := facts.settings.get("data.train"):
        first = source[0] if isinstance(source, list) else source
        parts.append("on " + str(first).rpartition("/")[2])
    if facts.step:
        parts.append(f"{format_count(facts.step)} steps in {format_seconds(entry.seconds)}")
    held = entry.run.memory_held() if facts.ended else None
    if held is not None:  # it answers prompts; S and `stop` end it
        parts.insert(0, f"its worker holds {format_bytes(held)}" if held else "its worker is alive")
    told = " · ".join(visible(part) for part in parts if part)
    return cut([(visible(entry.run.id), "strong"), ("   " + told, "muted")], width)


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
        told = f"step {format_count(facts.step)} of {format_count(facts.max_steps)}"
        return [[(f"{told}; its verdict comes with the final evaluation", "muted")]]
    if not facts.whole:
        return [[("reading …", "muted")]]
    return [[("no verdict: the final evaluation was not made", "muted")]]


def _against(entry: RunEntry, baseline: RunEntry | None) -> list[Line]:
    """A difference of two figures is not yet evidence, and is told so."""
    if baseline is None or baseline.run.id == entry.run.id:
        return []
    told = difference_of(entry, baseline)
    name, metric = visible(baseline.name), name_metric(baseline.facts.metric)
    if told == "–":
        why = f"{metric or 'a metric'} on {baseline.facts.split or 'a split'} is not known of both"
        return [[("no difference from ", "muted"), (name, ""), (f": {why}", "muted")]]
    rows = (
        "c tests it row by row"
        if same_rows(baseline.facts.rows, entry.facts.rows)
        else "scored on other rows, so this is no comparison of models"
    )
    return [[(f"{metric} {told} from ", ""), (name, "strong"), (f": {rows}", "muted")]]
