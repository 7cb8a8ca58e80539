"""The program with a real engine behind it: trained, stopped, killed, resumed, asked, evaluated.

One run is resumed as a user's is, by `python -m`, worker and all; the other commands and workers
are forked.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import forked
import pytest
from conftest import picture, seen
from engine.conftest import causal_folder, encoder_folder  # noqa: F401  (fixtures)
from ftev.core.run.history import read_history
from ftev.core.run.runs import Run, list_runs
from ftev.tui.app.app import FtevApp
from waiting import patience, wait_for

PROGRAM = [sys.executable, "-m", "ftev.tui.cli"]
FORKING = [*forked.COMMAND, "ftev.tui.cli"]
PATIENCE = patience(120.0)
TASTES = (("what a good cup of tea", "good"), ("the tea was bad and cold", "bad"))


def ftev(
    *arguments: str, cwd: Path, program: list[str] | None = None
) -> subprocess.CompletedProcess[str]:
    """A forked command, or a real start of `program`."""
    if program is None:
        return forked.completed("ftev.tui.cli", *arguments, cwd=cwd, timeout=PATIENCE)
    return subprocess.run(
        [*program, *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        check=False,
        timeout=PATIENCE,
    )


def document(*arguments: str, cwd: Path) -> Any:
    done = ftev(*arguments, "--json", cwd=cwd)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def write_tastes(path: Path, rows: range) -> None:
    lines = [f"{TASTES[i % 2][0]} number {i},{TASTES[i % 2][1]}" for i in rows]
    path.write_text("\n".join(["text,label", *lines]) + "\n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, encoder_folder: Path) -> Iterator[Path]:  # noqa: F811
    """A folder with data and a run.toml, as a person would have it. Its workers are ended."""
    folder = tmp_path_factory.mktemp("project")
    write_tastes(folder / "train.csv", range(80))
    write_tastes(folder / "test.csv", range(80, 120))
    (folder / "run.toml").write_text(
        f"""
task = "classification"
name = "tastes"
[model]
base = "{encoder_folder}"
[data]
train = "train.csv"
test = "test.csv"
near_duplicates = false
[train]
epochs = 2
batch_size = 16
learning_rate = 1e-3
[objective]
metric = "accuracy"
at_least = 1.0
"""
    )
    yield folder
    for path in (folder / "runs").glob("*"):
        run = Run(path)
        if run.worker_alive() and (worker := run.worker()):
            os.kill(worker.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def finished(folder: Path) -> subprocess.CompletedProcess[str]:
    return ftev("train", "run.toml", "--headless", "--gate", cwd=folder)


def only_run(folder: Path) -> Run:
    [run] = list_runs(folder / "runs")
    return run


def test_check_looks_at_data_and_model(folder: Path, encoder_folder: Path) -> None:  # noqa: F811
    values = document("check", "run.toml", cwd=folder)
    assert values["ok"]
    assert values["model"]["splits"]["test"]["rows"] == 40
    assert values["not_checked"] == []
    strange = ftev("check", "run.toml", "--set", "model.base=./nowhere", cwd=folder)
    assert strange.returncode == 1
    assert "text: column 'text'" in strange.stdout
    assert "nowhere" in strange.stderr


def test_a_run_is_told_line_by_line_and_gated(
    folder: Path, finished: subprocess.CompletedProcess[str]
) -> None:
    assert finished.returncode == 3, finished.stderr  # no interval of 40 rows reaches 100 %
    lines = finished.stdout.splitlines()
    assert lines[0] == "ftev: reading run.toml …"
    for text in ("1/5 base model loaded", "epoch 1: training loss", "epoch 2: ", "5/5 evaluated"):
        assert any(line.startswith(text) for line in lines), text
    assert "run finished" in lines
    assert any(line.startswith("verdict: ") for line in lines)
    assert lines[-1].endswith("report.md")
    assert "\x1b" not in finished.stdout + finished.stderr
    run = only_run(folder)
    assert {"report.md", "report.json", "model", "predictions"} <= set(os.listdir(run.path))
    assert not run.worker_alive()


@pytest.mark.usefixtures("finished")
def test_the_report_of_a_real_run(folder: Path) -> None:
    report = document("report", "latest", cwd=folder)
    assert set(report["results"]["test"]) == {"majority", "probe", "tuned"}
    assert report["results"]["test"]["tuned"]["n"] == 40
    assert [s["name"] for s in report["stages"]][-1] == "evaluated"
    assert len(report["epochs"]) == 2
    assert {c["from"] for c in report["comparisons"]} == {"majority", "probe"}
    [entry] = document("list", cwd=folder)
    assert entry["status"] == "finished"
    assert entry["headline"]["metric"] == "accuracy"


@pytest.mark.usefixtures("finished")
def test_a_finished_run_is_asked(folder: Path) -> None:
    values = document("prompt", "latest", "--text", "the tea was bad", cwd=folder)
    base, tuned = values["answers"]
    assert (base["model"], tuned["model"]) == ("base", "tuned")
    assert sum(tuned["probabilities"].values()) == pytest.approx(1.0)
    assert only_run(folder).worker_alive()  # it waits for the next prompt
    again = ftev("prompt", "latest", "--text", "a\x1b[31m", "--model", "tuned", cwd=folder)
    assert again.stdout.startswith("tuned:\n")
    assert "base" not in again.stdout
    assert ftev("stop", "latest", "--wait", cwd=folder).returncode == 0
    assert not only_run(folder).worker_alive()


@pytest.mark.usefixtures("finished")
async def test_S_at_home_frees_a_worker_that_only_answers(folder: Path) -> None:
    ftev("prompt", "latest", "--text", "the tea was bad", cwd=folder)
    assert only_run(folder).worker_alive()
    app = FtevApp(folder / "runs")
    async with app.run_test(size=(120, 30)) as pilot:
        await seen(pilot, "its worker holds ")
        assert "S free its memory" in picture(pilot)
        await pilot.press("S")
        await seen(pilot, "its worker has ended: ", seconds=PATIENCE)
        assert not only_run(folder).worker_alive()
        assert "its worker holds" not in picture(pilot)
        await pilot.press("S")
        await seen(pilot, "No worker is alive: it holds no memory.")


@pytest.mark.usefixtures("finished")
def test_a_tuned_model_is_evaluated_by_flags(folder: Path, encoder_folder: Path) -> None:  # noqa: F811
    model = str(only_run(folder).model_path)
    flags = ("--base", str(encoder_folder), "--tuned", model, "--data", "test.csv")
    values = document("eval", *flags, "--headless", "--runs-dir", "evals", cwd=folder)
    assert values["run"]["status"] == "finished"
    assert values["results"]["test"]["tuned"]["n"] == 40
    assert not values["epochs"]
    miss = ("--set", "objective.metric=loss", "--set", "objective.at_most=0.0")
    gated = ftev("eval", *flags, "--headless", "--gate", *miss, "--runs-dir", "evals", cwd=folder)
    assert gated.returncode == 3, gated.stderr
    assert "verdict: hold" in gated.stdout
    assert "the whole interval misses it" in gated.stdout


def test_stopped_killed_and_resumed(folder: Path) -> None:
    where = ("--runs-dir", "long")
    start = [*FORKING, "train", "run.toml", "--headless", "--set", "train.epochs=20", *where]
    with subprocess.Popen(
        start, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        run = wait_for_run(folder / "long")
        wait_for(lambda: read_history(run).step >= 3, "steps")
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, stderr
    assert "stopping: the state is saved first" in stderr
    assert "run stopped" in stdout
    assert document("status", "latest", *where, cwd=folder)["status"] == "stopped"
    stopped_at = read_history(run).step

    done = ftev("resume", "latest", "--detach", *where, cwd=folder, program=PROGRAM)
    assert done.stdout == f"{run.path}\n"
    wait_for(lambda: read_history(run).step > stopped_at, "a step after the resume")
    paused = ftev("pause", "latest", *where, cwd=folder)
    assert "is paused at step" in paused.stdout
    for _ in range(2):  # of the same step
        saved = ftev("checkpoint", "latest", *where, cwd=folder)
        assert "checkpoint of step" in saved.stdout
    assert document("status", "latest", *where, cwd=folder)["status"] == "paused"
    assert ftev("resume", "latest", *where, cwd=folder).stdout == f"{run.id} goes on\n"

    worker = run.worker()
    assert worker is not None
    os.kill(worker.pid, signal.SIGKILL)
    wait_for(lambda: not run.worker_alive(), "the end of the worker")
    status = document("status", "latest", *where, cwd=folder)
    assert status["status"] == "died"
    assert status["step"] >= stopped_at
    assert f"died at step {status['step']}" in ftev("open", "latest", *where, cwd=folder).stderr

    assert ftev("resume", "latest", "--detach", *where, cwd=folder).returncode == 0
    wait_for(lambda: read_history(run).step > status["step"], "a step after the second resume")
    assert "stopped at step" in ftev("stop", "latest", "--wait", *where, cwd=folder).stdout
    steps = list(read_history(run).steps.step)
    assert steps == list(range(1, len(steps) + 1))


def wait_for_run(folder: Path) -> Run:
    wait_for(lambda: folder.exists() and any(folder.iterdir()), "a run")
    return Run(next(folder.iterdir()))


def test_a_worker_killed_under_a_headless_run_is_told(folder: Path) -> None:
    start = [*FORKING, "train", "run.toml", "--headless", "--set", "train.epochs=20"]
    with subprocess.Popen(
        [*start, "--runs-dir", "killed"],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        run = wait_for_run(folder / "killed")
        wait_for(lambda: read_history(run).step >= 1, "a step")
        worker = run.worker()
        assert worker is not None
        os.kill(worker.pid, signal.SIGKILL)
        _, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "the worker died at step" in stderr
    assert "`ftev-tui resume" in stderr


def test_text_is_scored_under_two_models(folder: Path, causal_folder: Path) -> None:  # noqa: F811
    models = ("--model", str(causal_folder), "--model", str(causal_folder))
    result = document("likelihood", *models, "--text", "a warm cup", cwd=folder)
    first, second = result["models"]
    assert first["average_log_likelihood"] == second["average_log_likelihood"] < 0
    assert first["scored_tokens"] == len(first["per_token"])
    assert len(result["differences"]) == 1
    refused = ftev("likelihood", "--model", "no/where", "--text", "x", cwd=folder)
    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr
