"""The processes of a run, rank by rank: whether they live, and what ended them.

Each rank but the first has a file `ranks/N.json` in the run directory with its process and a
heartbeat; the first one's is worker.json. A rank lives by its process id and start time on this
host, and everywhere by its heartbeat: a process that was stopped, or whose node hangs, lives and
does not move. A thread looks, so that a process which waits for a lost one inside a collective
operation is ended too, and nothing ever hangs.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from ...errors import RunError
from ...files.disk import RESUME, process_start, write_whole
from ...files.reading import read_json
from ...run.runs import HEARTBEAT_SECONDS, SILENT_SECONDS, Run, newest_whole, step_of

# Together the same for the processes of one start and no other, whatever id that was given.
OF_A_LAUNCH = ("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "MASTER_ADDR", "MASTER_PORT")
LOOK_SECONDS = 0.25
GRACE_SECONDS = 5.0  # for this rank to report by itself the error that another one has met
STUCK_SECONDS = 120.0  # without a heartbeat, though the process lives on this host
HELD_SECONDS = 5.0  # between two looks: this process was held up itself
LATE_SECONDS = 10.0  # a rank that has not come by then is named
ARRIVAL_SECONDS = 600.0  # a rank that has not come by then is not waited for


def place_in_world() -> tuple[int, int]:
    """This process's rank and how many there are."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def name_of_launch() -> str:
    """Empty for a process that was started by itself."""
    if place_in_world()[1] == 1:
        return ""
    return " ".join(os.environ.get(name, "") for name in OF_A_LAUNCH)


class Member(msgspec.Struct, frozen=True):
    """A rank's process; `error` once it has ended with one."""

    pid: int
    started: float
    host: str
    error: str = ""
    launch: str = ""


class Members:
    """One rank's view of all of them. Used in one process only, it has nobody to look for."""

    def __init__(self, run: Run, rank: int = 0, world: int = 1) -> None:
        self.run, self.rank, self.world = run, rank, world
        self._over = threading.Event()
        self._end = threading.Lock()  # who holds it ends the run
        self._host, self._launch = socket.gethostname(), name_of_launch()
        self._known: dict[int, Member] = {}
        self._beats: dict[int, tuple[float, float]] = {}  # heartbeat, and when it came to be so
        self._looked = time.monotonic()

    def path(self, rank: int) -> Path:
        return self.run.path / "ranks" / f"{rank}.json" if rank else self.run.worker_path

    def arrive(self) -> None:
        """Write this rank's file and keep its heart beating, once the first one has the run.

        Where another worker has it, the first rank ends, and torchrun ends this one. Raises
        RunError where it does not come.
        """
        self._wait_for([0], warn=print)
        self.path(self.rank).parent.mkdir(exist_ok=True)
        self._write()
        threading.Thread(target=self._beat, daemon=True).start()

    def _write(self, error: str = "") -> None:
        pid = os.getpid()
        path = self.path(self.rank)
        member = Member(pid, process_start(pid), self._host, error, self._launch)
        write_whole(path, msgspec.json.encode(member), RESUME)

    def _beat(self) -> None:
        while not self._over.wait(HEARTBEAT_SECONDS):
            with contextlib.suppress(OSError):
                os.utime(self.path(self.rank))

    def fail(self, error: str) -> None:
        """Leave word of why this rank ends."""
        with contextlib.suppress(OSError):
            self._write(error)

    def leave(self) -> None:
        """The work of all is done: who ends from now on is not missed."""
        with self._end:
            self._over.set()

    def others(self) -> list[int]:
        """The ranks that this one looks after: the first all, the others the first."""
        return list(range(1, self.world)) if self.rank == 0 else [0]

    def wait_for_all(self, stop: threading.Event, warn: Callable[[str], None] = print) -> bool:
        """Wait until every other rank is there; False where a stop came first.

        `warn` is called with the names of those that are late. Raises RunError where one will not
        come.
        """
        return self._wait_for(self.others(), stop, warn)

    def _wait_for(
        self,
        ranks: list[int],
        stop: threading.Event | None = None,
        warn: Callable[[str], None] | None = None,
    ) -> bool:
        since = time.monotonic()
        deadline = since + ARRIVAL_SECONDS
        while missing := [rank for rank in ranks if not self._is_there(rank)]:
            if lost := self.lost():
                raise RunError(lost)
            if stop is not None and stop.is_set():
                return False
            if time.monotonic() > deadline:
                name = self._name(missing[0])
                raise RunError(f"{name} did not come within {ARRIVAL_SECONDS:.0f} s")
            if warn is not None and time.monotonic() > since + LATE_SECONDS:
                names = " and ".join(map(self._name, missing))
                warn(f"waiting for {names}, at most {ARRIVAL_SECONDS:.0f} s")
                warn = None
            time.sleep(LOOK_SECONDS)
        return True

    def watch(self, when_lost: Callable[[str], None]) -> None:
        """Call back, from a thread, with what was lost."""
        if self.world > 1:
            threading.Thread(target=self._watch, args=(when_lost,), daemon=True).start()

    def _watch(self, when_lost: Callable[[str], None]) -> None:
        while not self._over.wait(LOOK_SECONDS):
            if not (lost := self.lost()):
                continue
            failed = any(self._known[rank].error for rank in self.others() if rank in self._known)
            if failed and self._over.wait(GRACE_SECONDS):
                return
            with self._end:
                if not self._over.is_set():
                    when_lost(lost)
            return

    def lost(self) -> str:
        """Which rank that was there is there no more, and how it went; nothing where none is."""
        missing = [rank for rank in self.others() if not self._is_there(rank)]
        gone = [rank for rank in missing if rank in self._known]
        if not gone:
            return ""
        # One that left no word was lost first: the others' words are of what they then met.
        rank = min(gone, key=lambda r: (bool(self._known[r].error), r))
        member = self._known[rank]
        name = f"{self._name(rank)} (process {member.pid} on {member.host})"
        if member.error:
            return f"{name} failed: {member.error}"
        if process_start(member.pid) == member.started and member.host == self._host:
            return f"{name} was lost: alive, but it has not moved for {STUCK_SECONDS:.0f} s"
        if member.host == self._host:
            return f"{name} was lost: its process is gone, killed or crashed; see worker.log"
        return f"{name} was lost: no heartbeat for {SILENT_SECONDS:.0f} s"

    def _name(self, rank: int) -> str:
        return f"rank {rank} of {self.world}"

    def _is_there(self, rank: int) -> bool:
        """Whether a rank lives. What an earlier worker left behind has never been there."""
        path = self.path(rank)
        try:
            member = read_json(path, Member)
            beat = path.stat().st_mtime
        except (OSError, RunError):  # not there yet, or storage out of reach
            return rank in self._known and self._beats_still(rank, None)
        if member.launch != self._launch:  # of an earlier start, or of one that runs beside it
            return False
        here = member.host == self._host
        alive = self._beats_still(rank, beat, here) and not member.error
        if here:
            alive = alive and process_start(member.pid) == member.started
        if alive or (rank in self._known and self._known[rank].pid == member.pid):
            self._known[rank] = member
        return alive

    def _beats_still(self, rank: int, beat: float | None, here: bool = False) -> bool:
        """By changes of the heartbeat as seen here: the clocks of two hosts may differ.

        The first one counts where the process is on this host and its life known, else it may be
        what an earlier worker left; and there is more patience with it.
        """
        now = time.monotonic()
        if now - self._looked > HELD_SECONDS:  # this one did not move either: nothing is known
            self._beats = {r: (b, now) for r, (b, _) in self._beats.items()}
        self._looked = now
        last, since = self._beats.get(rank, (beat, now if here else now - SILENT_SECONDS))
        if beat is not None and beat != last:
            last, since = beat, now
        self._beats[rank] = (last or 0.0, since)
        return now - since < (STUCK_SECONDS if here else SILENT_SECONDS)


def lost_the_line(error: Exception) -> bool:
    """Whether an error says that another rank cannot be reached: the reason lies there."""
    text = str(error).lower()
    return any(word in text for word in ("gloo", "nccl", "connection reset", "connection closed"))


def way_on(run: Run) -> str:
    """What a run that lost a rank can do."""
    checkpoint, _ = newest_whole(run)
    if checkpoint is None:
        return "There is no checkpoint yet: start the run anew"
    return f"`ftev-tui resume {run.id}` goes on from step {step_of(checkpoint):,}"
