"""Make sample_runs/ anew: a finished demo run of each task, without weights, and the picture.

python tests/make_sample_runs.py
"""

import asyncio
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from ftev.core.demo import TASKS
from ftev.core.runs import Run, list_runs

ROOT = Path(__file__).resolve().parents[1]
LEFT_OUT = ("checkpoints", "model", "worker.json", "worker.log", "probe.safetensors")
SCREEN = (150, 44)


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


def keep(run: Run) -> Path:
    """Copy what is small and lasting; a sample is named by its task."""
    target = ROOT / "sample_runs" / run.config().task
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(run.path, target, ignore=shutil.ignore_patterns(*LEFT_OUT))
    return target


async def draw(run: Run) -> str:
    from ftev.tui.app import FtevApp

    app = FtevApp(run.path.parent, run)
    async with app.run_test(size=SCREEN) as pilot:
        await pilot.pause(2.0)
        return app.export_screenshot(title="ftev-tui")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="ftev-") as folder:
        for task in TASKS:
            kept = keep(make_run(task, Path(folder)))
    picture = asyncio.run(draw(Run(kept.parent / "classification")))
    (ROOT / "sample_runs" / "screen.svg").write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
