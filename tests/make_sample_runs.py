"""Make sample_runs/ anew: a finished demo run of each task, without weights.

python tests/make_sample_runs.py
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from ftev.core.data.demo import TASKS
from ftev.core.run.runs import Run, list_runs

ROOT = Path(__file__).resolve().parents[1]
LEFT_OUT = ("checkpoints", "model", "worker.json", "worker.log", "probe.safetensors")


def make_run(task: str, runs: Path) -> Run:
    command = [
        sys.executable,
        "-m",
        "ftev.tui.cli",
        "--runs-dir",
        str(runs),
        "demo",
        "--task",
        task,
    ]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return list_runs(runs)[0]


def keep(run: Run) -> None:
    """Copy what is small and lasting; a sample is named by its task."""
    target = ROOT / "sample_runs" / run.config().task
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(run.path, target, ignore=shutil.ignore_patterns(*LEFT_OUT))


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="ftev-") as folder:
        for task in TASKS:
            keep(make_run(task, Path(folder)))


if __name__ == "__main__":
    main()
