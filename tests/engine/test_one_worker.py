"""One worker per run, whatever happens: a second start, a kill, a full disk, a moved folder."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import forked
import msgspec
import pytest
import waiting
from ftev.core.config.config import RunConfig
from ftev.core.errors import HeldError
from ftev.core.run.events import EventReader, RunStarted
from ftev.core.run.history import read_history
from ftev.core.run.launch import WORKER, start_worker
from ftev.core.run.lock import Holder, Lock, hold_run
from ftev.core.run.runs import SILENT_SECONDS, Run, create_run
from small_disks import fill, small_disk
from test_worker import finish
from waiting import patience

PATIENCE = patience(120.0)
wait_for = partial(waiting.wait_for, seconds=PATIENCE)
PROGRAM = [*forked.COMMAND, "ftev.tui.cli"]


@pytest.fixture
def run(verses: RunConfig, tmp_path: Path) -> Iterator[Run]:
    """A run that no worker began; one that is left at its end is killed."""
    made = create_run(verses, tmp_path / "runs")
    yield made
    end(made)


def end(run: Run) -> None:
    if (worker := run.worker()) and run.worker_alive():
        os.kill(worker.pid, signal.SIGKILL)


def starts(run: Run) -> int:
    return sum(isinstance(e, RunStarted) for e in EventReader(run.events_path).read_all())


@pytest.mark.parametrize("devices", ["1", "2"])
def test_of_two_that_resume_a_run_at_once_one_works_and_the_other_names_it(
    verses: RunConfig, tmp_path: Path, devices: str
) -> None:
    # Far longer than the test: a run that is over when the slower of the two begins refuses nobody.
    long = replace(verses, train=replace(verses.train, epochs=10_000))
    run = create_run(long, tmp_path / "runs")
    command = [*PROGRAM, "resume", str(run.path), "--headless", "--devices", devices]
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    both = [subprocess.Popen(command, **pipes) for _ in range(2)]  # type: ignore[call-overload]
    try:
        wait_for(lambda: any(p.poll() is not None for p in both), "the one that is refused")
        second, first = sorted(both, key=lambda p: p.poll() is None)
        result = second.communicate()[1]
        assert second.returncode == 1, result
        wait_for(run.worker_alive, "the one that works")
        worker = run.worker()
        assert worker is not None
        who = f"a worker is already running: process {worker.pid} on {worker.host}, since 20"
        assert who in result
        assert first.poll() is None
        assert run.worker_alive()
        wait_for(lambda: starts(run) > 0, "the first event")
        assert starts(run) == 1
    finally:
        for process in both:
            process.kill()
            with process:  # closes what it wrote to
                pass
        end(run)


def test_a_second_worker_changes_nothing_and_exits_with_1(run: Run) -> None:
    lock = hold_run(run)
    before = sorted(p.name for p in run.path.iterdir())
    second = subprocess.run(
        [sys.executable, "-m", WORKER, str(run.path), "--serve"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert second.returncode == 1
    assert f"a worker is already running: process {os.getpid()} on " in second.stderr
    assert sorted(p.name for p in run.path.iterdir()) == before
    with pytest.raises(HeldError, match=f"process {os.getpid()} on "):
        start_worker(run)
    lock.release()
    hold_run(run).release()
    assert not (run.path / "lock").exists()


HOLD = """
import errno, fcntl, sys
from pathlib import Path
from ftev.core.run.lock import Lock

def refuse(*_):
    raise OSError(errno.ENOLCK, "No locks available")

if sys.argv[2] == "claim":
    fcntl.flock = refuse
print(Lock(Path(sys.argv[1])).take() or "mine", flush=True)
sys.stdin.read()
"""


def holding(path: Path, how: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLD, str(path), how]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=0
    )


@pytest.mark.parametrize("how", ["flock", "claim"])
def test_a_lock_is_had_once_and_dies_with_its_holder(tmp_path: Path, how: str) -> None:
    """Also on a file system without locks, where the owner's process is asked for."""
    path = tmp_path / "lock"
    for _ in range(2):  # what a killed one left behind is in nobody's way
        all_at_once = [holding(path, how) for _ in range(4)]
        lines = [p.stdout.readline().strip() for p in all_at_once if p.stdout]
        assert lines.count("mine") == 1, lines
        winner = all_at_once[lines.index("mine")]
        others = [line for line in lines if line != "mine"]
        assert all(line.startswith(f"process {winner.pid} on ") for line in others)
        for process in all_at_once:
            process.kill()
            process.communicate()
    assert Lock(path).holder() is None
    assert Lock(path).take() is None


def test_a_run_that_another_host_has_is_taken_once_its_heartbeat_is_silent(run: Run) -> None:
    """Where locks end at the host, or its power went: the lock itself can be had here."""
    theirs = Holder(pid=7, started=1.0, host="node-b", since=time.time() - 3600)
    (run.path / "lock").write_bytes(msgspec.json.encode(theirs))
    run.worker_path.write_bytes(b"{}")
    with pytest.raises(HeldError, match="process 7 on node-b, since 20"):
        hold_run(run)
    past = time.time() - SILENT_SECONDS - 1
    os.utime(run.worker_path, (past, past))
    hold_run(run).release()


LAST_THREAD = """
import ctypes, os, platform, sys, threading
from pathlib import Path
from ftev.core.run.lock import Lock

assert Lock(Path(sys.argv[1])).take() is None
threading.Thread(target=lambda: os._exit(len(sys.stdin.read()))).start()
print("held", flush=True)
ctypes.CDLL(None).syscall({"x86_64": 60, "aarch64": 93}[platform.machine()], 0)  # this thread alone
"""


@pytest.mark.skipif(sys.platform != "linux", reason="it ends a thread by number")
def test_the_lock_of_one_whose_last_threads_are_still_ending_is_waited_for(tmp_path: Path) -> None:
    """As when a worker is killed: its process counts as gone while threads still hold the file."""
    lock = Lock(tmp_path / "lock")
    with subprocess.Popen(
        [sys.executable, "-c", LAST_THREAD, str(tmp_path / "lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as dying:
        assert dying.stdin is not None
        assert dying.stdout is not None
        assert dying.stdout.readline() == b"held\n"
        wait_for(lambda: lock.holder() is None, "the end of its first thread")
        last = threading.Timer(1.2, dying.stdin.close)
        last.start()
        assert lock.take() is None
        last.join()
    lock.release()


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "bench")
    return importlib.import_module("torture_kills")


@pytest.mark.skipif(forked.ADDRESS not in os.environ, reason="forks on Linux only")
def test_a_run_killed_at_any_moment_ends_as_if_it_had_not_been(bench: Any, tmp_path: Path) -> None:
    kind = next(k for k in bench.kinds(tmp_path) if k.name == "classification, LoRA")
    bench.rehearse(kind, tmp_path / "whole")
    options = argparse.Namespace(seed=3, processes=1)
    rows = list(bench.chains(kind, tmp_path, options, 3))
    tried = {what.partition(": ")[2]: count for what, count, _ in rows}
    assert tried["kills"] >= 3
    assert tried["weights"] >= 1
    assert [failed for *_, failed in rows if failed] == []


def test_a_run_goes_on_after_room_was_made_on_its_full_disk(
    verses: RunConfig,
    tmp_path: Path,
) -> None:
    short = replace(verses, train=replace(verses.train, max_steps=6, eval_every=3))
    with small_disk(tmp_path / "disk", "4m") as disk:
        run = create_run(short, disk)
        ballast = fill(disk, leave=180_000)
        failed = finish(run)
        assert failed.finished is not None
        assert failed.finished.status == "failed"
        assert "checkpoints/step_00000" in failed.finished.error
        assert "cannot be written: No space left on device (" in failed.finished.error
        assert "Make room there; then `ftev-tui resume RUN`" in failed.finished.error
        assert not list(run.checkpoints.glob("*.tmp"))
        ballast.unlink()
        resumed = finish(run, "--resume")
        assert resumed.finished is not None
        assert resumed.finished.status == "finished", resumed.finished.error
        assert resumed.step == 6


def test_a_run_whose_folder_is_moved_ends_in_words_and_goes_on_there(
    verses: RunConfig, tmp_path: Path
) -> None:
    run = create_run(
        replace(verses, train=replace(verses.train, max_steps=40, eval_every=2)), tmp_path
    )
    worker = start_worker(run, "--serve-minutes", "0")
    wait_for(lambda: read_history(run).step or worker.poll() is not None, "a step")
    there = Run(tmp_path / "moved")
    run.path.rename(there.path)
    worker.wait(PATIENCE)
    ended = read_history(there).finished
    assert ended is not None
    assert ended.status == "failed"
    assert f"{run.path} is gone" in ended.error
    assert not run.path.exists()
    resumed = finish(there, "--resume")
    assert resumed.finished is not None
    assert resumed.finished.status == "finished", resumed.finished.error
