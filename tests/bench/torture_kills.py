"""Workers and screens that are killed with -9, at named moments and at random, and go on.

A chain is one run: it is killed, resumed, killed … and at last resumed to its end. What it leaves
must be what the run leaves that nobody disturbed, on one thread: weights, scored rows, results, the
story of its steps, and not one file more.
"""

from __future__ import annotations

import argparse
import csv
import fcntl
import hashlib
import json
import math
import os
import pty
import random
import select
import shutil
import signal
import struct
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any

import forked
import msgspec
import polars as pl
import waiting
from ftev.core.config.config import (
    DataConfig,
    EvaluateConfig,
    LoraConfig,
    ModelConfig,
    RunConfig,
    TrainConfig,
)
from ftev.core.run.control import socket_folder
from ftev.core.run.history import History, read_history
from ftev.core.run.launch import start_worker
from ftev.core.run.runs import Run, create_run

Row = tuple[str, int, list[str]]  # what, how often it was tried, what failed
PATIENCE = 120.0  # seconds: a bound on a broken run, not an expectation
wait_for = partial(waiting.wait_for, seconds=PATIENCE)
KILLS_A_CHAIN = 4  # on average
KILLS = "kills"
CLI = "ftev.tui.cli"
KEYS = ["\t", "j", "k", "c", "e", "?", "\x1b", "m", "p", "kettle", "\r", "1", "2", "n", "r", " "]
SINGLE = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


@dataclass
class Kind:
    """A configuration, and what a run of it leaves that nobody disturbs."""

    name: str
    config: RunConfig
    left: dict[str, Any] = field(default_factory=dict)
    changes: list[str] = field(default_factory=list)  # of its files, one after the other
    bytes: int = 0  # of its events


@dataclass
class Count:
    """What is tried and what fails, by what is asked of it."""

    failed: dict[str, list[str]]
    tried: dict[str, int]
    lock: threading.Lock = field(default_factory=threading.Lock)

    def check(self, what: str, holds: bool, text: str) -> None:
        with self.lock:
            self.tried[what] = self.tried.get(what, 0) + 1
            faults = self.failed.setdefault(what, [])
            if not holds:
                faults.append(text)


def kills(options: argparse.Namespace) -> Iterator[Row]:
    """Workers, of both tasks, with every weight and with an adapter; then screens."""
    os.environ |= SINGLE
    with (
        tempfile.TemporaryDirectory(prefix="kills-") as place,
        forked.server(),
    ):
        forked.use()
        configured = list(
            kinds(Path(place))
        )  # before TMPDIR: torch puts a folder there into environ
        for name in ("XDG_RUNTIME_DIR", "TMPDIR"):
            (Path(place) / name).mkdir(mode=0o700)
            os.environ[name] = str(Path(place) / name)
        tempfile.tempdir = None
        for kind in configured:
            rehearse(kind, Path(place) / "whole")
            yield from chains(kind, Path(place), options, options.kills // 4)
        yield from screens(kind, Path(place), options)
        places = (socket_folder(), Path(os.environ["TMPDIR"]))
        with suppress(AssertionError):  # readers of killed workers end as soon as they hear of it
            wait_for(lambda: not left_in(*places), "their end", seconds=30.0)
        yield "sockets and temporary files left at the end", 1, left_in(*places)


def left_in(*places: Path) -> list[str]:
    return [
        str(p)
        for folder in places
        for p in folder.rglob("*")
        if "torchinductor" not in str(p)  # torch's own cache
    ]


def kinds(place: Path) -> Iterator[Kind]:
    from tiny_models import write_bert, write_llama

    write_llama(place / "llama")
    write_bert(place / "bert")
    texts = [("what a good cup", "good"), ("the tea was bad", "bad"), ("a warm day", "good")]
    labelled = [(f"{texts[i % 3][0]} tr {i}", texts[i % 3][1]) for i in range(64)]
    written = [(f"cup number {i} is", f"warm tea of day {i % 7}") for i in range(48)]
    for task, base, head, rows in (
        ("classification", "bert", ("text", "label"), labelled),
        ("generation", "llama", ("prompt", "completion"), written),
    ):
        folder = place / task
        folder.mkdir()
        for name, part in (("train", rows[:-16]), ("test", rows[-16:])):
            with (folder / f"{name}.csv").open("w", newline="") as file:
                csv.writer(file).writerows([head, *part])
        for adapter in ("none", "lora"):
            config = RunConfig(
                task=task,  # type: ignore[arg-type]
                name=f"{task}-{adapter}",
                model=ModelConfig(
                    base=str(place / base),
                    adapter=adapter,  # type: ignore[arg-type]
                    lora=LoraConfig(r=4, target_modules="all-linear"),
                    precision="float32",
                ),
                data=DataConfig(
                    train="train.csv", test="test.csv", validation=0.25, near_duplicates=False
                ),
                train=TrainConfig(
                    max_steps=12,
                    batch_size=8,
                    learning_rate=1e-3,
                    eval_every=2,
                    devices="cpu",
                ),
                evaluate=EvaluateConfig(
                    prompts=["cup number 3 is"],
                    max_new_tokens=4,
                    self_test_rows=4,
                    parity_rows=4,
                    probe=False,
                ),
                folder=str(folder),
            )
            yield Kind(f"{task}, {'LoRA' if adapter == 'lora' else 'full'}", config)


def started(run: Run, *arguments: str, **changes: Any) -> Any:
    """A worker that writes down the changes of its files."""
    found = json.dumps({"folder": f"{run.path}/", "log": f"{run.path}.changes", **changes})
    environment = {**os.environ, forked.CHANGES: found}
    return with_environment(environment, lambda: start_worker(run, *arguments))


STARTING = threading.Lock()


def with_environment(environment: dict[str, str], start: Any) -> Any:
    """`start_worker` hands on the environment of its process."""
    with STARTING:
        before = dict(os.environ)
        os.environ.update(environment)
        try:
            return start()
        finally:
            os.environ.clear()
            os.environ.update(before)


def rehearse(kind: Kind, folder: Path) -> None:
    """The run that nobody disturbs."""
    run = create_run(kind.config, folder)
    started(run, "--serve-minutes", "0").wait(PATIENCE)
    assert read_history(run).status(alive=False) == "finished", run.log_path.read_text()
    kind.left = left_by(run)
    kind.changes = Path(f"{run.path}.changes").read_text().splitlines()
    kind.bytes = run.events_path.stat().st_size


def chains(kind: Kind, place: Path, options: argparse.Namespace, most: int) -> Iterator[Row]:
    """Chains until so many workers were killed; the first kills are spread over all changes."""
    count = Count({}, {})
    firsts = list(range(1, len(kind.changes) + 1))
    random.Random(options.seed).shuffle(firsts)
    numbers = iter(range(sys.maxsize))

    def work() -> None:
        while count.tried.get(KILLS, 0) < most:
            n = next(numbers)
            rng = random.Random(f"{options.seed} {kind.name} {n}")
            chain(kind, place / f"{kind.config.name}-{n}", rng, firsts[n % len(firsts)], count)

    with ThreadPoolExecutor(options.processes) as pool:
        for done in [pool.submit(work) for _ in range(options.processes)]:
            done.result()
    for what in sorted(count.tried):
        yield f"{kind.name}: {what}", count.tried[what], count.failed[what]


def chain(kind: Kind, folder: Path, rng: random.Random, first: int, count: Count) -> None:
    """Kill before a named change, resume, kill at a moment by chance, … and let it end."""
    run = create_run(kind.config, folder)
    where = folder.name
    for number in range(rng.randrange(1, 2 * KILLS_A_CHAIN)):
        resume = ["--resume"] if number else []
        if number % 2 == 0:
            # a resumed worker makes fewer of them
            change = first if number == 0 else rng.randrange(1, len(kind.changes) // 2)
            where += f", at change {change}"
            worker = started(run, *resume, "--serve-minutes", "0", last=change)
            code = worker.wait(PATIENCE)
        else:
            now = run.events_path.stat().st_size if run.events_path.exists() else 0
            more, pause = rng.uniform(0.0, 0.5) * kind.bytes, rng.uniform(0.0, 0.03)
            where += f", after {more:.0f} more bytes of events"
            worker = started(run, *resume, "--serve-minutes", "0")
            code = killed_at(run, worker, now + more, pause)
        history = read_history(run)
        ended = history.finished is not None
        if code == -signal.SIGKILL:
            count.check(KILLS, True, "")
        elif not ended:
            break
        count.check("states", *state_of(run, ended, bool(history.started), where))
        if ended:
            break
    else:
        with suppress(TimeoutExpired):
            started(run, "--resume", "--serve-minutes", "0").wait(PATIENCE)
    whole = read_history(run).status(alive=False) == "finished"
    log = run.log_path.read_text() if run.log_path.exists() else "no log"
    count.check("runs lost", whole, f"{where}: {log[-900:]}")
    if whole:
        left = left_by(run)
        for what, wanted in kind.left.items():
            count.check(what, left[what] == wanted, f"{where}: {first_unlike(left[what], wanted)}")
    shutil.rmtree(folder)


def killed_at(run: Run, worker: Any, size: float, pause: float) -> int:
    """The exit code of a worker that is killed once its events have so many bytes."""
    while worker.poll() is None:
        with suppress(OSError):
            if run.events_path.stat().st_size >= size:
                time.sleep(pause)  # between two events too
                worker.kill()
                break
        time.sleep(0.003)
    code: int = worker.wait(PATIENCE)
    return code


def state_of(run: Run, ended: bool, began: bool, where: str) -> tuple[bool, str]:
    """Whether the command says how the run stands; one that never began may be told either way."""
    done = forked.completed(CLI, "status", str(run.path), "--json", timeout=PATIENCE)
    try:
        status = json.loads(done.stdout)["status"]
    except (ValueError, KeyError):
        return False, f"{where}: status exits {done.returncode}: {done.stderr[-300:]}"
    right = ("finished",) if ended else ("died",) if began else ("died", "starting")
    return status in right, f"{where}: told {status}, not {right[0]}"


def left_by(run: Run) -> dict[str, Any]:
    """What a run leaves, without its times."""
    history = read_history(run)
    rows = {
        str(p.relative_to(run.path)): pl.read_parquet(p).write_json()
        for p in sorted(run.path.rglob("*.parquet"))
    }
    steps = history.steps
    report = json.loads((run.path / "report.json").read_bytes())
    files = {str(p.relative_to(run.path)) for p in run.path.rglob("*") if p.is_file()}
    files -= {"lock"}  # nobody holds it: left by one that was killed as it let go
    return {
        "weights": {
            str(p.relative_to(run.path)): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in sorted(run.model_path.rglob("*.safetensors"))
        },
        "scored rows": rows,
        "steps": list(zip(steps.step, steps.loss_sum, steps.grad_norm, strict=True)),
        "evaluations": {
            f"{e.split} {e.model} {e.step}": without_times(e) for e in history.evaluations
        },
        "results": without_times(
            {
                "results": history.results,
                "comparisons": history.comparisons,
                "choices": history.choices,
                "texts": history.texts,
                "best step": history.best_step,
            }
        ),
        "answers to prompts": rounded(without_times(history.prompts)),
        "told twice": keys_of(history),
        "verdict": report["verdict"],
        "files": sorted(files),
    }


def without_times(value: Any) -> Any:
    plain = msgspec.to_builtins(value)
    if isinstance(plain, dict):
        return {k: without_times(v) for k, v in plain.items() if k not in ("time", "seconds")}
    if isinstance(plain, float) and math.isnan(plain):
        return "NaN"  # which equals itself
    return [without_times(v) for v in plain] if isinstance(plain, list) else plain


def rounded(value: Any) -> Any:
    """To six digits: a model that was loaded again lies elsewhere in memory, and the kernels for
    a single row differ in their last bit with that."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    return [rounded(v) for v in value] if isinstance(value, list) else value


def first_unlike(found: Any, wanted: Any) -> str:
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in [*wanted, *(found.keys() - wanted.keys())]:
            if found.get(key) != wanted.get(key):
                return f"{key}: {first_unlike(found.get(key), wanted.get(key))}"
    if isinstance(found, list) and isinstance(wanted, list):
        more = [f"+ {x!r}"[:150] for x in found if x not in wanted]
        less = [f"- {x!r}"[:150] for x in wanted if x not in found]
        return f"{len(found)} for {len(wanted)}: {' '.join([*more[:3], *less[:3]])}"
    return f"{found!r:.150} for {wanted!r:.150}"


def keys_of(history: History) -> list[str]:
    """What the story tells once, or as often as an undisturbed one does."""
    keys = [f"step {s}" for s in history.steps.step]
    keys += [f"{e.split} {e.model} {e.step}" for e in history.evaluations]
    keys += [f"prompt {p.prompt} {p.step}" for p in history.prompts]
    keys += [f"checkpoint {c.step}" for c in history.checkpoints]
    return sorted(keys)


def screens(kind: Kind, place: Path, options: argparse.Namespace) -> Iterator[Row]:
    """Screens of a run in training that are killed while keys are typed: its worker is unharmed."""
    count = Count({}, {})
    rng = random.Random(f"{options.seed} screens")
    tried = 0
    while tried < options.screens:
        folder = place / f"screens-{tried}"
        run = create_run(kind.config, folder)
        worker = start_worker(run, "--serve-minutes", "1")
        for _ in range(min(5, options.screens - tried)):
            tried += 1
            drawn, typed = kill_a_screen(run, rng)
            where = f"{folder.name}, {drawn:,} bytes drawn, {typed!r} typed"
            count.check("screens drawn", drawn > 1000, where)
            count.check("worker goes on", worker.poll() is None, where)
            listed = forked.completed(CLI, "list", "--runs-dir", str(folder), timeout=PATIENCE)
            count.check("list", listed.returncode == 0 and kind.config.name in listed.stdout, where)
        wait_for(partial(has_ended, run), "the end of the run")
        worker.terminate()
        worker.wait(PATIENCE)
        left = left_by(run)
        for what in ("weights", "scored rows", "steps"):
            unlike = first_unlike(left[what], kind.left[what])
            count.check(what, left[what] == kind.left[what], f"{folder.name}: {unlike}")
        extra = [str(p) for p in folder.rglob("*") if ".tmp" in p.name]
        count.check("temporary files", not extra, f"{folder.name}: {extra}")
    for what in sorted(count.tried):
        yield f"screens killed: {what}", count.tried[what], count.failed[what]


def has_ended(run: Run) -> bool:
    return read_history(run).finished is not None


def kill_a_screen(run: Run, rng: random.Random) -> tuple[int, str]:
    """Bytes that it drew, and the keys that were typed before it was killed."""
    reading, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    screen = forked.start_module(
        CLI,
        "open",
        str(run.path),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        env={**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"},
    )
    drawn, typed, until = 0, "", time.monotonic() + PATIENCE
    ready = rng.uniform(1000, 30_000)
    keys = [rng.choice(KEYS) for _ in range(rng.randrange(8))]
    while time.monotonic() < until and screen.poll() is None:
        if select.select([reading], [], [], rng.uniform(0.0, 0.1))[0]:
            drawn += len(os.read(reading, 1 << 16))
        elif drawn > ready or (drawn > 1000 and rng.random() < 0.3):
            if not keys:
                break
            typed += (key := keys.pop())
            os.write(reading, key.encode())
    screen.kill()
    screen.wait(PATIENCE)
    os.close(reading)
    os.close(terminal)
    return drawn, typed
