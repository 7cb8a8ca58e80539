"""Loops of others reported to ftev: live, steered from a screen, never ended by a fault of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import ftev
import pytest
from ftev.core.errors import RunError
from ftev.core.run.control import (
    AskCheckpoint,
    AskPause,
    AskPrompt,
    AskResume,
    AskStop,
    ask,
)
from ftev.core.run.history import read_history
from ftev.core.run.runs import Run, list_runs
from ftev.tui import cli
from imports import ROOT
from waiting import wait_for


def test_importing_it_brings_nothing_of_torch(tmp_path: Path) -> None:
    code = (
        "import sys, ftev\n"
        f"with ftev.start('a', runs_dir={str(tmp_path)!r}) as run: run.log(1, {{'loss': 2.0}})\n"
        "ftev.FtevCallback()\n"
        "print([n for n in ('torch', 'transformers', 'numpy', 'polars') if n in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_loop_is_a_run_like_any_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with ftev.start(
        "mine", max_steps=3, config={"lr": 0.1}, base="org/m", runs_dir=tmp_path
    ) as run:
        assert run.run.worker_alive()
        for step in range(1, 4):
            run.log(step, {"train/loss": 1 / step, "reward": step, "note": "x", "ok": True})
        run.log(3, {"eval_loss": 0.5}, epoch=1.0)
        run.saved(3, tmp_path / "checkpoint-3")
    [found] = list_runs(tmp_path)
    history = read_history(found)
    assert history.started is not None
    assert history.started.origin == "loop"
    assert history.finished is not None
    assert history.finished.status == "finished"
    assert not found.worker_alive()
    assert history.steps.loss.tolist() == [1.0, 0.5, pytest.approx(1 / 3)]
    assert history.scalars.series["train/reward"].value.tolist() == [1, 2, 3]
    assert "train/note" not in history.scalars.series
    assert cli.main(["status", str(found.path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "finished"


def test_an_error_of_the_loop_is_the_end_of_the_run(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), ftev.start("bad", runs_dir=tmp_path) as run:
        run.log(1, {"loss": 1 / 0})
    finished = read_history(list_runs(tmp_path)[0]).finished
    assert finished is not None
    assert (finished.status, finished.exit_code) == ("failed", 1)
    assert "ZeroDivisionError" in finished.error


def asked(run: Run, request: Any) -> list[Any]:
    return list(ask(run, request))


def test_a_screen_stops_pauses_and_asks_for_checkpoints(tmp_path: Path) -> None:
    with ftev.start("steered", runs_dir=tmp_path) as run:
        asked(run.run, AskCheckpoint())
        assert run.should_checkpoint
        run.saved(1, "checkpoint-1")
        assert not run.should_checkpoint
        asked(run.run, AskPause())
        step = threading.Thread(target=run.log, args=(2, {"loss": 1.0}))
        step.start()
        wait_for(lambda: "Paused" in run.run.events_path.read_text(), "the pause")
        assert step.is_alive()
        asked(run.run, AskResume())
        step.join()
        refused: list[str] = []

        def asks() -> None:
            with pytest.raises(RunError) as error:
                asked(run.run, AskPrompt(text="a"))
            refused.append(str(error.value))

        asking = threading.Thread(target=asks)
        asking.start()
        wait_for(lambda: not run._listener.questions.empty(), "the question")
        run.at(3)
        asking.join()
        assert "answers no prompts" in refused[0]
        asked(run.run, AskStop())
        assert run.should_stop
    finished = read_history(list_runs(tmp_path)[0]).finished
    assert finished is not None
    assert finished.status == "stopped"


TRAINER = """
import sys, torch
from pathlib import Path
import ftev
from transformers import AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments
from ftev.core.run.control import AskStop, ask

base, folder = sys.argv[1:3]
model = AutoModelForCausalLM.from_pretrained(base)
ids = torch.randint(5, 90, (64, 12))
rows = [{"input_ids": row, "labels": row} for row in ids]
args = TrainingArguments(
    folder + "/out", max_steps=30, per_device_train_batch_size=4, logging_steps=2, eval_steps=4,
    eval_strategy="steps", save_steps=6, report_to="none", use_cpu=True, disable_tqdm=True,
)
report = ftev.FtevCallback(runs_dir=folder + "/runs")

class Screen(TrainerCallback):
    def on_step_end(self, args, state, control, **more):
        if state.global_step == 12:
            list(ask(report.run, AskStop()))
        if sys.argv[3] == "break" and state.global_step == 4:
            report._loop._events.close()

callbacks = [Screen(), report]
Trainer(model, args, train_dataset=rows, eval_dataset=rows[:8], callbacks=callbacks).train()
"""


@pytest.mark.parametrize("way", ["stop", "break"])
def test_a_trainer_of_transformers(causal_folder: Path, tmp_path: Path, way: str) -> None:
    """Stopped from a screen; and where the events cannot be written any more, it trains on."""
    command = [sys.executable, "-c", TRAINER, str(causal_folder), str(tmp_path), way]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    [run] = list_runs(tmp_path / "runs")
    history = read_history(run)
    assert history.started is not None
    assert history.started.origin == "transformers"
    assert history.max_steps == 30
    assert len(history.steps.loss) >= 1
    if way == "break":
        assert done.stderr.count("ftev: this run is not reported any further") == 1
        assert (tmp_path / "out" / "checkpoint-12").is_dir()
        return
    assert history.finished is not None
    assert history.finished.status == "stopped"
    assert history.step == 12
    assert "validation/loss" in history.scalars.series
    assert (tmp_path / "out" / "checkpoint-6").is_dir()
    shutil.rmtree(tmp_path / "out")


RANKS = """
import sys, torch
import ftev
from transformers import AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments
from ftev.core.run.control import AskStop, ask

base, folder = sys.argv[1:3]
rows = [{"input_ids": row, "labels": row} for row in torch.randint(5, 90, (256, 12))]
args = TrainingArguments(
    folder + "/out", max_steps=30, per_device_train_batch_size=2, logging_steps=2,
    save_strategy="no", report_to="none", use_cpu=True, disable_tqdm=True,
)
report = ftev.FtevCallback(runs_dir=folder + "/runs")

class Screen(TrainerCallback):
    def on_step_end(self, args, state, control, **more):
        if state.global_step == 12 and report.run is not None:
            list(ask(report.run, AskStop()))

model = AutoModelForCausalLM.from_pretrained(base)
trainer = Trainer(model, args, train_dataset=rows, callbacks=[Screen(), report])
trainer.train()
print(f"[ended at {trainer.state.global_step}]", flush=True)
"""


def test_all_processes_stop_where_the_first_was_asked(causal_folder: Path, tmp_path: Path) -> None:
    program = tmp_path / "train.py"
    program.write_text(RANKS)
    ranks = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [*ranks, str(program), str(causal_folder), str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("[ended at 12]") == 2
    [run] = list_runs(tmp_path / "runs")  # of the first process alone
    finished = read_history(run).finished
    assert finished is not None
    assert finished.status == "stopped"
