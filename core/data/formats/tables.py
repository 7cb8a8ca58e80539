"""One source to one table: its records as they stand in its files, with file, number and line."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl

from ...errors import DataError
from ..encodings import Decoded, decode
from ..faults import Faults, Place
from ..limits import check_size
from ..sources import Source, find_format
from .delimited import (
    DAMAGED,
    NOT_UTF8,
    Layout,
    Records,
    find_separator,
    read_delimited,
    take_separator_line,
    undecodable_lines,
)
from .jsonrows import read_json_array, read_json_lines, to_series
from .parquet_pages import read_parquet

_PACKED = (
    (b"\x1f\x8b", "is compressed", "Unpack it with gunzip"),
    (b"PK\x03\x04", "is a spreadsheet or a zip archive", "Save its sheet as CSV, or unpack it"),
)


OFFLINE, SET = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"), ("1", "ON", "YES", "TRUE")
# What damaged bytes raise in polars, which also panics over them.
UNREADABLE = (OSError, ValueError, pl.exceptions.PolarsError, pl.exceptions.PanicException)


@dataclass(frozen=True)
class Table:
    """The readable records of a source. Columns keep the order and the names of the source."""

    columns: dict[str, pl.Series]
    row_id: pl.Series  # Int64, running number over all records of all files, from 0
    line: pl.Series  # Int64, first physical line in the file; in parquet the row, both from 1
    file: pl.Series  # index into `files`
    files: tuple[str, ...]
    count: int  # records, the unreadable ones too
    dropped: int  # unreadable records (lines, of a plain text)
    sha256: str  # of the bytes of all files
    documents: bool = False  # plain text: a file is one document

    def place(self, row: int) -> Place:
        return Place(self.files[self.file[row]], self.line[row])

    @property
    def has_header(self) -> bool:
        return any(name != f"column_{i + 1}" for i, name in enumerate(self.columns))


@dataclass(frozen=True)
class Reading:
    """How files are to be read."""

    task: str
    format: str  # as in DataConfig
    header: bool | None  # None: the contents decide
    named: frozenset[str]  # columns that the config names
    known: frozenset[str]  # usual names of columns, in lower case
    encoding: str = "auto"  # as in DataConfig
    separator: str = "auto"  # as in DataConfig


def read_source(source: Source, reading: Reading, fatal: Faults, bad: Faults) -> Table | None:
    """All files of a source as one table; None, with faults in `fatal`, if there is no row."""
    if source.url:
        return _read_hub(source, fatal)
    digest = hashlib.sha256()
    read: list[Records] = []
    forms: list[str] = []
    header = reading.header
    for name, path in zip(source.names, source.paths, strict=True):
        try:
            check_size(path.stat().st_size)
            data = path.read_bytes()
        except OSError as error:
            fatal.add("unreadable", name, f"cannot be read: {error.strerror or error}")
            continue
        except DataError as error:
            _too_much(name, error, fatal)
            continue
        digest.update(data)
        usable = _usable(path, data, reading)
        if usable.what:
            fatal.add("unusable file", name, usable.what, usable.remedy)
            continue
        forms.append(find_format(path, usable.data, reading.format, reading.task))
        layout = Layout(reading.separator, False, header, reading.named, reading.known)
        try:
            records = _read_file(usable.data, forms[-1], (name, layout), fatal, bad)
        except DataError as error:
            _too_much(name, error, fatal)
            continue
        read.append(records)
        if header is None and forms[-1] in ("csv", "tsv") and records.columns:
            header = list(records.columns) != [
                f"column_{i + 1}" for i in range(len(records.columns))
            ]
    if fatal.total:
        return None
    if len(set(forms)) > 1 and "text" in forms:
        fatal.add("formats", source.names[0], "plain text and tables are mixed in one source")
        return None
    table = _join(read, source.names, digest.hexdigest(), forms, fatal)
    if not fatal.total and not len(table.row_id) and not bad.total:
        fatal.add("no rows", source.names[0], "has no rows")
    return None if fatal.total else table


def _usable(path: Path, data: bytes, reading: Reading) -> Decoded:
    """The contents of a file, text as UTF-8; or why the file as a whole cannot be used."""
    for start, what, remedy in _PACKED:
        if data.startswith(start):
            return Decoded(what=what, remedy=remedy)
    if find_format(path, data[:4], reading.format, reading.task) == "parquet":
        return Decoded(data)
    decoded = decode(data, reading.encoding)
    if not decoded.what and not decoded.data.strip(b"\0 \t\r\n"):
        return Decoded(what="is empty", remedy="Name a file with rows in it")
    return decoded


def _read_file(
    data: bytes, form: str, named_layout: tuple[str, Layout], fatal: Faults, bad: Faults
) -> Records:
    shown, layout = named_layout
    if form == "parquet":
        return _read_parquet(data, shown, fatal)
    check_size(len(data), data.count(b"\n"))
    if form == "jsonl":
        return read_json_lines(data, shown, bad)
    if form == "json":
        return read_json_array(data, shown, fatal, bad)
    if form == "text":
        return _read_document(data, shown, bad)
    data, told = take_separator_line(data)
    separator = layout.separator if layout.separator != "auto" else told
    separator = separator or ("\t" if form == "tsv" else find_separator(data))
    layout = Layout(separator, form == "csv", layout.header, layout.named, layout.known)
    return read_delimited(data, layout, shown, bad)


def _read_document(data: bytes, shown: str, bad: Faults) -> Records:
    broken = set(undecodable_lines(data))
    for line in sorted(broken):
        bad.add(NOT_UTF8, Place(shown, line), NOT_UTF8, DAMAGED)
    if broken:
        lines = data.split(b"\n")
        data = b"\n".join(line for i, line in enumerate(lines, 1) if i not in broken)
    text = pl.Series("text", [data.decode()], dtype=pl.String)
    return Records({"text": text}, np.zeros(1, np.int64), np.ones(1, np.int64), 1, len(broken))


def _too_much(shown: str, error: DataError, fatal: Faults) -> None:
    for fault in error.faults:
        fatal.add("too much", shown, fault.what, fault.remedy)


def _read_parquet(data: bytes, shown: str, fatal: Faults) -> Records:
    try:
        frame = read_parquet(data)
    except UNREADABLE as error:
        fatal.add("unreadable", shown, f"cannot be read as parquet: {_first_line(error)}")
        return Records({}, np.zeros(0, np.int64), np.zeros(0, np.int64), 0)
    number = np.arange(frame.height, dtype=np.int64)
    return Records({c.name: c for c in frame.get_columns()}, number, number + 1, frame.height)


def _read_hub(source: Source, fatal: Faults) -> Table | None:
    shown = source.names[0]
    try:
        frame = read_hub(source.url)
    except UNREADABLE as error:
        fatal.add(
            "hub",
            shown,
            f"the hub gave no rows for {source.url}: {_first_line(error)}",
            'Write "org/name:config/split" as the dataset\'s page names them, '
            "or download it and name the files",
        )
        return None
    if not frame.height:
        fatal.add("no rows", shown, "has no rows")
        return None
    number = np.arange(frame.height, dtype=np.int64)
    columns = {column.name: column for column in frame.get_columns()}
    digest = hashlib.sha256(frame.write_ndjson().encode()).hexdigest()
    records = Records(columns, number, number + 1, frame.height)
    return _join([records], (shown,), digest, ["parquet"], fatal)


def read_hub(url: str) -> pl.DataFrame:
    """A hub dataset over the network; a gated one needs HF_TOKEN, as in huggingface_hub.

    Raises OSError where the environment has the hub switched off, which Polars does not look for.
    """
    if any(os.environ.get(name, "").upper() in SET for name in OFFLINE):
        raise OSError("it is not asked while HF_HUB_OFFLINE is set")
    return pl.read_parquet(url)


def _join(
    read: list[Records], names: tuple[str, ...], sha256: str, forms: list[str], fatal: Faults
) -> Table:
    """The records of all files, one after the other."""
    all_names = list(dict.fromkeys(name for records in read for name in records.columns))
    for name, records, form in zip(names, read, forms, strict=False):
        missing = [each for each in all_names if each not in records.columns]
        if missing and records.columns and form not in ("json", "jsonl"):
            what = f"has no column {', '.join(missing)}, which another file of this source has"
            fatal.add("columns differ", name, what, "Files of one source need the same columns")
    offsets = np.cumsum([0] + [records.count for records in read])
    sizes = [len(records.number) for records in read]
    number = [records.number + offset for records, offset in zip(read, offsets, strict=False)]
    columns = {name: _stack(name, [r.columns.get(name) for r in read], sizes) for name in all_names}
    return Table(
        columns,
        _integers("row_id", number),
        _integers("line", [records.line for records in read]),
        pl.Series("file", np.repeat(np.arange(len(read)), sizes), dtype=pl.Int64),
        names,
        int(offsets[-1]),
        sum(records.dropped for records in read),
        sha256,
        documents=bool(forms) and set(forms) == {"text"},
    )


def _stack(name: str, parts: list[pl.Series | None], sizes: list[int]) -> pl.Series:
    if len(parts) == 1 and parts[0] is not None:
        return parts[0]
    present = [part for part in parts if part is not None]
    alike = len(present) == len(parts) and all(a.dtype == b.dtype for a, b in pairwise(present))
    if alike and present[0].dtype != pl.Object:
        return pl.concat(present)
    values = [
        value
        for part, size in zip(parts, sizes, strict=True)
        for value in (part.to_list() if part is not None else [None] * size)
    ]
    return to_series(name, values)


def _integers(name: str, parts: list[np.ndarray[tuple[int], np.dtype[np.int64]]]) -> pl.Series:
    return pl.Series(name, np.concatenate(parts) if parts else [], dtype=pl.Int64)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
