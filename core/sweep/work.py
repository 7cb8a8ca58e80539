"""The runs of a sweep, started one after the other where there is room: each lives by itself."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Protocol

from ..run.gpus import gpu_of, visible_gpus
from ..run.launch import start_worker
from ..run.runs import Run
from .file import Sweep
from .runs import CAN_GO_ON, ENDED, Entry, create_entry_run

LOOK_SECONDS = 0.2
NO_SERVING = ("--serve-minutes", "0")  # the next run waits for the device


class Job(Protocol):
    """A worker at work."""

    def is_over(self) -> bool: ...


class Machine(Protocol):
    """Where workers run: as many at once as it has places. A place may be named for a GPU."""

    @property
    def places(self) -> Sequence[str | None]: ...

    @property
    def lost(self) -> str:
        """Why nothing can be started on it any more; empty while that can be."""

    def start(self, run: Run, place: str | None, *arguments: str) -> Job: ...

    def find(self, run: Run) -> tuple[Job, str | None]:
        """A run that is at work already, and its place."""

    def leave(self, jobs: Sequence[Job]) -> None:
        """Nobody waits for these here any more."""


@dataclass
class Started:
    process: Popen[bytes]
    run: Run

    def is_over(self) -> bool:
        """Another worker may have had the run: then it is that one's end which counts."""
        return self.process.poll() is not None and not self.run.worker_alive()


@dataclass
class Found:
    run: Run

    def is_over(self) -> bool:
        return not self.run.worker_alive()


class ThisMachine:
    """Workers as processes here, each with a GPU to itself where there are several."""

    lost = ""

    def __init__(self, sweep: Sweep) -> None:
        on_cpu = sweep.base.train.devices == "cpu"
        gpus = [] if on_cpu else visible_gpus()
        count = sweep.config.at_once or len(gpus) or 1
        self.places = [gpus[i % len(gpus)] if gpus else None for i in range(count)]

    def start(self, run: Run, place: str | None, *arguments: str) -> Job:
        return Started(start_worker(run, *arguments, gpu=place), run)

    def find(self, run: Run) -> tuple[Job, str | None]:
        worker = run.worker()
        return Found(run), gpu_of(worker.pid) if worker else None

    def leave(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            if isinstance(job, Started) and job.process.poll() is None:
                job.process.returncode = 0  # it lives on


@dataclass(frozen=True)
class Began:
    entry: Entry
    place: str | None
    again: bool  # it was at work before, or goes on from its last checkpoint


@dataclass(frozen=True)
class Ended:
    entry: Entry


@dataclass(frozen=True)
class Lost:
    """The machine is gone. What may live on there is waited for."""

    why: str
    waited_for: list[str]


def work_through(
    sweep: Sweep, entries: Iterable[Entry], folder: Path, machine: Machine, *, retry: bool
) -> Iterator[Began | Ended | Lost]:
    """Start what is missing, as there is room, and tell of every beginning and end.

    A run that fails does not stop the others; a machine that is lost ends with what lives on it.
    Left early, the generator starts nothing more; what it started goes on.
    """
    waiting = [e for e in entries if e.status == "waiting" or _is_new(e)]
    waiting += [e for e in entries if retry and e.status in CAN_GO_ON]
    busy: list[tuple[Entry, Job, str | None]] = []
    told_lost = False
    for entry in entries:
        if entry.run and entry not in waiting and entry.status not in ENDED:
            job, place = machine.find(entry.run)
            busy.append((entry, job, place if place in machine.places else machine.places[0]))
            yield Began(entry, place, again=True)
    try:
        while busy or (waiting and not machine.lost):
            if machine.lost and not told_lost:
                told_lost = True
                yield Lost(machine.lost, [entry.name for entry, _, _ in busy])
            for item in [x for x in busy if x[1].is_over()]:
                busy.remove(item)
                item[0].read()
                if item[0].status not in ENDED:  # it died before its first word, or never began
                    item[0].status = "waiting" if machine.lost else "died"
                if item[0].status != "waiting":
                    yield Ended(item[0])
            free = _free(machine.places, [place for _, _, place in busy])
            for place in [] if machine.lost else free[: len(waiting)]:
                entry = waiting.pop(0)
                again = entry.run is not None
                run = entry.run or create_entry_run(sweep, entry, folder)
                resume = ("--resume",) if again else ()
                busy.append((entry, machine.start(run, place, *resume, *NO_SERVING), place))
                entry.status = "starting"
                yield Began(entry, place, again)
            if busy:
                time.sleep(LOOK_SECONDS)
    finally:
        machine.leave([job for _, job, _ in busy])


def _is_new(entry: Entry) -> bool:
    """Its directory was made, and then no worker began."""
    return entry.run is not None and entry.status == "starting" and entry.run.worker() is None


def _free(places: Sequence[str | None], taken: Iterable[str | None]) -> list[str | None]:
    free = list(places)
    for place in taken:
        if place in free:
            free.remove(place)
    return free
