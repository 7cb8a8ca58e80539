"""A first look at the data of a draft: rows, columns and why, whatever else is not right yet."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..config.draft import CheckedDraft, Draft, check_draft, without_faults

if TYPE_CHECKING:
    from ..config.config import DataConfig, RunConfig
    from .sources import Table

FIRST_ROWS = 5
VALUE_CHARACTERS = 400  # of a value in the first rows
FILES = ("train", "validation", "test")


@dataclass(frozen=True)
class FoundColumn:
    """A column with its role, where it plays one, and why."""

    name: str
    role: str = ""
    why: str = ""


@dataclass(frozen=True)
class Source:
    """A source as its files have it."""

    split: str
    files: tuple[str, ...]
    records: int
    columns: tuple[FoundColumn, ...]
    rows: tuple[tuple[str, ...], ...]  # the first ones, one text per column
    document: bool = False  # plain text: one record per file


@dataclass(frozen=True)
class Look:
    """What the data of a draft are, and what is wrong with its settings."""

    checked: CheckedDraft
    config: RunConfig | None = None  # to look at the data with: faulty settings are left out
    sources: tuple[Source, ...] = ()
    stamp: tuple[object, ...] = field(default=(), compare=False)  # of what the data hang on

    @property
    def columns(self) -> tuple[FoundColumn, ...]:
        """Those of the source that decides which column is what."""
        return self.sources[0].columns if self.sources else ()


def look_at(draft: Draft, before: Look | None = None) -> Look:
    """Check the settings and read the beginning of the data. `before` spares reading them again."""
    checked = check_draft(draft)
    config = checked.config or without_faults(draft)
    if config is None or not any(getattr(config.data, name) for name in ("train", "test")):
        return Look(checked)
    stamp = data_stamp(config)
    if before is not None and before.stamp == stamp:
        return Look(checked, config, before.sources, stamp)
    return Look(checked, config, _look_at_sources(config), stamp)


def data_stamp(config: RunConfig) -> tuple[object, ...]:
    """Changes whenever the rows of a run may have changed: settings, or the files themselves."""
    settings = (
        config.task,
        config.folder,
        config.train.seed,
        repr(config.data),
        repr(config.objective),
        repr(config.guardrail),
    )
    return (*settings, config.sliced_columns, *_file_stamps(config.data, config.folder))


def _file_stamps(data: DataConfig, folder: str) -> list[tuple[str, int, int]]:
    found = []
    for path in _paths(data, folder):
        try:
            stat = path.stat()
        except OSError:
            continue
        found.append((str(path), stat.st_size, stat.st_mtime_ns))
    return found


def _paths(data: DataConfig, folder: str) -> list[Path]:
    from .faults import Faults
    from .sources import find_source

    paths: list[Path] = []
    for name in FILES:
        given = getattr(data, name)
        if isinstance(given, str | list):
            source = find_source(given, name, Path(folder), Faults())
            paths += source.paths if source else ()
    return paths


def _look_at_sources(config: RunConfig) -> tuple[Source, ...]:
    """What can be read of the sources; the check of the data reports what cannot."""
    from .columns import find_columns, named_columns, of_split, reading_of, why_column
    from .faults import Faults
    from .joined import columns_in, with_joined
    from .sources import find_source, read_source

    data = config.data
    sources = []
    for split in FILES:
        given = getattr(data, split)
        if not isinstance(given, str | list):
            continue
        own = of_split(data, split)
        named, reading = named_columns(own), reading_of(own, config.task, config.sliced_columns)
        found = find_source(given, split, Path(config.folder), Faults())
        table = read_source(found, reading, Faults(), Faults()) if found else None
        if table is None:
            continue
        table = with_joined(table, named.values())
        columns = find_columns(own, config.task, table, Faults())
        roles = {name: role for role, name in (columns.sources if columns else named).items()}
        joined = {part: role for name, role in roles.items() for part in columns_in(name)}
        columns_found = tuple(
            FoundColumn(n, roles[n], why_column(roles[n], n, named))
            if n in roles
            else FoundColumn(n, why=f"part of the {joined[n]}" if n in joined else "")
            for n in table.columns
        )
        rows = _first_rows(table)
        sources.append(
            Source(split, table.files, table.count, columns_found, rows, table.documents)
        )
    return tuple(sources)


def _first_rows(table: Table) -> tuple[tuple[str, ...], ...]:
    columns = [
        [_shown(value) for value in column.head(FIRST_ROWS)] for column in table.columns.values()
    ]
    return tuple(zip(*columns, strict=True))


def _shown(value: object) -> str:
    return "" if value is None else str(value)[:VALUE_CHARACTERS]
