"""From `ftev-tui train` to the first event and the first optimizer step, and where the time goes.

    python tests/bench/start.py [--starts 5] [--imports 12]

Both demo configurations, the whole command as it is typed. The worker notes its processor time with
each event, so that a busy machine does not change the table: wall is beside it. Then the packages
that are imported before the first step, by what their import takes by itself.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ftev.core.config.config_file import load_config
from ftev.core.data.demo import TASKS, write_demo
from ftev.core.run.runs import create_run
from measure import section, table

# What runs in the worker's place: the same worker, which also notes its clock at each event.
NOTED = """
import json, os, sys, time
from ftev.core.engine import __main__ as worker

class Noted(worker.Outbox):
    def write(self, *events):
        for e in events:
            kind = type(e).__name__
            told = " ".join(str(getattr(e, n)) for n in ("stage", "what", "split") if hasattr(e, n))
            now = [kind, told, time.time(), time.process_time(), time.thread_time()]
            print("NOTED " + json.dumps(now), flush=True)
            if kind == "StepDone":
                loaded = sorted({m.partition(".")[0] for m in sys.modules})
                print("LOADED " + json.dumps(loaded), flush=True)
                os._exit(0)
        super().write(*events)

worker.Outbox = Noted
sys.exit(worker.main())
"""


def worker_run(task: str, folder: Path, number: int, *flags: str) -> tuple[str, str, float]:
    """What a worker printed up to its first step, its import times, and when it was started."""
    config = load_config(write_demo(task, folder / task))
    run = create_run(config, folder / f"runs{number}")
    command = [sys.executable, *flags, "-c", NOTED, str(run.path), "--serve-minutes", "0"]
    began = time.time()
    environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return done.stdout, done.stderr, began


def command_to_first_event(task: str, folder: Path) -> float:
    """Seconds from typing `ftev-tui train` to the first event in the file; the run ends there."""
    config, runs = write_demo(task, folder / task), folder / "typed"
    before = set(runs.glob("*"))
    typed = [sys.executable, "-m", "ftev.tui.cli", "train", str(config)]
    began = time.time()
    command = subprocess.Popen(
        [*typed, "--headless", "--runs-dir", str(runs)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while True:
            for run in set(runs.glob("*")) - before:
                events = run / "events.jsonl"
                if events.exists() and b"\n" in (text := events.read_bytes()):
                    started = json.loads(text.partition(b"\n")[0])
                    os.kill(started["pid"], signal.SIGKILL)  # its worker would outlive it
                    return float(started["time"]) - began
            time.sleep(0.005)
    finally:
        command.wait()


NAMES = {
    "RunStarted": "run started, the first event",
    "ColumnsFound": "torch, transformers and polars imported, data read",
    "ModelLoaded": "code of the architecture imported, base model loaded",
    "SplitPrepared train": "training data tokenised",
    "StageStarted 3": "leakage looked for",
    "TrainingPlanned": "probe of the base fitted (classification), training planned",
    "Evaluated validation": "base evaluated: step 0",
    "StepDone": "first step, written with those of a quarter second",
}


def phases(task: str, folder: Path, starts: int) -> list[list[str]]:
    wall: dict[str, list[float]] = {}
    cpu: dict[str, list[float]] = {}
    for number in range(starts + 1):
        printed, _, began = worker_run(task, folder, number)
        seen: dict[str, tuple[float, float]] = {}
        for line in printed.splitlines():
            if line.startswith("NOTED "):
                kind, found, at, spent, _ = json.loads(line[6:])
                for key in (f"{kind} {found}".strip(), kind):
                    if key in NAMES:
                        seen.setdefault(key, (at - began, spent))
        if number:  # the first start compiled what is new
            for key, (at, spent) in seen.items():
                wall.setdefault(key, []).append(at)
                cpu.setdefault(key, []).append(spent)
        print(".", end="", file=sys.stderr, flush=True)
    rows, before = [], 0.0
    for key, words in NAMES.items():
        if key in cpu:
            spent = statistics.median(cpu[key])
            share = [f"{statistics.median(wall[key]):.2f} s", f"{spent:.2f} s"]
            rows.append([f"{task}: {words}", *share, f"{spent - before:.2f} s"])
            before = spent
    return rows


def imports(folder: Path, most: int) -> list[list[str]]:
    """Packages by the time of their own modules; who of them is asked for first by ours."""
    own: dict[str, float] = {}
    for number, task in enumerate(TASKS):
        _, found, _ = worker_run(task, folder, 100 + number, "-X", "importtime")
        here: dict[str, float] = {}
        for line in re.findall(r"import time:\s+(\d+) \|\s+\d+ \| +(\S+)", found):
            package = line[1].partition(".")[0]
            here[package] = here.get(package, 0.0) + int(line[0]) / 1000
        for package, took in here.items():
            own[package] = max(own.get(package, 0.0), took)
    ranked = sorted(own.items(), key=lambda pair: -pair[1])
    return [[package, f"{took:.0f} ms"] for package, took in ranked[:most]]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--imports", type=int, default=12, help="packages listed")
    args = parser.parse_args()
    rows: list[Any] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        typed = [command_to_first_event("classification", folder) for _ in range(args.starts)]
        for task in TASKS:
            rows += phases(task, folder, args.starts)
        packages = imports(folder, args.imports)
    print(file=sys.stderr)
    print(
        section(
            "Start",
            "python tests/bench/start.py",
            ("torch", "transformers", "polars"),
            f"`ftev-tui train` typed to the first event in the file: median "
            f"{statistics.median(typed):.2f} s, least {min(typed):.2f} s, of which the worker's "
            "part is the first line of the table. Since the worker's start, medians of "
            f"{args.starts}; processor time of all threads:",
            table(["reached", "wall", "CPU", "CPU of this part"], rows),
            "Packages imported by the first step, time of their own modules (measured with "
            "`-X importtime`, which adds to each):",
            table(["package", "import"], packages),
        )
    )


if __name__ == "__main__":
    main()
