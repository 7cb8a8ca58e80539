"""The combinations of a sweep: every one of a grid, or some drawn by seed."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import Fault

DIGITS = 4  # of a number drawn from a range: more say nothing, and nobody could type them
TRIES = 50  # draws for each run wanted, before it is taken that there are no others


@dataclass(frozen=True)
class Range:
    """Numbers from low to high, both included; whole ones where both ends are."""

    low: float
    high: float
    log: bool = False

    def at(self, share: float) -> float | int:
        """The number that has so much of the range below it."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            low, high = self.low - 0.5, self.high + 0.5
            return min(max(round(self._between(low, high, share)), self.low), self.high)
        return float(f"{self._between(self.low, self.high, share):.{DIGITS - 1}e}")

    def _between(self, low: float, high: float, share: float) -> float:
        if self.log:
            return math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
        return low + share * (high - low)


Values = list[Any] | Range


def read_values(over: Mapping[str, Any], random: bool, faults: list[Fault]) -> dict[str, Values]:
    """[sweep.over] by dotted names, written `"train.seed" = …` or as tables. Faults are added."""
    found: dict[str, Values] = {}
    for key, given in _open(over):
        place = f"sweep.over.{key}"
        if isinstance(given, list):
            if not given:
                faults.append(Fault.of(place, "has no values"))
            elif any(value in given[:i] for i, value in enumerate(given)):
                faults.append(Fault.of(place, "names a value twice"))
            found[key] = given
        elif isinstance(given, Mapping) and random:
            if isinstance(read := _read_range(given), str):
                faults.append(Fault.of(place, read, "Write { low = 1e-5, high = 1e-3 }"))
            else:
                found[key] = read
        elif isinstance(given, Mapping):
            remedy = 'Write a list, or method = "random"'
            faults.append(Fault.of(place, "is a range, and a grid needs a list of values", remedy))
        else:
            faults.append(Fault.of(place, f"must be a list of values, not {given!r}"))
    return found


def _open(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Tables within tables as dotted names; a table with `low` or `high` is a range."""
    for name, value in table.items():
        if isinstance(value, Mapping) and value and not {"low", "high"} & set(value):
            yield from _open(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _read_range(given: Mapping[str, Any]) -> Range | str:
    """A range, or what is wrong with it."""
    if unknown := sorted(set(given) - {"low", "high", "scale"}):
        return f"a range has low, high and scale, not {', '.join(unknown)}"
    low, high, scale = given.get("low"), given.get("high"), given.get("scale", "linear")
    for end in (low, high):
        if isinstance(end, bool) or not isinstance(end, int | float) or not math.isfinite(end):
            return "needs low and high, both numbers"
    assert low is not None
    assert high is not None
    if scale not in ("linear", "log"):
        return f"scale is linear or log, not {scale!r}"
    if low >= high:
        return "low must lie below high"
    if scale == "log" and low <= 0:
        return "a log scale needs low above 0"
    return Range(low, high, scale == "log")


def grid_size(values: Mapping[str, Values]) -> int:
    return math.prod(len(v) for v in values.values() if isinstance(v, list))


def walk(values: Mapping[str, Values]) -> Iterator[dict[str, Any]]:
    """Every combination; the last setting of the file changes first."""
    lists = [v for v in values.values() if isinstance(v, list)]
    for chosen in itertools.product(*lists):
        yield dict(zip(values, chosen, strict=True))


def draw(values: Mapping[str, Values], count: int, seed: int) -> list[dict[str, Any]]:
    """`count` different combinations, or all there are; more of them begin with the same ones."""
    uniform = random.Random(seed).random
    found: list[dict[str, Any]] = []
    for _ in range(TRIES * count):
        drawn = {key: _pick(of, uniform()) for key, of in values.items()}
        if drawn not in found:
            found.append(drawn)
        if len(found) == count:
            break
    return found


def _pick(values: Values, share: float) -> Any:
    return values.at(share) if isinstance(values, Range) else values[int(share * len(values))]
