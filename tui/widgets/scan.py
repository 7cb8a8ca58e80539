"""The thread that lists the runs of a folder, a few at a time, and again when they change."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from textual.message import Message

from ...core.errors import RunError
from ...core.events import EventReader
from ...core.history import History
from ...core.runs import Run, list_runs
from .run_list import RunSummary

EDGE_BYTES = 512_000  # read at each end of a long file: the middle holds steps only
_STAMP = re.compile(r"^\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_")
AGAIN_SECONDS = 2.0
FIRST_BATCH = 20  # runs told before the rest is read


@dataclass
class RunsListed(Message):
    """The runs known by now, newest first; `complete` once all were read."""

    runs: list[RunSummary]
    complete: bool

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, RunsListed)


class Scanner(threading.Thread):
    def __init__(self, folder: Path, post: Callable[[Message], object]) -> None:
        super().__init__(name="scan", daemon=True)
        self.folder = folder
        self._post = post
        self._stopped = threading.Event()
        self._known: dict[str, tuple[tuple[int, int], RunSummary]] = {}
        self._told: list[RunSummary] | None = None

    def stop(self) -> None:
        self._stopped.set()

    def run(self) -> None:
        with contextlib.suppress(RuntimeError):  # the screen closed its loop between two posts
            while not self._stopped.is_set():
                self._scan()
                self._stopped.wait(AGAIN_SECONDS)

    def _scan(self) -> None:
        runs: list[RunSummary] = []
        first = self._told is None
        for count, run in enumerate(list_runs(self.folder), 1):
            if self._stopped.is_set():
                return
            runs.append(self._summary(run))
            if first and count % FIRST_BATCH == 0:
                self._post(RunsListed(list(runs), complete=False))
        if runs != self._told:
            self._told = runs
            self._post(RunsListed(runs, complete=True))

    def _summary(self, run: Run) -> RunSummary:
        """From memory where the file has not changed; whether it is alive is asked each time."""
        stamp = _stamp(run.events_path)
        known = self._known.get(run.id)
        if known is None or known[0] != stamp:
            self._known[run.id] = known = stamp, _summarize(run)
        summary = known[1]
        if summary.status in ("running", "paused", "starting", "died"):
            status = _status(run, summary)
            return replace(summary, status=status)
        return summary


def _summarize(run: Run) -> RunSummary:
    try:
        return summarize_run(run)
    except RunError:
        return RunSummary(
            run=run,
            name=name_in_id(run.id),
            task="",
            status="unreadable",
            step=0,
            max_steps=0,
            headline="",
            created=0.0,
            losses=(),
        )


def _status(run: Run, summary: RunSummary) -> str:
    if run.worker_alive():
        return "running" if summary.status == "died" else summary.status
    return "starting" if summary.status == "starting" else "died"


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


def summarize_run(run: Run) -> RunSummary:
    """A run from both ends of its events."""
    from ...core.reporting.summary import headline

    history = read_edges(run.events_path)
    told = headline(run, history)
    started = history.started
    return RunSummary(
        run=run,
        name=started.name if started and started.name else name_in_id(run.id),
        task=history.task,
        status=history.status(run.worker_alive()),
        step=history.step,
        max_steps=history.max_steps,
        headline=told.text if told else "",
        created=history.created or _stamp(run.path / "run.toml")[1] / 1e9,
        losses=tuple(history.steps.loss[:: max(1, len(history.steps) // 200)]),
    )


def name_in_id(run_id: str) -> str:
    """What follows the date and time in the name of a run directory."""
    return _STAMP.sub("", run_id) or run_id


def read_edges(path: Path) -> History:
    """The history of a short file; of a long one, without the steps in its middle."""
    history, reader = History(), EventReader(path, EDGE_BYTES)
    size = _stamp(path)[0]
    for event in reader.read():
        history.add(event)
    if size > 2 * EDGE_BYTES:
        reader = EventReader(path, EDGE_BYTES)
        reader.offset = size - EDGE_BYTES
    while reader.offset < size:
        events = reader.read()
        if not events and reader.offset >= size:
            break
        for event in events:
            history.add(event)
    return history
