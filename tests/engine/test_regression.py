"""Regression through the engine: transformers' loss, and weights saved in the data's units."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from ftev.core.config.config import DataConfig, EvaluateConfig, ModelConfig, RunConfig, TrainConfig
from ftev.core.engine.models.devices import drawn_from
from ftev.core.engine.models.load import add_adapter, load
from ftev.core.engine.models.models import Loaded, save
from ftev.core.engine.models.scales import Scale, fold, unfold, use_scale
from ftev.core.engine.scoring.regression import SCORER
from ftev.core.engine.scoring.rows import TokenRows
from ftev.core.engine.training.train import read_steps, train
from ftev.core.engine.training.trainer import Trainer, plan_training
from ftev.core.run.runs import create_run
from test_worker import all_agree, finish
from transformers import AutoModelForSequenceClassification, AutoTokenizer

GOOD, BAD = ("warm", "fine"), ("cold", "late")
MEAN, UNIT = [1000.0], [150.0]


def loaded_from(folder: Path, names: tuple[str, ...] = ("score",), adapter: str = "none") -> Loaded:
    config = RunConfig(task="regression", model=ModelConfig(base=str(folder), adapter=adapter))
    with drawn_from(1):
        found = load(config, str(folder), names, trainable=True)
        if adapter != "none":
            add_adapter(found, config)
    return found


def texts(count: int) -> tuple[list[str], list[list[float]]]:
    """The number of warm words is what is predicted, times 100 and more."""
    random = np.random.default_rng(2)
    marks = random.integers(0, 2, (count, 5))
    words = [[(BAD, GOOD)[m][i % 2] for i, m in enumerate(row)] for row in marks]
    return [f"the cup was {' '.join(w)}" for w in words], (1000 + 100 * marks.sum(1))[
        :, None
    ].tolist()


def rows_of(loaded: Loaded, count: int) -> TokenRows:
    given, targets = texts(count)
    frame = pl.DataFrame({"row_id": range(count), "text": given, "targets": targets})
    *_, rows = SCORER.forms["text_numbers"](frame, loaded)
    assert isinstance(rows, TokenRows)
    return rows


def test_three_steps_are_those_of_transformers_on_standard_targets(encoder_folder: Path) -> None:
    ours, theirs = loaded_from(encoder_folder), loaded_from(encoder_folder)
    assert theirs.model.config.problem_type == "regression"
    use_scale(ours, MEAN, UNIT)
    rows = rows_of(ours, 12)
    settings = TrainConfig(epochs=1, batch_size=4, learning_rate=1e-2, devices="cpu")
    for model in (ours.model, theirs.model):
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
    plan = plan_training(rows, settings)
    order = [batch for epoch in plan.epochs for batch in epoch]
    losses = [
        step.loss_sum / step.loss_count
        for step in read_steps(
            list(
                train(
                    Trainer(
                        ours, rows, plan, settings, criterion=SCORER.criterion(ours, rows, settings)
                    )
                )
            )
        )
    ]
    trainer = Trainer(theirs, rows, plan, settings)  # its optimizer alone is used
    assert rows.wanted is not None
    for step, batch in enumerate(order):
        given = theirs.tokenizer.pad(
            {"input_ids": [rows.ids[r].tolist() for r in batch]}, return_tensors="pt"
        )
        standard = (rows.wanted[batch] - MEAN) / UNIT
        out = theirs.model.train()(
            **given, labels=torch.tensor(standard, dtype=torch.float32)[:, 0]
        )
        assert losses[step] == pytest.approx(float(out.loss.detach()), rel=1e-4)
        out.loss.backward()
        torch.nn.utils.clip_grad_norm_(theirs.model.parameters(), settings.max_grad_norm)
        rate = read_rate(plan, settings, step)
        for group in trainer.optimizer.param_groups:
            group["lr"] = rate
        trainer.optimizer.step()
        trainer.optimizer.zero_grad()


def read_rate(plan: object, settings: TrainConfig, step: int) -> float:
    from ftev.core.engine.training.trainer import learning_rate

    return learning_rate(step, plan, settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("adapter", ["none", "lora"])
def test_a_head_is_folded_into_the_units_and_back(
    encoder_folder: Path, tmp_path: Path, adapter: str
) -> None:
    """Folded it answers the same by itself; saved, transformers alone gives the same numbers."""
    loaded = loaded_from(encoder_folder, adapter=adapter)
    use_scale(loaded, MEAN, UNIT)
    rows = rows_of(loaded, 10)
    *_, before = SCORER.score(loaded, rows, "float32", 256)
    fold(loaded)
    scale = Scale.of(loaded)
    assert scale is not None
    assert scale.folded
    *_, after = SCORER.score(loaded, rows, "float32", 256)
    numbers = [np.array(f["predicted"].to_list()) for f in (before, after)]
    assert numbers[1] == pytest.approx(numbers[0], rel=1e-5)
    assert before["nll"].to_numpy() == pytest.approx(after["nll"].to_numpy(), rel=1e-3)
    if adapter == "none":
        save(loaded, tmp_path / "model")
        model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model")
        tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
        given = tokenizer(texts(10)[0], return_tensors="pt", padding=True)
        with torch.no_grad():
            assert model(**given).logits.numpy() == pytest.approx(numbers[0], rel=1e-4)
    unfold(loaded)
    *_, again = SCORER.score(loaded, rows, "float32", 256)
    assert np.array(again["predicted"].to_list()) == pytest.approx(numbers[0], rel=1e-5)


@contextmanager
def written(folder: Path, base: Path) -> Iterator[RunConfig]:
    given, targets = texts(120)
    with (folder / "train.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "score"])
        writer.writerows((text, value) for text, [value] in zip(given, targets, strict=True))
    yield RunConfig(
        task="regression",
        model=ModelConfig(base=str(base)),
        data=DataConfig(train=str(folder / "train.csv"), validation=0.2, test=0.2),
        train=TrainConfig(epochs=6, batch_size=16, learning_rate=5e-3, devices="cpu"),
        evaluate=EvaluateConfig(prompts=["the cup was warm fine warm"], parity_rows=8),
        folder=str(folder),
    )


def test_a_run_from_the_file_to_the_verdict(encoder_folder: Path, tmp_path: Path) -> None:
    with written(tmp_path, encoder_folder) as config:
        run = create_run(config, tmp_path / "runs")
        history = finish(run)
        assert history.finished is not None
        assert history.finished.status == "finished", history.finished
        results = history.results["test"]
        assert list(results) == ["mean", "probe", "tuned"]
        assert results["tuned"].metrics["mae"].value < results["mean"].metrics["mae"].value
        parity = history.analyses["test"]["parity"]["tuned"]
        assert parity.passed, parity  # type: ignore[attr-defined]
        answers = [p.tuned for p in history.prompts if p.probe]
        assert answers[-1].startswith("score 1,")
        assert all_agree(run)
        scored = [e.values for e in history.evaluations if e.split == "validation"]
        assert all("mae" in values for values in scored if values)
        again = replace(
            config, model=replace(config.model, base=str(run.model_path), tuned=str(run.model_path))
        )
        given = replace(
            again, data=replace(config.data, train=None, validation=None, test=config.data.train)
        )
        twice = finish(create_run(given, tmp_path / "again"))
        assert (
            twice.results["test"]["base"].metrics["mae"]
            == twice.results["test"]["tuned"].metrics["mae"]
        )
