"""One process at a time: a lock beside what it protects, which dies with the process that holds it.

It is flock's where the file system has that. Where it has not, claims have numbers: the highest one
counts, a number can be had only once, and the claim of a process that is gone counts for nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import socket
import tempfile
import time
from pathlib import Path

import msgspec

from ..errors import Fault, HeldError, RunError
from ..files.disk import process_start
from ..files.reading import read_json
from .runs import SILENT_SECONDS, Run

LOOK_SECONDS = 0.02
# A holder writes its name at once; the last threads of a killed one keep the file until they end.
LETTING_GO_SECONDS = 15.0  # less than torchrun's 30, after which it kills


class Holder(msgspec.Struct, frozen=True):
    """Who holds a lock."""

    pid: int
    started: float  # as `processes.process_start` has it
    host: str
    since: float  # seconds since the epoch

    def __str__(self) -> str:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        return f"process {self.pid} on {self.host}, since {at}"


class Lock:
    """Held from `take` to `release` or to the end of the process, however that ends.

    `heartbeat`: a file that a holder touches every few seconds, by which another host's is known
    to live.
    """

    def __init__(self, path: Path, heartbeat: Path | None = None) -> None:
        self._path, self._heartbeat = path, heartbeat
        self._descriptor: int | None = None
        self._claim: Path | None = None

    def take(self) -> Holder | None:
        """None where it is ours now, else who holds it: process 0 where nobody who lives seems to.

        Raises RunError where nobody could take it.
        """
        try:
            return self._take()
        except OSError as error:
            raise RunError(
                Fault(str(self._path), f"cannot be locked: {error.strerror}", "See to its folder")
            ) from None

    def _take(self) -> Holder | None:
        until = time.monotonic() + LETTING_GO_SECONDS
        while True:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(file)
                if (found := self.holder()) is not None:
                    return found
                if time.monotonic() > until:
                    return Holder(0, 0.0, "an unknown host", time.time())
                time.sleep(LOOK_SECONDS)
                continue
            except OSError:  # a file system without locks
                os.close(file)
                self._path.unlink(missing_ok=True)
                return self._take_by_claim()
            if _is_at(file, self._path):
                break
            os.close(file)  # whoever held it has just removed it
        left = _read(self._path)
        if left and left.host != socket.gethostname() and self._lives(left):
            os.close(file)  # locks of this file system end at the host
            return left
        with contextlib.suppress(OSError):  # a full disk: the lock is held without a name
            os.truncate(file, 0)
            os.pwrite(file, msgspec.json.encode(_this_process()), 0)
        self._descriptor = file
        return None

    def release(self) -> None:
        with contextlib.suppress(OSError):
            # while it is still held: afterwards the name may be the next holder's
            if self._descriptor is not None:
                self._path.unlink()
        if self._descriptor is not None:
            os.close(self._descriptor)
        if self._claim is not None:
            shutil.rmtree(self._claim, ignore_errors=True)
        self._descriptor = self._claim = None

    def holder(self) -> Holder | None:
        """Who holds it, as it says there; None where nobody who lives does."""
        found = _read(self._path) or self._newest_claim()[1]
        return found if found and self._lives(found) else None

    def _lives(self, holder: Holder) -> bool:
        if holder.host == socket.gethostname():
            # numbers of processes are given again: only with its start is it the same one
            return process_start(holder.pid) == holder.started
        heard = holder.since  # another host's processes cannot be looked at, only what they touch
        if self._heartbeat is not None:
            with contextlib.suppress(OSError):
                heard = max(heard, self._heartbeat.stat().st_mtime)
        return time.time() - heard < SILENT_SECONDS

    def _take_by_claim(self) -> Holder | None:
        while True:
            number, holder = self._newest_claim()
            if holder is not None and self._lives(holder):
                return holder
            mine = self._path.with_name(f"{self._path.name}.{number + 1}")
            made = Path(tempfile.mkdtemp(prefix=f".{self._path.name}.", dir=self._path.parent))
            (made / "holder.json").write_bytes(msgspec.json.encode(_this_process()))
            try:
                made.rename(mine)  # refused where it is there: a claim is a folder with a file
            except OSError:
                shutil.rmtree(made, ignore_errors=True)
                if not mine.exists():
                    raise
                continue
            if self._newest_claim()[0] > number + 1:  # made while the one before was being removed
                shutil.rmtree(mine, ignore_errors=True)
                continue
            for old in self._claims():
                if old != mine:
                    shutil.rmtree(old, ignore_errors=True)
            self._claim = mine
            return None

    def _claims(self) -> list[Path]:
        found = self._path.parent.glob(f"{self._path.name}.*")
        numbered = [p for p in found if p.name.rpartition(".")[2].isdecimal()]
        return sorted(numbered, key=_number_of)

    def _newest_claim(self) -> tuple[int, Holder | None]:
        """Its number, 0 where there is none, and who made it."""
        newest = next(reversed(self._claims()), None)
        if newest is None:
            return 0, None
        return _number_of(newest), _read(newest / "holder.json")


def hold_run(run: Run) -> Lock:
    """The run for this worker alone. Raises HeldError with the one that has it."""
    lock = run_lock(run)
    if holder := lock.take():
        raise HeldError(_describe_held(run, holder))
    return lock


def refuse_second_worker(run: Run) -> None:
    """Raises HeldError where a worker is at work on the run."""
    if is_held(run):
        raise held(run)


def is_held(run: Run) -> bool:
    """Whether a worker has the run, be it that it does not listen yet."""
    return run.worker_alive() or run_lock(run).holder() is not None


def held(run: Run) -> HeldError:
    """The error for anyone else who wants this run: it names who is at work on it."""
    holder, worker = run_lock(run).holder(), run.worker()
    if holder is None and worker is not None:
        since = run.worker_path.stat().st_ctime
        holder = Holder(worker.pid, worker.started, worker.host, since)
    return HeldError(_describe_held(run, holder))


def run_lock(run: Run) -> Lock:
    """What a worker holds for its life."""
    return Lock(run.path / "lock", run.worker_path)


def _describe_held(run: Run, holder: Holder | None) -> str:
    who = f": {holder}" if holder and holder.pid else ""
    return (
        f"{run.id}: a worker is already running{who}. `ftev-tui open {run.id}` shows it, "
        f"`ftev-tui stop {run.id}` ends it"
    )


def _this_process() -> Holder:
    pid = os.getpid()
    return Holder(pid, process_start(pid), socket.gethostname(), time.time())


def _read(path: Path) -> Holder | None:
    try:
        return read_json(path, Holder)
    except RunError:
        return None


def _number_of(claim: Path) -> int:
    return int(claim.name.rpartition(".")[2])


def _is_at(file: int, path: Path) -> bool:
    """Whether an open file is still the one of that name."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(file), there)
