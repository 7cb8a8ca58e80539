"""Workers that are sent signals, stopped for a while, starved of processor, memory and files.

Whatever is done to one, `status` says how it stands, and the run, resumed where it ended, leaves
what the run leaves that nobody disturbed, on one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import forked
from ftev.core.run.history import read_history
from ftev.core.run.launch import start_worker
from ftev.core.run.runs import Run, create_run
from torture_kills import (
    CLI,
    PATIENCE,
    SINGLE,
    Count,
    Kind,
    first_unlike,
    has_ended,
    kinds,
    left_by,
    rehearse,
    wait_for,
)

Row = tuple[str, int, list[str]]
Deed = Callable[[Any], None]  # what is done to a worker that has taken a few steps
STEPS_FIRST = 3
MIB = 1 << 20


def send(*numbers: signal.Signals) -> Deed:
    def deed(worker: Any) -> None:
        for number in numbers:
            worker.send_signal(number)

    return deed


def halt(worker: Any) -> None:
    """Stopped as by ctrl+z, and told as running meanwhile; then it goes on."""
    worker.send_signal(signal.SIGSTOP)
    wait_for(lambda: _state(worker.pid) == "T", "the worker to halt")
    found, took = status_of(Run(Path(worker.args[1])))
    worker.send_signal(signal.SIGCONT)
    assert found == "running", f"a halted worker is told as {found}"
    assert took < PATIENCE / 4, f"status waited for it {took:.0f} s"


def starve(worker: Any) -> None:
    """A tenth of a processor for a second."""
    until = time.monotonic() + 1.0
    while time.monotonic() < until and worker.poll() is None:
        worker.send_signal(signal.SIGSTOP)
        time.sleep(0.045)
        worker.send_signal(signal.SIGCONT)
        time.sleep(0.005)


def no_memory(worker: Any) -> None:
    """From here on not a mebibyte more."""
    pages = int(Path(f"/proc/{worker.pid}/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MIB
    resource.prlimit(worker.pid, resource.RLIMIT_AS, (most, most))


def few_files(worker: Any) -> None:
    resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (64, 64))


def no_files(worker: Any) -> None:
    """Not one more than it has open."""
    most = max(int(name) for name in os.listdir(f"/proc/{worker.pid}/fd")) + 1
    resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (most, most))


def no_processor(worker: Any) -> None:
    """The kernel's own end of a process that has used up its seconds."""
    resource.prlimit(worker.pid, resource.RLIMIT_CPU, (1, resource.RLIM_INFINITY))


STOPPED, DIED, GOES_ON = ("stopped", "finished"), ("died", "finished"), ("finished",)
FAILED = ("failed", "died", "finished")  # a report that finds no room does not undo the run
DEEDS: dict[str, tuple[Deed, tuple[str, ...]]] = {
    "SIGTERM": (send(signal.SIGTERM), STOPPED),
    "SIGINT twice": (send(signal.SIGINT, signal.SIGINT), STOPPED),
    "SIGTERM ten times": (send(*[signal.SIGTERM] * 10), STOPPED),
    "SIGHUP": (send(signal.SIGHUP), GOES_ON),
    "SIGPIPE": (send(signal.SIGPIPE), GOES_ON),
    "SIGSTOP, SIGCONT": (halt, GOES_ON),
    "a tenth of a processor": (starve, GOES_ON),
    "SIGQUIT": (send(signal.SIGQUIT), DIED),
    "SIGUSR1": (send(signal.SIGUSR1), DIED),
    "SIGABRT": (send(signal.SIGABRT), DIED),
    "SIGSTOP, SIGKILL": (send(signal.SIGSTOP, signal.SIGKILL), DIED),
    "ulimit -t": (no_processor, DIED),
    "ulimit -v": (no_memory, FAILED),
    "ulimit -n 64": (few_files, GOES_ON),
    "ulimit -n, none left": (no_files, FAILED),
}


def signals(options: argparse.Namespace) -> Iterator[Row]:
    """Each deed to a worker of each task: how it is told, and what the run leaves in the end."""
    os.environ |= SINGLE
    with tempfile.TemporaryDirectory(prefix="signals-") as place, forked.server():
        forked.use()
        full = [kind for kind in kinds(Path(place)) if kind.config.model.adapter == "none"]
        for kind in full:
            rehearse(kind, Path(place) / "whole")
            for name, (deed, ends) in DEEDS.items():
                count = Count({}, {})
                endure(kind, Path(place) / "run", deed, ends, count)
                faults = [f"{what}: {f}" for what in count.failed for f in count.failed[what]]
                yield f"{kind.config.task}: {name}", sum(count.tried.values()), faults


def endure(kind: Kind, folder: Path, deed: Deed, ends: tuple[str, ...], count: Count) -> None:
    """Do it to a worker that has taken some steps, see how the run is told, and let it end."""
    run = create_run(kind.config, folder)
    worker = start_worker(run, "--serve-minutes", "0")
    wait_for(partial(has_stepped, run, worker), "the first steps")
    try:
        deed(worker)
    except AssertionError as error:
        count.check("meanwhile", False, str(error))
    code = worker.wait(PATIENCE)
    found, _ = status_of(run)
    count.check("status", found in ends, f"told {found}, exit code {code}, not {ends[0]}")
    error = next(iter(read_history(run).finished.error.splitlines()), "") if has_ended(run) else ""
    count.check("error", found != "failed" or bool(error), "a failed run without a word")
    if found != "finished":
        start_worker(run, "--resume", "--serve-minutes", "0").wait(PATIENCE)
        found, _ = status_of(run)
        count.check("resumed", found == "finished", f"{found}: {run.log_path.read_text()[-600:]}")
    if found == "finished":
        check_left(run, kind, count)
    shutil.rmtree(folder)


def check_left(run: Run, kind: Kind, count: Count) -> None:
    """Whether a finished run leaves what the run leaves that nobody disturbed."""
    left = left_by(run)
    for what in kind.left:
        found, wanted = _rounded(left[what]), _rounded(kind.left[what])
        count.check(what, found == wanted, first_unlike(found, wanted))


def _rounded(value: Any) -> Any:
    """Numbers to six digits: a prompt's probabilities depend on where its rows lie in memory."""
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(each) for each in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def has_stepped(run: Run, worker: Any) -> bool:
    return read_history(run).step >= STEPS_FIRST or worker.poll() is not None


def status_of(run: Run) -> tuple[str, float]:
    """What the command says, and how long it took, in seconds."""
    started = time.monotonic()
    done = forked.completed(CLI, "status", str(run.path), "--json", timeout=PATIENCE)
    return json.loads(done.stdout)["status"], time.monotonic() - started


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
