"""A sweep as it is used: real workers, one of them killed, the sweep interrupted and killed."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import forked
import pytest
import waiting
from engine.conftest import encoder_folder  # noqa: F401  (fixture)
from ftev.core.demo import write_demo
from ftev.core.predictions import stored_splits
from ftev.core.run_notes import read_notes
from ftev.core.runs import Run, list_runs
from ftev.tui.cli import main

PROGRAM = [*forked.COMMAND, "ftev.tui.cli", "sweep", "tastes.toml"]
DOCS = Path(__file__).parents[2] / "docs"
PATIENCE = 180.0  # seconds: a bound on a broken test, not an expectation
wait_for = partial(waiting.wait_for, seconds=PATIENCE)
TASTES = (("what a good cup of tea", "good"), ("the tea was bad and cold", "bad"))


def sweep(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*PROGRAM, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
    )


def runs_of(folder: Path) -> dict[str, Run]:
    """By the end of their names: 01, 02, … test."""
    return {run.id.rpartition("-")[2]: run for run in list_runs(folder / "runs")}


def at_work(folder: Path, name: str) -> bool:
    found = runs_of(folder).get(name)
    return found is not None and found.worker_alive()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, encoder_folder: Path) -> Iterator[Path]:  # noqa: F811
    folder = tmp_path_factory.mktemp("sweep")
    for name, rows in (("train.csv", 80), ("test.csv", 20)):
        lines = [f"{TASTES[i % 2][0]} {name[:2]} {i},{TASTES[i % 2][1]}" for i in range(rows)]
        (folder / name).write_text("\n".join(["text,label", *lines]) + "\n")
    (folder / "tastes.toml").write_text(
        f"""
task = "classification"
[model]
base = "{encoder_folder}"
[data]
train = "train.csv"
validation = 0.25
test = "test.csv"
near_duplicates = false
[train]
epochs = 6
batch_size = 8
devices = "cpu"
[objective]
metric = "accuracy"
[evaluate]
probe = false
self_test_rows = 0
parity_rows = 0
[sweep]
[sweep.over]
"train.learning_rate" = [1e-7, 1e-5, 1e-2]
"""
    )
    yield folder
    for run in list_runs(folder / "runs"):
        if run.worker_alive() and (worker := run.worker()):
            os.kill(worker.pid, signal.SIGKILL)


def test_a_sweep_survives_an_interrupt_its_own_death_and_that_of_a_run(folder: Path) -> None:
    first = sweep(folder)
    wait_for(lambda: at_work(folder, "01"), "the first run")
    first.send_signal(signal.SIGINT)
    _, messages = first.communicate(timeout=PATIENCE)
    assert first.returncode == 130
    assert "nothing more is started: tastes-01 goes on by itself; 2 runs to come" in messages

    second = sweep(folder)
    wait_for(lambda: at_work(folder, "02"), "the second run")
    second.kill()
    second.communicate(timeout=PATIENCE)
    killed = runs_of(folder)["02"].worker()
    assert killed is not None
    os.kill(killed.pid, signal.SIGKILL)

    third = sweep(folder, "--json")
    answer, messages = third.communicate(timeout=PATIENCE)
    assert third.returncode == 0, messages
    told = json.loads(answer)
    assert [r["status"] for r in told["runs"]] == ["finished", "died", "finished"]
    assert told["chosen"] == "tastes-03"
    assert "among 2 runs" in told["why"]
    assert "held back from all 3 runs" in told["why"]
    assert told["test"]["result"]["value"] >= 0.9
    assert told["test"]["read_before"] == 0
    assert any("cannot be chosen: tastes-02 (died)" in note for note in told["notes"])
    stored = {name: stored_splits(run) for name, run in runs_of(folder).items()}
    assert stored.pop("test").keys() == {"validation", "test"}
    assert set(stored) == {"01", "02", "03"}
    assert not any("test" in splits for splits in stored.values())
    assert {read_notes(run).tags for run in runs_of(folder).values()} == {("tastes",)}


def test_what_is_done_is_told_again_without_a_new_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    before = runs_of(folder)
    assert main(["sweep", "tastes.toml"]) == 0
    told = capsys.readouterr().out
    assert "tastes-03 (chosen)" in told
    assert f"`ftev-tui report {before['test'].id}`" in told
    assert runs_of(folder) == before


def test_one_file_is_swept_by_one_command_at_a_time(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    with Path("tastes.toml").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert main(["sweep", "tastes.toml"]) == 1
    assert "is at work already" in capsys.readouterr().err


def test_a_dry_run_lists_and_starts_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    before = runs_of(folder)
    assert main(["sweep", "tastes.toml", "--dry-run", "--json", "--set", "train.epochs=2"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [r["status"] for r in told["runs"]] == ["waiting"] * 3
    assert runs_of(folder) == before


def test_the_sample_of_the_page_makes_four_runs_of_the_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_demo("classification", tmp_path / "runs" / "demo_data" / "classification")
    (tmp_path / "sweep.toml").write_text((DOCS / "sweep.toml").read_text())
    assert main(["sweep", "sweep.toml", "--dry-run", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["runs"]) == 4
