"""Files that cannot be written: one sentence with what is in the way, what is free, what to do."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

from .errors import Fault, FtevError, RunError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NUMBER = re.compile(r"os error (\d+)")  # how libraries written in Rust name the system's errors
_REMEDIES = {
    errno.EROFS: "The disk is mounted read-only: mount it to be written to, or choose --runs-dir",
    errno.EACCES: "See to the permissions of its folder, or choose --runs-dir",
    errno.EPERM: "See to the permissions of its folder, or choose --runs-dir",
}
RESUME = "`ftev-tui resume` goes on with the run"


@contextlib.contextmanager
def writing(path: Path, needed: int = 0) -> Iterator[None]:
    """Raises RunError for what the system refuses while `path` is written; other errors pass.

    `needed`: the bytes that are to be written, 0 where they are not known.
    """
    try:
        yield
    except FtevError:
        raise
    except Exception as error:
        if (number := errno_of(error)) is None:
            raise
        raise cannot_write(path, number, needed) from error


def errno_of(error: BaseException) -> int | None:
    """The system's number of an error, which some libraries only name in their text."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    if found := _NUMBER.search(str(error)):
        return int(found[1])
    return errno.ENOSPC if os.strerror(errno.ENOSPC) in str(error) else None


def cannot_write(path: Path, number: int, needed: int = 0) -> RunError:
    """What is in the way of a file, as a person can act upon it."""
    what = f"cannot be written: {os.strerror(number)}"
    free = free_bytes(path)
    if number in FULL:
        known = [f"{needed:,} bytes are needed"] if needed else []
        known += [f"{free:,} are free"] if free is not None else []
        what += f" ({', '.join(known)})" if known else ""
        return RunError(Fault(str(path), what, f"Make room there; then {RESUME}"))
    remedy = _REMEDIES.get(number, f"See to the disk; then {RESUME}")
    return RunError(Fault(str(path), what, remedy))


def free_bytes(path: Path) -> int | None:
    """What this user may still write beside a file; None where that cannot be told."""
    for folder in path.parents:
        with contextlib.suppress(OSError):
            found = os.statvfs(folder)
            return found.f_bavail * found.f_frsize
    return None
