"""Weights of labels in the training loss, and heads that start from a linear probe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ftev.core.config.config import ModelConfig, RunConfig, TrainConfig
from ftev.core.engine.models.devices import drawn_from
from ftev.core.engine.models.load import add_adapter, load
from ftev.core.engine.models.models import Loaded
from ftev.core.engine.scoring.classification import SCORER
from ftev.core.engine.scoring.multi_label import SCORER as SETS
from ftev.core.engine.training.probe import (
    Probe,
    features,
    fit_number_probe,
    fit_probe,
    inputs_of_head,
    put_on_head,
)
from ftev.core.engine.training.train import read_steps, train
from ftev.core.engine.training.trainer import Trainer, learning_rate, plan_training
from ftev.core.run.history import read_history
from ftev.core.run.runs import create_run
from scoring import made_texts, rows_of_labels, scores
from sklearn.linear_model import Ridge
from test_merge import reviews as reviews  # a fixture
from test_worker import finish
from torch.nn import functional

LABELS = ("bad", "good", "odd")


def classifier(folder: Path, adapter: str = "none") -> Loaded:
    config = RunConfig(task="classification", model=ModelConfig(base=str(folder), adapter=adapter))
    with drawn_from(1):
        loaded = load(config, str(folder), LABELS, trainable=True)
        if adapter != "none":
            add_adapter(loaded, config)
    return loaded


def still(loaded: Loaded) -> Loaded:
    for module in loaded.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return loaded


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("weights", ["balanced", {"odd": 7.0}])
def test_three_weighted_steps_are_those_of_a_plain_loop(
    encoder_folder: Path, weights: object, parts: int
) -> None:
    ours, theirs = still(classifier(encoder_folder)), still(classifier(encoder_folder))
    rows = rows_of_labels(ours, made_texts(18, longest=9))
    assert rows.labels is not None
    rows.labels = np.array([0, 0, 0, 0, 1, 0] * 3)
    rows.labels[[5, 17]] = 2
    settings = TrainConfig(
        epochs=1,
        batch_size=6,
        learning_rate=1e-2,
        gradient_accumulation_steps=parts,
        devices="cpu",
        class_weights=weights,  # type: ignore[arg-type]
    )
    counts = np.bincount(rows.labels)
    vector = 18 / (3 * counts) if weights == "balanced" else np.array([1.0, 1.0, 7.0])
    criterion = SCORER.criterion(ours, rows, settings)
    assert criterion.words.startswith("odd 7" if weights != "balanced" else "odd 3")
    plan = plan_training(rows, settings)
    order = [batch for epoch in plan.epochs for batch in epoch]
    trainer = Trainer(ours, rows, plan, settings, criterion=criterion)
    steps = read_steps(list(train(trainer)))
    optimizer = Trainer(theirs, rows, plan, settings).optimizer
    for number, (step, batch) in enumerate(zip(steps, order, strict=True)):
        given = theirs.tokenizer.pad(
            {"input_ids": [rows.ids[r].tolist() for r in batch]}, return_tensors="pt"
        )
        logits = theirs.model.train()(**given).logits
        loss = functional.cross_entropy(
            logits, torch.from_numpy(rows.labels[batch]), torch.tensor(vector, dtype=torch.float32)
        )
        assert step.loss_count == len(batch)
        assert step.loss_sum / step.loss_count == pytest.approx(float(loss.detach()), rel=1e-4)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(theirs.model.parameters(), settings.max_grad_norm)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(number, plan, settings)
        optimizer.step()
        optimizer.zero_grad()


def test_weights_of_several_labels_are_those_of_their_positives(encoder_folder: Path) -> None:
    loaded = classifier(encoder_folder)
    rows = rows_of_labels(loaded, made_texts(6))
    rows.labels, rows.wanted = None, np.array([[1, 0, 1]] + [[0, 0, 1]] * 5, dtype=np.float32)
    found = SETS.criterion(loaded, rows, TrainConfig(class_weights="balanced"))
    assert found.words == "good 6, bad 5, odd 0"
    assert found.row_weights is None


@pytest.mark.parametrize(
    ("settings", "task", "what"),
    [
        ({"class_weights": {"fraud": 20.0}}, "generation", "is for tasks with labels"),
        ({"class_weights": "balanced"}, "regression", "is for tasks with labels"),
        ({"head": "probe"}, "generation", "is for tasks with a head"),
        ({"head": "probe", "sharding": "full"}, "classification", "starts from a probe on one"),
    ],
)
def test_settings_that_cannot_be_meant(settings: dict[str, object], task: str, what: str) -> None:
    config = RunConfig(
        task=task,  # type: ignore[arg-type]
        model=ModelConfig(base="b"),
        train=TrainConfig(**settings),  # type: ignore[arg-type]
    )
    assert any(what in str(fault) for fault in config.faults())


def test_a_weight_of_no_label_is_named_with_the_nearest() -> None:
    config = RunConfig(
        task="classification",
        model=ModelConfig(base="b"),
        train=TrainConfig(class_weights={"frud": 20.0}),
    )
    with pytest.raises(Exception, match='Did you mean "fraud"') as caught:
        config.check_labels(["fraud", "legit"])
    assert "train.class_weights.frud" in str(caught.value)


@pytest.mark.parametrize("kind", ["encoder", "lora", "causal"])
def test_the_head_answers_as_the_probe_that_it_starts_from(
    kind: str, encoder_folder: Path, causal_folder: Path
) -> None:
    folder = causal_folder if kind == "causal" else encoder_folder
    loaded = classifier(folder, "lora" if kind == "lora" else "none")
    rows = rows_of_labels(loaded, made_texts(60, seed=4))
    assert rows.labels is not None
    *_, read = inputs_of_head(loaded, rows, "float32", 256)
    assert not isinstance(read, int)
    *_, probe = fit_probe((read, rows.labels), None, LABELS)
    assert isinstance(probe, Probe)
    before = scores(loaded, rows)
    put_on_head(probe, loaded, read)
    found = scores(loaded, rows)
    assert found["nll"].mean() < before["nll"].mean()
    expected = probe.score(read, rows)
    within = 0.3 if kind == "causal" else 1e-3  # a head without a bias holds one nearly
    assert found["nll"].to_numpy() == pytest.approx(expected["nll"].to_numpy(), abs=within)


def test_a_ridge_probe_is_that_of_scikit_learn(encoder_folder: Path) -> None:
    loaded = classifier(encoder_folder)
    rows = rows_of_labels(loaded, made_texts(50, seed=2))
    *_, read = features(loaded, rows, "float32", 256)
    assert not isinstance(read, int)
    targets = np.stack([read[:, 0] * 40 + 1000, rows.lengths * 2.0], axis=1)
    *_, probe = fit_number_probe((read, targets), None, ("a", "b"))
    assert isinstance(probe, Probe)
    x = read.astype(np.float64)
    standard = (x - x.mean(0)) / (x.std(0) + 1e-6)
    ridge = Ridge(alpha=1.0, solver="cholesky").fit(standard, targets)
    assert probe.logits(read) == pytest.approx(ridge.predict(standard), rel=1e-6)


def test_a_run_starts_from_a_probe_with_weighted_labels(reviews: RunConfig, tmp_path: Path) -> None:
    model = replace(reviews.model, adapter="none")
    config = replace(
        reviews,
        model=model,
        train=replace(
            reviews.train, epochs=1, head="probe", class_weights={"cold": 2.0}, devices="cpu"
        ),
    )
    run = create_run(config, tmp_path / "runs")
    history = finish(run)
    assert history.finished is not None
    assert history.finished.status == "finished", history.finished
    notes = [note.text for note in read_history(run).notes]
    assert any("the head starts from a linear probe of" in note for note in notes)
    assert any("labels weigh cold 2, warm 1 in the training loss" in note for note in notes)
    start = history.evaluation("validation", "tuned", 0)
    assert start is not None
    assert start.loss_sum / start.loss_count < np.log(2)
