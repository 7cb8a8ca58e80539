"""JSON lines: values keep their types, so that a number is never taken for text."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec
import numpy as np
import polars as pl

from ...files.reading import BROKEN
from ..faults import DAMAGED, MEND, NOT_UTF8, check_size, check_width
from . import File, Format, Records, first_lines

CELL = 8  # bytes of a value in a list: each object may have keys of its own
DEEPEST = 100  # values within each other: deeper ones could not be shown or compared
TOO_DEEP = f"holds more than {DEEPEST} values within each other"
_decoder = msgspec.json.Decoder(dict[str, object])
_DTYPES = ((str, pl.String), (bool, pl.Boolean), (int, pl.Int64), (float, pl.Float64))
_NOT_A_NUMBER = re.compile(rb"[:\[,]\s*-?(NaN|Infinity)\b")


def read_json_lines(file: File) -> Records:
    """One object for each line; blank lines are no records."""
    lines = enumerate(file.data.split(b"\n"), 1)
    return read_objects(file, ((line, raw) for line, raw in lines if raw.strip()))


def read_objects(file: File, raws: Iterable[tuple[int, bytes | msgspec.Raw]]) -> Records:
    """Records of the raw objects, each with its line; those that are broken become faults."""
    objects: list[dict[str, object]] = []
    numbers: list[int] = []
    lines: list[int] = []
    count = 0
    for line, raw in raws:
        try:
            objects.append(_decode_object(raw))
            numbers.append(count)
            lines.append(line)
        except BROKEN as error:
            kind, what, remedy = _why_broken(bytes(raw), error)
            file.leave_out(what, [line], remedy, kind)
        count += 1
    return _records(objects, numbers, lines, count)


def _decode_object(raw: bytes | msgspec.Raw) -> dict[str, object]:
    """One object. RecursionError where values stand too deep within each other."""
    found = _decoder.decode(raw)
    if bytes(raw).count(b"[") + bytes(raw).count(b"{") > DEEPEST and _depth(found) > DEEPEST:
        raise RecursionError
    return found


def _depth(value: object) -> int:
    """Containers within each other; level by level, so that no stack grows."""
    depth, level = 0, [value]
    while level := [v for v in level if isinstance(v, dict | list)]:
        depth += 1
        level = [v for each in level for v in (each.values() if isinstance(each, dict) else each)]
    return depth


def to_series(name: str, values: list[object]) -> pl.Series:
    """Values of one type as that type; mixed ones stay what they are (dtype Object)."""
    types = set(map(type, values)) - {type(None)}
    for accepted, dtype in _DTYPES:
        if types <= {accepted}:
            try:
                return pl.Series(name, values, dtype=dtype)
            except (OverflowError, TypeError, pl.exceptions.PolarsError):
                break  # an integer of more than 64 bits
    return pl.Series(name, values, dtype=pl.Object)


def _records(
    objects: list[dict[str, object]], numbers: list[int], lines: list[int], count: int
) -> Records:
    names = list(dict.fromkeys(key for each in objects for key in each))
    check_width(len(names))
    check_size(CELL * len(names) * len(objects), len(objects))
    columns = {name: to_series(name, [each.get(name) for each in objects]) for name in names}
    return Records(
        columns, np.array(numbers, np.int64), np.array(lines, np.int64), count, count - len(numbers)
    )


def _why_broken(raw: bytes, error: Exception) -> tuple[str, str, str]:
    if isinstance(error, RecursionError):
        return TOO_DEEP, TOO_DEEP, MEND
    try:
        raw.decode()
    except UnicodeDecodeError:
        return NOT_UTF8, NOT_UTF8, DAMAGED
    if isinstance(error, msgspec.ValidationError):
        if "out of range" in str(error):
            what = "holds a number that is too large"
            return what, what, MEND
        return "not an object", "is not a JSON object with a key for each column", MEND
    if raw.rstrip().endswith(b",") and is_one_object(raw.rstrip()[:-1]):
        what = "ends in a comma, as in a list, and JSON lines have none between them"
        return what, what, "Take the commas away from the ends of the lines"
    if _NOT_A_NUMBER.search(raw):
        what = "holds NaN or Infinity, which JSON does not have"
        return what, what, "Write null, or leave such rows out"
    return "broken JSON", f"is not valid JSON: {error}", MEND


def is_one_object(data: bytes) -> bool:
    """Whether bytes are a JSON object and nothing else."""
    try:
        _decode_object(data)
    except BROKEN:
        return False
    return True


def _likeness(head: bytes) -> float:
    lines = first_lines(head)
    begins = bool(lines) and lines[0].lstrip().startswith("{")
    return 0.8 if begins and is_one_object(lines[0].encode()) else 0.0


FORMAT = Format(
    endings=(".jsonl", ".ndjson"), likeness=_likeness, read=read_json_lines, has_own_keys=True
)
