"""Rules that a whole run keeps: two real ones, one with an adapter, one with every weight."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from ftev.core.config.config import (
    DataConfig,
    EvaluateConfig,
    LoraConfig,
    ModelConfig,
    ObjectiveConfig,
    RunConfig,
    TrainConfig,
)
from ftev.core.engine.training.best import ValidationRows
from ftev.core.metrics.statistics import mcnemar
from ftev.core.report.report import build_report, render_markdown
from ftev.core.report.sections.parity import show_parity
from ftev.core.run.events import AnyEvent, Evaluated, EventReader, TrainingEnded
from ftev.core.run.history import History, read_history
from ftev.core.run.launch import start_worker
from ftev.core.run.runs import Run, create_run
from safetensors.torch import load_file
from waiting import patience

PATIENCE = patience(200.0)
LEAKED = 4


def finished(config: RunConfig, folder: Path) -> Run:
    run = create_run(config, folder / "runs")
    process = start_worker(run, "--serve-minutes", "0")
    process.wait(timeout=PATIENCE)
    history = read_history(run)
    assert history.finished is not None, run.log_path.read_text()
    assert history.finished.status == "finished", run.log_path.read_text()
    return run


def write_rows(path: Path, head: tuple[str, str], rows: list[tuple[str, str]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([head, *rows])


@pytest.fixture(scope="module")
def classified(tmp_path_factory: pytest.TempPathFactory, encoder_folder: Path) -> Run:
    """A classifier with an adapter; four of its test rows stand in train too."""
    folder = tmp_path_factory.mktemp("classified")
    texts = [("what a good cup", "good"), ("the tea was bad", "bad"), ("a warm day", "good")]
    train = [(f"{texts[i % 3][0]} tr {i}", texts[i % 3][1]) for i in range(48)]
    test = [(f"{texts[i % 3][0]} te {i}", texts[i % 3][1]) for i in range(20)]
    write_rows(folder / "train.csv", ("text", "label"), train)
    write_rows(folder / "test.csv", ("text", "label"), [*test, *train[:LEAKED]])
    config = RunConfig(
        task="classification",
        name="classified",
        model=ModelConfig(
            base=str(encoder_folder),
            adapter="lora",
            lora=LoraConfig(r=4, target_modules="all-linear"),
        ),
        data=DataConfig(train="train.csv", test="test.csv", validation=0.25, near_duplicates=False),
        train=TrainConfig(epochs=3, batch_size=12, learning_rate=1e-2, devices="cpu"),
        objective=ObjectiveConfig(metric="accuracy"),
        folder=str(folder),
    )
    return finished(config, folder)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, causal_folder: Path) -> Run:
    """A language model tuned with every weight, evaluated every second step."""
    folder = tmp_path_factory.mktemp("written")
    rows = [(f"cup number {i} is", f"warm tea of day {i % 7}") for i in range(40)]
    write_rows(folder / "train.csv", ("prompt", "completion"), rows[:30])
    write_rows(folder / "test.csv", ("prompt", "completion"), rows[30:])
    config = RunConfig(
        task="generation",
        name="written",
        model=ModelConfig(base=str(causal_folder), precision="float32"),
        data=DataConfig(train="train.csv", test="test.csv", validation=0.2),
        train=TrainConfig(
            max_steps=7, batch_size=8, learning_rate=1e-3, eval_every=2, devices="cpu"
        ),
        evaluate=EvaluateConfig(self_test_rows=5, parity_rows=5),
        folder=str(folder),
    )
    return finished(config, folder)


@pytest.fixture(params=["classified", "written"])
def run(request: pytest.FixtureRequest) -> Run:
    found: Run = request.getfixturevalue(request.param)
    return found


def events_of(run: Run) -> list[AnyEvent]:
    return list(EventReader(run.events_path).read_all())


def test_T1_the_base_is_evaluated_at_step_0_and_the_model_after_the_last(run: Run) -> None:
    history = read_history(run)
    steps = [e.step for e in history.validation_series()]
    assert steps[0] == 0
    assert steps[-1] == history.step == history.max_steps
    if history.task == "generation":  # a new head is no base model (C6)
        start = history.evaluation("validation", "base", 0)
        first = history.evaluation("validation", "tuned", 0)
        assert start is not None
        assert first is not None
        assert (start.loss_sum, start.loss_count) == (first.loss_sum, first.loss_count)
        assert steps == [0, 2, 3, 4, 6, 7]  # every second step, and at each epoch's end


def test_T3_the_best_checkpoint_is_that_of_validation_and_test_is_read_once(run: Run) -> None:
    events, history = events_of(run), read_history(run)
    series = [e for e in history.validation_series() if e.step]
    if history.task == "generation":  # V11 is of classifiers, whose metric is not the loss
        best = min(series, key=lambda e: e.loss_sum / e.loss_count)
        assert history.best_step == best.step
    ended = next(i for i, e in enumerate(events) if isinstance(e, TrainingEnded))
    on_test = [i for i, e in enumerate(events) if isinstance(e, Evaluated) and e.split == "test"]
    assert min(on_test) > ended
    models = [events[i].model for i in on_test]  # type: ignore[union-attr]
    assert len(models) == len(set(models))  # each model once


def test_V11_the_lowest_loss_is_kept_of_those_that_accuracy_cannot_tell_apart(
    classified: Run,
) -> None:
    history = read_history(classified)
    series = [e for e in history.validation_series() if e.step]
    rows = {e.step: ValidationRows.of(classified).read(e.step) for e in series}
    right = {s: f["label"] == f["predicted"] for s, f in rows.items() if f is not None}
    top = max(series, key=lambda e: (e.correct, -e.loss_sum))

    def is_tied(e: Evaluated) -> bool:
        fixed = int((right[top.step] & ~right[e.step]).sum())
        broke = int((~right[top.step] & right[e.step]).sum())
        return mcnemar(fixed, broke).exact > 0.05

    kept = min((e for e in series if is_tied(e)), key=lambda e: e.loss_sum)
    chosen = history.choices[-1]
    assert history.best_step == chosen.step == kept.step
    assert (chosen.top_step, chosen.metric) == (top.step, "accuracy")
    assert chosen.value == kept.correct / kept.count
    assert chosen.loss == pytest.approx(kept.loss_sum / kept.loss_count)
    report = build_report(classified)
    result = report["run"]["kept"]["reason"]
    assert result.startswith(f"Step {kept.step} was kept: ")
    assert result in render_markdown(report)


def test_D2_the_headline_stands_on_all_rows_and_on_the_clean_ones(classified: Run) -> None:
    report = build_report(classified)
    assert report["data"]["leakage"]["exact"] == LEAKED
    results = report["results"]
    for model in ("majority", "probe", "tuned"):
        every, clean = results["test"][model], results["test_clean"][model]
        assert (every.n, clean.n) == (24, 20)
        for result in (every, clean):
            accuracy = result.metrics["accuracy"]
            assert accuracy.low <= accuracy.value <= accuracy.high
    stored = pl.read_parquet(classified.predictions / "test.tuned.parquet")
    assert stored.height == 24  # nothing is deleted
    text = render_markdown(report)
    assert "test_clean" in text
    assert "leakage" in {finding["code"] for finding in report["findings"]}


def analysis(history: History, name: str, model: str) -> dict[str, Any]:
    return history.analyses["test"][name][model]


def test_L5_the_final_evaluation_tests_itself(run: Run) -> None:
    history = read_history(run)
    assert "validation" not in history.analyses or (
        "self_test" not in history.analyses["validation"]  # the judged split only
    )
    generation = history.task == "generation"
    assert set(history.analyses["test"]["self_test"]) == (
        {"base", "tuned"} if generation else {"tuned"}
    )
    found = analysis(history, "self_test", "tuned")
    assert found.passed
    assert found.of == (10 if generation else 24)
    assert found.rows == 5 if generation else 8 <= found.rows < 24  # its budget: training
    assert (found.tolerance, found.changed_predictions) == (1e-5, 0)
    assert len(found.layouts) + len(found.left_out) == 6
    assert all(x.largest_loss_drift <= 1e-5 for x in found.layouts)


def test_G3_what_was_scored_is_what_ships(run: Run) -> None:
    found = analysis(read_history(run), "parity", "tuned")
    assert found.passed, found
    adapted = run.id.endswith("classified")
    forms = ["in memory, adapter on", "adapter merged"] if adapted else ["in memory"]
    assert [x.weights for x in found.weights] == [*forms, "read back from model/"]
    assert found.metric == ("accuracy" if adapted else "loss")
    for form in found.weights:
        assert form.metric == pytest.approx(found.scored, abs=1e-5)
    assert math.isfinite(found.scored)
    assert not found.skipped


def test_G3_the_adapter_brings_what_its_base_lacks(classified: Run) -> None:
    """The base has no pooler: drawn anew by each who loads it, it would give other answers."""
    tensors = load_file(classified.model_path / "adapter_model.safetensors")
    assert any("pooler.dense.weight" in name for name in tensors)
    assert any("classifier.weight" in name for name in tensors)


def test_the_report_shows_both(run: Run) -> None:
    texts = [getattr(block, "text", "") for block in show_parity(build_report(run))]
    assert texts[0] == "Can these numbers be repeated?"
    assert sum("they agree with the stored scores" in text for text in texts) >= 2
    assert not any("DO NOT AGREE" in text for text in texts)


def diverged(folder: Path, encoder_folder: Path, **train: Any) -> tuple[Run, History]:
    """A classifier whose first step with an effect is one of 1e12; four steps an epoch."""
    texts = [("what a good cup", "good"), ("the tea was bad", "bad"), ("a warm day", "good")]
    rows = [(f"{texts[i % 3][0]} {i}", texts[i % 3][1]) for i in range(40)]
    write_rows(folder / "train.csv", ("text", "label"), rows)
    settings = {"batch_size": 8, "learning_rate": 1e12, "max_grad_norm": 0.0, "eval_every": 1}
    config = RunConfig(
        task="classification",
        name="diverged",
        model=ModelConfig(base=str(encoder_folder)),
        data=DataConfig(train="train.csv", validation=0.2),
        train=TrainConfig(**settings | train, devices="cpu"),
        evaluate=EvaluateConfig(prompts=["a warm cup"], probe=False, parity_rows=0),
        folder=str(folder),
    )
    run = create_run(config, folder / "runs")
    process = start_worker(run, "--serve-minutes", "0")
    assert process.wait(timeout=PATIENCE) == 1, run.log_path.read_text()
    return run, read_history(run)


def test_V5_a_diverged_run_fails_and_keeps_its_last_finite_checkpoint(
    tmp_path: Path, encoder_folder: Path
) -> None:
    """Warm-up leaves the first step without effect: its checkpoint is a finite one."""
    run, history = diverged(tmp_path, encoder_folder, epochs=30.0, warmup_ratio=0.001)
    assert history.finished is not None
    assert (history.finished.status, history.finished.exit_code) == ("failed", 1)
    error = history.finished.error
    assert "diverged since step 3: 20 steps in a row had no finite gradient" in error
    assert "checkpoint with finite scores is that of step 1, in checkpoints/step_000001" in error
    assert history.step == 22
    assert history.status(run.worker_alive()) == "failed"
    assert [p.name for p in run.checkpoints.iterdir()] == ["step_000001"]
    assert (history.best_step, history.ended, history.results) == (1, None, {})
    broken = history.evaluation("validation", "tuned", 2)
    assert broken is not None
    assert broken.no_prediction == broken.rows == 8
    assert (broken.correct, broken.confusion) == (0, [])
    assert math.isnan(broken.loss_sum)
    assert history.change(1, 2) is None
    assert history.prompts[-1].tuned_probabilities == {}
    assert not run.model_path.exists()


def test_V5_a_run_without_a_finite_model_fails_however_short(
    tmp_path: Path, encoder_folder: Path
) -> None:
    run, history = diverged(tmp_path, encoder_folder, max_steps=3, warmup_ratio=0.0)
    assert history.finished is not None
    assert "diverged since step 2" in history.finished.error
    assert "No checkpoint with finite scores was saved before" in history.finished.error
    assert not run.checkpoints.exists()
