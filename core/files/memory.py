"""What memory a process may still take."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def free_memory() -> int | None:
    """Bytes that this process can still have: limits of a container and of its own counted.

    None where it is not known.
    """
    found = (_available(), _left_in_container(), _left_to_process())
    return min((n for n in found if n is not None), default=None)


def _available() -> int | None:
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def _left_in_container() -> int | None:
    folder = Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError, ValueError):  # "max" is no number: there is no limit
        limit = int((folder / "memory.max").read_text())
        return limit - int((folder / "memory.current").read_text())
    return None


def _left_to_process() -> int | None:
    """Under `ulimit -v`: half of it, as allocators reserve as much again as they use."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            return (limit - pages * os.sysconf("SC_PAGE_SIZE")) // 2
    return None
