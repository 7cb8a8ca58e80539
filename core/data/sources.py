"""Names in the config to files or hub addresses, and these to tables of records as they stand."""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl

from ..errors import DataError
from .encodings import Decoded, decode
from .faults import Faults, Place, check_size
from .formats import File, Format, Reading, Records, find_format, format_by_ending, parquet
from .formats.jsonl import to_series
from .packed import unpack

HUB = "hf://datasets/"
_HUB_NAME = re.compile(r"([\w.-]+/[\w.-]+?)(?::([\w.-]+))?(?:/([\w.-]+))?")


@dataclass(frozen=True)
class Source:
    """Where the rows of one split come from: files in their order, or one hub address."""

    names: tuple[str, ...]  # as shown to a person
    paths: tuple[Path, ...] = ()
    url: str = ""


def find_source(given: str | list[str], split: str, folder: Path, fatal: Faults) -> Source | None:
    """The files behind a name, a list of names or globs; None, with faults, if there are none."""
    paths: list[Path] = []
    for name in [given] if isinstance(given, str) else given:
        if found := _find_files(name, folder):
            paths += [path for path in found if path not in paths]
        elif (url := hub_url(name, split)) and _may_be_hub(name, folder):
            if not isinstance(given, str):
                fatal.add("hub", name, "a hub dataset must stand alone, not in a list")
            return Source((name,), url=url)
        else:
            fatal.add("missing", name, *_missing(name, folder))
    if fatal.total or not paths:
        return None
    return Source(tuple(_shown(path, folder) for path in paths), tuple(paths))


def hub_url(name: str, split: str) -> str:
    """The address of a hub dataset's rows, which the hub keeps as parquet for each dataset.

    `org/name`, `org/name:config`, with `/split` behind it where the split is called otherwise.
    Empty if the name cannot be one of the hub's.
    """
    if name.startswith(HUB):
        return name
    match = _HUB_NAME.fullmatch(name)
    if not match:
        return ""
    dataset, config, part = match.groups()
    return f"{HUB}{dataset}@~parquet/{config or 'default'}/{part or split}/*.parquet"


def _find_files(name: str, folder: Path) -> list[Path]:
    path = Path(os.path.expanduser(name))
    path = path if path.is_absolute() else folder / path
    if os.path.isfile(path):
        return [path]
    if not any(mark in name for mark in "*?["):
        return []
    return sorted(Path(p) for p in glob.glob(str(path), recursive=True) if os.path.isfile(p))


def _may_be_hub(name: str, folder: Path) -> bool:
    """`data/train` beside a folder `data`, or anything with a file's ending, is a missing file."""
    if name.startswith(HUB):
        return True
    return format_by_ending(name) is None and not os.path.isdir((folder / name).parent)


def _missing(name: str, folder: Path) -> tuple[str, str]:
    if any(mark in name for mark in "*?["):
        return "no file matches", f"Paths start from {folder}"
    if os.path.isdir(folder / name):
        return (
            "is a folder, not a file",
            f'Name the files in it, such as "{name.rstrip("/")}/*.csv"',
        )
    return "there is no such file", f"Paths start from {folder}"


def _shown(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)


_ARCHIVE = b"PK\x03\x04"


OFFLINE, SET = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"), ("1", "ON", "YES", "TRUE")


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
    documents: bool = False  # plain text: a file is one document, or several
    notes: tuple[str, ...] = ()  # how files were read, where that is not plain
    made: tuple[str, ...] = ()  # columns that the config joined of others

    def take(self, rows: list[int]) -> Table:
        """Some of the records; what was counted of all stays."""
        columns = {
            name: column
            if len(rows) == len(column)
            else pl.Series(name, [column[row] for row in rows], dtype=column.dtype)
            if column.dtype == pl.Object
            else column.gather(rows)
            for name, column in self.columns.items()
        }
        row_id, line, file = (c.gather(rows) for c in (self.row_id, self.line, self.file))
        return replace(self, columns=columns, row_id=row_id, line=line, file=file)

    def place(self, row: int) -> Place:
        return Place(self.files[self.file[row]], self.line[row])

    @property
    def has_header(self) -> bool:
        return _is_named(self.columns)


def read_source(source: Source, reading: Reading, fatal: Faults, bad: Faults) -> Table | None:
    """All files of a source as one table; None, with faults in `fatal`, if there is no row."""
    if source.url:
        return _read_hub(source, fatal)
    digest = hashlib.sha256()
    read: list[Records] = []
    formats: list[Format] = []
    notes: list[str] = []
    for name, path in zip(source.names, source.paths, strict=True):
        try:
            check_size(path.stat().st_size)
            data = path.read_bytes()
            digest.update(data)
            data, packed = unpack(data)
            form = find_format(path.name, data, reading)
            usable = _usable(data, form, reading)
            if usable.what:
                fatal.add("unusable file", name, usable.what, usable.remedy)
                continue
            if form.is_text:  # looked at again: its first bytes may have been in another encoding
                form = find_format(path.name, usable.data, reading)
                check_size(len(usable.data), usable.data.count(b"\n"))
            how = [f"unpacked ({packed})"] if packed else []
            how += [usable.note] if usable.note else []
            file = File(name, usable.data, reading, fatal, bad, how)
            records = form.read(file)
        except OSError as error:
            fatal.add("unreadable", name, f"cannot be read: {error.strerror or error}")
            continue
        except DataError as error:
            for fault in error.faults:
                fatal.add("too much", name, fault.what, fault.remedy)
            continue
        formats.append(form)
        read.append(records)
        notes += [f"{name}: {note}" for note in file.notes]
        if reading.header is None and form.has_header and records.columns:
            reading = replace(reading, header=_is_named(records.columns))
    if fatal.total:
        return None
    if len(set(formats)) > 1 and any(form.is_document for form in formats):
        fatal.add("formats", source.names[0], "plain text and tables are mixed in one source")
        return None
    table = _join(read, source.names, digest.hexdigest(), formats, fatal)
    if not fatal.total and not len(table.row_id) and not bad.total:
        fatal.add("no rows", source.names[0], "has no rows")
    return None if fatal.total else replace(table, notes=tuple(notes))


def _is_named(columns: Iterable[str]) -> bool:
    """Whether the columns have names of their own."""
    return any(name != f"column_{i + 1}" for i, name in enumerate(columns))


def _usable(data: bytes, form: Format, reading: Reading) -> Decoded:
    """The contents of a file, text as UTF-8; or why the file as a whole cannot be used."""
    if data.startswith(_ARCHIVE):
        what = "is a spreadsheet or a zip archive"
        return Decoded(what=what, remedy="Save its sheet as CSV, or unpack it")
    if not form.is_text:
        return Decoded(data)
    decoded = decode(data, reading.encoding)
    if not decoded.what and not decoded.data.strip(b"\0 \t\r\n"):
        return Decoded(what="is empty", remedy="Name a file with rows in it")
    return decoded


def _read_hub(source: Source, fatal: Faults) -> Table | None:
    shown = source.names[0]
    try:
        frame = read_hub(source.url)
    except parquet.UNREADABLE as error:
        fatal.add(
            "hub",
            shown,
            f"the hub gave no rows for {source.url}: {parquet.first_line(error)}",
            'Write "org/name:config/split" as the dataset\'s page names them, '
            "or download it and name the files",
        )
        return None
    if not frame.height:
        fatal.add("no rows", shown, "has no rows")
        return None
    digest = hashlib.sha256(frame.write_ndjson().encode()).hexdigest()
    return _join([parquet.records_of(frame)], (shown,), digest, [parquet.FORMAT], fatal)


def read_hub(url: str) -> pl.DataFrame:
    """A hub dataset over the network; a gated one needs HF_TOKEN, as in huggingface_hub.

    Raises OSError where the environment has the hub switched off, which Polars does not look for.
    """
    if any(os.environ.get(name, "").upper() in SET for name in OFFLINE):
        raise OSError("it is not asked while HF_HUB_OFFLINE is set")
    return pl.read_parquet(url)


def _join(
    read: list[Records], names: tuple[str, ...], sha256: str, formats: list[Format], fatal: Faults
) -> Table:
    """The records of all files, one after the other."""
    all_names = list(dict.fromkeys(name for records in read for name in records.columns))
    for name, records, form in zip(names, read, formats, strict=True):
        missing = [each for each in all_names if each not in records.columns]
        if missing and records.columns and not form.has_own_keys:
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
        documents=bool(formats) and all(form.is_document for form in formats),
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
