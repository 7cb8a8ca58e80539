"""How a row is named to people: by its line in a file where that is known, else by its number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class Named(Protocol):
    """What is known of a split's rows: a `SplitPrepared`, say."""

    @property
    def source(self) -> str: ...
    @property
    def line_offset(self) -> int: ...


@dataclass(frozen=True)
class KnownRows:
    """The same from a report."""

    source: str
    line_offset: int


def rows_of_report(data: Mapping[str, Any]) -> dict[str, KnownRows]:
    """What "data" of a report knows of the rows of its splits."""
    return {
        name: KnownRows(s.get("source", ""), s.get("line_offset", 0))
        for name, s in data.items()
        if "rows" in s
    }


def name_row(splits: Mapping[str, Named], split: str, row: int) -> str:
    """`line 13 of test.csv`, else `test row 12 (counted from 0)`."""
    return name_rows(splits, [(split, row)])


def name_rows(splits: Mapping[str, Named], rows: Sequence[tuple[str, int]], most: int = 5) -> str:
    """`lines 13 and 20 of test.csv, train row 4 (counted from 0) and 3 more`.

    `rows`: pairs of split and row id, of which the first `most` are named.
    """
    of_split: dict[str, list[int]] = {}
    for split, row in rows[:most]:
        of_split.setdefault(split, []).append(row)
    told = [_name_of(splits.get(split), split, ids) for split, ids in of_split.items()]
    if (rest := len(rows) - most) > 0:
        told.append(f"{rest:,} more")
    return _listed(told)


def _name_of(known: Named | None, split: str, ids: list[int]) -> str:
    by_line = known is not None and known.line_offset
    offset = known.line_offset if known is not None else 0
    numbers = _listed([str(row + offset) for row in ids])
    s = "s" if len(ids) > 1 else ""
    if by_line and known is not None:
        return f"line{s} {numbers} of {known.source}"
    return f"{split} row{s} {numbers} (counted from 0)"


def _listed(words: Sequence[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
