"""What readers of other tools' logs find, whatever the file: a few kinds of facts, and how far a
log has been read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

LONGEST_TEXT = 1_000  # characters of a setting or a name that are kept
LARGEST_ENTRY = 4 << 20  # bytes of one record or line; scalars have a few hundred

# Where the step or the epoch stands among the figures: the tools' own counters count their calls.
STEP_NAMES = ("train/global_step", "trainer/global_step", "global_step")
EPOCH_NAMES = ("epoch", "train/epoch")
COUNTERS = frozenset(STEP_NAMES + EPOCH_NAMES)


class Logged(NamedTuple):
    """Figures of one step, by the names that the tool has for them; -1: epoch not known."""

    step: int
    time: float  # seconds since the Unix epoch; 0 where the log has none
    values: dict[str, float]
    epoch: float = -1.0


@dataclass(frozen=True)
class Configured:
    """What is known of the run besides its figures."""

    settings: Mapping[str, object] = field(default_factory=dict)
    name: str = ""
    host: str = ""
    created: float = 0.0


@dataclass(frozen=True)
class Planned:
    max_steps: int
    epochs: float = 0.0
    batch: int = 0  # rows per step


@dataclass(frozen=True)
class Restarted:
    """The run went on from a step: what was logged after it is made again."""

    step: int


@dataclass(frozen=True)
class Ended:
    status: str  # "finished", "stopped" or "failed"
    error: str = ""


@dataclass(frozen=True)
class Problem:
    """What could not be read, as a sentence."""

    text: str


Fact = Logged | Configured | Planned | Restarted | Ended | Problem


class Place(msgspec.Struct):
    """How far a log has been read, so that the next look takes up what is new alone."""

    offsets: dict[str, int] = {}  # bytes, rows or entries, by file or table
    marks: dict[str, str] = {}  # by which a file is known to be the same one
    steps: dict[str, int] = {}  # the last one with figures, by folder
    times: dict[str, float] = {}  # of it


class RewrittenError(Exception):
    """The log is another one than was read before: it is read from its beginning."""


class Source(NamedTuple):
    """One run in a log. `path` is a folder where several files make it up."""

    kind: str  # a key of `imported.READERS`
    path: Path
    name: str
    key: str = ""  # of the run, in a file that holds several


def number(value: object) -> float | None:
    """A figure as logs spell it: numbers, truth values, and NaN or infinities as texts."""
    if isinstance(value, bool | int | float):
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    if value in ("NaN", "nan", "Infinity", "inf", "-Infinity", "-inf"):
        return float(str(value))
    return None


def logged(step: int | None, time: float, entry: Mapping[str, object]) -> Logged | None:
    """The figures of an entry; None where it has none."""
    values = {name: x for name, value in entry.items() if (x := number(value)) is not None}
    return counted(step, time, values)


def counted(step: int | None, time: float, values: dict[str, float]) -> Logged | None:
    """The same of floats. A trainer's own count of steps and epochs among the figures counts."""
    epoch = -1.0
    for name in values.keys() & COUNTERS:
        own = values.pop(name)
        if name in EPOCH_NAMES:
            epoch = max(epoch, own)
        elif math.isfinite(own):
            step = int(own)
    return Logged(step, time, values, epoch) if step is not None and values else None


def flatten(table: Mapping[Any, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Settings with dotted names and values that a list can show; nested ones to four levels."""
    for name, value in table.items():
        key = f"{prefix}{str(name)[:LONGEST_TEXT]}"
        if isinstance(value, Mapping) and prefix.count(".") < 4:
            yield from flatten(value, f"{key}.")
        elif isinstance(value, bool | int | float):
            yield key, value
        elif value is not None:
            yield key, str(value)[:LONGEST_TEXT]


class Steps:
    """Figures gathered by step, as logs give them one by one."""

    def __init__(self) -> None:
        self._found: dict[int, tuple[float, dict[str, float]]] = {}

    def at(self, step: int, time: float) -> dict[str, float]:
        """The figures of a step, to add to; `time` counts where there are none yet."""
        known = self._found.get(step)
        if known is None:
            known = self._found[step] = (time, {})
        return known[1]

    def take(self) -> Iterator[Logged]:
        """What was gathered, in order of steps; afterwards nothing is."""
        found, self._found = self._found, {}
        for step in sorted(found):
            if (one := counted(step, *found[step])) is not None:
                yield one
