"""Parquet files, which are refused where unpacking them would take more memory than there is.

How much a file holds is read from its page headers alone. The sizes in its footer are claims; a
reader allots what the header before each page names. A page of few bytes may hold gigabytes:
repeated values cost nothing, and zeros pack 30,000 to one. The structures are Thrift's compact
protocol; format: github.com/apache/parquet-format.
"""

from __future__ import annotations

import io
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ..faults import check_size, check_width
from . import NO_RECORDS, File, Format, Records

# What damaged bytes raise in Polars, which also panics over them.
UNREADABLE = (OSError, ValueError, pl.exceptions.PolarsError, pl.exceptions.PanicException)
MOST_PAGES = 1_000_000
VALUE = 16  # bytes of a value in a table: a number's 8, or where a text begins and how long it is
ROW_GROUPS, COLUMNS, ROWS, META = 4, 1, 3, 3  # fields of the footer, a row group, a column
VALUES, PACKED, FIRST_PAGE, DICTIONARY = 5, 7, 9, 11  # of a column's meta data
KIND, UNPACKED_PAGE, PACKED_PAGE = 1, 2, 3  # of a page
COUNTED = {0: 5, 2: 7, 3: 8}  # a kind of page -> the field of its own header, which counts values


def read_rows(file: File) -> Records:
    """The rows of a file. Raises DataError where unpacking them takes too much memory."""
    try:
        frame = read_parquet(file.data)
    except UNREADABLE as error:
        file.refuse("unreadable", f"cannot be read as parquet: {first_line(error)}")
        return NO_RECORDS
    return records_of(frame)


def records_of(frame: pl.DataFrame) -> Records:
    """A frame as records: each row is one, numbered from 0, and on "line" 1 and up."""
    number = np.arange(frame.height, dtype=np.int64)
    return Records({c.name: c for c in frame.get_columns()}, number, number + 1, frame.height)


def first_line(error: Exception) -> str:
    """The first line of an error: Polars adds its whole query below."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def read_parquet(source: bytes | Path) -> pl.DataFrame:
    """A file of rows. Raises DataError where it is too large, else whatever Polars raises."""
    if isinstance(source, Path):
        with source.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
            _check(data, pl.read_parquet_schema(source))
        frame = pl.read_parquet(source, glob=False)
    else:
        _check(source, pl.read_parquet_schema(io.BytesIO(source)))
        frame = pl.read_parquet(io.BytesIO(source))
    check_size(sum(map(_text_bytes, frame.get_columns())), frame.height)
    return frame


def _check(data: bytes | mmap, schema: dict[str, pl.DataType]) -> None:
    check_width(len(schema))
    check_size(*unpacked_size(data))


def _text_bytes(column: pl.Series) -> int:
    """Bytes of all texts: one that is repeated stands in a table once, and is read many times."""
    if isinstance(column.dtype, pl.List | pl.Array):
        return 0 if column.dtype.inner.is_numeric() else _text_bytes(column.explode())
    if isinstance(column.dtype, pl.Struct):
        return sum(map(_text_bytes, column.struct.unnest().get_columns()))
    if column.dtype in (pl.String, pl.Binary):
        sizes = column.str.len_bytes() if column.dtype == pl.String else column.bin.size()
        return int(sizes.sum())
    return 0


def unpacked_size(data: bytes | mmap) -> tuple[int, int]:
    """Bytes that a whole file takes as a table, texts that are repeated counted once; and its rows.

    Raises ValueError where it is damaged, or in more pages than can be meant.
    """
    try:
        length = int.from_bytes(data[-8:-4], "little")
        if data[-4:] != b"PAR1" or length > len(data) - 8:
            raise ValueError("it does not end as parquet does")
        footer = _Thrift(data, len(data) - 8 - length).struct()
        columns = [c[META] for group in footer[ROW_GROUPS] for c in group[COLUMNS]]
        rows = sum(max(0, group[ROWS]) for group in footer[ROW_GROUPS])
        return _size_of_pages(data, columns), rows
    except (IndexError, KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError("its footer or a page is damaged") from None


def _size_of_pages(data: bytes | mmap, columns: list[dict[int, Any]]) -> int:
    size = seen = 0
    for column in columns:
        place = column[FIRST_PAGE]
        if DICTIONARY in column and 0 < column[DICTIONARY] < place:
            place = column[DICTIONARY]
        end = place + column[PACKED]
        if place < 0 or end > len(data):
            raise ValueError("a column ends behind the file")
        while place < end:
            seen += 1
            if seen > MOST_PAGES:
                raise ValueError(f"it has more than {MOST_PAGES:,} pages")
            thrift = _Thrift(data, place)
            page = thrift.struct()
            own = page.get(COUNTED.get(page[KIND], -1), {})
            size += max(0, page[UNPACKED_PAGE]) + VALUE * max(0, own.get(1, 0))
            place = thrift.place + max(0, page[PACKED_PAGE])
    return size


class _Thrift:
    """A reader of the compact protocol: structures as dicts of their fields' numbers."""

    def __init__(self, data: bytes | mmap, place: int) -> None:
        self.data, self.place = data, place

    def struct(self) -> dict[int, Any]:
        found: dict[int, Any] = {}
        field = 0
        while head := self.byte():
            kind = head & 15
            field = field + (head >> 4) if head >> 4 else self.number()
            found[field] = kind == 1 if kind in (1, 2) else self.value(kind)
        return found

    def value(self, kind: int) -> Any:
        if kind == 12:
            return self.struct()
        if kind in (9, 10):
            return self.items()
        if kind == 8:
            return self.skip(self.varint())
        if kind == 7:
            return self.skip(8)
        if kind in (4, 5, 6):
            return self.number()
        if kind in (1, 2, 3):
            return self.byte()
        raise IndexError(f"there is no kind {kind} of value in parquet")

    def items(self) -> list[Any]:
        head = self.byte()
        count = head >> 4 if head >> 4 < 15 else self.varint()
        return [self.value(head & 15) for _ in range(count)]

    def byte(self) -> int:
        self.place += 1
        return self.data[self.place - 1]

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 63:
                raise IndexError("a number of more than 64 bits")

    def number(self) -> int:
        value = self.varint()
        return value >> 1 ^ -(value & 1)

    def skip(self, count: int) -> None:
        self.place += count


FORMAT = Format(
    endings=(".parquet", ".pq"),
    likeness=lambda head: float(head.startswith(b"PAR1")),
    read=read_rows,
    is_text=False,
    has_lines=False,
)
