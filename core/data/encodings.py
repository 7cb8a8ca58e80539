"""Bytes of a text file to UTF-8: as its mark or the config names the encoding; never guessed."""

from __future__ import annotations

import codecs
from dataclasses import dataclass, replace

BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins like the mark of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
SHOWN_NAMES = {"windows-1252": "Windows-1252", "utf-16-le": "UTF-16", "utf-16-be": "UTF-16"}
_SEEN = 64 * 1024  # bytes that a guess is made from
# Western text has a letter beyond ASCII now and then; other scripts are made of them.
_WESTERN = 0.2  # of the bytes


@dataclass(frozen=True)
class Decoded:
    """A file's bytes as UTF-8 without a mark at the start, or why there are none."""

    data: bytes = b""
    what: str = ""
    remedy: str = ""
    note: str = ""  # how it was read


def decode(data: bytes, encoding: str) -> Decoded:
    """The bytes as UTF-8. Lines that are damaged in a file of UTF-8 stay as they are."""
    if encoding == "auto":
        if marked := _find_mark(data):
            read = decode(data, marked)
            note = f"read as {marked.upper()}, by the mark at its start"
            return read if read.what else replace(read, note=note)
        return _refused(found) if (found := find_encoding(data)) else _without_mark(data)
    if codecs.lookup(encoding).name == "utf-8":
        return _without_mark(data)
    if _is_utf8_beyond_ascii(data):
        what = f"is UTF-8, and data.encoding says {encoding}: its letters would be garbled"
        return Decoded(what=what, remedy="Save all files in one encoding, and name that one")
    try:
        return Decoded(data.decode(encoding).removeprefix("\ufeff").encode())
    except UnicodeDecodeError as error:
        line = 1 + data.count(b"\n", 0, error.start)
        what = f"is not {encoding}, as its mark or data.encoding says: line {line:,} cannot be read"
        return Decoded(what=what, remedy="Name the encoding that the file was saved in")
    except UnicodeEncodeError:
        what = f"holds halves of letters when it is read as {encoding}"
        return Decoded(what=what, remedy="Name the encoding that the file was saved in")


def _without_mark(data: bytes) -> Decoded:
    return Decoded(data.removeprefix(codecs.BOM_UTF8))


def _refused(found: str) -> Decoded:
    if found == "unknown":
        what = "is not UTF-8, and its encoding is unknown"
        return Decoded(what=what, remedy='Save it as UTF-8, or write encoding = "…" under [data]')
    what = f"is not UTF-8: it seems to be {SHOWN_NAMES.get(found, found.upper())}"
    return Decoded(
        what=what, remedy=f'Save it as UTF-8, or write encoding = "{found}" under [data]'
    )


def find_encoding(data: bytes) -> str:
    """What a file that is not UTF-8 seems to be, "unknown" where that is unsure; empty for UTF-8.

    A file with more letters of UTF-8 than bytes that are none is UTF-8 with damaged lines.
    """
    if marked := _find_mark(data):
        return marked
    if wide := _find_wide(data[:_SEEN]):
        return wide
    try:
        data.decode()
    except UnicodeDecodeError:
        return "" if _is_damaged_utf8(data) else _find_narrow(data)
    return ""


def _find_mark(data: bytes) -> str:
    return next((name for mark, name in BOMS if data.startswith(mark)), "")


def _find_wide(head: bytes) -> str:
    """UTF-16 without a mark: ASCII letters leave every other byte empty."""
    pairs = len(head) // 2
    if not pairs:
        return ""
    high, low = head[1::2].count(0) / pairs, head[0::2].count(0) / pairs
    if high > 0.3 and low < 0.05:
        return "utf-16-le"
    return "utf-16-be" if low > 0.3 and high < 0.05 else ""


def _is_damaged_utf8(data: bytes) -> bool:
    text = data.decode(errors="surrogateescape")
    beyond = [letter for letter in text if letter > "\x7f"]
    broken = sum("\udc80" <= letter <= "\udcff" for letter in beyond)
    return len(beyond) - broken >= broken


def _find_narrow(data: bytes) -> str:
    """Windows-1252, which holds all letters of Latin-1, where few bytes lie beyond ASCII."""
    try:
        data.decode("windows-1252")
    except UnicodeDecodeError:
        return "unknown"
    head = data[:_SEEN]
    beyond = sum(byte > 0x7F for byte in head)
    return "windows-1252" if beyond <= _WESTERN * len(head) else "unknown"


def _is_utf8_beyond_ascii(data: bytes) -> bool:
    if data.isascii():
        return False
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def undecodable_lines(data: bytes) -> list[int]:
    """Physical lines, from 1, that are not UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return [i for i, line in enumerate(data.split(b"\n"), 1) if not _decodes(line)]
    return []


def _decodes(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True
