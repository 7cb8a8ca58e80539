"""Entries of `ftev-tui list`: what they hold, and those that are kept of runs that are over.

Nothing here reads events, so that a list of runs that have not changed starts in a tenth of a
second.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypedDict

import msgspec

from ... import __version__
from ..errors import RunError
from ..files.disk import write_whole
from ..files.reading import BROKEN
from ..run.foreign.found import sources_below
from ..run.runs import FOREIGN, Run, list_runs
from ..wording.numbers import DASH
from .notes import read_notes

LISTED_FILE = ".summaries.msgpack"
ENDED = ("finished", "stopped", "failed")  # a worker may still answer prompts
FORMAT = 2
Stamp = tuple[int, int, int]  # size and time of events.jsonl, time of run.toml


class Summary(TypedDict):
    """One entry of `list --json`."""

    id: str
    name: str
    task: str
    status: str
    created: str | None  # ISO 8601, UTC
    step: int
    max_steps: int
    headline: dict[str, object] | None
    shown_name: str
    tags: list[str]
    note: str
    worker_memory: int | None  # bytes; 0 where it is not known


def annotate(run: Run, entry: Summary) -> Summary:
    """The same entry with the notes as they are now, and the memory that a worker holds."""
    notes = read_notes(run)
    return {
        **entry,
        "shown_name": notes.name or entry["name"],
        "tags": list(notes.tags),
        "note": notes.note,
        "worker_memory": run.memory_held(),
    }


def format_headline(figure: Mapping[str, object] | None) -> str:
    """The headline as one line; a dash where there is none."""
    return str(figure["text"]) if figure else DASH


class _Listed(msgspec.Struct, frozen=True):
    """The entries of runs that are over, each with the stamp of the files it was read from."""

    version: str
    runs: dict[str, tuple[Stamp, Summary]]


def list_entries(folder: Path, read: Callable[[Run], Summary]) -> list[Summary]:
    """Of a run that is over and has not changed, only what people wrote on it is read again."""
    refresh_logs(folder)
    known, found, kept = _read_listed(folder), [], {}
    for run in list_runs(folder):
        stamp = stamp_of(run)
        before = known.get(run.id)
        if before is not None and before[0] == stamp:
            entry = annotate(run, before[1])
        else:
            entry = read(run)
        if entry["status"] in ENDED:
            kept[run.id] = stamp, entry
        found.append(entry)
    if {name: stamp for name, (stamp, _) in kept.items()} != {n: s for n, (s, _) in known.items()}:
        content = msgspec.msgpack.encode(_Listed(cache_version(), kept))
        with contextlib.suppress(RunError):  # a folder that may not be written to has no cache
            write_whole(folder / LISTED_FILE, content)
    return found


def refresh_logs(folder: Path) -> bool:
    """Bring the logs of other tools in a folder of runs up to date, and those opened there before;
    whether anything was new. What cannot be read is listed as far as it was read.
    """
    found = sources_below(folder)
    if not found and not (folder / FOREIGN).is_dir():
        return False
    from ..run.foreign.imported import update_all  # folds and events are paid where there is a log

    return update_all(folder, found)


def _read_listed(folder: Path) -> dict[str, tuple[Stamp, Summary]]:
    try:
        found = msgspec.msgpack.decode((folder / LISTED_FILE).read_bytes(), type=_Listed)
    except (OSError, *BROKEN):
        return {}
    return found.runs if found.version == cache_version() else {}


def stamp_of(run: Run) -> Stamp:
    """What changes when the facts of a run may have changed."""
    size, events_at = _size_and_time(run.events_path)
    return size, events_at, _size_and_time(run.path / "run.toml")[1]


def _size_and_time(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


def cache_version() -> str:
    """Of files that keep what was read of runs: another version reads them anew."""
    return f"{FORMAT} {__version__}"
