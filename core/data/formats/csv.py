"""Comma-separated files: every record with the physical line it starts on.

The good path finds the records of a whole file with NumPy, from the places of quotes, separators
and line ends, and lets Polars read them. The record walk of the `csv` module is taken only where
quotes stand in odd places.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..encodings import undecodable_lines
from ..faults import DAMAGED, MEND, NOT_UTF8, check_width
from . import File, Format, Numbers, Reading, Records, first_lines

Bytes = NDArray[np.uint8]
Mask = NDArray[np.bool_]
NEWLINE, RETURN, QUOTE = 10, 13, 34
LONGEST_NAME = 64  # characters of a cell that may still be a column's name
STRAY_QUOTE = "holds a quote that is not closed where the field ends"
SEPARATORS = (",", ";", "\t", "|")
_SEPARATOR_LINE = re.compile(rb'"?sep=([^\r\n"\x80-\xff])"?(?=\r?\n)', re.IGNORECASE)
_QUOTED = re.compile(rb'"[^"]*"')
_SEEN, _LINES = 64 * 1024, 20  # bytes and lines by which a separator is found


@dataclass(frozen=True)
class Layout:
    """How the fields of a file are divided."""

    separator: str  # one character
    quoted: bool = True  # off for tab-separated files, where a bare quote is text


@dataclass(frozen=True)
class _Scan:
    """Every record of a file that is not blank, before its cells are looked at."""

    line: Numbers
    fields: Numbers
    faults: dict[int, str]  # record -> what makes it unreadable
    read: Callable[[Mask], pl.DataFrame]  # the chosen records, all with the same number of fields


def read_csv(file: File) -> Records:
    """Records divided as the config says, else as Excel's line `sep=`, else as most lines are."""
    data, named = take_separator_line(file.data)
    separator = file.reading.separator if file.reading.separator != "auto" else named
    return read_delimited(file, data, Layout(separator or find_separator(data)))


def read_delimited(file: File, data: bytes, layout: Layout) -> Records:
    """All records of a file; those that cannot be read become its faults.

    Raises DataError for one of too many columns.
    """
    if b"\n" not in data:
        data = data.replace(b"\r", b"\n")
    scan = _scan_bytes(data, layout)
    cells = _cells(scan) if scan else None
    if scan is None or cells is None:
        scan = _walk_records(data, layout)
        cells = _cells(scan)
    assert cells is not None
    frame, keep, width = cells
    if blank := _count_blank_end(frame, keep):
        frame, keep = frame[:-blank], keep[:-blank]
    header = keep.any() and bool(keep[0]) and _has_header(frame, file.reading)
    names = (
        _header_names(frame.row(0)) if header else [f"column_{i + 1}" for i in range(frame.width)]
    )
    first = int(header)
    _report(scan, width, file)
    return Records(
        {name: frame.to_series(i)[first:].alias(name) for i, name in enumerate(names)},
        np.flatnonzero(keep)[first:] - first,
        scan.line[: len(keep)][keep][first:],
        len(keep) - first,
        int((~keep).sum()),
    )


def take_separator_line(data: bytes) -> tuple[bytes, str]:
    """The rows without Excel's line `sep=;`, which stays as an empty line, and what it names."""
    match = _SEPARATOR_LINE.match(data)
    return (data[match.end() :], match[1].decode()) if match else (data, "")


def find_separator(data: bytes) -> str:
    """The separator of a csv file: one that divides all of its first lines alike, else the first.

    Commas win where two do, then `;`, tabs and `|`.
    """
    lines = [_QUOTED.sub(b"", line) for line in data[:_SEEN].split(b"\n")[:_LINES] if line.strip()]
    counts = {s: [line.count(s.encode()) for line in lines] for s in SEPARATORS}
    alike = [s for s, found in counts.items() if len(set(found)) == 1 and found[0]]
    named = [s for s, found in counts.items() if found and found[0]]
    return next(iter(alike + named), ",")


def _cells(scan: _Scan) -> tuple[pl.DataFrame, Mask, int] | None:
    """Cells of the readable records, which ones these are, and their number of fields.

    None if Polars saw other records than the scan did.
    """
    if not len(scan.fields):
        return pl.DataFrame(), np.zeros(0, bool), 0
    widths, counts = np.unique(scan.fields, return_counts=True)
    first = int(scan.fields[0])
    usual = int(widths[np.argmax(counts)])
    width = first if counts[widths == first] == counts.max() else usual
    check_width(width)
    keep = scan.fields == width
    keep[list(scan.faults)] = False
    if not keep.any():
        return pl.DataFrame(), keep, width
    frame = scan.read(keep)
    return (frame, keep, width) if frame.height == keep.sum() else None


def _count_blank_end(frame: pl.DataFrame, keep: Mask) -> int:
    """Rows of separators only at the very end, which spreadsheets leave below the last row."""
    if frame.width < 2 or not frame.height or not keep[-1] or any(frame.row(-1)):
        return 0
    full = np.flatnonzero(frame.select(pl.any_horizontal(pl.all() != "")).to_series().to_numpy())
    odd = np.flatnonzero(~keep)
    blank = frame.height - 1 - int(full[-1]) if len(full) else frame.height
    return min(blank, len(keep) - 1 - int(odd[-1]) if len(odd) else blank)


def _report(scan: _Scan, width: int, file: File) -> None:
    for record, what in scan.faults.items():
        remedy = DAMAGED if what == NOT_UTF8 else MEND
        file.leave_out(what, [int(scan.line[record])], remedy)
    odd = np.flatnonzero(scan.fields != width)
    odd = odd[~np.isin(odd, list(scan.faults))]
    for number in np.unique(scan.fields[odd]).tolist():
        what = f"has {number} fields where the others have {width}"
        file.leave_out(what, scan.line[odd[scan.fields[odd] == number]].tolist())


def _scan_bytes(data: bytes, layout: Layout) -> _Scan | None:
    """Records by the places of line ends and separators outside quotes; None if quotes are odd."""
    buffer = np.frombuffer(data, np.uint8)
    lines = np.flatnonzero(buffer == NEWLINE)
    if not data.endswith(b"\n"):
        lines = np.append(lines, len(data))
    separators = np.flatnonzero(buffer == ord(layout.separator))
    end = lines
    if layout.quoted and len(quotes := np.flatnonzero(buffer == QUOTE)):
        if not _quotes_are_clean(buffer, quotes, ord(layout.separator)):
            return None
        end = lines[np.searchsorted(quotes, lines) % 2 == 0]
        separators = separators[np.searchsorted(quotes, separators) % 2 == 0]
    start = np.append(0, end[:-1] + 1)
    line = 1 + np.searchsorted(lines, start)
    fields = 1 + np.diff(np.searchsorted(separators, end), prepend=0)
    stop = end - ((end > start) & (buffer[np.maximum(end - 1, 0)] == RETURN))
    full = stop > start
    start, stop, line, fields = start[full], stop[full], line[full], fields[full]
    broken = np.searchsorted(line, undecodable_lines(data), side="right") - 1
    clean = len(full) == len(start)

    def read(keep: Mask) -> pl.DataFrame:
        kept = data
        if not (clean and keep.all()):
            chosen = zip(start[keep].tolist(), stop[keep].tolist(), strict=True)
            kept = b"\n".join([data[a:b] for a, b in chosen])
        return _read_with_polars(kept, layout, int(fields[keep][0]))

    return _Scan(line, fields, {int(record): NOT_UTF8 for record in broken}, read)


def _quotes_are_clean(buffer: Bytes, quotes: Numbers, separator: int) -> bool:
    """Whether each quote opens or closes a whole field, or is one of a doubled pair in one."""
    if len(quotes) % 2:
        return False
    opening, closing = quotes[0::2], quotes[1::2]
    before = np.where(opening > 0, buffer[np.maximum(opening - 1, 0)], NEWLINE)
    last = len(buffer) - 1
    after = np.where(closing < last, buffer[np.minimum(closing + 1, last)], NEWLINE)
    opens = np.isin(before, [NEWLINE, separator, QUOTE])
    closes = np.isin(after, [NEWLINE, RETURN, separator, QUOTE])
    return bool(opens.all() and closes.all())


def _read_with_polars(data: bytes, layout: Layout, width: int) -> pl.DataFrame:
    frame = pl.read_csv(
        data,
        has_header=False,
        new_columns=[f"column_{i + 1}" for i in range(width)],
        separator=layout.separator,
        quote_char='"' if layout.quoted else None,
        infer_schema=False,
    )
    return frame.with_columns(pl.all().fill_null(""))


def _walk_records(data: bytes, layout: Layout) -> _Scan:
    """The same record by record: for quotes that stand within fields, or never close."""
    csv.field_size_limit(max(csv.field_size_limit(), len(data) + 1))
    text = data.decode(errors="surrogateescape")  # so that one bad byte spoils one record only
    reader = csv.reader(io.StringIO(text, newline="\n"), delimiter=layout.separator, strict=True)
    rows: list[list[str]] = []
    lines: list[int] = []
    faults: dict[int, str] = {}
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            quote = "expected after" in str(error) or "unexpected end" in str(error)
            faults[len(rows)] = STRAY_QUOTE if quote else f"cannot be read: {error}"
            row = []
        if row or len(rows) in faults:
            if any(_holds_surrogate(cell) for cell in row):
                faults[len(rows)] = NOT_UTF8
            rows.append(row)
            lines.append(line)
    fields = np.array([len(row) for row in rows], np.int64)

    def read(keep: Mask) -> pl.DataFrame:
        kept = [rows[i] for i in np.flatnonzero(keep)]
        names = [f"column_{i + 1}" for i in range(len(kept[0]))]
        return pl.DataFrame(kept, schema=dict.fromkeys(names, pl.String), orient="row")

    return _Scan(np.array(lines, np.int64), fields, faults, read)


def _holds_surrogate(cell: str) -> bool:
    return not cell.isascii() and any("\udc80" <= letter <= "\udcff" for letter in cell)


def _has_header(frame: pl.DataFrame, reading: Reading) -> bool:
    """Whether the first record names columns. A cell that stands again in its column is data.

    Two usual names outweigh that: among many rows one may well read "text".
    """
    if reading.header is not None:
        return reading.header
    first = [str(cell).strip() for cell in frame.row(0)]
    if reading.named and reading.named <= set(first):
        return True
    usual = sum(cell.lower() in reading.known for cell in first)
    if usual >= 2:
        return True
    rest = frame[1:]
    if any((rest.to_series(i) == cell).any() for i, cell in enumerate(frame.row(0))):
        return False
    if usual:
        return True
    return not any(not cell or len(cell) > LONGEST_NAME or _is_number(cell) for cell in first)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _header_names(cells: tuple[object, ...]) -> list[str]:
    """Names as they stand; an empty one gets its number, one that comes again a suffix."""
    names: dict[str, None] = {}
    copies: dict[str, int] = {}
    for i, cell in enumerate(cells):
        name = plain = str(cell).strip() or f"column_{i + 1}"
        while name in names:
            copies[plain] = copies.get(plain, 1) + 1
            name = f"{plain}_{copies[plain]}"
        names[name] = None
    return list(names)


def separated_alike(lines: list[str], separator: str) -> bool:
    """Whether every line has as many separators as the others; commas in quotes do not count."""
    counts = {
        (re.sub(r'"[^"]*"', "", line) if separator == "," else line).count(separator)
        for line in lines
    }
    return len(lines) > 1 and len(counts) == 1 and 0 not in counts


FORMAT = Format(
    endings=(".csv",),
    likeness=lambda head: 0.4 * separated_alike(first_lines(head), ","),
    read=read_csv,
    has_header=True,
)
