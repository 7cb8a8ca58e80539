"""Whether two results say the same: numbers to 1e-12, everything else exactly, place by place."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

RELATIVE, ABSOLUTE = 1e-12, 1e-12
_SPELLED = ("NaN", "Infinity", "-Infinity")
ABSENT = "absent"
# What identifies a record of a list, so that one more moves none of the others.
IDENTITIES = (
    ("split", "metric", "from", "to"),
    ("by", "value", "column"),
    ("code",),
    ("row_id",),
    ("epoch",),
)
NUMBER = re.compile(r"[+\-−]?\d[\d,]*(?:\.\d+)?(?:e[+\-]?\d+)?")
PROSE = frozenset(
    ["message", "remedy", "objective", "reasons", "observation", "text", "note", "method", "caveat"]
)


@dataclass(frozen=True)
class Disagreement:
    """One place where two documents differ: `metrics.accuracy.value`."""

    place: str
    stored: Any
    again: Any

    @property
    def is_absence(self) -> bool:
        return ABSENT in (self.stored, self.again)

    @property
    def is_wording(self) -> bool:
        """A sentence in other words; the same words with other numbers are another number."""
        if not (isinstance(self.stored, str) and isinstance(self.again, str)):
            return False
        last = re.sub(r"\[\d+\]$", "", self.place).rpartition(".")[2]
        return last in PROSE and skeleton(self.stored) != skeleton(self.again)


def find_disagreements(stored: Any, again: Any, place: str = "") -> Iterator[Disagreement]:
    """Every place where two plain documents (of JSON) differ; a key that one lacks is absent."""
    if isinstance(stored, Mapping) and isinstance(again, Mapping):
        for key in [*stored, *(k for k in again if k not in stored)]:
            inside = f"{place}.{key}" if place else str(key)
            pair = stored.get(key, ABSENT), again.get(key, ABSENT)
            yield from find_disagreements(*pair, inside)
    elif _is_list(stored) and _is_list(again) and (pairs := _paired(stored, again)) is not None:
        for i, (a, b) in enumerate(pairs):
            yield from find_disagreements(a, b, f"{place}[{i}]")
    elif not is_same(stored, again):
        yield Disagreement(place, stored, again)


def _paired(stored: Sequence[Any], again: Sequence[Any]) -> list[tuple[Any, Any]] | None:
    """Records by what they are of, else by place; None for other lists of different lengths."""
    keys = _identities(stored), _identities(again)
    if keys[0] is not None and keys[1] is not None:
        others = dict(zip(keys[1], again, strict=True))
        pairs = [(a, others.pop(k, ABSENT)) for k, a in zip(keys[0], stored, strict=True)]
        return [*pairs, *((ABSENT, b) for b in others.values())]
    return list(zip(stored, again, strict=True)) if len(stored) == len(again) else None


def _identities(records: Sequence[Any]) -> list[tuple[Any, ...]] | None:
    """What each record is of, and which of several of that; None where records do not say."""
    if not all(isinstance(r, Mapping) for r in records):
        return None
    for names in IDENTITIES:
        if all(names[0] in r for r in records):
            found = [tuple(str(r.get(name)) for name in names) for r in records]
            return [(*key, found[:i].count(key)) for i, key in enumerate(found)]
    return None


def is_same(a: Any, b: Any) -> bool:
    """Numbers may differ in their last bits: machines add in other orders."""
    if is_number(a) and is_number(b):
        x, y = float(a), float(b)
        both_nan = math.isnan(x) and math.isnan(y)
        return both_nan or math.isclose(x, y, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    return bool(a == b)


def skeleton(text: str) -> str:
    """A sentence without its numbers."""
    return NUMBER.sub("#", text)


def count_numbers(document: Any) -> int:
    """The numbers of a plain document, those in its sentences too."""
    if isinstance(document, Mapping):
        return sum(count_numbers(value) for value in document.values())
    if _is_list(document):
        return sum(count_numbers(value) for value in document)
    if is_number(document):
        return 1
    return len(NUMBER.findall(document)) if isinstance(document, str) else 0


def is_number(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number or (isinstance(value, str) and value in _SPELLED)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)
