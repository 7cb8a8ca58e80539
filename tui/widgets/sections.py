"""The sections of the evaluation screen: what each shows, where its cursor is, what enter opens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...core.history import History
from ...core.reporting.blocks import Heading, Table
from ...core.reporting.sections.findings import sentences_of
from ...core.reporting.sections.slices import name_slice, show_slices
from ...core.reporting.text import visible
from .block_lines import SEVERITIES, block_lines, prose
from .evaluation_read import Report
from .format import fit
from .metric_rows import MetricTable
from .pane import told_hidden
from .row_query import label_query
from .spans import Line, width_of

POINTER = ("▸ ", "accent")
SIDE_BY_SIDE = 110  # cells from which on two parts stand beside each other
ELSEWHERE = "The run tells nothing of this for {split} by itself; s goes on to the next split."


@dataclass(frozen=True)
class OpenReceipt:
    """The receipt of the metric in a row of the metrics section."""

    index: int


@dataclass(frozen=True)
class OpenRows:
    """Rows in the examples screen: by a query, or by their ids in a split."""

    query: str = ""
    only: tuple[int, ...] = ()
    split: str = ""
    about: str = ""


@dataclass(frozen=True)
class OpenRow:
    """One row of the examples as they are selected here."""

    index: int


Opened = OpenReceipt | OpenRows | OpenRow | None


@dataclass
class Shown:
    """What every section is made from."""

    report: Report  # whole
    part: Report  # of the split and the reference
    history: History
    split: str
    reference: str
    table: MetricTable
    ascii_only: bool = False

    @property
    def generates(self) -> bool:
        return bool(self.report["run"]["task"] == "generation")

    @property
    def tuned(self) -> dict[str, Any]:
        result: dict[str, Any] = self.report["results"].get(self.split, {}).get("tuned", {})
        return result


class Section:
    """Lines that scroll; subclasses with a cursor mark its line with `POINTER`."""

    title = ""
    top = 0

    def body(self, shown: Shown, width: int, height: int) -> list[Line]:
        raise NotImplementedError

    def head(self, shown: Shown, width: int) -> list[Line]:
        """Lines above that do not scroll."""
        return []

    def foot(self, shown: Shown, width: int) -> list[Line]:
        return []

    def draw(self, shown: Shown, width: int, height: int) -> list[Line]:
        head, foot = self.head(shown, width), self.foot(shown, width)
        room = max(1, height - len(head) - len(foot))
        body = self._window(self.body(shown, width, room), room)
        gap: list[Line] = [[] for _ in range(room - len(body))] if foot else []
        return [*head, *body, *gap, *foot]

    def _window(self, lines: list[Line], room: int) -> list[Line]:
        if len(lines) <= room:
            self.top = 0
            return lines
        room = max(1, room - 1)
        at = next((i for i, line in enumerate(lines) if line and line[0] == POINTER), None)
        if at is not None:
            self.top = 0 if at < room else min(max(self.top, at - room + 1), at)
        self.top = min(max(0, self.top), len(lines) - room)
        below = len(lines) - room - self.top
        return [*lines[self.top : self.top + room], [(told_hidden(self.top, below), "muted")]]

    def move(self, shown: Shown, across: int, down: int) -> None:
        self.top = max(0, self.top + down)

    def opened(self, shown: Shown) -> Opened:
        return None

    def term(self, shown: Shown) -> str | None:
        """The word of the glossary that the cursor stands on."""
        return None


class ListSection(Section):
    """A section with a cursor over things in a line."""

    cursor = 0

    def count(self, shown: Shown) -> int:
        raise NotImplementedError

    def move(self, shown: Shown, across: int, down: int) -> None:
        self.cursor = min(max(0, self.cursor + down), max(0, self.count(shown) - 1))


class FindingsSection(ListSection):
    title = "Findings"

    def count(self, shown: Shown) -> int:
        return len(shown.report["findings"])

    def head(self, shown: Shown, width: int) -> list[Line]:
        n = self.count(shown)
        if not n:
            return prose("No pitfall was found in this run.", width, "good")
        told = "One thing" if n == 1 else f"{n} things"
        return [*prose(f"{told} to know before these numbers are believed.", width), []]

    def body(self, shown: Shown, width: int, height: int) -> list[Line]:
        lines: list[Line] = []
        for i, found in enumerate(shown.report["findings"]):
            chosen = i == self.cursor
            mark, role = SEVERITIES.get(found["severity"], ("·", "muted"))
            rows = f"   {len(found['rows']):,} rows listed" if found["rows"] else ""
            title: Line = [
                POINTER if chosen else ("  ", ""),
                (f"{mark} {found['severity']}  ", role),
                (visible(found["code"]), "strong" if chosen else ""),
                (rows, "muted"),
            ]
            lines.append(title)
            if chosen:
                told = prose(sentences_of(found), width - 4)
                lines += [[("    ", ""), *line] for line in told]
                if found["evidence"]:
                    lines += [[("    ", ""), *line] for line in _evidence(found, width - 4)]
            else:
                lines.append([("    ", ""), (fit(visible(found["message"]), width - 4), "muted")])
            lines.append([])
        return lines[:-1]

    def opened(self, shown: Shown) -> Opened:
        if not self.count(shown):
            return None
        found = shown.report["findings"][self.cursor]
        if not found["rows"]:
            return None
        splits = [split for split, _ in found["rows"]]
        split = shown.split if shown.split in splits else splits[0]
        ids = tuple(int(row) for at, row in found["rows"] if at == split)
        return OpenRows(only=ids, split=split, about=f"rows listed under {found['code']}")

    def term(self, shown: Shown) -> str | None:
        return str(shown.report["findings"][self.cursor]["code"]) if self.count(shown) else None


def _evidence(found: Any, width: int) -> list[Line]:
    parts = [f"{name} {_told(value)}" for name, value in found["evidence"].items()]
    return prose("evidence: " + ", ".join(parts), width, "muted")


def _told(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


class SlicesSection(ListSection):
    """The report's table, worst first; enter lists the rows of a label."""

    title = "Slices"

    def count(self, shown: Shown) -> int:
        return len(self._slices(shown))

    def _slices(self, shown: Shown) -> list[Any]:
        found = shown.part["analyses"].get(shown.split, {}).get("slices", {}).get("tuned")
        return [s for s in found["slices"] if s["judged"]][:20] if found else []

    def body(self, shown: Shown, width: int, height: int) -> list[Line]:
        blocks = [b for b in show_slices(shown.part) if not isinstance(b, Heading)]
        if not blocks:
            return prose(ELSEWHERE.format(split=shown.split), width, "muted")
        lines: list[Line] = []
        for block in blocks:
            if isinstance(block, Table):
                block = _reference_last(block)
            told = block_lines([block], width - 2)
            if isinstance(block, Table):
                first = next((i for i, line in enumerate(told) if self._is_row(line, shown)), 1)
                told = [
                    [POINTER if i - first == self.cursor else ("  ", ""), *line]
                    for i, line in enumerate(told)
                ]
            lines += [*([[]] if lines else []), *told]
        return lines

    def _is_row(self, line: Line, shown: Shown) -> bool:
        slices = self._slices(shown)
        return bool(line and slices and line[0][1] == "")

    def opened(self, shown: Shown) -> Opened:
        slices = self._slices(shown)
        if not slices:
            return None
        chosen = slices[self.cursor]
        if chosen["by"] == "label":
            return OpenRows(label_query(truth=chosen["value"]), about=name_slice(chosen))
        low, found, high = str(chosen["value"]).replace(",", "").partition(" to ")
        column = {"characters": "length", "scored tokens": "tokens"}.get(chosen["by"])
        if column and found:
            return OpenRows(f"{column}>={low} {column}<={high}", about=name_slice(chosen))
        return None

    def term(self, shown: Shown) -> str | None:
        return "slices"


def _reference_last(table: Table) -> Table:
    """What is found against the other rows goes before the figure of the other model."""
    if len(table.columns) < 6:
        return table
    order = (0, 1, 2, 4, 5, 3)
    rows = [[row[i] for i in order] for row in table.rows]
    return Table([table.columns[i] for i in order], rows, table.words)


class BlocksSection(Section):
    """Sections of the report as they are written there."""

    def __init__(self, title: str, show: Sequence[Any], empty: str) -> None:
        self.title, self._show, self._empty = title, show, empty
        self._kept: tuple[object, int, list[Line]] = (None, 0, [])

    def body(self, shown: Shown, width: int, height: int) -> list[Line]:
        key = (id(shown.report), shown.split, shown.reference)
        if self._kept[:2] != (key, width):
            blocks = [block for show in self._show for block in show(shown.part)]
            told = block_lines(blocks, width) or prose(self._empty, width, "muted")
            self._kept = key, width, told
        return self._kept[2]


def beside(left: list[Line], right: list[Line], width: int, gap: int = 3) -> list[Line]:
    """Two columns; `width` cells for the left one."""
    lines: list[Line] = []
    for y in range(max(len(left), len(right))):
        a = left[y] if y < len(left) else []
        b = right[y] if y < len(right) else []
        lines.append([*a, (" " * (width - width_of(a) + gap), ""), *b] if b else a)
    return lines
