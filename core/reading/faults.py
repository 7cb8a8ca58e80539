"""Faults gathered while data are read, so that a person sees all of them at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ..errors import Fault

LISTED = 50  # faults of one kind that are written out; the rest are counted
SHOWN = 40  # characters of a value in a message


@dataclass
class Faults:
    """The first `LISTED` faults of each kind in full, and how many there are of each."""

    listed: dict[str, list[Fault]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, kind: str, where: str, what: str, remedy: str = "") -> None:
        self.add_each(kind, [0], lambda _: Fault(where, what, remedy))

    def add_each(self, kind: str, rows: Iterable[int], fault: Callable[[int], Fault]) -> None:
        """A fault for each row; `fault` is called only for those that are listed."""
        listed = self.listed.setdefault(kind, [])
        for row in rows:
            self.counts[kind] = self.counts.get(kind, 0) + 1
            if len(listed) < LISTED:
                listed.append(fault(row))

    def merge(self, others: Faults) -> None:
        for kind, listed in others.listed.items():
            mine = self.listed.setdefault(kind, [])
            mine += listed[: LISTED - len(mine)]
            self.counts[kind] = self.counts.get(kind, 0) + others.counts[kind]

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def listing(self) -> list[Fault]:
        """Everything that is listed, kind by kind, each with the count of what is not."""
        out: list[Fault] = []
        for kind, listed in self.listed.items():
            out += listed
            if rest := self.counts.get(kind, 0) - len(listed):
                out.append(Fault("", f"{rest:,} more like the one before ({kind})"))
        return out


def show_value(value: object) -> str:
    """A value in quotes, cut, with its control characters written out: safe in any terminal."""
    text = value if isinstance(value, str) else str(value)
    shown = repr(text if len(text) <= SHOWN else text[: SHOWN - 1] + "…")
    return shown if isinstance(value, str) else shown[1:-1]
