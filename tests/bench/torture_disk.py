"""Disks that are full, read-only or moved away, clocks that jump, many runs, commands at once.

A run that finds no room says so in a sentence, leaves nothing half-written, and goes on once there
is room, to what the run leaves that nobody disturbed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import forked
from ftev.core.catalog.run_facts import RunEntry
from ftev.core.errors import FtevError
from ftev.core.run.history import read_history
from ftev.core.run.launch import start_worker
from ftev.core.run.runs import Run, create_run
from ftev.tui.app.app import FtevApp
from ftev.tui.screens.home.home import HomeScreen
from small_disks import make_read_only, small_disk
from torn_files import SAMPLES, wounds
from torture_kills import CLI, PATIENCE, SINGLE, Count, Kind, has_ended, kinds, rehearse, wait_for
from torture_signals import check_left, has_stepped, status_of

Row = tuple[str, int, list[str]]
SMALLEST, LARGEST = 16, 1_500  # KiB: from nothing at all to what the run takes
ROOM = "remount,size=64m,nr_inodes=10000"
RUNS, DAMAGED = 1_000, 20
CLOCK = """
import os, time
true, offset = time.time, os.environ["CLOCK"]
def told():
    try:
        return true() + float(open(offset).read() or 0)
    except OSError:
        return true()
time.time = told
"""


def disk(options: argparse.Namespace) -> Iterator[Row]:
    """Each fault of a disk, a clock or a folder, tried on real runs."""
    os.environ |= SINGLE
    with tempfile.TemporaryDirectory(prefix="disk-") as name, forked.server():
        forked.use()
        place = Path(name)
        kind = next(
            k
            for k in kinds(place)
            if k.config.task == "generation" and k.config.model.adapter == "none"
        )
        rehearse(kind, place / "whole")
        rng = random.Random(options.seed)
        sizes = [f"{rng.randint(SMALLEST, LARGEST)}k" for _ in range(options.disks)]
        inodes = [f"64m,nr_inodes={n}" for n in range(2, 2 + options.disks)]
        tries: tuple[tuple[str, list[str]], ...] = (("full", sizes), ("no inode", inodes))
        for what, disks in tries:
            count = Count({}, {})
            for size in disks:
                run_out(kind, place / f"{what} {size}", size, count)
            yield from rows(what, count)
        for what, deed in DEEDS.items():
            count = Count({}, {})
            deed(kind, place / "deed", count)
            yield from rows(what, count)
        yield from many_runs(place / "many", rng)


def rows(what: str, count: Count) -> Iterator[Row]:
    faults = [f"{name}: {fault}" for name in count.failed for fault in count.failed[name]]
    yield what, sum(count.tried.values()), faults


def run_out(kind: Kind, folder: Path, size: str, count: Count) -> None:
    """A run on a disk that is too small for it, and then large enough."""
    with small_disk(folder, size) as small:
        try:
            run = create_run(kind.config, small)
            start_worker(run, "--serve-minutes", "0").wait(PATIENCE)
        except FtevError as error:  # before there was a worker
            count.check("said", "cannot be written" in str(error), f"{size}: {error}")
            return
        found, _ = status_of(run)
        ended = read_history(run).finished
        count.check(
            "status", found in ("failed", "died", "starting", "finished"), f"{size}: told {found}"
        )
        if ended and ended.status == "failed":
            words = "cannot be written: No space left" in ended.error
            count.check("said", words and "\n" not in ended.error, f"{size}: {ended.error}")
        half = [str(p) for p in run.path.rglob("*.tmp")]
        count.check("half-written", not half, f"{size}: {half}")
        subprocess.run(["mount", "-o", ROOM, str(small)], check=True)
        if found != "finished":
            start_worker(run, "--resume", "--serve-minutes", "0").wait(PATIENCE)
            check_end(run, kind, count, size)


def check_end(run: Run, kind: Kind, count: Count, where: str) -> None:
    """It has come to the end that it would have come to."""
    found, _ = status_of(run)
    log = run.log_path.read_text()[-600:] if run.log_path.exists() else "no log"
    count.check("finished", found == "finished", f"{where}: {found}: {log}")
    if found == "finished":
        check_left(run, kind, count)


def read_only(kind: Kind, folder: Path, count: Count) -> None:
    """Every command meets a run on a disk that has become read-only; then it is resumed."""
    with small_disk(folder, "64m") as small:
        run = create_run(kind.config, small)
        worker = start_worker(run, "--serve-minutes", "0")
        wait_for(partial(has_stepped, run, worker), "the first steps")
        worker.terminate()
        worker.wait(PATIENCE)
        make_read_only(small)
        runs = ("--runs-dir", str(small))
        for command in ("list", "status", "report", "verify", "flips", "resume", "open"):
            named = (command, *runs) if command == "list" else (command, run.id, *runs)
            done = forked.completed(CLI, *named, timeout=PATIENCE)
            printed = done.stdout + done.stderr
            count.check(command, "Traceback" not in printed and bool(printed), printed[-300:])
            if command == "resume":
                refused = "cannot be written: Read-only file system" in done.stderr
                count.check("resume refused", refused and done.returncode == 1, printed[-300:])
        subprocess.run(["mount", "-o", "remount,rw", str(small)], check=True)
        start_worker(run, "--resume", "--serve-minutes", "0").wait(PATIENCE)
        check_end(run, kind, count, "read-only")


def moved(kind: Kind, folder: Path, count: Count) -> None:
    """The folder of a run in training gets another name."""
    run = create_run(kind.config, folder)
    worker = start_worker(run, "--serve-minutes", "0")
    wait_for(partial(has_stepped, run, worker), "the first steps")
    there = Run(folder / "moved")
    run.path.rename(there.path)
    code = worker.wait(PATIENCE)
    found, _ = status_of(there)
    ended = read_history(there).finished
    words = ended.error if ended else ""
    count.check("status", found in ("failed", "died"), f"told {found}, exit code {code}")
    count.check("said", f"{run.path} is gone" in words, f"said {words!r}")
    left = sorted(str(p.relative_to(folder)) for p in run.path.rglob("*"))
    count.check("nothing at its old place", not run.path.exists(), f"{left}")
    start_worker(there, "--resume", "--serve-minutes", "0").wait(PATIENCE)
    check_end(there, kind, count, "moved")
    shutil.rmtree(folder)


def clock(kind: Kind, folder: Path, count: Count) -> None:
    """The clock goes back ten years, forward twenty, and back to the truth, in one run."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(CLOCK)
    offset = folder / "offset"
    os.environ |= {"PYTHONPATH": str(folder), "CLOCK": str(offset)}
    try:
        run = create_run(kind.config, folder / "runs")
        worker = start_worker(run, "--serve-minutes", "0")  # not forked: its path is another
        for step, years in ((0, -10), (3, 20), (6, 0)):
            wait_for(lambda s=step: read_history(run).step >= s or worker.poll() is not None, "it")
            offset.write_text(str(years * 365.25 * 86_400))
            for command in ("status", "list", "report"):
                named = (command,) if command == "list" else (command, run.id)
                done = forked.completed(CLI, *named, "--runs-dir", str(run.path.parent))
                printed = done.stdout + done.stderr
                odd = "Traceback" in printed or not printed or "nan" in printed.split()
                count.check(command, not odd, f"{years} years: {printed[-300:]}")
        worker.wait(PATIENCE)
    finally:
        del os.environ["PYTHONPATH"], os.environ["CLOCK"]
    times = [e.time for e in read_history(run).evaluations]
    count.check("the clock was another", min(times) < time.time() - 1e8, f"{times}")
    check_end(run, kind, count, "clock")
    shutil.rmtree(folder)


def two_stops(kind: Kind, folder: Path, count: Count) -> None:
    """Two people stop a run at once, and both are answered."""
    run = create_run(kind.config, folder)
    worker = start_worker(run, "--serve-minutes", "0")
    wait_for(partial(has_stepped, run, worker), "the first steps")
    ask = partial(forked.completed, CLI, "stop", str(run.path), "--wait", timeout=PATIENCE)
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(ask), pool.submit(ask)]:
            found = done.result()
            both = found.stdout + found.stderr
            gone = found.returncode == 1 and "no worker is running" in found.stderr
            count.check("stop", gone or found.returncode == 0, both[-300:])
            count.check("a sentence", both.count("\n") == 1 and "Traceback" not in both, both)
    worker.wait(PATIENCE)
    told_status, _ = status_of(run)
    count.check("status", told_status in ("stopped", "finished"), told_status)
    if told_status == "stopped":
        start_worker(run, "--resume", "--serve-minutes", "0").wait(PATIENCE)
    check_end(run, kind, count, "two stops")
    shutil.rmtree(folder)


def resumed_while_it_stops(kind: Kind, folder: Path, count: Count) -> None:
    """Who resumes a run that is stopping waits for it; two who do are one worker."""
    run = create_run(kind.config, folder)
    worker = start_worker(run, "--serve-minutes", "0")
    wait_for(partial(has_stepped, run, worker), "the first steps")
    worker.terminate()
    ask = partial(forked.completed, CLI, "resume", str(run.path), "--headless", timeout=PATIENCE)
    with ThreadPoolExecutor(2) as pool:
        both = [done.result() for done in [pool.submit(ask), pool.submit(ask)]]
    lines = [d.stdout + d.stderr for d in both]
    count.check("one goes on", 0 in [d.returncode for d in both], f"{lines}"[-600:])
    count.check("a sentence", "Traceback" not in "".join(lines), f"{lines}"[-600:])
    wait_for(lambda: has_ended(run) and not run.worker_alive(), "its end")
    check_end(run, kind, count, "resume while it stops")
    shutil.rmtree(folder)


DEEDS: dict[str, Callable[[Kind, Path, Count], None]] = {
    "read-only": read_only,
    "moved": moved,
    "clock back and forward": clock,
    "two stops at once": two_stops,
    "resumed twice while it stops": resumed_while_it_stops,
}


def many_runs(folder: Path, rng: random.Random) -> Iterator[Row]:
    """A list and a home screen of a thousand runs, twenty of them damaged: all are named."""
    folder.mkdir()
    sample = SAMPLES / "generation"
    for n in range(RUNS):
        run = folder / f"2026-11-30_10-{n // 60 % 60:02}-{n % 60:02}_run{n:04}"
        run.mkdir()
        for name in ("run.toml", "events.jsonl"):
            (run / name).write_bytes((sample / name).read_bytes())
    files = {name: (sample / name).read_bytes() for name in ("run.toml", "events.jsonl")}
    damages = list(wounds(files, rng))
    for path in rng.sample(sorted(folder.iterdir()), DAMAGED):
        name, _, content = rng.choice(damages)
        (path / name).write_bytes(content)
    for what in ("list, first", "list, again"):
        started = time.monotonic()
        done = forked.completed(CLI, "list", "--json", "--runs-dir", str(folder), timeout=PATIENCE)
        took = time.monotonic() - started
        try:
            named = {entry["id"] for entry in json.loads(done.stdout)}
        except ValueError:
            named = set()
        missing = [path.name for path in folder.iterdir() if path.name not in named]
        yield f"{what}: {took:.1f} s", RUNS, [f"not listed: {name}" for name in missing]
    started = time.monotonic()
    entries = asyncio.run(at_home(folder))
    names = {entry.run.id for entry in entries}
    missing = [path.name for path in folder.iterdir() if path.is_dir() and path.name not in names]
    yield f"home: {time.monotonic() - started:.1f} s", RUNS, [f"not at home: {n}" for n in missing]


async def at_home(folder: Path) -> list[RunEntry]:
    """What stands in the home screen once every run was read."""
    app = FtevApp(folder, None, theme="dark")
    async with app.run_test(size=(120, 40)) as pilot:
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            screen = app.screen_stack[0]
            assert isinstance(screen, HomeScreen)
            entries = list(screen.runs.entries)
            if len(entries) >= RUNS and all(entry.facts.whole for entry in entries):
                break
            await pilot.pause(0.1)
        return entries
