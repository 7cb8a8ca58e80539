"""The runs of a sweep on a Ray cluster that is there already: a task a run, a GPU a task.

Nothing else knows Ray. Every node needs ftev, and the runs directory and the data at the same path.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import ConfigError, Fault
from ..launch import start_worker
from ..runs import Run
from .file import Sweep
from .work import LOOK_SECONDS, Found, Job

SAVING_SECONDS = 120.0  # for workers to save their state when the sweep is left


class RayCluster:
    """Places are the cluster's GPUs, or its nodes where it has none or the runs want none."""

    def __init__(self, sweep: Sweep, address: str) -> None:
        self._ray = _import_ray()
        try:
            with contextlib.chdir("/"):  # Ray puts the working directory on its tasks' path
                self._ray.init(address=address, log_to_driver=False, logging_level="error")
        except (ConnectionError, RuntimeError, ValueError) as error:
            told = str(error).partition("\n")[0].rstrip(".")
            remedy = "`ray start --head` starts a cluster; --ray HOST:PORT names one"
            raise ConfigError(Fault(f"--ray {address}", told, remedy)) from None
        gpus = int(self._ray.cluster_resources().get("GPU", 0))
        wanted = bool(gpus) and sweep.base.train.devices != "cpu"
        nodes = sum(bool(node["Alive"]) for node in self._ray.nodes())
        count = sweep.config.at_once or (gpus if wanted else nodes)
        self.places: list[str | None] = [None] * count
        self._work = self._ray.remote(num_gpus=int(wanted), num_cpus=1, max_retries=0)(work)

    def start(self, run: Run, place: str | None, *arguments: str) -> Job:
        return Task(self._ray, run, self._work.remote(str(run.path.resolve()), arguments))

    def find(self, run: Run) -> tuple[Job, str | None]:
        return Found(run), None

    def leave(self, jobs: Sequence[Job]) -> None:
        """Tasks end with the command that submitted them: each saves its state, and can go on."""
        tasks = [job.task for job in jobs if isinstance(job, Task)]
        for task in tasks:
            self._ray.cancel(task)
        if tasks:
            self._ray.wait(tasks, num_returns=len(tasks), timeout=SAVING_SECONDS)


class Task:
    """A run as a task of the cluster."""

    def __init__(self, ray: Any, run: Run, task: Any) -> None:
        self._ray, self._run, self.task = ray, run, task

    def is_over(self) -> bool:
        done, _ = self._ray.wait([self.task], timeout=0)
        if done:
            self._note_failure()
        return bool(done)

    def _note_failure(self) -> None:
        """A task that could not begin has no worker that would have told why."""
        try:
            self._ray.get(self.task)
        except Exception as error:  # whatever happened on the node, ftev missing there included
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
    """A look now and then: what a cancelled task is told reaches no call that waits."""
    while (code := process.poll()) is None:
        time.sleep(LOOK_SECONDS)
    return code


def _import_ray() -> Any:
    try:
        import ray
    except ImportError:
        remedy = "Install it: pip install 'ftev[ray]'"
        raise ConfigError(Fault("--ray", "ray is not installed", remedy)) from None
    return ray
