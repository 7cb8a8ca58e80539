"""JSON arrays of objects, also within one object, each with the line on which it starts."""

from __future__ import annotations

import msgspec

from ...files.reading import BROKEN
from ..faults import show_value
from . import NO_RECORDS, File, Format, Records, first_lines
from .jsonl import TOO_DEEP, is_one_object, read_json_lines, read_objects

ROWS = "Write [{…}, {…}]"


def read_json_array(file: File) -> Records:
    """A list of objects; a file of several objects is read as JSON lines."""
    if file.data[:64].lstrip()[:1] == b"{":
        if not is_one_object(file.data):
            return read_json_lines(file)
        return _read_within(file)
    try:
        raws = msgspec.json.decode(file.data, type=list[msgspec.Raw])
    except BROKEN as error:
        what = TOO_DEEP if isinstance(error, RecursionError) else f"is broken: {error}"
        file.refuse("broken JSON", what, ROWS, _line_of(file.data, error))
        return NO_RECORDS
    return read_objects(file, zip(_start_lines(file.data, raws), raws, strict=True))


def _read_within(file: File) -> Records:
    """The only list of objects that one object holds; one named as a column is of a single row."""
    held = msgspec.json.decode(file.data, type=dict[str, msgspec.Raw])
    lists = {key: bytes(raw) for key, raw in held.items() if _holds_objects(bytes(raw))}
    lists = {key: data for key, data in lists.items() if key.lower() not in file.reading.known}
    if len(lists) != 1:
        what = "is one object, not a list of objects"
        if lists:
            what = f"is one object with several lists of objects: {', '.join(map(repr, lists))}"
        file.refuse("broken JSON", what, ROWS, 1)
        return NO_RECORDS
    [(key, data)] = lists.items()
    file.notes.append(f"rows are the list {show_value(key)} of its one object")
    before = file.data.count(b"\n", 0, file.data.index(data))
    raws = msgspec.json.decode(data, type=list[msgspec.Raw])
    lines = [before + line for line in _start_lines(data, raws)]
    return read_objects(file, zip(lines, raws, strict=True))


def _holds_objects(data: bytes) -> bool:
    """Whether JSON is a list whose first element is an object."""
    return data[:1] == b"[" and data[1:].lstrip()[:1] == b"{"


def _line_of(data: bytes, error: Exception) -> int:
    """The line of a decoding error, which says "(byte 123)" at its end."""
    digits = str(error).rpartition("(byte ")[2].rstrip(")")
    return 1 + data.count(b"\n", 0, int(digits)) if digits.isdigit() else 1


def _start_lines(data: bytes, raws: list[msgspec.Raw]) -> list[int]:
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


def _likeness(head: bytes) -> float:
    text = head.decode("utf-8-sig", errors="replace").lstrip()
    if text.startswith("["):
        return 0.9
    lines = first_lines(head)
    begins = bool(lines) and lines[0].lstrip().startswith("{")
    return 0.7 if begins and not is_one_object(lines[0].encode()) else 0.0


FORMAT = Format(endings=(".json",), likeness=_likeness, read=read_json_array, has_own_keys=True)
