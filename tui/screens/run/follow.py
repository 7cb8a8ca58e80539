"""The thread that reads a run in motion and posts what is new.

It folds into a History of its own, under a lock, a bounded amount at a time. Each message carries
an absolute value, so a newer one may replace one that still waits.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from textual.message import Message

from ....core.errors import FtevError, RunError
from ....core.files.reading import misfits_named
from ....core.run.events import EventReader
from ....core.run.history import History
from ....core.run.runs import Run
from ....core.wording.text import visible
from ...app.background import Changes
from .metrics import Judgement

CHUNK = 1 << 20  # bytes per reading
FOLDED_AT_ONCE = 2_000  # events folded while the lock is held
FAST_SECONDS, SLOW_SECONDS, IDLE_SECONDS = 0.25, 0.5, 1.0
GATHER_SECONDS = 0.01  # what is written one after the other is shown together
MANY_EVENTS = 50  # per reading: from here on fewer frames show as much
QUIET_READINGS = 20  # without news before the pace falls
ALIVE_SECONDS = 1.5
LOG_BYTES = 32_768  # of the end of worker.log
LOG_LINES = 400


class News(Message):
    """Something about the followed run. Carries an absolute value."""

    def can_replace(self, message: Message) -> bool:
        return type(message) is type(self)


@dataclass
class HistoryRead(News):
    """A part of the first reading is done."""

    share: float


@dataclass
class HistoryGrew(News):
    """The history has new events; `follower.history` may be drawn under `follower.lock`."""

    version: int


@dataclass
class WorkerSeen(News):
    """Whether the worker is alive."""

    alive: bool


@dataclass
class LogGrew(News):
    """The last lines of worker.log."""

    tail: list[str]


@dataclass
class RunJudged(News):
    """What answers the objective, from the final results."""

    primary: str
    judgement: Judgement | None


class Follower(threading.Thread):
    """Follows one run until `stop`."""

    def __init__(
        self,
        run: Run,
        post: Callable[[Message], object],
        prepare: Callable[[History], object] | None = None,
        afterwards: Callable[[], object] | None = None,
    ) -> None:
        """`prepare` is called in this thread with the history of the first reading, `afterwards`
        once that was posted."""
        super().__init__(name=f"follow {run.id}", daemon=True)
        self.run_followed = run
        self.lock = threading.RLock()  # a pane takes it again where all are drawn under it
        self.history = History()
        self.alive = False
        self.caught_up = False
        self._post_message = post
        self._prepare, self._afterwards = prepare, afterwards
        self._reader = EventReader(run.events_path, CHUNK)
        self._stopped = threading.Event()
        self._changes: Changes | None = None
        self._quiet = 0
        self._events_read = 0  # in the last reading
        self._alive_posted: bool | None = None
        self._alive_at = 0.0
        self._log_size = -1
        self._judged_at = (-1, "")

    def stop(self) -> None:
        self._stopped.set()
        if self._changes is not None:
            self._changes.wake()

    @property
    def stopped(self) -> bool:
        return self._stopped.is_set()

    def run(self) -> None:
        with contextlib.suppress(RuntimeError):  # the screen closed its loop between two posts
            self._look_at_worker(time.monotonic())
            self._catch_up()
            with contextlib.closing(Changes(self.run_followed.path)) as self._changes:
                while not self._stopped.is_set():
                    self._rest(self._changes, news=self._go())

    def _rest(self, changes: Changes, *, news: bool) -> None:
        """Wait for what is new; after news at least as long as a frame should stand."""
        pause = self._pause()
        if news:
            self._stopped.wait(pause)
        longest = ALIVE_SECONDS if changes.sees else pause
        if not self._stopped.is_set() and changes.wait(longest):
            self._stopped.wait(GATHER_SECONDS)

    def _go(self) -> bool:
        """Read and post what is new; whether anything was."""
        grew = self._read()
        self._quiet = 0 if grew else self._quiet + 1
        self._look_at_worker(time.monotonic())
        log_grew = self._look_at_log()
        if grew:
            self._post(HistoryGrew(self.history.version))
            self._judge()
        return grew or log_grew

    def _pause(self) -> float:
        if self._quiet < QUIET_READINGS:
            return FAST_SECONDS if self._events_read < MANY_EVENTS else SLOW_SECONDS
        return SLOW_SECONDS if self.alive else IDLE_SECONDS

    def _catch_up(self) -> None:
        """The first reading, to the end that the file had when it began."""
        size = _size(self.run_followed.events_path)
        posted = time.monotonic()
        while self._reader.offset < size and not self._stopped.is_set():
            if not self._read():
                break
            if time.monotonic() - posted > FAST_SECONDS:
                posted = time.monotonic()
                self._post(HistoryRead(self._reader.offset / size))
        if self._prepare is not None:
            self._prepare(self.history)
        self.caught_up = True
        self._look_at_log()
        self._post(HistoryGrew(self.history.version))
        self._judge()
        if self._afterwards is not None:
            self._afterwards()

    def _read(self) -> bool:
        before = self._reader.offset
        unreadable = self._reader.unreadable
        try:
            events = self._reader.read()
        except RunError:  # closed to us for now: the screen stays with what it has
            return False
        self._events_read = len(events)
        if events and not self.alive:  # a worker may have started since the last look
            self._see_worker()
        for start in range(0, len(events), FOLDED_AT_ONCE):
            with self.lock:
                self.history.add_all(events[start : start + FOLDED_AT_ONCE])
        self.history.unreadable_lines += self._reader.unreadable - unreadable
        return self._reader.offset > before

    def _look_at_worker(self, now: float) -> None:
        if now - self._alive_at < ALIVE_SECONDS:
            return
        self._alive_at = now
        self._see_worker()

    def _see_worker(self) -> None:
        self.alive = self.run_followed.worker_alive()
        if self.alive != self._alive_posted:
            self._alive_posted = self.alive
            self._post(WorkerSeen(self.alive))

    def _look_at_log(self) -> bool:
        size = _size(self.run_followed.log_path)
        if size == self._log_size:
            return False
        self._log_size = size
        self._post(LogGrew(read_tail(self.run_followed.log_path)))
        return True

    def _judge(self) -> None:
        """Weigh the results once the last of them is there. Its imports are heavy: never before."""
        history = self.history
        state = (len(history.results), history.finished.status if history.finished else "")
        if state == self._judged_at or not history.results:
            return
        self._judged_at = state
        self._post(judged(self.run_followed, history))  # no lock: nobody else writes the history

    def _post(self, message: Message) -> None:
        if not self._stopped.is_set():
            self._post_message(message)


def judged(run: Run, history: History) -> RunJudged:
    """The primary metric, and the verdict where the run has ended."""
    from ....core.judgement.selection import primary_metric
    from ....core.judgement.verdict import judge

    primary = primary_metric(run, history)
    if history.finished is None:
        return RunJudged(primary, None)
    try:
        with misfits_named(run.events_path):
            verdict = judge(history, run.config())
    except FtevError:  # a copied run may have lost its configuration, or hold a damaged line
        return RunJudged(primary, None)
    return RunJudged(
        primary, Judgement(verdict.decision, verdict.objective, tuple(verdict.reasons))
    )


def read_tail(path: Path) -> list[str]:
    """The last lines of a log, made safe to show; progress bars keep their last state."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, _size(path) - LOG_BYTES))
            text = file.read(LOG_BYTES).decode("utf-8", "replace")
    except OSError:
        return []
    lines = [line.rstrip().rpartition("\r")[2] for line in text.replace("\r\n", "\n").split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return [visible(line, 2_000) for line in lines[-LOG_LINES:]]


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
