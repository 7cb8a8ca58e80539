"""Facts of runs kept between two starts of the screen, so that a thousand are listed at once.

A hidden file in the runs directory; it may be deleted at any time, and a version that reads runs
in another way does not trust it.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from ..errors import RunError
from ..files.decoding import BROKEN
from ..files.disk import write_whole
from ..run.runs import Run
from .run_facts import RunFacts

CACHE_FILE = ".listed.msgpack"
FORMAT = 1
Stamp = tuple[int, int, int]  # size and time of events.jsonl, time of run.toml
Known = dict[str, tuple[Stamp, RunFacts]]  # by the name of the run directory


class _Cache(msgspec.Struct, frozen=True):
    version: str
    runs: Known


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


def read_cache(folder: Path) -> Known:
    """What was known of the runs of a folder; nothing where that cannot be used."""
    try:
        found = msgspec.msgpack.decode((folder / CACHE_FILE).read_bytes(), type=_Cache)
    except (OSError, *BROKEN):
        return {}
    return found.runs if found.version == _version() else {}


def write_cache(folder: Path, known: Known) -> None:
    """Keep what is known. A folder that may not be written to is listed without a cache."""
    content = msgspec.msgpack.encode(_Cache(_version(), known))
    with contextlib.suppress(RunError):
        write_whole(folder / CACHE_FILE, content)


def _version() -> str:
    from importlib import metadata  # costs a tenth of a first paint: not on the way to it

    return f"{FORMAT} {metadata.version('ftev')}"
