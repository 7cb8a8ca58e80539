"""The sections of the evaluation screen: what each shows, where its cursor is, what enter opens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ....core.run.history import History
from ....core.tasks import find_task
from ...drawing.lines import Line, keep_seen, moved, scrolled, width_of
from ..run.metric_rows import MetricTable
from .block_lines import block_lines, prose
from .evaluation_read import Report

POINTER = ("▸ ", "accent")
PLACES = ("top", "cursor", "kind")  # of a section, that are remembered
MOST_LINES = 1_000_000
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
        return not find_task(self.report["run"]["task"]).has_labels

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
        at = next((i for i, line in enumerate(lines) if line and line[0] == POINTER), None)
        if at is not None:
            self.top = 0 if at < room - 1 else keep_seen(self.top, at, room - 1)
        seen, self.top = scrolled(lines, self.top, room)
        return seen

    def move(self, shown: Shown, across: int, down: int) -> None:
        self.top = max(0, self.top + down)

    def opened(self, shown: Shown) -> Opened:
        return None

    def term(self, shown: Shown) -> str | None:
        """The word of the glossary that the cursor stands on."""
        return None

    def memory(self) -> dict[str, int]:
        """Where it is scrolled to and where its cursor is."""
        return {name: vars(self)[name] for name in PLACES if vars(self).get(name)}

    def recall(self, memory: object) -> None:
        for name in PLACES:
            value = memory.get(name) if isinstance(memory, dict) else None
            if hasattr(self, name) and type(value) is int and 0 <= value <= MOST_LINES:
                setattr(self, name, value)


class ListSection(Section):
    """A section with a cursor over things in a line."""

    cursor = 0

    def count(self, shown: Shown) -> int:
        raise NotImplementedError

    def move(self, shown: Shown, across: int, down: int) -> None:
        self.cursor = moved(self.cursor, down, self.count(shown))


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
