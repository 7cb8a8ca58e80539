"""The list of runs with a cursor, the thread that reads their folder (all of them at a glance, then
each in full), the detail of the chosen run, and the screen that picks one."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual import events, on
from textual.binding import BindingType
from textual.message import Message
from textual.widget import Widget

from ....core.catalog.filter import Group, arrange
from ....core.catalog.listed import refresh_logs, stamp_of
from ....core.catalog.notes import NOTHING, RunNotes, notes_path, read_notes
from ....core.catalog.run_facts import (
    Known,
    RunEntry,
    RunFacts,
    glance,
    read_cache,
    read_facts,
    status_of,
    write_cache,
)
from ....core.run.event_lines import LossCourse
from ....core.run.runs import Run, list_runs
from ...app.keys import APP_KEYS, PICK_KEYS, Key, to_bindings
from ...drawing.lines import Line, moved
from ...widgets.framed import FramedScreen
from ...widgets.pane import Pane
from .run_lines import Columns, Marks, fit_columns, group_line, header_line, run_line

AGAIN_SECONDS = 2.0
REST_FACTOR, MOST_SECONDS = 200, 10.0  # a scan may take this part of the time, in a large folder
POST_SECONDS = 0.25  # between two lists that are not complete
FIRST_READ = 20  # runs read in full before the others are glanced at: a screenful
LONG_FILE = 1_000_000  # bytes from which on what was read of the loss is kept


@dataclass
class RunsListed(Message):
    """The runs known by now, newest first. `unread` of them were only glanced at."""

    entries: list[RunEntry]
    unread: int = 0

    @property
    def complete(self) -> bool:
        return not self.unread

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, RunsListed)


class Scanner(threading.Thread):
    """Lists the runs of a folder until `stop`; each list is posted as `RunsListed`."""

    def __init__(self, folder: Path, post: Callable[[Message], object]) -> None:
        super().__init__(name="scan", daemon=True)
        self.folder = folder
        self._post = post
        self._stopped = False
        self._wake = threading.Event()
        self._known: Known = {}
        self._courses: dict[str, LossCourse] = {}
        self._notes: dict[str, tuple[tuple[int, int], RunNotes]] = {}
        self._posted: list[RunEntry] | None = None

    def stop(self) -> None:
        self._stopped = True
        self._wake.set()

    def look_again(self) -> None:
        """Scan now and not in two seconds."""
        self._wake.set()

    def run(self) -> None:
        with contextlib.suppress(RuntimeError):  # the screen closed its loop between two posts
            self._known = read_cache(self.folder)
            while not self._stopped:
                started = time.monotonic()
                self._wake.clear()
                self._scan()
                if refresh_logs(self.folder):
                    continue
                took = time.monotonic() - started
                self._wake.wait(min(MOST_SECONDS, max(AGAIN_SECONDS, took * REST_FACTOR)))

    def _scan(self) -> None:
        runs = list_runs(self.folder)
        stamps = {run.id: stamp_of(run) for run in runs}
        self._forget_others(stamps)
        unread = [run for run in runs if self._known.get(run.id, (None,))[0] != stamps[run.id]]
        facts = {run.id: self._known[run.id][1] for run in runs if run.id in self._known}
        for run in unread[:FIRST_READ]:
            facts[run.id] = self._read(run, stamps[run.id])
        later = unread[FIRST_READ:]
        for run in later:
            facts.setdefault(run.id, glance(run))
        self._read_rest(runs, later, facts, stamps)
        if self._stopped:
            return
        if any(facts[run.id].ended for run in unread):
            write_cache(self.folder, self._known)
        entries = self._entries(runs, facts)
        if entries != self._posted:
            self._posted = entries
            self._post(RunsListed(entries))

    def _read_rest(
        self,
        runs: list[Run],
        later: list[Run],
        facts: dict[str, RunFacts],
        stamps: dict[str, tuple[int, int, int]],
    ) -> None:
        posted = 0.0
        for count, run in enumerate(later):
            if self._stopped:
                return
            if time.monotonic() - posted > POST_SECONDS:
                self._post(RunsListed(self._entries(runs, facts), unread=len(later) - count))
                posted = time.monotonic()
            facts[run.id] = self._read(run, stamps[run.id])

    def _forget_others(self, stamps: dict[str, tuple[int, int, int]]) -> None:
        for kept in (self._known, self._courses, self._notes):
            for run_id in [name for name in kept if name not in stamps]:
                del kept[run_id]

    def _read(self, run: Run, stamp: tuple[int, int, int]) -> RunFacts:
        course = None
        if stamp[0] > LONG_FILE:
            course = self._courses.get(run.id)
            if course is None or course.offset > stamp[0]:  # another file of this name
                course = self._courses[run.id] = LossCourse()
        facts = read_facts(run, course)
        if facts.ended != "unreadable":  # opening it to us changes neither size nor time
            self._known[run.id] = stamp, facts
        return facts

    def _entries(self, runs: list[Run], facts: dict[str, RunFacts]) -> list[RunEntry]:
        """Whether a run that has not ended is alive is asked each time."""
        return [
            RunEntry(run, facts[run.id], status_of(run, facts[run.id]), self._notes_of(run))
            for run in runs
        ]

    def _notes_of(self, run: Run) -> RunNotes:
        try:
            found = notes_path(run).stat()
        except OSError:
            return NOTHING
        stamp = found.st_size, found.st_mtime_ns
        known = self._notes.get(run.id)
        if known is None or known[0] != stamp:
            self._notes[run.id] = known = stamp, read_notes(run)
        return known[1]


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
