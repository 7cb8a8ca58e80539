"""What the list of runs of a folder remembers: the pinned baseline, and how it is looked at."""

from __future__ import annotations

from pathlib import Path

import msgspec

from ..errors import RunError
from ..files.decoding import read_json
from ..files.disk import write_whole
from .run_order import GROUPS, SORTS

MEMORY_FILE = ".home.json"


class HomeMemory(msgspec.Struct, frozen=True, omit_defaults=True):
    baseline: str = ""  # name of a run directory
    filter: str = ""
    sort: str = "newest"
    group: str = ""
    chosen: str = ""  # the run under the cursor, where it is not the newest


def read_memory(folder: Path) -> HomeMemory:
    """What was kept; a fresh look where it is missing, damaged or of another version."""
    try:
        found = read_json(folder / MEMORY_FILE, HomeMemory)
    except RunError:
        return HomeMemory()
    if found.sort not in SORTS or found.group not in GROUPS:
        return HomeMemory(baseline=found.baseline)
    return found


def write_memory(folder: Path, memory: HomeMemory) -> None:
    """Keep it. Raises RunError where the folder may not be written to."""
    write_whole(folder / MEMORY_FILE, msgspec.json.encode(memory) + b"\n")
