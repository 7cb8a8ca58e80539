"""Whether two results say the same: numbers to 1e-12, everything else exactly, place by place."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

RELATIVE, ABSOLUTE = 1e-12, 1e-12
_SPELLED = ("NaN", "Infinity", "-Infinity")
ABSENT = "absent"


@dataclass(frozen=True)
class Disagreement:
    """One place where two documents differ: `metrics.accuracy.value`."""

    place: str
    stored: Any
    again: Any


def find_disagreements(stored: Any, again: Any, place: str = "") -> Iterator[Disagreement]:
    """Every place where two plain documents (of JSON) differ; a key that one lacks is absent."""
    if isinstance(stored, Mapping) and isinstance(again, Mapping):
        for key in [*stored, *(k for k in again if k not in stored)]:
            inside = f"{place}.{key}" if place else str(key)
            pair = stored.get(key, ABSENT), again.get(key, ABSENT)
            yield from find_disagreements(*pair, inside)
    elif _is_list(stored) and _is_list(again) and len(stored) == len(again):
        for i, pair in enumerate(zip(stored, again, strict=True)):
            yield from find_disagreements(*pair, f"{place}[{i}]")
    elif not is_same(stored, again):
        yield Disagreement(place, stored, again)


def is_same(a: Any, b: Any) -> bool:
    """Numbers may differ in their last bits: machines add in other orders."""
    if _is_number(a) and _is_number(b):
        x, y = float(a), float(b)
        both_nan = math.isnan(x) and math.isnan(y)
        return both_nan or math.isclose(x, y, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    return bool(a == b)


def _is_number(value: Any) -> bool:
    return (isinstance(value, int | float) and not isinstance(value, bool)) or value in _SPELLED


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)
