"""A sweep as it is used: real workers, one of them killed, the sweep interrupted and killed."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import forked
import pytest
import waiting
from engine.conftest import encoder_folder  # noqa: F401  (fixture)
from ftev.core.analysis.predictions import stored_splits
from ftev.core.catalog.notes import read_notes
from ftev.core.data.demo import write_demo
from ftev.core.run.events import SplitPrepared
from ftev.core.run.history import read_history
from ftev.core.run.runs import Run, list_runs
from ftev.core.sweep import machines as ray_module
from ftev.core.sweep.runs import create_entry_run, read_entries
from ftev.core.sweep.sweep_file import load_sweep
from ftev.tui.cli import main
from made_runs import live_worker, story, write_events
from waiting import patience

PROGRAM = [*forked.COMMAND, "ftev.tui.cli", "sweep", "tastes.toml"]
DOCS = Path(__file__).parents[2] / "docs"
PATIENCE = patience(180.0)
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


def write_rows(path: Path, rows: int) -> None:
    lines = [f"{TASTES[i % 2][0]} {path.name[:2]} {i},{TASTES[i % 2][1]}" for i in range(rows)]
    path.write_text("\n".join(["text,label", *lines]) + "\n")


def write_sweep(
    folder: Path,
    base: Path,
    *,
    epochs: float = 6,
    validation: str = "0.25",
    rates: str = "1e-7, 1e-5, 1e-2",
) -> None:
    write_rows(folder / "train.csv", 80)
    write_rows(folder / "test.csv", 20)
    (folder / "tastes.toml").write_text(
        f"""
task = "classification"
[model]
base = "{base}"
[data]
train = "train.csv"
validation = {validation}
test = "test.csv"
near_duplicates = false
[train]
epochs = {epochs}
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
"train.learning_rate" = [{rates}]
"""
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, encoder_folder: Path) -> Iterator[Path]:  # noqa: F811
    folder = tmp_path_factory.mktemp("sweep")
    write_sweep(folder, encoder_folder)
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
    values = json.loads(answer)
    assert [r["status"] for r in values["runs"]] == ["finished", "died", "finished"]
    assert values["chosen"] == "tastes-03"
    assert "among 2 runs" in values["why"]
    assert "held back from all 3 runs" in values["why"]
    assert values["test"]["result"]["value"] >= 0.9
    assert values["test"]["read_before"] == 0
    assert any("cannot be chosen: tastes-02 (died)" in note for note in values["notes"])
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
    printed = capsys.readouterr().out
    assert "tastes-03 (chosen)" in printed
    assert f"`ftev-tui report {before['test'].id}`" in printed
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
    values = json.loads(capsys.readouterr().out)
    assert [r["status"] for r in values["runs"]] == ["waiting"] * 3
    assert runs_of(folder) == before


def test_the_sample_of_the_page_makes_four_runs_of_the_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_demo("classification", tmp_path / "runs" / "demo_data" / "classification")
    (tmp_path / "sweep.toml").write_text((DOCS / "sweep.toml").read_text())
    assert main(["sweep", "sweep.toml", "--dry-run", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["runs"]) == 4


def swept(folder: Path, *arguments: str) -> tuple[dict[str, Any], str]:
    """The document and the messages of a sweep to its end."""
    done = forked.completed(
        "ftev.tui.cli", "sweep", "tastes.toml", "--json", *arguments, cwd=folder, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def ids(text: dict[str, Any]) -> tuple[str, str]:
    """Of the first run and of the evaluation on test."""
    return text["runs"][0]["id"], text["test"]["id"]


def test_only_runs_of_the_same_rows_stand_in_one_table(
    tmp_path: Path,
    encoder_folder: Path,  # noqa: F811
) -> None:
    write_sweep(tmp_path, encoder_folder, epochs=0.2, validation='"val.csv"', rates="1e-5")
    write_rows(tmp_path / "val.csv", 20)
    found, messages = swept(tmp_path)
    first = ids(found)
    assert "changed after" not in messages

    assert ids(swept(tmp_path)[0]) == first
    (tmp_path / "train.csv").touch()
    write_rows(tmp_path / "test.csv", 20)  # the same bytes again
    assert ids(swept(tmp_path)[0]) == first

    write_rows(tmp_path / "test.csv", 24)  # read by none but the evaluation on test
    found, messages = swept(tmp_path)
    on_other_test = ids(found)
    assert on_other_test[0] == first[0]
    assert on_other_test[1] != first[1]
    assert f"test.csv (test) changed after {first[1]} read it" in messages

    before, earlier = "", on_other_test[0]
    for name, split in (("val.csv", "validation"), ("train.csv", "train")):
        write_rows(tmp_path / name, 28)
        found, messages = swept(tmp_path)
        assert ids(found)[0] != earlier
        [note] = [n for n in found["notes"] if "not compared here" in n]
        assert f"{name} ({split}) changed after {earlier} read it" in messages + note
        before, earlier = earlier, ids(found)[0]

    write_rows(tmp_path / "train.csv", 80)  # as it was before
    assert ids(swept(tmp_path)[0])[0] == before
    assert len(list_runs(tmp_path / "runs")) == 7


def test_a_run_that_read_other_rows_than_the_sweep_checked_cannot_be_chosen(
    tmp_path: Path,
    encoder_folder: Path,  # noqa: F811
) -> None:
    """The file changes between the check of the data and the worker's reading."""
    write_sweep(tmp_path, encoder_folder, epochs=0.2, rates="1e-5, 1e-4")
    process = sweep(tmp_path, "--json")
    wait_for(lambda: at_work(tmp_path, "01"), "the first run")
    run = runs_of(tmp_path)["01"]
    wait_for(lambda: "train" in read_history(run).splits, "its data")
    write_rows(tmp_path / "train.csv", 60)
    answer, messages = process.communicate(timeout=PATIENCE)
    values = json.loads(answer)
    assert [r["status"] for r in values["runs"]] == ["finished", "other rows"]
    assert values["runs"][1]["validation"] is None
    assert values["chosen"] == "tastes-01"
    assert "train.csv (train and validation) changed while the sweep was at work" in messages
    assert any("cannot be chosen: tastes-02 (other rows)" in note for note in values["notes"])


@pytest.fixture
def on_ray(
    tmp_path: Path,
    encoder_folder: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two runs one after the other, on what the driver makes of an address."""
    write_sweep(tmp_path, encoder_folder, epochs=0.2, rates="1e-5, 1e-4")
    driver = str(Path(__file__).parents[1] / "lost_ray_driver.py")
    monkeypatch.setattr(ray_module, "find_spec", lambda name: name)
    monkeypatch.setattr(ray_module, "python_command", lambda _, at: [sys.executable, driver, at])
    monkeypatch.setattr(ray_module, "SILENT_SECONDS", 0.5)
    monkeypatch.chdir(tmp_path)


def statuses(text: str) -> list[str]:
    return [run["status"] for run in json.loads(text)["runs"]]


def test_a_run_that_outlives_its_cluster_counts_and_the_others_go_on_later(
    on_ray: None, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", "tastes.toml", "--json", "--ray", "lost in the middle"]) == 1
    answer, messages = capfd.readouterr()
    assert statuses(answer) == ["finished", "waiting"]
    assert "tastes-01 finished: accuracy" in messages
    assert "gone: nothing more is started; tastes-01 may live on" in messages
    assert "is gone: no run is at work; 1 run to come. The same command takes it up" in messages
    assert "rpc_client" not in messages

    assert main(["sweep", "tastes.toml", "--json", "--ray", "there again"]) == 0
    answer, messages = capfd.readouterr()
    assert statuses(answer) == ["finished", "finished"]
    assert "tastes-01 starts" not in messages


def test_a_task_that_never_began_on_a_lost_cluster_is_still_to_come(
    on_ray: None, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", "tastes.toml", "--ray", "lost at once"]) == 1
    table, messages = capfd.readouterr()
    assert "died" not in table
    assert "Nothing is chosen before every run has ended: 0 at work, 2 to come" in table
    assert "no run is at work; 2 runs to come" in messages


def test_while_a_run_on_other_rows_is_at_work_nothing_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_sweep(tmp_path, tmp_path, rates="1e-5")
    monkeypatch.chdir(tmp_path)
    sweep = load_sweep(Path("tastes.toml"))
    [entry] = read_entries(sweep, tmp_path / "runs")
    run = create_entry_run(sweep, entry, tmp_path / "runs")
    other = SplitPrepared(split="train", rows=60, columns=2, source="train.csv", sha256="0" * 64)
    write_events(run, [story()[0], other])
    live_worker(run)
    assert main(["sweep", "tastes.toml"]) == 1
    said = capsys.readouterr().err
    assert f"tastes-01: is at work: train.csv (train) changed after {run.id} read it" in said
    assert "Wait for its end, or `ftev-tui stop tastes-01`" in said
    assert list_runs(tmp_path / "runs") == [run]
