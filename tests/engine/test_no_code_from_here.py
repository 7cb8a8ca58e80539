"""Nothing in the working directory, or beside the data or the run, is executed by its name."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from ftev.core.config.config import RunConfig
from ftev.core.config.config_file import dump_config
from ftev.core.errors import FtevError
from ftev.core.run.history import read_history
from ftev.core.run.launch import WORKER, ask_engine, start_worker
from ftev.core.run.runs import Run, create_run
from waiting import patience

PLANTED = ("calendar", "torch", "random", "transformers", "msgspec", "sitecustomize")
PATIENCE = patience(120.0)
CONSOLE = Path(sys.executable).with_name("ftev-tui")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, full of files that write a marker; it is on PYTHONPATH by mistake."""
    plant(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path


def plant(folder: Path) -> None:
    for name in PLANTED:
        marker = folder / f"{name}.marker"
        code = f"open({str(marker)!r}, 'w').close()\nraise ImportError('planted')\n"
        (folder / f"{name}.py").write_text(code)


def executed(place: Path) -> list[str]:
    return sorted(p.name for p in place.rglob("*.marker"))


@pytest.fixture
def faulty(verses: RunConfig, place: Path) -> Run:
    """A run whose worker imports everything, then finds no row that it can use."""
    (place / "none.csv").write_text("prompt,completion\n")
    config = replace(verses, data=replace(verses.data, train=str(place / "none.csv")))
    run = create_run(config, place / "runs")
    plant(run.path)
    return run


@pytest.mark.parametrize("devices", [1, 2])
def test_a_worker_and_its_ranks_execute_no_planted_file(
    place: Path, faulty: Run, devices: int
) -> None:
    start_worker(faulty, devices=devices).wait(PATIENCE)
    ended = read_history(faulty).finished
    assert ended is not None, faulty.log_path.read_text()
    assert ended.exit_code == 2, ended.error
    assert executed(place) == []


def test_a_worker_started_by_hand_executes_no_planted_file(
    place: Path, faulty: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONPATH")
    command = [sys.executable, "-m", WORKER, str(faulty.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert executed(place) == []


def test_a_question_to_the_engine_executes_no_planted_file(place: Path, verses: RunConfig) -> None:
    with pytest.raises(FtevError):
        ask_engine("likelihood", {"models": [str(place)], "texts": ["tea"]}, lambda _: None)
    assert executed(place) == []


def test_the_commands_execute_no_planted_file(
    place: Path, verses: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONPATH")
    (place / "run.toml").write_text(dump_config(verses))
    by_module = [sys.executable, "-m", "ftev.tui.cli", "list"]
    for command in (by_module, [str(CONSOLE), "check", "run.toml", "--json"]):
        done = subprocess.run(command, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
    assert executed(place) == []
