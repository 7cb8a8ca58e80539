"""Prompts answered by an earlier checkpoint, and early stopping told as the engine keeps it."""

from __future__ import annotations

import csv
import math
import shutil
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from ftev.core.config.config import (
    DataConfig,
    EarlyStopping,
    EvaluateConfig,
    ModelConfig,
    RunConfig,
    TrainConfig,
)
from ftev.core.config.config_file import load_config
from ftev.core.engine.answering import answer
from ftev.core.engine.answering.answer import at_checkpoint, make_room_for_training
from ftev.core.engine.scoring.rows import prompt_text
from ftev.core.engine.training.best import Best, update_best
from ftev.core.engine.training.checkpoints import checkpoint_path
from ftev.core.engine.worker.session import Session, load_finished
from ftev.core.errors import RunError
from ftev.core.run.control import AskPrompt, Completed, Labelled, ask
from ftev.core.run.estimate import training_memory
from ftev.core.run.events import EventWriter
from ftev.core.run.history import read_history
from ftev.core.run.launch import start_worker, wait_until_listening
from ftev.core.run.listen import Listener
from ftev.core.run.runs import Run, create_run
from ftev.tui.screens.charts.plot import waited
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
from waiting import patience, wait_for

PROMPT = "the tea was bad"


def tea(folder: Path, causal_folder: Path, adapter: str = "none") -> Run:
    """A run of two epochs that nobody has begun."""
    with (folder / "train.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["prompt", "completion"])
        writer.writerows(
            [f"the tea of day {n} was", "bad and the day was worse"] for n in range(60)
        )
    config = RunConfig(
        task="generation",
        name="tea",
        model=ModelConfig(base=str(causal_folder), adapter=adapter, precision="float32"),
        data=DataConfig(train="train.csv", validation=0.1),
        train=TrainConfig(epochs=2, batch_size=16, learning_rate=1e-2, devices="cpu"),
        evaluate=EvaluateConfig(max_new_tokens=6, parity_rows=0),
        folder=str(folder),
    )
    return create_run(config, folder / "runs")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, causal_folder: Path) -> Run:
    run = tea(tmp_path_factory.mktemp("tea"), causal_folder)
    assert start_worker(run, "--serve-minutes", "0").wait(timeout=patience(120)) == 0, (
        run.log_path.read_text()
    )
    return run


def asked_at(checkpoint: int | None) -> AskPrompt:
    return AskPrompt(text=PROMPT, max_new_tokens=1, likelihoods="all", checkpoint=checkpoint)


def answers(run: Run, checkpoint: int | None) -> dict[str, float]:
    """The log-likelihood of the last token of the prompt under each model: weights tell apart."""
    found = [r for r in ask(run, asked_at(checkpoint), 60.0) if isinstance(r, Completed)]
    return {r.model: r.likelihoods[-2].log_likelihood or math.nan for r in found}


def test_a_checkpoint_answers_and_the_model_of_now_is_not_touched(trained: Run) -> None:
    history = read_history(trained)
    first, *_, last = [c.step for c in history.checkpoints]
    assert (training_memory(history) or 0) > 0  # sampled, although this is over in a moment
    assert first < last
    process = start_worker(trained, "--serve", "--serve-minutes", "1")
    wait_until_listening(trained, process)
    try:
        now, then, again = (answers(trained, step) for step in (None, first, None))
        with pytest.raises(RunError, match="step 3 was not kept"):
            answers(trained, 3)
    finally:
        process.terminate()
        process.wait()
    assert now == again
    assert then["base"] == now["base"]
    assert then["tuned"] != now["tuned"]
    lines = [p.step for p in read_history(trained).prompts]
    assert lines == [last, first, last]


def test_the_adapter_of_then_answers_over_the_same_base(
    tmp_path: Path, causal_folder: Path
) -> None:
    run = tea(tmp_path, causal_folder, "lora")
    process = start_worker(run, "--serve-minutes", "1")  # it goes on to serve
    try:
        wait_for(lambda: process.poll() or read_history(run).finished, "the end of the run")
        assert process.poll() is None, run.log_path.read_text()
        first, *_, last = [c.step for c in read_history(run).checkpoints]
        assert (checkpoint_path(run, first) / "adapter_config.json").exists()
        now, then, again = (answers(run, step) for step in (None, first, None))
    finally:
        process.terminate()
        process.wait()
    assert now == again
    assert then["base"] == now["base"] == pytest.approx(_by_hand(causal_folder), abs=1e-5)
    for text, step in ((then, first), (now, last)):
        by_hand = _by_hand(causal_folder, checkpoint_path(run, step))
        assert text["tuned"] == pytest.approx(by_hand, abs=1e-5)
    assert abs(then["tuned"] - now["tuned"]) > 1e-3


def _by_hand(base: Path, adapter: Path | None = None) -> float:
    """The same log-likelihood with transformers and peft alone."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, str(adapter))
    ids = torch.tensor([[tokenizer.bos_token_id, *tokenizer(prompt_text(PROMPT, ""))["input_ids"]]])
    with torch.no_grad():
        scores = model.eval()(ids).logits[0, -2].log_softmax(-1)
    return float(scores[ids[0, -1]])


def test_the_last_checkpoint_stays_loaded_where_there_is_room(
    trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = Run(shutil.copytree(trained.path, tmp_path / "copy"))
    first, *_, last = [c.step for c in read_history(trained).checkpoints]
    with Listener(trained) as listener, closing(EventWriter(trained.events_path)) as events:
        s = Session(trained, load_config(trained.path / "run.toml"), events, listener)
        load_finished(s)
        s.step = 10_000  # as in training: neither checkpoint is the model of now
        once = at_checkpoint(s, asked_at(first)).tuned
        assert at_checkpoint(s, asked_at(first)).tuned is once
        assert at_checkpoint(s, asked_at(last)).tuned is not once
        assert s.earlier is not None
        assert s.earlier[0] == last
        assert at_checkpoint(s, asked_at(None)) is s
        make_room_for_training(s)
        assert s.earlier is not None
        monkeypatch.setattr(answer, "free_memory", lambda device: 1 << 10)
        make_room_for_training(s)
        assert s.earlier is None
        (note,) = read_history(trained).notes[-1:]
        assert f"checkpoint of step {last} does not stay loaded" in note.text
        at_checkpoint(s, asked_at(first))
        shutil.rmtree(checkpoint_path(trained, first))
        with pytest.raises(RunError, match=f"step {first} was not kept"):
            at_checkpoint(s, asked_at(first))
        assert s.earlier is None


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([0.1, 0.2, 0.25, 0.3, 0.5, math.nan]), max_size=8),
    st.sampled_from([0.0, 0.06]),
    st.sampled_from(["loss", "accuracy"]),
)
def test_the_chart_counts_patience_as_the_engine_does(
    values: list[float], min_delta: float, metric: str
) -> None:
    best, stop = Best(), EarlyStopping(patience=3, min_delta=min_delta)
    for step, value in enumerate(values, 1):
        update_best(best, value, step, metric, stop)
    found = waited(values, min_delta, lower_is_better=metric == "loss")
    assert found == (best.reference, best.since)


@pytest.mark.parametrize("fitted", [False, True])
def test_the_tuned_model_answers_before_a_probe_is_fitted(
    fitted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two steps reading train for the probe takes minutes."""
    asked, done = AskPrompt(text="a film"), []
    probe = SimpleNamespace(precision="float32", probabilities=lambda found: torch.ones(1, 1))
    s = SimpleNamespace(
        base=None,
        tuned="tuned",
        labels=["good"],
        base_has_head=False,
        probe=probe if fitted else None,
        task=SimpleNamespace(numbers=False),
        config=SimpleNamespace(evaluate=EvaluateConfig()),
        thresholds_of=lambda _: {},
    )
    monkeypatch.setattr(answer, "_rows_of", lambda *_: None)
    monkeypatch.setattr(answer, "_scored", lambda *_: {"good": 1.0})
    monkeypatch.setattr(answer, "features", lambda *_: iter([0, torch.ones(1, 1)]))
    monkeypatch.setattr(answer, "find_probe", lambda _: done.append("fitted") or probe)
    for reply in answer.label_text(s, asked):  # type: ignore[arg-type]
        assert isinstance(reply, Labelled)
        done.append(reply.model)
    assert done == (["fitted", "base", "tuned"] if fitted else ["tuned", "fitted", "base"])
