"""The list of runs with a cursor, the detail of the chosen run, and the screen that picks one."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual import events, on
from textual.binding import BindingType
from textual.message import Message
from textual.widget import Widget

from ....core.catalog.filter import Group, arrange
from ....core.catalog.run_facts import RunEntry
from ....core.run.runs import Run
from ...app.keys import APP_KEYS, PICK_KEYS, Key, to_bindings
from ...drawing.lines import Line, moved
from ...widgets.framed import FramedScreen
from ...widgets.pane import Pane
from .run_lines import Columns, Marks, fit_columns, group_line, header_line, run_line
from .scan import RunsListed, Scanner

Row = RunEntry | Group  # a group stands for its head


class RunList(Pane):
    """Runs in groups, a cursor on one of them, which passes over the heads of groups."""

    @dataclass
    class Opened(Message):
        """A second click on the chosen run."""

        entry: RunEntry

    class Moved(Message):
        """The mouse chose another run."""

    def __init__(self) -> None:
        super().__init__(id="runs")
        self.entries: list[RunEntry] = []  # as they stand on the screen
        self.rows: list[Row] = []
        self.marks = Marks()
        self.grouped_by = ""
        self.now = 0.0
        self.empty: list[Line] = empty_lines(complete=False)
        self.cursor = 0
        self._top = 0
        self._columns: tuple[tuple[int, bool], Columns] | None = None

    @property
    def chosen(self) -> RunEntry | None:
        return self.entries[self.cursor] if self.cursor < len(self.entries) else None

    def show_groups(self, groups: list[Group], grouped_by: str, marks: Marks, now: float) -> None:
        """The cursor stays on its run, wherever that stands now."""
        chosen = self.chosen
        self.grouped_by, self.marks, self.now = grouped_by, marks, now
        self._columns = None
        self.rows = list(_rows(groups, bool(grouped_by)))
        self.entries = [row for row in self.rows if isinstance(row, RunEntry)]
        # At the top the cursor stays at the top: there the newest run appears.
        if chosen is not None and self.cursor:
            ids = [entry.run.id for entry in self.entries]
            at = ids.index(chosen.run.id) if chosen.run.id in ids else self.cursor
            self.cursor = min(at, max(0, len(ids) - 1))
        self.show()

    def move(self, count: int) -> None:
        self.cursor = moved(self.cursor, count, len(self.entries))
        self.show()

    def choose(self, run_id: str) -> None:
        ids = [entry.run.id for entry in self.entries]
        self.cursor = ids.index(run_id) if run_id in ids else 0
        self.show()

    def draw(self, width: int, height: int) -> list[Line]:
        if not self.entries:
            return self.empty
        room = max(1, height - 1)
        at = self._row_of_cursor()
        first = 0 if self.cursor == 0 else at  # the head above the first run is seen with it
        self._top = min(max(self._top, at - room + 1), first, max(0, len(self.rows) - room))
        seen = self.rows[self._top : self._top + room]
        columns = self._columns_for(width)
        return [header_line(columns, width), *(self._line(row, columns, width) for row in seen)]

    def _columns_for(self, width: int) -> Columns:
        """By all runs and not by those in sight: columns stay where they are as one scrolls."""
        compared = self.marks.baseline is not None
        # Widths measure the text of 200 runs: once per list and width, not per key.
        if self._columns is None or self._columns[0] != (width, compared):
            found = fit_columns(self.entries, width, difference=compared)
            self._columns = (width, compared), found
        return self._columns[1]

    def _line(self, row: Row, columns: Columns, width: int) -> Line:
        if isinstance(row, Group):
            return group_line(row.title, len(row.entries), self.grouped_by, width)
        chosen = row is self.entries[self.cursor]
        return run_line(row, columns, self.marks, self.now, width, chosen=chosen)

    def _row_of_cursor(self) -> int:
        entry = self.entries[self.cursor]
        return next(i for i, row in enumerate(self.rows) if row is entry)

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        at = self._top + (offset.y - 1 if offset else -1)
        row = self.rows[at] if self._top <= at < len(self.rows) else None
        if not isinstance(row, RunEntry):
            return
        if row is self.chosen:
            self.post_message(self.Opened(row))
        else:
            self.choose(row.run.id)
            self.post_message(self.Moved())

    def on_mouse_scroll_down(self) -> None:
        self.move(3)
        self.post_message(self.Moved())

    def on_mouse_scroll_up(self) -> None:
        self.move(-3)
        self.post_message(self.Moved())


def _rows(groups: list[Group], with_heads: bool) -> Iterable[Row]:
    for group in groups:
        if with_heads:
            yield group
        yield from group.entries


def empty_lines(*, complete: bool) -> list[Line]:
    """How to start a first run, or that the folder is still being read."""
    if not complete:
        return [[("looking for runs …", "muted")]]
    return [
        [],
        [("No runs here yet.", "strong")],
        [],
        [
            ("ftev-tui demo", "accent"),
            ("             trains a tiny model that ships with ftev", "muted"),
        ],
        [("ftev-tui train run.toml", "accent"), ("   trains yours", "muted")],
        [("n", "accent"), (" " * 25 + "opens the form of a new run", "muted")],
    ]


def nothing_matches() -> list[Line]:
    """That the filter hides every run, and how to remove it."""
    return [[], [("No run matches this filter.", "strong"), ("  esc removes it.", "muted")]]


class PickRun(FramedScreen[RunEntry]):
    """Every run of the folder but `without`, those of its task first."""

    BINDINGS: ClassVar[list[BindingType]] = [*to_bindings(PICK_KEYS)]

    def __init__(self, title: Line, folder: Path, without: Run, task: str) -> None:
        super().__init__((*PICK_KEYS, *APP_KEYS))
        self._title, self._without, self._first = title, without, task
        self.scanner = Scanner(folder, self.post_message)
        self.runs = RunList()

    def panes(self) -> Iterable[Widget]:
        return (self.runs,)

    def on_mount(self) -> None:
        self.title_line.show_ends(self._title, [])
        self.scanner.start()

    def on_unmount(self) -> None:
        self.scanner.stop()

    @on(RunsListed)
    def show_listed(self, message: RunsListed) -> None:
        others = [
            e for e in message.entries if e.run.path.resolve() != self._without.path.resolve()
        ]
        others.sort(key=lambda e: e.facts.task != self._first)  # newest first among each
        self.runs.empty = empty_lines(complete=message.complete)
        if message.complete and not others:
            self.runs.empty = [[("There is no other run here to compare with.", "muted")]]
        self.runs.show_groups(arrange(others, "newest", ""), "", Marks(), time.time())

    def action_move(self, count: int) -> None:
        self.runs.move(count)

    def action_pick(self) -> None:
        if self.runs.chosen is not None:
            self.dismiss(self.runs.chosen)

    @on(RunList.Opened)
    def pick_clicked(self, message: RunList.Opened) -> None:
        self.dismiss(message.entry)

    def action_out(self) -> None:
        self.dismiss(None)

    def help_sections(self) -> list[tuple[str, tuple[Key, ...]]]:
        return [("A run to choose", PICK_KEYS), ("Everywhere", APP_KEYS)]
