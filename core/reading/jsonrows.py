"""JSON lines and JSON arrays: values keep their types, so that a number is never taken for text."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import polars as pl

from .delimited import MEND, NOT_UTF8, Records
from .faults import Faults

_decode_object = msgspec.json.Decoder(dict[str, Any]).decode


def read_json_lines(data: bytes, shown: str, bad: Faults) -> Records:
    """One object a line; blank lines are no records."""
    objects: list[dict[str, Any]] = []
    numbers: list[int] = []
    lines: list[int] = []
    count = 0
    for line, raw in enumerate(data.split(b"\n"), 1):
        if not raw.strip():
            continue
        try:
            objects.append(_decode_object(raw))
            numbers.append(count)
            lines.append(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            kind, what = _why_broken(raw, error)
            bad.add(kind, f"{shown}:{line}", what, MEND)
        count += 1
    return _records(objects, numbers, lines, count)


def read_json_array(data: bytes, shown: str, fatal: Faults, bad: Faults) -> Records:
    """A list of objects; a file of several objects is read as JSON lines."""
    start = data[:64].lstrip()[:1]
    try:
        raws = msgspec.json.decode(data, type=list[msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if start == b"{" and not _is_one_object(data):
            return read_json_lines(data, shown, bad)
        what = "is one object, not a list of objects" if start == b"{" else f"is broken: {error}"
        fatal.add("broken JSON", f"{shown}:{_line_of(data, error)}", what, "Write [{…}, {…}]")
        return _records([], [], [], 0)
    objects, numbers, lines = [], [], []
    for number, (raw, line) in enumerate(zip(raws, _first_lines(data, raws), strict=True)):
        try:
            objects.append(_decode_object(raw))
            numbers.append(number)
            lines.append(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            kind, what = _why_broken(bytes(raw), error)
            bad.add(kind, f"{shown}:{line}", what, MEND)
    return _records(objects, numbers, lines, len(raws))


def to_series(name: str, values: list[Any]) -> pl.Series:
    """Values of one type as that type; mixed ones stay what they are (dtype Object)."""
    types = set(map(type, values)) - {type(None)}
    for accepted, dtype in ((str, pl.String), (bool, pl.Boolean), (int, pl.Int64)):
        if types <= {accepted}:
            try:
                return pl.Series(name, values, dtype=dtype)
            except (OverflowError, TypeError, pl.exceptions.PolarsError):
                break  # an integer of more than 64 bits
    return pl.Series(name, values, dtype=pl.Object)


def _records(
    objects: list[dict[str, Any]], numbers: list[int], lines: list[int], count: int
) -> Records:
    names = list(dict.fromkeys(key for each in objects for key in each))
    columns = {name: to_series(name, [each.get(name) for each in objects]) for name in names}
    return Records(
        columns, np.array(numbers, np.int64), np.array(lines, np.int64), count, count - len(numbers)
    )


def _why_broken(raw: bytes, error: Exception) -> tuple[str, str]:
    if isinstance(error, msgspec.ValidationError):
        return "not an object", "is not a JSON object with a key for each column"
    try:
        raw.decode()
    except UnicodeDecodeError:
        return NOT_UTF8, NOT_UTF8
    return "broken JSON", f"is not valid JSON: {error}"


def _is_one_object(data: bytes) -> bool:
    try:
        _decode_object(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


def _line_of(data: bytes, error: Exception) -> int:
    """The line of a decoding error, which says "(byte 123)" at its end."""
    digits = str(error).rpartition("(byte ")[2].rstrip(")")
    return 1 + data.count(b"\n", 0, int(digits)) if digits.isdigit() else 1


def _first_lines(data: bytes, raws: list[msgspec.Raw]) -> list[int]:
    """The line on which each element of an array starts: between them are commas and space only."""
    lines = []
    line, place = 1, data.index(b"[") + 1
    for raw in raws:
        size = len(bytes(raw))
        start = data.index(bytes(raw)[:1], place) if size else place
        line += data.count(b"\n", place, start)
        lines.append(line)
        place = start + size
        line += data.count(b"\n", start, place)
    return lines
