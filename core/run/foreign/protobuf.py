"""The wire format of protocol buffers, as far as logs of scalars need it."""

from __future__ import annotations

from collections.abc import Iterator

VARINT, EIGHT, TEXT, FOUR = 0, 1, 2, 5  # wire types


def varint(data: bytes, at: int) -> tuple[int, int]:
    """A number and where it ends. ValueError: more than 64 bits; IndexError: the data end."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number has more than 64 bits")


def signed(value: int) -> int:
    """An int64 of a varint."""
    return value - (1 << 64) if value >= 1 << 63 else value


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and content of each field: an int of a varint, else its bytes.

    Raises ValueError or IndexError where it is no such message.
    """
    at, end = 0, len(data)
    while at < end:
        key, at = varint(data, at)
        kind = key & 7
        if kind == VARINT:
            value, at = varint(data, at)
            yield key >> 3, value
            continue
        if kind == TEXT:
            length, at = varint(data, at)
        elif kind in (EIGHT, FOUR):
            length = 8 if kind == EIGHT else 4
        else:
            raise ValueError(f"a field has wire type {kind}")
        if at + length > end:
            raise ValueError("a field ends after its message")
        yield key >> 3, data[at : at + length]
        at += length


def first(data: bytes, wanted: int) -> bytes:
    """The content of the first field of a number; empty where there is none."""
    return next((x for n, x in fields(data) if n == wanted and isinstance(x, bytes)), b"")


def text(data: bytes | int) -> str:
    return data.decode("utf-8", "replace") if isinstance(data, bytes) else str(data)
