"""Which line of a run's events is damaged, where each can be read and one does not fit the rest."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TypeVar

from ..errors import Fault, FtevError, RunError
from ..files.reading import misfits_named
from .events import decode_events
from .history import History, fold, read_history
from .runs import Run

T = TypeVar("T")
SEARCH_SECONDS = 10.0


def use_history(run: Run, use: Callable[[History], T], history: History | None = None) -> T:
    """What `use` makes of the run's history.

    Raises RunError with the line of events.jsonl that does not fit the others, where there is one.
    """
    given = history or read_history(run)
    try:
        with misfits_named(run.events_path):
            return use(given)
    except RunError as error:
        if history is not None or isinstance(error.__cause__, OSError | None):
            raise
        line = find_misfit(run, use)
        if line is None:
            raise
        what = error.faults[0].what.replace("holds facts that do", "does")
        what = what.replace("fit together", "fit the other lines")
        remedy = "Restore the file from a copy, or take this line out of it"
        raise RunError(Fault(f"{run.events_path}:{line}", what, remedy)) from error.__cause__


def find_misfit(run: Run, use: Callable[[History], object]) -> int | None:
    """The line, from 1, with which `use` begins to fail and without which it does not.

    The first lines of a run are a run that is under way, so that half of what is left can be ruled
    out at a time.
    """
    deadline = time.monotonic() + SEARCH_SECONDS
    lines = run.events_path.read_bytes().splitlines(keepends=True)
    low, high = 0, len(lines)  # works with the first `low` lines, fails with the first `high`
    while high - low > 1:
        if time.monotonic() > deadline:
            return None
        middle = (low + high) // 2
        low, high = (middle, high) if _works(use, lines[:middle]) else (low, middle)
    return high if lines and _works(use, lines[: high - 1] + lines[high:]) else None


def _works(use: Callable[[History], object], lines: list[bytes]) -> bool:
    history = fold(decode_events(b"".join(lines))[0])
    try:
        with contextlib.suppress(FtevError):  # of a run that has not come so far
            use(history)
    except Exception:
        return False
    return True
