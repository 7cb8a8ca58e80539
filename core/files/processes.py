"""Processes of this machine: whether they live, since when, by whom, and what they hold."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path


def lives(pid: int) -> bool:
    """Whether a process runs, whoever's it is: not one that is gone, or dead and not yet reaped."""
    return 0 < pid < 1 << 31 and process_start(pid) > 0


def memory_of(pid: int) -> int:
    """Bytes of a live process in memory; 0 where that is not known."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0 if Path("/proc/self/stat").exists() else int(_ps(pid, "rss") or 0) * 1024
    return pages * os.sysconf("SC_PAGE_SIZE")


def process_start(pid: int) -> float:
    """When a live process began, on a clock that no later one of its number shares; 0 if gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return 0.0 if Path("/proc/self/stat").exists() else _start_without_proc(pid)
    except OSError:
        return 0.0
    state, *rest = stat.rpartition(")")[2].split()
    return 0.0 if state in "ZX" else float(rest[18])


def _start_without_proc(pid: int) -> float:
    try:
        return datetime.strptime(_ps(pid, "lstart"), "%a %b %d %H:%M:%S %Y").timestamp()
    except ValueError:
        return 0.0


def parent_of(pid: int) -> int:
    """The process that a live one was started by; 0 where it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0 if Path("/proc/self/stat").exists() else int(_ps(pid, "ppid") or 0)


def _ps(pid: int, what: str) -> str:
    import subprocess

    command = ["ps", "-o", f"{what}=", "-p", str(pid)]
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip()
