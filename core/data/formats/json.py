"""JSON arrays of objects, each with the line on which it starts."""

from __future__ import annotations

import msgspec

from ...files.reading import BROKEN
from . import NO_RECORDS, File, Format, Records, first_lines
from .jsonl import TOO_DEEP, is_one_object, read_json_lines, read_objects


def read_json_array(file: File) -> Records:
    """A list of objects; a file of several objects is read as JSON lines."""
    begins_with_object = file.data[:64].lstrip()[:1] == b"{"
    try:
        raws = msgspec.json.decode(file.data, type=list[msgspec.Raw])
    except BROKEN as error:
        if begins_with_object and not is_one_object(file.data):
            return read_json_lines(file)
        what = (
            "is one object, not a list of objects" if begins_with_object else f"is broken: {error}"
        )
        what = TOO_DEEP if isinstance(error, RecursionError) else what
        file.refuse("broken JSON", what, "Write [{…}, {…}]", _line_of(file.data, error))
        return NO_RECORDS
    return read_objects(file, zip(_start_lines(file.data, raws), raws, strict=True))


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
