"""Files packed with gzip or zstandard, unpacked in parts: a small one cannot fill memory."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator
from pathlib import PurePath
from typing import Protocol

from ..errors import DataError, Fault
from ..files.disk import free_memory
from .faults import TIMES

ENDINGS = (".gz", ".zst")
GZIP, ZSTANDARD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"  # the bytes that such a file begins with
PART = 16 << 20  # bytes unpacked at a time
# Rows of text pack 3 to 1, logs up to 100 to 1, and zeros 1,000 to 1 and far beyond.
SMALL, MOST_TIMES = 256 << 20, 200  # bytes that may always come out, and more by what goes in
DAMAGED = "Pack it again, or unpack it yourself to see how much of it is whole"


class _Unpacker(Protocol):
    """One stream of a file; another may follow it."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


def without_ending(name: str) -> str:
    """`rows.csv.gz` is `rows.csv` by its contents."""
    path = PurePath(name)
    return str(path.with_suffix("")) if path.suffix.lower() in ENDINGS else name


def unpack(data: bytes) -> tuple[bytes, str]:
    """The contents of a file, and what it was packed with; as it stands where it was not.

    Raises DataError where it is damaged, or holds more than can be meant or than memory takes.
    """
    kind = _kind_of(data)
    if not kind:
        return data, ""
    free = free_memory()
    most = max(SMALL, MOST_TIMES * len(data))
    most = most if free is None else min(most, free // TIMES)
    parts: list[bytes] = []
    size = 0
    try:
        for part in _parts(data, kind):
            parts.append(part)
            size += len(part)
            if size > most:
                times = f"{size // len(data):,} times its size"
                what = f"holds more than {most / 2**20:,.0f} MiB unpacked, {times}, and is not read"
                raise DataError(Fault("", what, "Unpack it yourself and give the rows you mean"))
    except (EOFError, ValueError, OSError, zlib.error, _error_of_zstandard()) as error:
        what = f"is damaged: {kind} ends in the middle"
        if not isinstance(error, EOFError):
            what = f"is damaged: {kind} cannot unpack it ({error})"
        raise DataError(Fault("", what, DAMAGED)) from None
    return b"".join(parts), kind


def _kind_of(data: bytes) -> str:
    if data.startswith(GZIP):
        return "gzip"
    return "zstandard" if data.startswith(ZSTANDARD) else ""


def _parts(data: bytes, kind: str) -> Iterator[bytes]:
    """What comes out, at most `PART` bytes at a time. Raises EOFError where the end is missing."""
    while data:
        unpacker = _unpacker(kind)
        while not unpacker.eof:
            part = unpacker.decompress(data, PART)
            # gzip hands back what it has not taken, zstandard keeps it
            data = getattr(unpacker, "unconsumed_tail", b"")
            if not part and not data and not unpacker.eof:
                raise EOFError
            yield part
        data = unpacker.unused_data
        if kind == "gzip":
            data = data.lstrip(b"\0")  # tapes and some tools fill the last block with zeros


def _unpacker(kind: str) -> _Unpacker:
    if kind == "gzip":
        return zlib.decompressobj(16 + zlib.MAX_WBITS)  # 16: with gzip's header and check sum
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd.ZstdDecompressor()


def _error_of_zstandard() -> type[Exception]:
    if sys.version_info >= (3, 14):
        from compression.zstd import ZstdError
    else:
        from backports.zstd import ZstdError
    return ZstdError
