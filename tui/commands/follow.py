"""Follow a run in plain lines until it ends or its worker does."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from ...core.errors import RunError
from ...core.run.control import AskStop, ask
from ...core.run.events import EventReader
from ...core.run.history import History
from ...core.run.runs import Run
from ..plain import Teller
from .show import say

Emit = Callable[[str], None]
LOOK_SECONDS = 0.1
LEAVE_SECONDS = 120.0  # a worker that has told its end may still write its report


class Follower:
    """Reads what a run tells and passes it on, line by line."""

    def __init__(self, run: Run, emit: Emit, teller: Teller | None = None) -> None:
        self.run, self.history = run, History()
        self._reader = EventReader(run.events_path)
        self._emit, self._teller = emit, teller or Teller()

    def skip_past(self) -> None:
        """Take in silently what was told before; a former end is not this worker's end."""
        for event in self._reader.read_all():
            self.history.add(event)
        self.history.finished = None

    def follow(self, alive: Callable[[], bool]) -> None:
        """Tell everything until the run's end, or until nobody is there to tell more."""
        while True:
            there = alive()  # before the read: what a dying worker wrote is still read
            if self._tell_new():
                continue
            if self.history.finished or not there:
                return
            time.sleep(LOOK_SECONDS)

    def _tell_new(self) -> bool:
        events = self._reader.read()
        self.history.unreadable_lines = self._reader.unreadable
        for event in events:
            self.history.add(event)
            for line in self._teller.lines(event, self.history):
                self._emit(line)
        return bool(events)


def follow_own(follower: Follower, process: subprocess.Popen[bytes]) -> bool:
    """Follow the worker we started. The first interrupt stops it resumably, the second leaves it.

    Returns whether it was interrupted.
    """
    interrupted = False
    with terminated_as_interrupted():
        while True:
            try:
                follower.follow(lambda: process.poll() is None)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(LEAVE_SECONDS)
                return interrupted
            except KeyboardInterrupt:
                if interrupted:
                    raise
                interrupted = True
                say("stopping: the state is saved first. Once more to leave the run to itself")
                _ask_to_stop(follower.run, process)


def _ask_to_stop(run: Run, process: subprocess.Popen[bytes]) -> None:
    try:
        for _ in ask(run, AskStop()):
            pass
    except RunError:  # it does not listen yet, or is gone already
        process.terminate()


@contextlib.contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM counts as Ctrl-C: whoever ends a foreground run wants the device back."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def printer(*, to_stderr: bool) -> Emit:
    """Prints lines at once; a reader that has gone away does not end the run."""
    stream = sys.stderr if to_stderr else sys.stdout

    def emit(line: str) -> None:
        with contextlib.suppress(BrokenPipeError):
            print(line, file=stream, flush=True)

    return emit
