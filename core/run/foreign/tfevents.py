"""TensorBoard's event files, read without TensorBoard.

A record is length, CRC of the length, data, CRC of the data. The length's CRC is checked: by it a
damaged place is seen; those of the data would cost more time than everything else together.
"""

from __future__ import annotations

import contextlib
import re
import struct
from collections.abc import Iterator
from pathlib import Path

from ...files.reading import decode_json
from .facts import (
    LARGEST_ENTRY,
    Configured,
    Fact,
    Place,
    Problem,
    Restarted,
    RewrittenError,
    Source,
    Steps,
)
from .protobuf import fields, first, signed, text, varint

BLOCK = 1 << 20  # bytes read at once
SPLITS = ("train", "validation", "val", "eval", "test")  # Keras: a folder for each, of one run
_TIMESTAMP = re.compile(r"\d+\.\d+")  # torch: a folder with the hyperparameters of the run
HEAD = 12  # bytes of a record before its data; four follow them
FLOAT, DOUBLE = 1, 2  # types of a tensor
START = 1  # of a session log: what has this step and more is made again

# A record as nearly all are: time, step, one value of one tag as a float. Checked by its length.
_PLAIN = re.compile(
    rb".{12}\x09(.{8})(?:\x10([\x80-\xff]{0,8}[\x00-\x7f]))?"
    rb"\x2a.\x0a.\x0a(.[^\x15]{1,120})\x15(.{4}).{4}",
    re.DOTALL,
)
# Where the next record may begin after a damaged one: of fewer than 64 KiB
_HEAD = re.compile(rb".{2}\0{6}.{4}\x09", re.DOTALL)
_TIME = struct.Struct("<d").unpack
_VALUE = struct.Struct("<f").unpack


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return table


_TABLE = _crc_table()


def masked_crc(data: bytes) -> int:
    """CRC-32C as records have it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


_lengths: dict[bytes, int] = {}  # few lengths come again and again


def _length_of(head: bytes) -> int:
    """Bytes of a record's data, by the first twelve of the record; -1 where the CRC differs."""
    length = -1
    if int.from_bytes(head[8:12], "little") == masked_crc(head[:8]):
        length = int.from_bytes(head[:8], "little")
    if len(_lengths) < 10_000:
        _lengths[head] = length
    return length


def is_event_file(head: bytes) -> bool:
    """Whether a file begins with a record of an event."""
    return len(head) >= HEAD and _length_of(head[:HEAD]) >= 0 and b"brain.Event" in head[:64]


def is_part(folder: Path) -> bool:
    """Whether a folder holds a part of the run in the folder above it."""
    return folder.name in SPLITS or _TIMESTAMP.fullmatch(folder.name) is not None


def files_of(folder: Path) -> list[Path]:
    """The event files that make up a run, in the order in which they began."""
    places = [folder, *sorted(p for p in folder.iterdir() if is_part(p) and p.is_dir())]
    return [p for place in places for p in sorted(place.glob("*.tfevents.*")) if p.is_file()]


def read(source: Source, place: Place) -> Iterator[Fact]:
    """What is new in the event files of a folder."""
    for path in files_of(source.path):
        yield from _File(source.path, path, place).read()


class _File:
    """One event file, from where it was left."""

    def __init__(self, folder: Path, path: Path, place: Place) -> None:
        self._name = str(path.relative_to(folder))
        self._path, self._place = path, place
        self._part = "" if path.parent == folder else path.parent.name
        self._prefix = f"{self._part}/" if self._part in SPLITS else ""
        self._names: dict[bytes, str] = {}
        self._steps, self._facts = Steps(), list[Fact]()
        self._has_figures = self._name in place.marks
        self._over = False  # damaged, or not yet written to its end

    def read(self) -> Iterator[Fact]:
        offset = self._place.offsets.get(self._name, 0)
        size = self._path.stat().st_size
        if size < offset:
            raise RewrittenError
        with self._path.open("rb") as file:
            while offset < size and not self._over:
                file.seek(offset)
                used = self._take(file.read(BLOCK), offset, size)
                offset += used
                self._place.offsets[self._name] = offset
                yield from self._facts
                self._facts.clear()
                for logged in self._steps.take():
                    self._place.steps[self._part] = max(
                        logged.step, self._place.steps.get(self._part, -1)
                    )
                    self._place.times[self._part] = logged.time
                    yield logged

    def _take(self, block: bytes, offset: int, size: int) -> int:
        """Take up the whole records of a block of the file; how many bytes they have.

        `_PLAIN` is tried first: it saves nine tenths of the time.
        """
        at, end, match, names = 0, len(block), _PLAIN.match, self._names
        value, lengths = _VALUE, _lengths  # names of this function are the quickest
        last, row = None, dict[str, float]()  # the bytes of the last step, and its figures
        while at + HEAD <= end:
            head = block[at : at + HEAD]
            length = lengths[head] if head in lengths else _length_of(head)
            if length < 0:
                return at + self._damaged(block[at:], offset + at)
            after = at + HEAD + length + 4
            found = match(block, at)
            if found is not None and found.end() == after:
                step, tag, number = found.group(2, 3, 4)
                if (name := names.get(tag)) is not None:
                    if step != last:
                        last, row = step, self._row(step, found[1])
                    (row[name],) = value(number)
                    at = after
                    continue
                # else something stands between tag and value
                if self._has_figures and tag[0] == len(tag) - 1:
                    names[tag] = self._name_of(tag[1:])
            elif after > end:
                return at + self._outside(length, size - offset - at)
            self._event(block[at + HEAD : after - 4], offset + at)
            at, last = after, None
        self._over = at == 0
        return at

    def _row(self, step: bytes | None, time: bytes) -> dict[str, float]:
        return self._steps.at(signed(varint(step, 0)[0]) if step else 0, _TIME(time)[0])

    def _name_of(self, tag: bytes) -> str:
        return self._prefix + text(tag)

    def _add(self, step: int, time: float, name: str, value: float) -> None:
        if not self._has_figures:
            self._begin(step, time)
        self._steps.at(step, time)[name] = value

    def _begin(self, step: int, time: float) -> None:
        """The first figure of the file: a run that resumed makes steps of an earlier file again.

        Not where the earlier file grew after this one began: then two processes write side by side.
        """
        self._has_figures = True
        self._place.marks[self._name] = "has figures"
        if step < self._place.steps.get(self._part, -1) and time >= self._place.times[self._part]:
            self._restart(step)

    def _restart(self, step: int) -> None:
        self._facts += [*self._steps.take(), Restarted(max(0, step - 1))]
        self._place.steps[self._part] = step - 1

    def _damaged(self, rest: bytes, where: int) -> int:
        """How many bytes to pass over up to the next record; none of zeros, which a file system
        may show for what is not yet written."""
        if not rest.strip(b"\0"):
            self._over = True
            return 0
        what = f"is damaged at byte {where:,}: read from the next record on"
        self._facts.append(Problem(f"{self._name} {what}"))
        for found in _HEAD.finditer(rest, 1):
            if _length_of(rest[found.start() : found.start() + HEAD]) >= 0:
                return found.start()
        return len(rest)

    def _outside(self, length: int, left: int) -> int:
        """How many bytes to pass over of a record that ends outside its block."""
        whole = HEAD + length + 4
        self._over = whole > left  # not yet written to its end
        return whole if whole <= left and length > LARGEST_ENTRY else 0

    def _event(self, data: bytes, where: int) -> None:
        """Take up a record of any form."""
        try:
            found = dict(fields(data))  # no field of an event but its summary's comes twice
            time, step = _TIME(_bytes(found, 1) or bytes(8))[0], signed(_int(found, 2))
            if 7 in found and dict(fields(_bytes(found, 7))).get(1) == START:
                self._restart(step)
            for number, value in fields(_bytes(found, 5)):
                if number == 1 and isinstance(value, bytes):
                    self._value(value, step, time)
        except (ValueError, IndexError, struct.error):
            self._facts.append(Problem(f"{self._name} has a damaged record at byte {where:,}"))

    def _value(self, data: bytes, step: int, time: float) -> None:
        found = dict(fields(data))
        tag, simple = _bytes(found, 1), found.get(2)
        if isinstance(simple, bytes):
            self._add(step, time, self._name_of(tag), _VALUE(simple)[0])
        elif 8 in found:
            tensor = dict(fields(_bytes(found, 8)))
            if (scalar := _scalar(tensor)) is not None:
                self._add(step, time, self._name_of(tag), scalar)
            elif tag.endswith(b"/text_summary"):
                self._text(text(tag).removesuffix("/text_summary"), _bytes(tensor, 8))
        elif tag == b"_hparams_/session_start_info":
            content = first(first(_bytes(found, 9), 1), 2)
            self._facts.append(Configured(_hyperparameters(first(content, 3))))

    def _text(self, name: str, content: bytes) -> None:
        """Settings that the Trainer of transformers writes as a text of JSON."""
        if name in ("args", "model_config") and len(content) <= LARGEST_ENTRY:
            with contextlib.suppress(ValueError):
                found = decode_json(content, dict[str, object])
                self._facts.append(Configured(found if name == "args" else {name: found}))


def _bytes(found: dict[int, int | bytes], number: int) -> bytes:
    value = found.get(number, b"")
    return value if isinstance(value, bytes) else b""


def _int(found: dict[int, int | bytes], number: int) -> int:
    value = found.get(number, 0)
    return value if isinstance(value, int) else 0


def _scalar(tensor: dict[int, int | bytes]) -> float | None:
    """The one number of a tensor of floats; None of any other."""
    form, content, values = (
        ("<f", _bytes(tensor, 4), _bytes(tensor, 5))
        if _int(tensor, 1) == FLOAT
        else ("<d", _bytes(tensor, 4), _bytes(tensor, 6))
    )
    data = content or values
    if _int(tensor, 1) not in (FLOAT, DOUBLE) or len(data) != struct.calcsize(form):
        return None
    return float(struct.unpack(form, data)[0])


def _hyperparameters(start: bytes) -> dict[str, object]:
    """Of a session: a map of names to numbers, texts and truth values."""
    found: dict[str, object] = {}
    for number, entry in fields(start):
        if number == 1 and isinstance(entry, bytes):
            for kind, value in fields(first(entry, 2)):
                if kind == 2 and isinstance(value, bytes):
                    found[text(first(entry, 1))] = _TIME(value)[0]
                else:
                    found[text(first(entry, 1))] = bool(value) if kind == 4 else text(value)
    return found
