"""The thread that lists the runs of a folder: all of them at a glance, then each in full."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from textual.message import Message

from ....core.catalog.notes import NOTHING, RunNotes, notes_path, read_notes
from ....core.catalog.run_facts import (
    Known,
    RunEntry,
    RunFacts,
    glance,
    read_cache,
    read_facts,
    stamp_of,
    status_of,
    write_cache,
)
from ....core.run.loss_course import LossCourse
from ....core.run.runs import Run, list_runs

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
