"""Lines of events.jsonl by themselves: the damaged one, and the course of the loss in parts.

Of the course no spike is lost: each part keeps its least and greatest value.
"""

from __future__ import annotations

import contextlib
import math
import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path
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


PARTS = 64  # at most; at least half as many once there are enough steps
CHUNK = 1 << 20
_FACT = re.compile(
    rb'"loss_sum":"?(-?[\w.+-]+)"?,"loss_count":(\d+),"learning_rate"'
    rb'|^\{"kind":"(RunStarted)"[^\n]*?(?:"resumed_from_step":(\d+)|$)'
    rb'|^\{"kind":"ScalarsLogged"[^\n]*?"train/loss":"?(-?[\w.+-]+)"?',
    re.MULTILINE,
)


class LossCourse:
    """Steps fold into parts of equal length; when these are too many, two become one."""

    def __init__(self) -> None:
        self.offset = 0  # bytes of the file that were read
        self._steps_a_part = 1
        self._in_last = 0
        self._lows: list[float] = []
        self._highs: list[float] = []

    def extend(self, losses: Iterable[float]) -> None:
        for loss in losses:
            self._add(loss)

    def _add(self, loss: float) -> None:
        if not self._lows or self._in_last == self._steps_a_part:
            if len(self._lows) == PARTS:
                self._join()
            self._lows.append(math.inf)
            self._highs.append(-math.inf)
            self._in_last = 0
        self._in_last += 1
        if math.isfinite(loss):
            self._lows[-1] = min(self._lows[-1], loss)
            self._highs[-1] = max(self._highs[-1], loss)

    def cut_after(self, step: int) -> None:
        """Forget the later steps. A part that holds some of them keeps their values: they come
        again."""
        size = self._steps_a_part
        parts = math.ceil(step / size)
        if parts > len(self._lows) or step >= (len(self._lows) - 1) * size + self._in_last:
            return
        del self._lows[parts:], self._highs[parts:]
        self._in_last = step - (parts - 1) * size if parts else 0

    def _join(self) -> None:
        self._lows = [min(self._lows[i : i + 2]) for i in range(0, PARTS, 2)]
        self._highs = [max(self._highs[i : i + 2]) for i in range(0, PARTS, 2)]
        self._steps_a_part *= 2

    def parts(self) -> list[tuple[float, float]]:
        """(least, greatest) of each part; parts without a finite loss are left out."""
        pairs = zip(self._lows, self._highs, strict=True)
        return [(low, high) for low, high in pairs if low <= high]


def read_course(path: Path, course: LossCourse) -> LossCourse:
    """The course brought up to the present end of an events file; only whole lines are taken."""
    try:
        with path.open("rb") as file:
            file.seek(course.offset)
            while block := file.read(CHUNK):
                whole = block.rfind(b"\n") + 1
                if not whole:
                    break
                _take_up(block[:whole], course)
                course.offset += whole
                file.seek(course.offset)
    except OSError:  # gone or closed to us: what was read stays
        return course
    return course


def _take_up(block: bytes, course: LossCourse) -> None:
    """The losses of a block; a worker that goes on from a step makes the later ones again."""
    for total, count, started, step, logged in _FACT.findall(block):
        if started:
            course.cut_after(int(step or 0))
        elif logged:
            course.extend([_loss(logged, 1)])
        else:
            course.extend([_loss(total, int(count))])


def _loss(total: bytes, count: int) -> float:
    try:
        return float(total) / count if count else math.nan
    except ValueError:
        return math.nan
