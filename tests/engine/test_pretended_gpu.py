"""The whole job on a device that is not the CPU: no line mixes devices, and waits are counted.

One process runs all of it: both tasks from their first event to their last; a LoRA run in bfloat16
with accumulated gradients that runs out of memory, is stopped, resumed and asked things; then what
it is that waits for the device in an evaluation and in an answer.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import device_lines
import pytest
import torch
from tiny_models import write_bert, write_llama

STEPS = 4


def job(task: str, base: Path, place: Path) -> Any:
    from ftev.core.config import config as settings

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
    return settings.RunConfig(
        task=task,
        name=task,
        model=settings.ModelConfig(base=str(base), precision="float32"),
        data=settings.DataConfig(train="rows.csv", validation=0.2, test=0.2),
        train=settings.TrainConfig(epochs=2, batch_size=8, learning_rate=1e-3, max_steps=STEPS),
        evaluate=settings.EvaluateConfig(
            prompts=["cup 3 is"],
            max_new_tokens=4,
            completions=4,
            self_test_rows=4,
            parity_rows=0,  # it reads the folder back in a process that has no such device
        ),
        folder=str(place),
    )


def take(config: Any, place: Path, run: Any = None, **more: Any) -> Any:
    """A run from its first event to its last, in this process: its history, and the run."""
    from ftev.core.engine import __main__ as engine
    from ftev.core.run.history import read_history
    from ftev.core.run.listen import Listener
    from ftev.core.run.runs import create_run

    stop_at, questions = more.get("stop_at"), more.get("questions", [])

    class Told(Listener):
        """Asked to stop once it has come to a step."""

        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, value)
            if name == "step" and value == stop_at:
                self.stop.set()

    resume, run = run is not None, run or create_run(config, place / "runs")
    with Told(run) as listener:
        for question in questions:
            listener.questions.put(question)
        engine.work(run, listener, argparse.Namespace(resume=resume, serve_minutes=0.0))
    return read_history(run), run


def whole_job(task: str, folder: Path) -> dict[str, Any]:
    from pretended_gpu import pretended_gpu

    with pretended_gpu() as waits:
        history, _ = take(job(task, folder / "base", folder), folder)
    return facts(history, waits)


def facts(history: Any, waits: Counter[tuple[str, str]]) -> dict[str, Any]:
    return {
        "ended": [history.finished.status, history.finished.error],
        "device": history.device.device,
        "precision": history.device.precision,
        "losses": list(history.steps.loss),
        "waits": [[n, *key] for key, n in waits.items()],
    }


def lora_job(folder: Path) -> dict[str, Any]:
    """In bfloat16, gradients accumulated; stopped after 2 steps, resumed and asked things."""
    from ftev.core.config.config import LoraConfig
    from ftev.core.run.control import AskPrompt, AskTrace
    from ftev.core.run.listen import Question
    from pretended_gpu import pretended_gpu

    config = job("generation", folder.parent / "generation" / "base", folder)
    config = replace(
        config,
        model=replace(config.model, precision="auto", adapter="lora", lora=LoraConfig(dropout=0.1)),
        train=replace(config.train, gradient_accumulation_steps=2, eval_every=2),
    )
    with pretended_gpu() as waits:
        stopped, run = take(config, folder, stop_at=2)
        checkpoint = AskPrompt(text="cup 3 is", max_new_tokens=3, checkpoint=2, temperature=0.7)
        details = AskPrompt(text="cup 3 is", max_new_tokens=3, likelihoods="all", details=True)
        questions = [Question(q) for q in (details, checkpoint, AskTrace(text="cup 3"))]
        history, _ = take(config, folder, run, questions=questions)
    samples = history.samples
    return facts(history, waits) | {
        "stopped": stopped.finished.status,
        "resumed from": history.started.resumed_from_step,
        "replies": [[type(r).__name__ for r in list(q.answers.queue)] for q in questions],
        "memory": list(samples.device_memory),
        "use": sorted(set(samples.device_use)),
    }


def made(base: Path, task: str, device: str, adapter: str = "none") -> tuple[Any, Any]:
    """A model on a device, and rows of many lengths."""
    import polars as pl
    from ftev.core.config.config import ModelConfig, RunConfig
    from ftev.core.engine.models.devices import drawn_from
    from ftev.core.engine.models.load import add_adapter, load
    from ftev.core.engine.scoring.scorer import find_scorer

    config = RunConfig(task=task, model=ModelConfig(base=str(base), adapter=adapter))
    labels = ("bad", "good") if task == "classification" else ()
    with drawn_from(0):
        loaded = load(config, str(base), labels)
    loaded.model.to(device)
    if adapter != "none":
        add_adapter(loaded, config)
    texts = ["cup and tea " * (1 + i % 5) for i in range(16)]
    frame = pl.DataFrame({"row_id": range(16), "text": texts, "label": ["bad", "good"] * 8})
    if task == "generation":
        frame = frame.select("row_id", prompt="text", completion="label")
    form = "text_label" if labels else "prompt_completion"
    *_, rows = find_scorer(task).forms[form](frame, loaded)
    return loaded, rows


def steps(base: Path, device: str, room: float | None = None) -> dict[str, Any]:
    """Two steps; on a GPU with memory for a share of what the first would take at once."""
    from ftev.core.config.config import TrainConfig
    from ftev.core.engine.training.train import read_steps, train
    from ftev.core.engine.training.trainer import Trainer, plan_training
    from pretended_gpu import MEMORY

    loaded, rows = made(base, "generation", device)
    settings = TrainConfig(epochs=1, batch_size=8, learning_rate=1e-3, devices=1)
    t = Trainer(loaded, rows, plan_training(rows, settings), settings)
    before, limit = MEMORY.used, MEMORY.limit
    MEMORY.peak, MEMORY.refused = MEMORY.used, 0
    if room is not None:
        MEMORY.limit = round(before + room)
    try:
        losses = [s.loss_sum for s in read_steps(list(train(t)))]
    finally:
        MEMORY.limit = limit
    return {
        "losses": losses,
        "pieces": t.position.pieces,
        "refused": MEMORY.refused,
        "took": MEMORY.peak - before,
    }


def memory(base: Path) -> dict[str, Any]:
    """The same steps on the CPU, on the GPU, and there with too little memory for them."""
    from accelerate.state import AcceleratorState
    from pretended_gpu import pretended_gpu

    AcceleratorState._reset_state(reset_partial_state=True)  # it knows one device a process
    found = {"cpu": steps(base, "cpu")}
    AcceleratorState._reset_state(reset_partial_state=True)
    with pretended_gpu() as waits:
        found["gpu"] = steps(base, "cuda:0")
        found["little"] = steps(base, "cuda:0", 0.8 * found["gpu"]["took"])
    return found | {"waits": [[n, *key] for key, n in waits.items()]}


def waits_of(folder: Path) -> dict[str, Any]:
    """How often scoring and answering wait, of each kind of work: times, and what it comes to."""
    from ftev.core.engine.answering.generate import Voice, generate
    from ftev.core.engine.scoring.classification import SCORER as CLASSIFICATION
    from ftev.core.engine.scoring.completions import complete
    from ftev.core.engine.scoring.evaluate import score_tokens
    from ftev.core.engine.scoring.token_scores import score_answer
    from ftev.core.engine.training.probe import features
    from ftev.core.run.control import AskPrompt
    from pretended_gpu import pretended_gpu

    found: dict[str, Any] = {}
    with pretended_gpu() as waits:
        causal, rows = made(folder / "generation" / "base", "generation", "cuda:0", "lora")
        encoder, labelled = made(folder / "classification" / "base", "classification", "cuda:0")
        prompt, never = rows.ids[0][:5].tolist(), {-1}
        pair = {"base": causal.as_base(), "tuned": causal}
        prompts = [row.tolist() for row in rows.ids[:6]]
        work: dict[str, Callable[[], Any]] = {
            "score_tokens": lambda: list(score_tokens(causal, rows, "float32", 64)),
            "score_labels": lambda: list(CLASSIFICATION.score(encoder, labelled, "float32", 64)),
            "features": lambda: list(features(encoder, labelled, "float32", 64)),
            "complete": lambda: list(complete(causal, prompts, 5, never, "float32", 4096)),
            "pair": lambda: list(
                generate(
                    [Voice(name, loaded, stops=never) for name, loaded in pair.items()],
                    prompt,
                    AskPrompt(text="", max_new_tokens=9),
                )
            ),
            "score_answer": lambda: score_answer(causal, prompt, prompt[1:5]),
        }
        for name, do in work.items():
            do()  # what is found out of a model once
            waits.clear()
            started = time.monotonic()
            done = do()
            seconds = time.monotonic() - started
            kinds = [[n, *key] for key, n in waits.items()]
            found[name] = {"yields": len(done), "waits": kinds, "seconds": seconds}
    return found


def refused_ranks() -> str:
    """Two processes on a machine with one GPU."""
    from unittest.mock import patch

    from ftev.core.engine.distributed.ranks import join
    from ftev.core.errors import ConfigError
    from pretended_gpu import pretended_gpu

    world = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}
    with pretended_gpu(), patch.dict(os.environ, world), pytest.raises(ConfigError) as caught:
        join(cpu=False)
    return str(caught.value)


def main(place: Path) -> None:
    """All of it, and what the CPU makes of a part: to be compared, as JSON."""
    device_lines.watch()
    from pretended_gpu import set_up

    set_up()
    from ftev.core.engine.models.choices import Kernels, kernels
    from pretended_gpu import MixedDevicesError, pretended_gpu

    found: dict[str, Any] = {}
    for task, write in (("generation", write_llama), ("classification", write_bert)):
        write(place / task / "base")
        found[task] = whole_job(task, place / task)
    (place / "lora").mkdir()
    found["lora"] = lora_job(place / "lora")
    found["memory"] = memory(place / "generation" / "base")
    found["waits"] = waits_of(place)
    found["ranks"] = refused_ranks()
    with pretended_gpu():
        found["kernels"] = kernels(Kernels())
    with pretended_gpu(), pytest.raises(MixedDevicesError):
        torch.ones(2, device="cuda:0") + torch.ones(2)
    found["lines"] = sorted(line for line, ways in device_lines.seen.items() if True in ways)
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
JOBS = (*TASKS, "lora")


@pytest.mark.parametrize("job", JOBS)
def test_a_whole_job_runs_on_a_gpu_and_mixes_no_devices(job: str, found: dict[str, Any]) -> None:
    assert found[job]["ended"] == ["finished", ""]
    assert found[job]["device"] == "cuda:0"
    assert found[job]["precision"] == ("bfloat16" if job == "lora" else "float32")
    assert len(found[job]["losses"]) == STEPS


def test_its_losses_are_those_of_the_cpu(found: dict[str, Any]) -> None:
    assert found["memory"]["gpu"]["losses"] == pytest.approx(found["memory"]["cpu"]["losses"])


@pytest.mark.parametrize("job", [*JOBS, "memory"])
def test_training_waits_for_the_gpu_only_where_it_reads_losses(
    job: str, found: dict[str, Any]
) -> None:
    """Once an optimizer step at most: of several steps, together."""
    waits = [(n, what, where) for n, what, where in found[job]["waits"]]
    in_steps = [w for w in waits if w[2].startswith(("training/train.py", "training/trainer.py"))]
    assert {where for _, _, where in in_steps} == {"training/train.py read_steps"}
    assert sum(n for n, _, _ in in_steps) <= STEPS


def test_a_step_that_does_not_fit_is_cut_and_learns_the_same(found: dict[str, Any]) -> None:
    whole, little = found["memory"]["gpu"], found["memory"]["little"]
    assert (whole["pieces"], whole["refused"]) == (1, 0)
    assert little["pieces"] > 1
    assert little["refused"]
    assert little["took"] <= 0.8 * whole["took"]
    assert little["losses"] == pytest.approx(whole["losses"], rel=1e-5)


def test_a_stopped_run_goes_on_and_answers(found: dict[str, Any]) -> None:
    lora = found["lora"]
    assert (lora["stopped"], lora["resumed from"]) == ("stopped", 2)
    details, checkpoint, trace = (replies[1:] for replies in lora["replies"])
    assert details == [*["TokenMade"] * 6, *["Completed"] * 2, *["CrossScored"] * 2, "Done"]
    assert checkpoint == [*["TokenMade"] * 6, *["Completed"] * 2, "Done"]
    assert trace == ["Traced", "Done"]


def test_the_telemetry_is_that_of_the_driver(found: dict[str, Any]) -> None:
    assert found["lora"]["use"] == [0.87]
    assert max(found["lora"]["memory"]) > 100_000  # bytes of the weights at least


@pytest.mark.parametrize("work", ["score_tokens", "score_labels", "features"])
def test_an_evaluation_waits_a_few_times_a_second(work: str, found: dict[str, Any]) -> None:
    """However many batches it has: here 4 or more, each of them once waited for."""
    took = found["waits"][work]
    assert took["yields"] >= 4
    assert {where for _, _, where in took["waits"]} == {"models/devices.py read"}
    assert sum(n for n, _, _ in took["waits"]) <= 1 + took["seconds"] / 0.25


@pytest.mark.parametrize(
    ("work", "waits"),
    [
        ("complete", 5),  # a step of all rows
        ("pair", 2 + 8),  # the first token of each, then both together
        ("score_answer", 1),
    ],
)
def test_an_answer_waits_once_a_token(work: str, waits: int, found: dict[str, Any]) -> None:
    assert sum(n for n, _, _ in found["waits"][work]["waits"]) == waits, found["waits"][work]


def test_more_processes_than_gpus_are_refused(found: dict[str, Any]) -> None:
    assert "2 processes were started here" in found["ranks"]


def test_the_kernels_of_a_gpu_are_listed_with_why(found: dict[str, Any]) -> None:
    listed = found["kernels"]
    assert listed["device"] == "cuda:0"
    on = {kernel["name"] for kernel in listed["kernels"] if kernel["on"]}
    assert on == {
        "bfloat16 autocast",
        "variable-length attention",
        "attention by torch (SDPA)",
        "fused AdamW",
        "pinned copies",
    }
    assert all(kernel["why"] for kernel in listed["kernels"])
    sdpa = next(k["why"] for k in listed["kernels"] if "SDPA" in k["name"])
    assert sdpa == "flash, memory-efficient, cuDNN, plain; torch chooses"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("task", TASKS)
def test_a_whole_job_runs_on_a_real_gpu(task: str, tmp_path: Path) -> None:
    write = {"classification": write_bert, "generation": write_llama}[task]
    write(tmp_path / "base")
    config = job(task, tmp_path / "base", tmp_path)
    history, _ = take(replace(config, model=replace(config.model, precision="auto")), tmp_path)
    assert (history.finished.status, history.finished.error) == ("finished", "")
    assert history.device.precision == "bfloat16"
    assert max(history.samples.device_memory) > 0


def test_every_line_that_asks_what_the_device_is_was_run_on_the_gpu(found: dict[str, Any]) -> None:
    assert sorted(device_lines.every()) == found["lines"]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
