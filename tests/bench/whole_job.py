"""The whole job: from the command to test scores, ftev against the script people write instead.

    python tests/bench/whole_job.py [--cases NAME …] [--seeds 1 2] [--peer-python PYTHON] …

Each side is one command on the same files: it loads the model, trains it, validates at the end of
each epoch, keeps the best epoch's weights, scores test and saves the model. The script is Trainer
or SFTTrainer with its best flags. ftev takes part with all of its own evaluation, of language
models without answers to test prompts, and with training and test scores alone, which is all that
the script gives. Sides take turns. CPU is that of all processes of a side; memory is the most that
they have together, shared pages counted once.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from measure import section, table
from whole_job_cases import CASES, write_case

SCRIPT, ALL, SILENT, SCORES = "script", "ftev", "ftev, no answers", "ftev, scores only"
SIDES = (SCRIPT, ALL, SILENT, SCORES)
PEER = Path(__file__).with_name("whole_job_peer.py")
PACKAGES = ("torch", "transformers", "trl", "datasets", "peft")
ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false"}
SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER: a worker in a session of its own is counted too
ANSWERS = ("completions=0",)
EVALUATION = (*ANSWERS, "self_test_rows=0", "parity_rows=0", "probe=false")
LEFT_OUT = {ALL: (), SILENT: ANSWERS, SCORES: EVALUATION}
LOOK_SECONDS = 0.2


@dataclass
class Taken:
    """What each run of a side took and what it came to."""

    runs: list[dict[str, Any]] = field(default_factory=list)

    def mean(self, name: str) -> float:
        return statistics.mean(run[name] for run in self.runs)


def run_side(side: str, case: Path, seed: int, python: str) -> dict[str, Any]:
    """One whole job in a folder of its own; seconds, MiB, seconds to the first step, scores."""
    with tempfile.TemporaryDirectory(dir=case.parent) as name:
        out = Path(name)
        if side == SCRIPT:
            command = [python, str(PEER), str(case), str(seed), str(out)]
        else:
            command = _ftev(case, seed, out, LEFT_OUT[side])
        started, before = time.time(), _spent_by_children()
        process = subprocess.Popen(
            command, stdout=(out / "log").open("wb"), env={**os.environ, **ENVIRONMENT}
        )
        peak = 0.0
        while _running(process.pid):
            peak = max(peak, _memory_of(os.getpid()))
            time.sleep(LOOK_SECONDS)
        wall = time.time() - started
        cpu = _spent_by_children() - before
        found = _of_script(out) if side == SCRIPT else _of_run(out)
    found["first step"] = found.pop("stepped") - started
    return {"cpu": cpu, "wall": wall, "memory": peak, **found}


def _ftev(case: Path, seed: int, out: Path, left_out: tuple[str, ...]) -> list[str]:
    given = [f"train.seed={seed}", *(f"evaluate.{setting}" for setting in left_out)]
    settings = [part for setting in given for part in ("--set", setting)]
    command = [sys.executable, "-m", "ftev", "train", str(case / "run.toml"), "--headless"]
    return [*command, "--runs-dir", str(out / "runs"), *settings]


def _running(pid: int) -> bool:
    """Whether the command or a process that it left behind still runs; each is reaped here."""
    with suppress(ChildProcessError):
        while True:
            ended, code = os.waitpid(-1, os.WNOHANG)
            if not ended:
                return True
            if ended == pid and code:
                raise SystemExit(f"a side failed with status {code}")
    return False


def _spent_by_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _memory_of(parent: int) -> float:
    """MiB of all descendants of a process, each shared page counted once (PSS)."""
    total = 0
    for pid in _descendants(parent):
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total / 1024


def _descendants(parent: int) -> Iterator[int]:
    with suppress(OSError):
        for task in Path(f"/proc/{parent}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield int(child)
                yield from _descendants(int(child))


def _of_script(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / "result.json").read_text()))


def _of_run(out: Path) -> dict[str, Any]:
    """Of a run's events: when the first step ended, seconds of each stage, test scores."""
    (events,) = (out / "runs").glob("*/events.jsonl")
    found: dict[str, Any] = {}
    for line in events.read_text().splitlines():
        event = json.loads(line)
        kind = event["kind"]
        if kind == "StepDone":
            found.setdefault("stepped", event["time"])
        elif kind == "StageDone":
            found[event["name"]] = event["seconds"]
        elif kind == "Evaluated" and event["split"] == "test" and event["model"] == "tuned":
            found["loss"] = event["loss_sum"] / event["loss_count"]
            found["accuracy"] = event["correct"] / event["count"]
    return found


def measured(args: argparse.Namespace, name: str, folder: Path) -> list[str]:
    """A table and its line: every side of a case, in turns, a round per seed."""
    case = folder / name
    words = write_case(name, case, args)
    silent = name == "classifier"  # has no answers to leave out
    found = {side: Taken() for side in args.sides if not (silent and side == SILENT)}
    for seed in args.seeds:
        for side, taken in found.items():
            taken.runs.append(run_side(side, case, seed, args.peer_python))
            print(f"{name}, {side}, seed {seed}: {taken.runs[-1]}", file=sys.stderr, flush=True)
    script = found.get(SCRIPT)
    lines = []
    for side, taken in found.items():
        cells: list[str] = []
        for key, form in (("cpu", ".0f"), ("wall", ".0f"), ("memory", ".0f")):
            cells.append(format(taken.mean(key), form))
            cells.append(f"{taken.mean(key) / script.mean(key):.2f}" if script else "")
        cells.append(f"{taken.mean('first step'):.1f} s")
        cells += [f"{taken.mean('loss'):.4f}", f"{taken.mean('accuracy'):.4f}"]
        lines.append((side, *cells))
    head = ("", "CPU s", "×", "wall s", "×", "MiB", "×", "first step", "test loss", "accuracy")
    return [words, table(head, lines)]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--sides", nargs="*", choices=SIDES, default=list(SIDES))
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--train-rows", type=int, default=640)
    parser.add_argument("--validation-rows", type=int, default=160)
    parser.add_argument("--test-rows", type=int, default=400)
    parser.add_argument("--model", help="folder of the classifier's base model")
    parser.add_argument("--peer-python", default=sys.executable, help="Python with trl, datasets")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory() as name:
        parts = [part for case in args.cases for part in measured(args, case, Path(name))]
    command = " ".join(["python tests/bench/whole_job.py", *sys.argv[1:]])
    words = f"Means over the seeds {', '.join(map(str, args.seeds))}; × is the script's."
    print(section("The whole job", command, ("torch", "transformers"), *parts, words))


if __name__ == "__main__":
    main()
