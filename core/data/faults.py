"""Faults gathered while data are read, so that a person sees all of them at once; and limits.

Beyond its limits a file is refused in words: it may be small and hold more than the machine has
memory, and a process that runs out of that is killed without any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from ..errors import DataError, Fault
from ..files.disk import free_memory

LISTED = 20  # lines, or runs of lines, of one kind of fault that are named
KINDS = 50  # kinds of fault that are listed; the rest are counted
SHOWN = 40  # characters of a value in a message
NOT_UTF8 = "holds bytes that are not UTF-8"
DAMAGED = "Mend what is damaged: the rest of the file is UTF-8"
MEND = 'Mend it, or set bad_rows = "skip" under [data]'
MOST_COLUMNS = 10_000
LONGEST = 10_000_000  # bytes of one text: some five novels
# What reading rows takes, measured: 4 times their bytes where they are long, 7 times where one of
# them is nearly all, and 450 bytes more per row.
TIMES, A_ROW = 7, 450


class Place(NamedTuple):
    """A line of a file, from 1; 0 is the file as a whole."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass
class Alike:
    """Faults of one kind in one file: the first in full, and the lines of all of them."""

    first: Fault
    lines: dict[int, None]  # in the order they were found, each once: splits may share a file

    def as_fault(self) -> Fault:
        others = [*self.lines][1:]
        if not others:
            return self.first
        named = name_lines(others)
        more = f"{len(others):,} more {'line' if len(others) == 1 else 'lines'} like it"
        return replace(self.first, what=f"{self.first.what} ({more}: {named})")


@dataclass
class Faults:
    """Every kind of fault once per file, with its lines."""

    setting: str = ""  # that what is added is about: `data.train`
    kinds: dict[tuple[str, str], Alike] = field(default_factory=dict)

    def about(self, setting: str) -> Faults:
        """The same list; what is added through it is about this setting."""
        return Faults(setting, self.kinds)

    def add(self, kind: str, place: Place | str, what: str, remedy: str = "") -> None:
        """A fault of a line is listed once for its kind; one of a whole file is its own kind."""
        at = place if isinstance(place, Place) else Place(place)
        self.add_each(kind if at.line else what, [0], lambda _: at, (what, remedy))

    def add_each(
        self,
        kind: str,
        rows: Iterable[int],
        place: Callable[[int], Place],
        words: tuple[str, str] | Callable[[int], tuple[str, str]],
    ) -> None:
        """A fault for each row; `words`: what is wrong and the remedy, of the first if asked."""
        for row in rows:
            at = place(row)
            if alike := self.kinds.get((kind, at.file)):
                alike.lines[at.line] = None
            else:
                what, remedy = words(row) if callable(words) else words
                first = Fault(str(at), what, remedy, self.setting)
                self.kinds[kind, at.file] = Alike(first, {at.line: None})

    def merge(self, others: Faults) -> None:
        for key, alike in others.kinds.items():
            if mine := self.kinds.get(key):
                mine.lines |= alike.lines
            else:
                self.kinds[key] = alike

    @property
    def total(self) -> int:
        return sum(len(alike.lines) for alike in self.kinds.values())

    def by_kind(self) -> dict[str, int]:
        """Lines of each kind, over all files."""
        counts: dict[str, int] = {}
        for (kind, _), alike in self.kinds.items():
            counts[kind] = counts.get(kind, 0) + len(alike.lines)
        return counts

    def listing(self) -> list[Fault]:
        """A fault for each kind and file, and the count of what is not listed."""
        kinds = list(self.kinds.values())
        out = [alike.as_fault() for alike in kinds[:KINDS]]
        rest = len(kinds) - len(out)
        return [*out, Fault("", f"{rest:,} more kinds of fault")] if rest else out


def name_lines(lines: list[int]) -> str:
    """`3, 5 to 9, 12`: the first `LISTED` numbers or runs of numbers."""
    runs: list[list[int]] = []
    for line in sorted(lines):
        if runs and line == runs[-1][1] + 1:
            runs[-1][1] = line
        else:
            runs.append([line, line])
    shown = [f"{a}" if a == b else f"{a} to {b}" for a, b in runs[:LISTED]]
    return ", ".join(shown) + (", …" if len(runs) > LISTED else "")


def show_value(value: object) -> str:
    """A value in quotes, cut, with its control characters written out: safe in any terminal."""
    text = value if isinstance(value, str) else str(value)
    shown = repr(text if len(text) <= SHOWN else text[: SHOWN - 1] + "…")
    return shown if isinstance(value, str) else shown[1:-1]


def check_width(columns: int) -> None:
    """Raises DataError for more columns than can be meant."""
    if columns > MOST_COLUMNS:
        what = f"has {columns:,} columns, and at most {MOST_COLUMNS:,} are read"
        raise DataError(Fault("", what, "Leave out those that are not needed"))


def check_size(held: int, rows: int = 0) -> None:
    """Raises DataError where `rows` rows of `held` bytes, unpacked, are too much for this process.

    Nothing is refused where the system does not know what memory is free.
    """
    needed, free = TIMES * held + A_ROW * rows, free_memory()
    if free is not None and needed > free:
        count = f"{rows:,} rows, " if rows else ""
        peak = _spell_size(needed)
        what = f"holds {count}{_spell_size(held)}, and reading it takes up to {peak} of memory"
        remedy = "Give fewer or shorter rows, or a machine with more memory"
        raise DataError(Fault("", f"{what}: {_spell_size(free)} are free", remedy))


def _spell_size(size: int) -> str:
    return f"{size / 2**30:,.1f} GiB" if size >= 2**30 else f"{size / 2**20:,.0f} MiB"
