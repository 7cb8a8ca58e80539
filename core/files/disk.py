"""Room to work in: files that cannot be written, free memory, and the processes that hold some.

A file that cannot be written is one sentence: what is in the way, what is free, what to do.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import re
import shutil
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from ..errors import Fault, FtevError, RunError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NUMBER = re.compile(r"os error (\d+)")  # how libraries written in Rust name the system's errors
CLOSED = (errno.EACCES, errno.EPERM)
RESUME = "`ftev-tui resume RUN` goes on from the last checkpoint"


@contextlib.contextmanager
def writing(path: Path, needed: int = 0, way_on: str = RESUME) -> Iterator[None]:
    """Raises RunError for what the system refuses while `path` is written; other errors pass.

    `needed`: the bytes that are to be written, 0 where they are not known. `way_on`: what to do
    when the disk has been seen to.
    """
    try:
        yield
    except FtevError:
        raise
    except Exception as error:
        if (number := errno_of(error)) is None:
            raise
        raise cannot_write(path, number, needed, way_on) from error


@contextlib.contextmanager
def replacing(path: Path, needed: int = 0, way_on: str = RESUME) -> Iterator[Path]:
    """A name beside `path` to write a file or folder under, which takes its place when it is whole.

    Of several who write at once the last one's stays. What was begun goes where it fails: it would
    take the room that is missing; what a killed process began goes with the next writer. Raises
    RunError as `writing` does.
    """
    own = f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp"
    temporary = path.with_name(own)
    with writing(path, needed, way_on):
        path.parent.stat()  # libraries would make the folder of a run anew that was moved away
        _remove_abandoned(path)
        remove(temporary)
        try:
            yield temporary
            if temporary.is_dir():
                remove(path)
            os.replace(temporary, path)
        except BaseException:
            remove(temporary)
            raise


def make_folder(path: Path) -> None:
    """A folder within one that is there, if it is not there yet. Raises RunError."""
    with writing(path):
        path.mkdir(exist_ok=True)


def write_whole(path: Path, content: bytes, way_on: str = "write it again") -> None:
    """All of it or nothing: a reader never sees a part. Raises RunError."""
    with replacing(path, len(content), way_on) as temporary:
        temporary.write_bytes(content)


def _remove_abandoned(path: Path) -> None:
    for left in path.parent.glob(f".{glob.escape(path.name)}.*-*.tmp"):
        writer = left.name.removeprefix(f".{path.name}.").partition("-")[0]
        if writer.isdecimal() and not lives(int(writer)):
            remove(left)


def remove(path: Path) -> None:
    """A file or a folder, as far as it can be removed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def errno_of(error: BaseException) -> int | None:
    """The system's number of an error, which some libraries only name in their text."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    if found := _NUMBER.search(str(error)):
        return int(found[1])
    return errno.ENOSPC if os.strerror(errno.ENOSPC) in str(error) else None


def cannot_write(path: Path, number: int, needed: int = 0, way_on: str = RESUME) -> RunError:
    """What is in the way of a file, and what to do about it, which ends in `way_on`."""
    what = f"cannot be written: {os.strerror(number)}"
    free = free_bytes(path)
    if number in FULL:
        known = [f"{needed:,} bytes are needed"] if needed else []
        known += [f"{free:,} are free"] if free is not None else []
        what += f" ({', '.join(known)})" if known else ""
    remedy = "See to the disk"
    if number in FULL:
        remedy = "Make room there"
    elif number == errno.EROFS:
        remedy = "Have it mounted so that it can be written to, or choose --runs-dir"
    elif number in CLOSED:
        remedy = "See to its permissions, or choose --runs-dir"
    elif number == errno.ENOENT:
        missing = (p for p in reversed((path, *path.parents)) if not p.exists())
        what += f" ({next(missing, path)} is gone)"
        remedy = "Where its folder was moved, go on in the new place"
    elif number in (errno.ENOTDIR, errno.ENAMETOOLONG):
        remedy = "Choose --runs-dir"
    return RunError(Fault(str(path), what, f"{remedy}; then {way_on}"))


def free_bytes(path: Path) -> int | None:
    """What this user may still write beside a file; None where that is unknown."""
    for folder in path.parents:
        with contextlib.suppress(OSError):
            found = os.statvfs(folder)
            return found.f_bavail * found.f_frsize
    return None


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
