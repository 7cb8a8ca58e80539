"""Runs on several processes of which one is lost: told right, nothing left running, and resumed.

Both tasks, with every weight and with an adapter, on two and three processes, weights whole and
sharded. Lost is each rank in turn, the launcher, or, with --stopped, a rank that is alive but does
not move. Each run goes on on another number of processes and must tell what one process tells.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any

import forked
import waiting
from ftev.core.files.disk import process_start
from ftev.core.files.reading import read_json
from ftev.core.run.history import History, read_history
from ftev.core.run.launch import start_worker
from ftev.core.run.runs import Run, WorkerInfo, create_run
from torture_kills import CLI, SINGLE, Count, Kind, Row, kinds

PATIENCE = 240.0  # seconds: a bound on a broken run, not an expectation
wait_for = partial(waiting.wait_for, seconds=PATIENCE)
LAUNCHER = "the launcher"
LOSS_TOLERANCE = 1e-3  # nats a token or row; sharded and dealt sums add up in another order
UNTOLD = "without a word"


def ranks(options: argparse.Namespace) -> Iterator[Row]:
    os.environ |= SINGLE | {"CUDA_VISIBLE_DEVICES": ""}
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="ranks-") as place, forked.server():
        forked.use()
        for kind in kinds(Path(place)):
            without_dropout(Path(kind.config.model.base))
            kind.config = longer(kind)
            whole = create_run(kind.config, Path(place) / "whole")
            start_worker(whole, "--serve-minutes", "0").wait(PATIENCE)
            count, furthest = Count({}, {}), 0.0
            for devices in (2, 3):
                for sharding in ("none", "full"):
                    victims: list[int | str] = [*range(devices), LAUNCHER]
                    for victim in victims if options.all else [rng.choice(victims)]:
                        folder = Path(place) / f"{kind.config.name}-{devices}-{sharding}-{victim}"
                        run = create_run(on(kind, devices, sharding), folder)
                        where = f"{kind.name}, {devices} processes, sharding {sharding}, {victim}"
                        lose(run, victim, options.stopped, where, count)
                        again = rng.choice([n for n in (1, 2, 3) if n != devices])
                        furthest = max(
                            furthest, go_on(run, again, whole, f"{where}, then {again}", count)
                        )
            for what in sorted(count.tried):
                yield f"{kind.name}: {what}", count.tried[what], count.failed[what]
            yield f"{kind.name}: loss of a step at most {furthest:.1e} off", 1, []


def without_dropout(base: Path) -> None:
    """Dropout would draw for other rows on every rank."""
    values = json.loads((base / "config.json").read_text())
    values |= {name: 0.0 for name in values if name.endswith(("dropout", "dropout_prob"))}
    (base / "config.json").write_text(json.dumps(values))


def longer(kind: Kind) -> Any:
    lora = replace(kind.config.model.lora, dropout=0.0)
    return replace(
        kind.config,
        model=replace(kind.config.model, lora=lora),
        train=replace(kind.config.train, max_steps=40, eval_every=10),
    )


def on(kind: Kind, devices: int, sharding: str) -> Any:
    train = replace(kind.config.train, devices=devices, sharding=sharding)
    return replace(kind.config, train=train)


def lose(run: Run, victim: int | str, stopped: bool, where: str, count: Count) -> None:
    """Start a run, lose one of its processes once it has a checkpoint, and see what is told."""
    process = start_worker(run, "--serve-minutes", "0")
    wait_for(lambda: read_history(run).checkpoints or process.poll() is not None, "a checkpoint")
    members = members_of(run)
    pid = process.pid if victim == LAUNCHER else members[int(victim)].pid
    os.kill(pid, signal.SIGSTOP if stopped and victim != LAUNCHER else signal.SIGKILL)
    try:
        process.wait(PATIENCE)
    except TimeoutExpired:
        count.check("ends", False, f"{where}: {PATIENCE:.0f} s later it has not ended")
        process.kill()
    until = time.monotonic() + 60
    left = members
    while left and time.monotonic() < until:
        left = [m for m in left if process_start(m.pid) == m.started]
        time.sleep(0.1)
    count.check("nothing runs on", not left, f"{where}: {len(left)} processes are still there")
    for member in left:
        with suppress(ProcessLookupError):
            os.kill(member.pid, signal.SIGKILL)
    history = read_history(run)
    error = history.finished.error if history.finished else UNTOLD
    if victim == LAUNCHER:  # the ranks may have come to the end without it
        result = history.finished is None or history.finished.status in ("failed", "finished")
    else:
        result = f"rank {victim} of {len(members)} (process {pid} on " in error
    count.check("told", result, f"{where}: {error}")
    status = status_of(run)
    wanted = history.status(alive=False)
    count.check("status", status == wanted, f"{where}: {status}, not {wanted}")


def members_of(run: Run) -> list[WorkerInfo]:
    files = [run.worker_path, *sorted((run.path / "ranks").glob("[0-9]*.json"))]
    return [read_json(path, WorkerInfo) for path in files]


def status_of(run: Run) -> str:
    done = forked.completed(CLI, "status", str(run.path), "--json", timeout=PATIENCE)
    with suppress(ValueError, KeyError):
        return str(json.loads(done.stdout)["status"])
    return f"exit {done.returncode}: {done.stderr[-300:]}"


def go_on(run: Run, devices: int, whole: Run, where: str, count: Count) -> float:
    """The largest difference of a step's loss from the run that nobody disturbed."""
    if read_history(run).finished is None or read_history(run).status(alive=False) != "finished":
        with suppress(TimeoutExpired):
            again = start_worker(run, "--resume", "--serve-minutes", "0", devices=devices)
            again.wait(PATIENCE)
    history, wanted = read_history(run), read_history(whole)
    finished = history.status(alive=False) == "finished"
    count.check("goes on to its end", finished, f"{where}: {run.log_path.read_text()[-900:]}")
    if not finished:
        return 0.0
    same = list(history.steps.step) == list(wanted.steps.step)
    count.check("each step once", same, f"{where}: {len(history.steps)} steps")
    furthest = max(map(abs, differences(history, wanted)), default=0.0) if same else 0.0
    near = furthest < LOSS_TOLERANCE
    count.check("losses of one process", near, f"{where}: a step is {furthest:.1e} off")
    verified = forked.completed(CLI, "verify", str(run.path), timeout=PATIENCE)
    printed = verified.stdout[-400:] + verified.stderr[-400:]
    count.check("verify", verified.returncode == 0, f"{where}: {printed}")
    return furthest


def differences(one: History, two: History) -> list[float]:
    def means(history: History) -> list[float]:
        sums = zip(history.steps.loss_sum, history.steps.loss_count, strict=True)
        return [total / number for total, number in sums]

    return [a - b for a, b in zip(means(one), means(two), strict=True)]
