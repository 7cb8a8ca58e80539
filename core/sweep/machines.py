"""Where the runs of a sweep are worked on: processes of this machine, or tasks of a Ray cluster.

Ray ends a process that loses its cluster, so tasks are submitted by a process of its own
(`ray_driver`). What became of a run is read from its directory: the cluster is asked only where
that is silent. Every node needs ftev, and the runs directory and the data at the same path.
"""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from subprocess import Popen
from typing import Protocol

import msgspec

from ..errors import ConfigError, Fault
from ..files.reading import decode_json
from ..run.launch import child_environment, gpu_of, python_command, start_worker, visible_gpus
from ..run.runs import SILENT_SECONDS, Run, WorkerInfo
from .sweep_file import Sweep

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


# A Ray cluster

DRIVER = "ftev.core.sweep.ray_driver"
SAVING_SECONDS = 120.0  # for workers to save their state when the sweep is left


class Start(msgspec.Struct, tag=True):
    """Asked of the driver: a run's worker as a task."""

    path: str
    arguments: tuple[str, ...]
    gpus: int


class Leave(msgspec.Struct, tag=True):
    """Asked of the driver: cancel the tasks, wait until their workers have saved, and end."""


class Ready(msgspec.Struct, tag=True):
    """Answered once: what the cluster has."""

    gpus: int
    nodes: int


class Refused(msgspec.Struct, tag=True):
    """Answered in place of Ready."""

    why: str


GREETING: msgspec.json.Decoder[Ready | Refused] = msgspec.json.Decoder(Ready | Refused)


class TaskOver(msgspec.Struct, tag=True):
    path: str
    error: str = ""
    lost: bool = False  # the cluster does not know what became of it


class RayCluster:
    """Places are the cluster's GPUs, or its nodes where it has none or the runs want none."""

    def __init__(self, sweep: Sweep, address: str) -> None:
        if find_spec("ray") is None:
            remedy = "Install it: pip install 'ftev[ray]'"
            raise ConfigError(Fault("--ray", "ray is not installed", remedy))
        self.lost = ""
        self._address = address
        self._over: dict[str, tuple[TaskOver, float]] = {}  # by path, with the time of its report
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the cluster)
        self._driver = subprocess.Popen(
            python_command(DRIVER, address),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd="/",  # Ray puts the working directory on its tasks' path
            env=child_environment(),
            start_new_session=True,  # ctrl+c is for the sweep
        )
        cluster = self._greeting()
        wanted = bool(cluster.gpus) and sweep.base.train.devices != "cpu"
        count = sweep.config.at_once or (cluster.gpus if wanted else cluster.nodes)
        self._gpus = int(wanted)
        self.places: list[str | None] = [None] * count
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _greeting(self) -> Ready:
        assert self._driver.stdout is not None
        line = self._driver.stdout.readline()
        answer = GREETING.decode(line) if line else Refused(self._last_words())
        if isinstance(answer, Refused):
            self.close()
            remedy = "`ray start --head` starts a cluster; --ray HOST:PORT names one"
            raise ConfigError(Fault(f"--ray {self._address}", answer.why, remedy))
        return answer

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return f"Ray ended: {lines[-1] if lines else 'without a word'}"

    def _listen(self) -> None:
        """Take reports until there are no more: then the cluster is lost, or was left."""
        assert self._driver.stdout is not None
        for line in self._driver.stdout:
            over = decode_json(line, TaskOver)
            self._over[over.path] = over, time.monotonic()
        self._lose()

    def _lose(self) -> None:
        self.lost = self.lost or f"the Ray cluster ({self._address}) is gone"

    def start(self, run: Run, place: str | None, *arguments: str) -> Job:
        path = str(run.path.resolve())
        self._over.pop(path, None)
        task = Task(self, run, run.worker())
        self._ask(Start(path, arguments, self._gpus))
        return task

    def _ask(self, request: Start | Leave) -> None:
        assert self._driver.stdin is not None
        try:
            self._driver.stdin.write(msgspec.json.encode(request) + b"\n")
            self._driver.stdin.flush()
        except (OSError, ValueError):  # its end of the pipe, or ours, is closed
            self._lose()

    def report_on(self, run: Run) -> tuple[TaskOver, float] | None:
        """What the cluster reports of a run's end, and when; None while it is at work."""
        path = str(run.path.resolve())
        if path not in self._over and self.lost:
            self._over[path] = TaskOver(path, self.lost, lost=True), time.monotonic()
        return self._over.get(path)

    def find(self, run: Run) -> tuple[Job, str | None]:
        return Found(run), None

    def leave(self, jobs: Sequence[Job]) -> None:
        """Tasks end with the command that submitted them: each saves its state, and can go on."""
        if any(isinstance(job, Task) for job in jobs):
            self._ask(Leave())
            self._listener.join(SAVING_SECONDS + SILENT_SECONDS)

    def close(self) -> None:
        """The driver ends with its stdin; one that is stuck is not waited for."""
        for pipe in (self._driver.stdin, self._driver.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()
        try:
            self._driver.wait(SILENT_SECONDS)
        except subprocess.TimeoutExpired:
            self._driver.kill()
            self._driver.wait()
        self._errors.close()


class Task:
    """A run as a task of the cluster. `before`: its worker before this one, of a resumed run."""

    def __init__(self, cluster: RayCluster, run: Run, before: WorkerInfo | None) -> None:
        self._cluster, self._run, self._before = cluster, run, before
        self._noted = False

    def is_over(self) -> bool:
        """A task may be lost or fail while its worker lives: then that one's end counts."""
        if (report := self._cluster.report_on(self._run)) is None:
            return False
        over, since = report
        if not over.error:
            return True
        self._note(over.error)
        if self._run.worker_alive():
            return False
        # Of a task that is lost, the worker may still be starting.
        began = self._run.worker() != self._before
        return began or not over.lost or time.monotonic() - since > SILENT_SECONDS

    def _note(self, error: str) -> None:
        """A task that could not start has no worker to report why."""
        if not self._noted:
            self._noted = True
            with self._run.log_path.open("a", encoding="utf-8") as log:
                log.write(f"Ray: {error}\n")


def work(path: str, arguments: tuple[str, ...]) -> int:
    """On a node: one worker, from its start to its end. A cancelled task stops it resumably."""
    process = start_worker(Run(Path(path)), *arguments)
    try:
        return _watch(process)
    except KeyboardInterrupt:
        process.terminate()
        return _watch(process)


def _watch(process: subprocess.Popen[bytes]) -> int:
    """Polls: the interrupt of a cancelled task does not reach a call that waits."""
    while (code := process.poll()) is None:
        time.sleep(LOOK_SECONDS)
    return code
