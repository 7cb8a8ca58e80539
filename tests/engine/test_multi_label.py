"""Rows with several labels through the engine: transformers' loss, a probe per label, a run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from ftev.core.config.config import DataConfig, EvaluateConfig, ModelConfig, RunConfig, TrainConfig
from ftev.core.engine.models.devices import drawn_from
from ftev.core.engine.models.load import load
from ftev.core.engine.models.models import Loaded, save
from ftev.core.engine.scoring.multi_label import SCORER
from ftev.core.engine.scoring.rows import TokenRows
from ftev.core.engine.training.probe import fit_label_probes, load_probe
from ftev.core.engine.training.train import read_steps, train
from ftev.core.engine.training.trainer import Trainer, learning_rate, plan_training
from ftev.core.errors import ModelError
from ftev.core.metrics.analyses import LabelThresholds
from ftev.core.report.formats import md
from ftev.core.report.formats.csv import row_frames
from ftev.core.report.report import build_report, render_json
from ftev.core.run.runs import create_run
from sklearn.linear_model import LogisticRegression
from test_report_schema import faults
from test_worker import all_agree, finish

LABELS = ("warm", "late")
SETTINGS = TrainConfig(epochs=1, batch_size=4, learning_rate=1e-2, devices="cpu")


def examples(count: int, seed: int = 2) -> list[tuple[str, list[str]]]:
    """Each label has a word of its own; some rows have both, some none."""
    marks = np.random.default_rng(seed).integers(0, 2, (count, 2))
    words = [["cold", "warm"], ["on time", "late"]]
    return [
        (
            f"the cup number {i} was {words[0][a]} and {words[1][b]}",
            [label for label, mark in zip(LABELS, (a, b), strict=True) if mark],
        )
        for i, (a, b) in enumerate(marks.tolist())
    ]


def loaded_from(folder: Path) -> Loaded:
    config = RunConfig(task="classification", model=ModelConfig(base=str(folder)))
    with drawn_from(1):
        return load(config.for_form("text_labels"), str(folder), LABELS, trainable=True)


def rows_of(loaded: Loaded, count: int) -> TokenRows:
    texts, labels = zip(*examples(count), strict=True)
    frame = pl.DataFrame(
        {
            "row_id": range(count),
            "text": texts,
            "labels": pl.Series(labels, dtype=pl.List(pl.String)),
        }
    )
    *_, rows = SCORER.forms["text_labels"](frame, loaded)
    assert isinstance(rows, TokenRows)
    return rows


def test_three_steps_are_those_of_transformers(encoder_folder: Path) -> None:
    ours, theirs = loaded_from(encoder_folder), loaded_from(encoder_folder)
    assert theirs.model.config.problem_type == "multi_label_classification"
    assert theirs.model.config.id2label == {0: "warm", 1: "late"}
    for model in (ours.model, theirs.model):
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
    rows = rows_of(ours, 12)
    plan = plan_training(rows, SETTINGS)
    criterion = SCORER.criterion(ours, rows, SETTINGS)
    steps = list(train(Trainer(ours, rows, plan, SETTINGS, criterion=criterion)))
    losses = [step.loss_sum / step.loss_count for step in read_steps(steps)]
    assert len(losses) == 3
    optimizer = Trainer(theirs, rows, plan, SETTINGS, criterion=criterion).optimizer
    assert rows.wanted is not None
    order = [batch for epoch in plan.epochs for batch in epoch]
    for step, batch in enumerate(order):
        given = theirs.tokenizer.pad(
            {"input_ids": [rows.ids[r].tolist() for r in batch]}, return_tensors="pt"
        )
        wanted = torch.tensor(rows.wanted[batch], dtype=torch.float32)
        out = theirs.model.train()(**given, labels=wanted)
        assert losses[step] == pytest.approx(float(out.loss.detach()), rel=1e-4)
        out.loss.backward()
        torch.nn.utils.clip_grad_norm_(theirs.model.parameters(), SETTINGS.max_grad_norm)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, plan, SETTINGS)
        optimizer.step()
        optimizer.zero_grad()


def test_a_row_is_scored_by_each_labels_sigmoid_and_never_overflows(encoder_folder: Path) -> None:
    loaded = loaded_from(encoder_folder)
    with torch.no_grad():
        loaded.model.classifier.bias.copy_(torch.tensor([60.0, -60.0]))
    rows = rows_of(loaded, 6)
    *_, frame = SCORER.score(loaded, rows, "float32", 256)
    assert isinstance(frame, pl.DataFrame)
    assert all(own == ["warm"] for own in frame["predicted"].to_list())
    assert rows.wanted is not None
    expected = 30.0 * (1 - rows.wanted[:, 0]) + 30.0 * rows.wanted[:, 1]
    assert frame["nll"].to_numpy() == pytest.approx(expected, abs=1.0)


def test_a_probe_is_a_logistic_regression_per_label(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    x = random.normal(size=(200, 5)).astype(np.float32)
    y = np.stack([x[:, 0] + 0.5 * random.normal(size=200) > 0, np.ones(200, dtype=bool)], axis=1)
    *_, probe = fit_label_probes((x, y.astype(np.float32)), None, LABELS)
    assert not isinstance(probe, int)
    standard = (x - x.mean(0)) / (x.std(0) + 1e-6)
    theirs = LogisticRegression(C=1.0, max_iter=500).fit(standard, y[:, 0])
    found = probe.probabilities(x)
    assert found[:, 0] == pytest.approx(theirs.predict_proba(standard)[:, 1], abs=5e-3)
    assert (found[:, 1] > 0.99).all()  # every row has it: that is all there is to know
    probe.save(tmp_path / "probe.safetensors")
    again = load_probe(tmp_path / "probe.safetensors", LABELS)
    assert again.probabilities(x) == pytest.approx(found)


def test_a_run_from_the_file_to_the_verdict(encoder_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    rows = [{"text": text, "labels": labels} for text, labels in examples(160)]
    path.write_text("\n".join(map(json.dumps, rows)))
    config = RunConfig(
        task="classification",
        model=ModelConfig(base=str(encoder_folder)),
        data=DataConfig(train=str(path), validation=0.25, test=0.25),
        train=TrainConfig(epochs=8, batch_size=16, learning_rate=5e-3, devices="cpu"),
        evaluate=EvaluateConfig(prompts=["the cup was warm and late"], parity_rows=8),
        folder=str(tmp_path),
    )
    run = create_run(config, tmp_path / "runs")
    history = finish(run)
    assert history.finished is not None
    assert history.finished.status == "finished", history.finished
    assert history.task == "multi_label"
    results = history.results["test"]
    assert list(results) == ["majority", "probe", "tuned"]
    tuned, majority = (results[m].metrics["macro_f1"].value for m in ("tuned", "majority"))
    assert tuned > majority
    known = history.analysis(LabelThresholds, "test", "tuned")
    assert known is not None
    assert all(one.why_not is None for one in known.labels)
    per_class = results["tuned"].per_class
    assert per_class is not None
    assert [per_class[one.label].threshold for one in known.labels] == [
        one.threshold for one in known.labels
    ]
    parity = history.analyses["test"]["parity"]["tuned"]
    assert parity.passed, parity  # type: ignore[attr-defined]
    assert any("macro_f1" in e.values for e in history.evaluations if e.split == "validation")
    last = [p for p in history.prompts if p.probe][-1]
    assert set(last.thresholds["tuned"]) == set(LABELS)
    assert sum(last.tuned_probabilities.values()) != pytest.approx(1.0, abs=1e-3)
    assert all_agree(run)
    report = build_report(run)
    assert faults(json.loads(render_json(report))) == []
    page = md.render(report)
    assert "| label | threshold | precision |" in page
    assert "each by itself" in page
    rows_written = row_frames(run, report)["test"]
    assert {"truth", "tuned_prediction", "tuned_confidence"} <= set(rows_written.columns)
    saved = json.loads((run.model_path / "config.json").read_text())
    assert saved["problem_type"] == "multi_label_classification"
    given = replace(
        config,
        model=replace(config.model, base=str(run.model_path), tuned=str(run.model_path)),
        data=replace(config.data, train=None, validation=None, test=str(path)),
    )
    twice = finish(create_run(given, tmp_path / "again"))
    assert twice.results["test"]["base"].metrics == twice.results["test"]["tuned"].metrics


def test_a_head_of_another_kind_is_refused(encoder_folder: Path, tmp_path: Path) -> None:
    """V2: the softmax of a head whose outputs are each a yes or no says nothing."""
    loaded = loaded_from(encoder_folder)
    save(loaded, tmp_path / "model")
    folder = str(tmp_path / "model")
    config = RunConfig(task="classification", model=ModelConfig(base=folder, tuned=folder))
    assert load(config.for_form("text_labels"), folder, LABELS).labels == LABELS
    with pytest.raises(ModelError, match="problem_type = multi_label_classification"):
        load(config, folder, LABELS)
