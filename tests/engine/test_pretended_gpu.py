"""The whole job on a device that is not the CPU: no line mixes devices, and waits are counted."""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from ftev.core.config.config import DataConfig, EvaluateConfig, ModelConfig, RunConfig, TrainConfig
from ftev.core.engine import __main__ as engine
from ftev.core.engine.worker.listen import Listener
from ftev.core.run.history import History, read_history
from ftev.core.run.runs import create_run
from pretended_gpu import MixedDevicesError, pretended_gpu, set_up
from tiny_models import write_bert, write_llama

STEPS = 4


def job(task: str, base: Path, place: Path) -> RunConfig:
    rows = {
        "generation": [
            ("prompt", "completion"),
            *((f"cup number {i} is", f"warm tea of day {i % 7}") for i in range(40)),
        ],
        "classification": [
            ("text", "label"),
            *((f"cup {i} is {'warm' if i % 2 else 'cold'}", f"day {i % 2}") for i in range(40)),
        ],
    }
    with (place / "rows.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows[task])
    return RunConfig(
        task=task,
        name=task,
        model=ModelConfig(base=str(base), precision="float32"),
        data=DataConfig(train="rows.csv", validation=0.2, test=0.2),
        train=TrainConfig(epochs=2, batch_size=8, learning_rate=1e-3, max_steps=STEPS),
        evaluate=EvaluateConfig(prompts=["cup 3 is"], max_new_tokens=4, parity_rows=4),
        folder=str(place),
    )


def take(config: RunConfig, place: Path) -> History:
    """A run from its first event to its last, in this process."""
    run = create_run(config, place / "runs")
    with Listener(run) as listener:
        engine.work(run, listener, argparse.Namespace(resume=False, serve_minutes=0.0))
    return read_history(run)


def main(place: Path) -> None:
    """Both tasks on the pretended GPU, and what the CPU makes of one: to be compared, as JSON."""
    set_up()
    found: dict[str, Any] = {}
    for task, write in (("generation", write_llama), ("classification", write_bert)):
        folder = place / task
        write(folder / "base")
        config = job(task, folder / "base", folder)
        if task == "generation":  # it has no dropout; before there is a GPU
            on_cpu = replace(config, train=replace(config.train, devices="cpu"))
            found["on the CPU"] = list(take(on_cpu, folder / "cpu").steps.loss)
        with pretended_gpu() as waits:
            history = take(config, folder)
        assert history.finished is not None
        assert history.device is not None
        found[task] = {
            "ended": [history.finished.status, history.finished.error],
            "device": history.device.device,
            "losses": list(history.steps.loss),
            "waits": [[n, *key] for key, n in waits.items()],
        }
    with pretended_gpu(), pytest.raises(MixedDevicesError):
        torch.ones(2, device="cuda:0") + torch.ones(2)
    (place / "found.json").write_text(json.dumps(found))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    place = tmp_path_factory.mktemp("gpu")
    command = [sys.executable, "-P", __file__, str(place)]
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1])])
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    known: dict[str, Any] = json.loads((place / "found.json").read_text())
    return known


TASKS = ("classification", "generation")


@pytest.mark.parametrize("task", TASKS)
def test_a_whole_job_runs_on_a_gpu_and_mixes_no_devices(task: str, found: dict[str, Any]) -> None:
    assert found[task]["ended"] == ["finished", ""]
    assert found[task]["device"] == "cuda:0"
    assert len(found[task]["losses"]) == STEPS


def test_its_losses_are_those_of_the_cpu(found: dict[str, Any]) -> None:
    assert found["generation"]["losses"] == pytest.approx(found["on the CPU"], rel=1e-4)


@pytest.mark.parametrize("task", TASKS)
def test_training_waits_for_the_gpu_only_where_it_reads_losses(
    task: str, found: dict[str, Any]
) -> None:
    """Once an optimizer step at most: of several steps, together."""
    waits = [(n, what, where) for n, what, where in found[task]["waits"]]
    in_steps = [w for w in waits if w[2].startswith(("training/train.py", "training/trainer.py"))]
    assert {where for _, _, where in in_steps} <= {"training/train.py read_steps"}
    assert sum(n for n, _, _ in in_steps) <= STEPS


if __name__ == "__main__":
    main(Path(sys.argv[1]))
