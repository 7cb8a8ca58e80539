"""Logs of other tools to a run: how long a million scalars take, beside TensorBoard's own reader.

python tests/bench/foreign.py

Each reading is a process of its own, the two by turns. TensorBoard's is skipped, saying so, where
it is not installed.
"""

from __future__ import annotations

import importlib.util
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import foreign_logs as logs

STEPS, TAGS, ROUNDS = 100_000, 10, 3
OURS = """
import sys, time
from pathlib import Path
from ftev.core.run.foreign.imported import open_log
from ftev.core.run.history import read_history
began = time.perf_counter()
run = open_log(Path(sys.argv[1]), Path(sys.argv[2]))
read = time.perf_counter()
shown = read_history(run).scalars.series
assert sum(len(s.step) for s in shown.values()) == int(sys.argv[3])
print(read - began, time.perf_counter() - read)
"""
THEIRS = """
import sys, time
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
began = time.perf_counter()
found = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0, "tensors": 0})
found.Reload()
assert sum(len(found.Scalars(t)) for t in found.Tags()["scalars"]) == int(sys.argv[3])
print(time.perf_counter() - began, 0)
"""


def write(folder: Path) -> Path:
    tags = [logs.scalar(f"metric/{n}", n + 0.5) for n in range(TAGS)]
    records = (logs.event(step, tag) for step in range(STEPS) for tag in tags)
    logs.write_events(folder, "1.bench", *records)
    return folder


def seconds(code: str, folder: Path, runs: Path) -> tuple[float, float]:
    command = [sys.executable, "-c", code, str(folder), str(runs), str(STEPS * TAGS)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    first, second = map(float, printed.split())
    return first, second


def main() -> None:
    has_peer = importlib.util.find_spec("tensorboard") is not None
    with tempfile.TemporaryDirectory() as place:
        log = write(Path(place) / "tb")
        ours, theirs = list[tuple[float, float]](), list[float]()
        for n in range(ROUNDS):
            ours.append(seconds(OURS, log, Path(place) / f"runs-{n}"))
            if has_peer:
                theirs.append(seconds(THEIRS, log, Path(place))[0])
    log_read, shown = (statistics.median(x) for x in zip(*ours, strict=True))
    print(f"{STEPS * TAGS:,} scalars: read in {log_read:.2f} s, then shown in {shown:.2f} s")
    if has_peer:
        peer = statistics.median(theirs)
        print(f"TensorBoard's EventAccumulator: {peer:.2f} s, {peer / log_read:.1f} times as long")
    else:
        print("TensorBoard's own reader was skipped: it is not installed")


if __name__ == "__main__":
    main()
