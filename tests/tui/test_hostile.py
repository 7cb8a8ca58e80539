"""What a demanding user met: each test holds one thing that once went wrong on the screen."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pseudo_terminal import Terminal

SAMPLES = Path(__file__).parents[2] / "sample_runs"

STARTED = (  # as `ftev-tui train` leaves it: the data was read, the screen comes next
    "import argparse, sys; from pathlib import Path; import polars;"
    "from ftev.core.runs import Run; from ftev.tui.commands.start import draw_screen;"
    "path = Path(sys.argv[1]); polars.DataFrame({'a': [1, 2]}).sort('a');"
    "told = argparse.Namespace(runs_dir=str(path.parent), theme='dark', ascii=False);"
    "sys.exit(draw_screen(Run(path), told))"
)


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Terminal]:
    run = tmp_path / "runs" / "finished"
    shutil.copytree(SAMPLES / "classification", run)
    terminal = Terminal([sys.executable, "-c", STARTED, str(run)], 100, 30)
    yield terminal
    terminal.close()


def test_a_started_run_shows_its_rows_though_its_data_was_read_before(started: Terminal) -> None:
    started.wait_for("145 steps")
    started.press("r")
    started.wait_for("200 rows")
    started.press("q")
    assert started.wait() == 0
