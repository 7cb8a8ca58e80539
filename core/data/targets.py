"""Numbers that a model is to predict: read as they are written, and how they are spread."""

from __future__ import annotations

import math
import re

import numpy as np
import polars as pl

from .faults import MEND, Faults, show_value
from .joined import columns_in, is_marks
from .sources import Table

TARGET_NAMES = (
    *("label", "labels", "target", "score", "rating", "stars", "value", "y", "price"),
    *("similarity", "similarity_score", "grade", "points", "sentiment"),
)
_COMMA = re.compile(r"[+-]?\d+,\d+")  # 3,5: what half of the world writes
_BARS = " ▁▂▃▄▅▆▇█"
BINS = 20


def may_be_numbers(column: pl.Series) -> bool:
    """Whether values are numbers, or texts that are; a comma in the place of the point counts."""
    if column.dtype.is_numeric():
        return True
    if column.dtype not in (pl.String, pl.Object):
        return False
    seen = [value for value in column.head(200).to_list() if value is not None]
    return bool(seen) and sum(_number(v) is not None or _is_comma(v) for v in seen) * 2 > len(seen)


def has_fractions(column: pl.Series) -> bool:
    """Whether some of the first values are no whole numbers: an id has none."""
    numbers = (_number(value) for value in column.head(200).to_list())
    return any(n is not None and n != int(n) for n in numbers)


def read_targets(name: str, table: Table, bad: Faults) -> pl.Series:
    """`targets` of each row, a list of numbers, null where the row is bad, with its line.

    `name`: of a column, or of several side by side. Decimal commas are one fault of each.
    """
    several = is_marks(name, table)
    columns = columns_in(name) if several else (name,)
    values = [table.columns[column].to_list() for column in columns]
    read = [_read_column(c, v, table, bad) for c, v in zip(columns, values, strict=True)]
    found = [list(row) if None not in row else None for row in zip(*read, strict=True)]
    return pl.Series("targets", found, dtype=pl.List(pl.Float64))


def target_names(name: str, table: Table) -> tuple[str, ...]:
    """What the targets are called: by their columns."""
    return columns_in(name) if is_marks(name, table) else (name,)


def _read_column(name: str, raw: list[object], table: Table, bad: Faults) -> list[float | None]:
    commas = [row for row, value in enumerate(raw) if _is_comma(value)]
    if commas:
        what = (
            f'column "{name}" writes numbers with a comma ({show_value(raw[commas[0]])}) in '
            f"{len(commas):,} rows"
        )
        remedy = "Write them with a point: 3.5"
        bad.add(f"decimal commas in {name}", table.place(commas[0]), what, remedy)
    found = []
    for row, value in enumerate(raw):
        number = _number(value)
        if number is None and not _is_comma(value):
            held = "nothing" if value in (None, "") else show_value(value)
            what = f'column "{name}" holds {held}, not a number'
            bad.add(f"no number in {name}", table.place(row), what, MEND)
        found.append(number)
    return found


def _number(value: object) -> float | None:
    """A finite number; True is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and "_" not in str(value) else None


def _is_comma(value: object) -> bool:
    return isinstance(value, str) and bool(_COMMA.fullmatch(value.strip()))


def spread_of(frame: pl.DataFrame) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each target."""
    values = np.array(frame["targets"].to_list(), dtype=np.float64)
    return values.mean(0).tolist(), values.std(0).tolist()


def describe_targets(frame: pl.DataFrame, names: tuple[str, ...]) -> list[str]:
    """Of each target a line: its range, mean, and a histogram."""
    values = np.array(frame["targets"].to_list(), dtype=np.float64)
    lines = []
    for name, own in zip(names, values.T, strict=True):
        counts, _ = np.histogram(own, BINS)
        heights = np.ceil(counts / max(1, counts.max()) * (len(_BARS) - 1)).astype(int)
        bars = "".join(_BARS[h] for h in heights)
        lines.append(
            f"{name}: {own.min():,.4g} to {own.max():,.4g}, mean {own.mean():,.4g}, standard "
            f"deviation {own.std():,.4g}  |{bars}|"
        )
    return lines
