"""Prompts answered by an earlier checkpoint, and early stopping told as the engine keeps it."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
from ftev.core.config import (
    DataConfig,
    EarlyStopping,
    EvaluateConfig,
    ModelConfig,
    RunConfig,
    TrainConfig,
)
from ftev.core.control import AskPrompt, Completed, ask
from ftev.core.engine.checkpoints import Best
from ftev.core.engine.validate import update_best
from ftev.core.errors import RunError
from ftev.core.estimate import training_memory
from ftev.core.history import read_history
from ftev.core.launch import start_worker, wait_until_listening
from ftev.core.runs import Run, create_run
from ftev.tui.widgets.chart_marks import waited
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.fixture
def trained(tmp_path: Path, causal_folder: Path) -> Run:
    with (tmp_path / "train.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["prompt", "completion"])
        writer.writerows(
            [f"the tea of day {n} was", "bad and the day was worse"] for n in range(60)
        )
    config = RunConfig(
        task="generation",
        name="tea",
        model=ModelConfig(base=str(causal_folder), precision="float32"),
        data=DataConfig(train="train.csv", validation=0.1),
        train=TrainConfig(epochs=2, batch_size=16, learning_rate=1e-2, devices="cpu"),
        evaluate=EvaluateConfig(max_new_tokens=6),
        folder=str(tmp_path),
    )
    run = create_run(config, tmp_path / "runs")
    assert start_worker(run, "--serve-minutes", "0").wait(timeout=120) == 0, (
        run.log_path.read_text()
    )
    return run


def answers(run: Run, checkpoint: int | None) -> dict[str, float | None]:
    """The log-likelihood of the last token of the prompt under each model: weights tell apart."""
    asked = AskPrompt(
        text="the tea was bad", max_new_tokens=1, likelihoods="all", checkpoint=checkpoint
    )
    found = [r for r in ask(run, asked, 60.0) if isinstance(r, Completed)]
    return {r.model: r.likelihoods[-2].log_likelihood for r in found}


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
    told = [p.step for p in read_history(trained).prompts]
    assert told == [last, first, last]


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
