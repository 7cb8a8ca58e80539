"""W&B's offline files, read without wandb: a LevelDB log of protocol buffers.

Blocks of 32 KiB hold chunks (CRC, length, kind); one or more chunks are a record.
"""

from __future__ import annotations

import contextlib
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from ...files.reading import decode_json
from .facts import (
    LARGEST_ENTRY,
    Configured,
    Ended,
    Fact,
    Logged,
    Place,
    Problem,
    RewrittenError,
    Source,
    flatten,
    logged,
    number,
)
from .protobuf import fields, first, signed, text

MAGIC = b":W&B"
FILE_HEAD = 7  # bytes: magic, 0xBEE1, version
BLOCK = 32 << 10
CHUNK_HEAD = 7
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4
READ = 256 * BLOCK  # bytes at once
HISTORY, RUN, CONFIG, EXIT = 2, 17, 5, 18  # fields of a record

_HEAD = struct.Struct("<IHB").unpack_from


def files_of(path: Path) -> list[Path]:
    return [path]


def read(source: Source, place: Place) -> Iterator[Fact]:
    """What is new in a file."""
    offset = place.offsets.get("", FILE_HEAD)
    size = source.path.stat().st_size
    if size < place.offsets.get("", 0):
        raise RewrittenError
    while offset < size:
        with source.path.open("rb") as file:
            start = offset // BLOCK * BLOCK  # chunks are laid out by blocks of the file
            file.seek(start)
            found = _Records(file.read(READ), start)
        for record in found.read(offset - start):
            with contextlib.suppress(ValueError, IndexError, struct.error):
                yield from _facts(record)
        yield from found.problems
        if start + found.whole <= offset:
            return
        offset = place.offsets[""] = start + found.whole


class _Records:
    """The records of a part of the file that begins with a block."""

    def __init__(self, data: bytes, start: int) -> None:
        self._data, self._start = data, start
        self.whole = 0  # where the last whole record ends
        self.problems: list[Problem] = []

    def read(self, at: int) -> Iterator[bytes]:
        data, end, parts = self._data, len(self._data), list[bytes]()
        self.whole = at
        while True:
            left = BLOCK - at % BLOCK
            if left < CHUNK_HEAD:  # the rest of a block is too short for a chunk
                at += left
            if at + CHUNK_HEAD > end:
                return
            crc, length, kind = _HEAD(data, at)
            after = at + CHUNK_HEAD + length
            if crc == length == kind == 0:  # a block that was laid out, and not yet written
                if data[at:].strip(b"\0") == b"":
                    return
                at = at // BLOCK * BLOCK + BLOCK
                continue
            if length > BLOCK - CHUNK_HEAD - at % BLOCK or not FULL <= kind <= LAST:
                at, parts = self._damaged(at), []
                continue
            if after > end:
                return
            if zlib.crc32(data[at + 6 : after]) != crc:
                at, parts = self._damaged(at), []
                continue
            part = data[at + CHUNK_HEAD : after]
            at = after
            parts = [part] if kind in (FULL, FIRST) else [*parts, part]
            if kind in (FULL, LAST):
                self.whole = at
                yield b"".join(parts)
                parts = []
            elif sum(map(len, parts)) > LARGEST_ENTRY:
                parts, self.whole = [], at

    def _damaged(self, at: int) -> int:
        """The block after the one with the damage."""
        where = self._start + at
        what = f"the file is damaged at byte {where:,}: read from the next block on"
        self.problems.append(Problem(what))
        self.whole = min(at // BLOCK * BLOCK + BLOCK, len(self._data))
        return at // BLOCK * BLOCK + BLOCK


def _facts(record: bytes) -> Iterator[Fact]:
    for kind, content in fields(record):
        if not isinstance(content, bytes):
            continue
        if kind == HISTORY:
            if (found := _history(content)) is not None:
                yield found
        elif kind == RUN:
            yield _run(content)
        elif kind == CONFIG:
            yield Configured(_settings(content))
        elif kind == EXIT:
            code = next((x for n, x in fields(content) if n == 1), 0)
            error = f"it ended with exit code {text(code)}"
            yield Ended("failed", error) if code else Ended("finished")


def _history(content: bytes) -> Logged | None:
    """The figures of a call of `log`; None where there are none."""
    entry: dict[str, object] = {}
    step: int | None = None
    for kind, item in fields(content):
        if kind == 2 and isinstance(item, bytes):
            step = next((signed(x) for n, x in fields(item) if n == 1 and isinstance(x, int)), 0)
        elif kind == 1 and isinstance(item, bytes):
            name, value = _item(item)
            with contextlib.suppress(ValueError):
                entry[name] = float(value)
                continue
            if value in (b'"NaN"', b'"Infinity"', b'"-Infinity"'):
                entry[name] = value[1:-1].decode()
    own, at = number(entry.get("_step")), number(entry.get("_timestamp")) or 0.0
    figures = {n: v for n, v in entry.items() if not n.startswith("_")}
    return logged(step if own is None else int(own), at, figures)


def _item(item: bytes) -> tuple[str, bytes]:
    """Name and JSON of an item; parts of a nested name are joined by dots."""
    names, value = [], b""
    for kind, content in fields(item):
        if kind in (1, 2):
            names.append(text(content))
        elif kind == 16 and isinstance(content, bytes):
            value = content
    return ".".join(names), value


def _run(content: bytes) -> Configured:
    texts = {n: text(x) for n, x in fields(content) if n in (1, 8, 13)}
    settings = _settings(first(content, 4))
    return Configured(settings, texts.get(8) or texts.get(1, ""), texts.get(13, ""))


def _settings(content: bytes) -> dict[str, object]:
    """The configuration of a record; what wandb adds of itself is left out."""
    found: dict[object, object] = {}
    for kind, item in fields(content):
        if kind == 1 and isinstance(item, bytes):
            name, value = _item(item)
            with contextlib.suppress(ValueError):
                found[name] = decode_json(value, object)
    found.pop("_wandb", None)
    return dict(flatten(found))
