"""What files of rows may be: a file here for each format, with its reader, and named for it.

Every other file of this folder defines `FORMAT`. Its name is what `data.format` says, so that the
configuration and the form of a new run list it; nothing else needs to know of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...tasks import find_task
from ..faults import MEND, Faults, Place
from ..packed import without_ending

Numbers = NDArray[np.int64]
_SNIFFED = 64 * 1024  # bytes of a file that are looked at
_SNIFFED_LINES = 1000


@dataclass(frozen=True)
class Records:
    """The readable records of one file; numbers count the unreadable ones too."""

    columns: dict[str, pl.Series]
    number: Numbers  # of the record in its file, from 0
    line: Numbers  # physical line on which it starts, from 1; where there are none, the record
    count: int  # records in the file, the unreadable ones too
    dropped: int = 0  # unreadable records (lines, of a plain text)


NO_RECORDS = Records({}, np.zeros(0, np.int64), np.zeros(0, np.int64), 0)


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


@dataclass(frozen=True)
class File:
    """One file as a reader gets it, and what the reader finds wrong with it."""

    name: str  # as shown to a person
    data: bytes  # of a text format: UTF-8 without a mark, in which damaged lines stay as they are
    reading: Reading
    fatal: Faults
    bad: Faults
    notes: list[str] = field(default_factory=list)  # how it was read, where that is not plain

    def refuse(self, kind: str, what: str, remedy: str = "", line: int = 0) -> None:
        """The file as a whole cannot be used; `line` is where that shows."""
        self.fatal.add(kind, Place(self.name, line), what, remedy)

    def leave_out(
        self, what: str, lines: Iterable[int], remedy: str = MEND, kind: str = ""
    ) -> None:
        """Records that cannot be read, by their lines. Faults of one kind are joined."""
        self.bad.add_each(kind or what, lines, lambda line: Place(self.name, line), (what, remedy))


@dataclass(frozen=True)
class Format:
    """One format of files. `read` may raise DataError for what is too much to be read."""

    endings: tuple[str, ...]  # of file names, in lower case
    likeness: Callable[[bytes], float]  # how surely bytes begin such a file; 0 is no, 1 certain
    read: Callable[[File], Records]
    is_text: bool = True  # decoded before it is read
    has_lines: bool = True  # `Records.line` counts physical lines
    has_header: bool = False  # the first record may name the columns
    has_own_keys: bool = False  # a record names its columns itself, and may lack some
    is_document: bool = False  # a file is one text
    name: str = ""  # of its file in this folder

    def may_be(self, task: str) -> bool:
        """A .txt file of "label<TAB>text" lines is usual; a document has no labels."""
        return find_task(task).writes or not self.is_document


def find_format(name: str, data: bytes, reading: Reading) -> Format:
    """The format of a file: as the config names it, else by its ending, else by its first bytes."""
    if reading.format != "auto":
        return FORMATS[reading.format]
    by_ending = format_by_ending(name)
    return by_ending if by_ending and by_ending.may_be(reading.task) else sniff_format(data)


def format_by_ending(name: str) -> Format | None:
    """The format that a file's ending speaks for, if it speaks for one."""
    suffix = Path(without_ending(name)).suffix.lower()
    return next((f for f in FORMATS.values() if suffix and suffix in f.endings), None)


def sniff_format(data: bytes) -> Format:
    """The format that the first bytes of a file are most like."""
    head = data[:_SNIFFED]
    return max(FORMATS.values(), key=lambda f: f.likeness(head))


def first_lines(head: bytes) -> list[str]:
    """The whole lines among the first bytes of a text, without the blank ones."""
    lines = head.decode("utf-8-sig", errors="replace").split("\n")
    whole = lines[:_SNIFFED_LINES] if len(head) < _SNIFFED else lines[:-1]
    return [line for line in whole if line]


def _load() -> dict[str, Format]:
    names = [module.name for module in iter_modules(__path__)]
    return {n: replace(import_module(f"{__name__}.{n}").FORMAT, name=n) for n in names}


FORMATS = _load()
