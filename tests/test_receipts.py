"""Every stored value can say how it came about, and what it says gives the value."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
import records
from ftev.core.errors import ConfigError
from ftev.core.metrics.comparisons import compare
from ftev.core.metrics.evaluate import evaluate_classification, evaluate_text
from ftev.core.metrics.metric import METRICS
from ftev.core.metrics.results import ModelResult
from ftev.core.report.explained import (
    difference_lines,
    explain_metric,
    explained_lines,
    metric_name,
    receipt_lines,
)
from ftev.core.report.receipts import (
    DifferenceReceipt,
    Receipt,
    compared_with,
    difference_receipt,
    differences,
    evaluation_receipt,
    every_receipt,
    receipt,
    training_receipts,
)
from ftev.core.report.report import build_report
from ftev.core.run.events import Evaluated, RunStarted, SplitPrepared, spell_numbers
from ftev.core.run.history import History, fold, read_history
from ftev.core.run.runs import Run
from msgspec.structs import replace

SAMPLES = Path(__file__).parents[1] / "sample_runs"
TASKS = ("classification", "generation")
NO_RATIO = ("bleu", "chrf", "r2", "spearman")


@cache
def remeasured(task: str) -> tuple[Run, History]:
    """A sample run whose results today's worker would write from the same predictions."""
    run = Run(SAMPLES / task)
    history = read_history(run)
    for split, models in history.results.items():
        for model in models:
            frame = pl.read_parquet(run.predictions / f"{split}.{model}.parquet")
            found = (
                evaluate_classification(frame, history.labels, history.positive)
                if task == "classification"
                else evaluate_text(frame)
            )
            models[model] = found
    return run, history


def divided(r: Receipt) -> float:
    assert r.numerator is not None
    assert r.denominator is not None
    quotient = r.numerator / r.denominator if r.denominator else 0.0
    return math.exp(quotient) if r.then == "exp" else quotient


def is_complete(r: Receipt | DifferenceReceipt) -> bool:
    words = (r.metric, r.title, r.formula, r.dtype, r.prefix, r.better, r.unit)
    return all(words) and (isinstance(r, DifferenceReceipt) or bool(r.weighting))


def stored_values(report: dict[str, Any]) -> Iterator[tuple[str, str, str, float]]:
    for split, models in report["results"].items():
        for model, result in models.items():
            for metric, estimate in result.metrics.items():
                yield split, model, metric, float(estimate.value)


@pytest.mark.parametrize("task", TASKS)
def test_every_result_of_a_report_has_a_receipt_that_divides_to_it(task: str) -> None:
    run, history = remeasured(task)
    config, seen = run.config(), 0
    for split, model, metric, value in stored_values(build_report(run, history)):
        r = receipt(history, config, split, model, metric)
        assert is_complete(r), r
        assert r.value == value
        assert divided(r) == pytest.approx(value, rel=1e-9, abs=1e-12), (split, model, metric)
        assert r.numerator_is
        assert r.denominator_is
        assert r.rows.scored == r.rows.in_split
        assert r.training_seed == config.train.seed
        assert r.interval is not None
        if r.denominator == 0 and r.interval.draws is None:
            assert r.interval.method == "no interval: nothing to divide by"
        else:
            assert r.interval.low <= value <= r.interval.high
            assert r.interval.method.startswith("Wilson") or r.interval.draws == 10_000
        seen += 1
    assert seen > 15


@pytest.mark.parametrize("task", TASKS)
def test_every_comparison_of_a_report_has_a_receipt_that_subtracts_to_it(task: str) -> None:
    run, history = remeasured(task)
    report = build_report(run, history)
    assert report["comparisons"]
    for c in report["comparisons"]:
        if c.metric not in history.results[c.split][c.from_model].metrics:
            assert (c["metric"], c["from"]) == (
                "precision",
                "majority",
            )  # of 0 rows: no longer told
            continue
        d = difference_receipt(history, run.config(), c)
        assert is_complete(d)
        before, after = d.parts
        assert after.value - before.value == pytest.approx(c.difference, rel=1e-9, abs=1e-9)
        if d.numerator is not None and d.denominator:
            assert d.numerator / d.denominator == pytest.approx(c.difference, abs=1e-9)
        assert d.p == c.p
        assert d.p_method
        assert d.interval is not None
        if d.interval.method == "Tango score 95 %":  # few changed rows: no draws
            assert (d.interval.draws, d.interval.seed) == (None, None)
        else:
            assert d.interval.method.startswith("paired")
            assert (d.interval.draws, d.interval.seed) == (10_000, 0)
        if c.metric == "accuracy":
            assert (d.fixed, d.broke) == (c.fixed, c.broke)
        else:
            assert d.fixed is d.broke is None


@pytest.mark.parametrize("task", TASKS)
def test_every_figure_of_training_has_a_receipt(task: str) -> None:
    run = Run(SAMPLES / task)
    history = read_history(run)
    report, found = build_report(run, history), dict(training_receipts(history, run.config()))
    for place, r in found.items():
        value: Any = report
        for key in place:
            value = value[key]
        assert r.value == pytest.approx(value, rel=1e-9), place
        assert is_complete(r)
        if r.numerator is not None:
            assert divided(r) == pytest.approx(value, rel=1e-9)
    told = ("train_loss", "validation_loss", "validation_accuracy", "accuracy_change")
    wanted = {("epochs", i, name) for i, row in enumerate(report["epochs"]) for name in told}
    assert wanted | {("references", name) for name in report["references"]} <= set(found)


@pytest.mark.parametrize("task", TASKS)
def test_a_run_of_an_earlier_version_says_what_it_did_not_store(task: str) -> None:
    """The sums of these metrics were not written down then, and are not made up now."""
    run = Run(SAMPLES / task)
    history = read_history(run)
    for models in history.results.values():
        for result in models.values():
            for name, estimate in result.metrics.items():
                result.metrics[name] = replace(estimate, numerator=None, denominator=None)
    unknown = set()
    for r in every_receipt(history, run.config()):
        if isinstance(r, DifferenceReceipt):
            continue
        if r.numerator is None:
            unknown.add(r.metric)
            assert "the run did not store what was divided by what" in r.notes
        else:
            assert divided(r) == pytest.approx(r.value, rel=1e-9, abs=1e-12)
    ranked = {"brier", "roc_auc", "average_precision", "ece"}
    assert unknown == (ranked if task == "classification" else set())


def test_macro_f1_lists_the_labels_that_it_averages() -> None:
    run, history = remeasured("classification")
    table = history.results["test"]["tuned"].per_class
    for metric in ("macro_f1", "macro_precision", "macro_recall", "weighted_f1"):
        r = receipt(history, run.config(), "test", "tuned", metric)
        name = metric.partition("_")[2]
        assert {p.name: p.value for p in r.parts} == {
            k: getattr(row, name) for k, row in table.items()
        }
        for p in r.parts:
            assert p.numerator is not None
            assert p.denominator
            assert p.value == pytest.approx(p.numerator / p.denominator)


def test_accuracy_is_right_rows_over_rows() -> None:
    run, history = remeasured("classification")
    r = receipt(history, run.config(), "test", "tuned", "accuracy")
    assert (r.numerator, r.numerator_is) == (180, "right rows")
    assert (r.denominator, r.denominator_is) == (200, "rows")
    [probe, majority] = differences(history, run.config(), "test", "accuracy")
    assert (probe.from_model, majority.from_model) == ("probe", "majority")
    assert (probe.numerator, probe.denominator) == (29 - 9, 200)


def test_loss_is_the_sum_of_nll_over_the_sum_of_tokens() -> None:
    run, history = remeasured("generation")
    frame = pl.read_parquet(run.predictions / "test.tuned.parquet")
    r = receipt(history, run.config(), "test", "tuned", "loss")
    assert r.numerator == pytest.approx(frame["nll"].sum())
    assert r.denominator == frame["tokens"].sum() == 7019
    assert r.denominator_is == "scored tokens"
    assert r.tokens is not None
    assert (r.tokens.scored, r.tokens.masked, r.tokens.in_split) == (7019, 100, 7119)
    assert r.prefix.startswith("<s>")
    assert "float32" in r.dtype


def test_the_ranking_areas_are_pairs_and_precisions_even_with_ties() -> None:
    truth = ["p", "n", "p", "n", "p"]
    score = [0.9, 0.9, 0.6, 0.4, 0.2]  # of p; right pairs: 1.5 + 1 + 0, of 6
    frame = pl.DataFrame(
        {
            "row_id": range(5),
            "label": truth,
            "predicted": ["p" if s > 0.5 else "n" for s in score],
            "probabilities": [[1 - s, s] for s in score],
        }
    )
    metrics = evaluate_classification(frame, ["n", "p"], "p", draws=50).metrics
    area, average = metrics["roc_auc"], metrics["average_precision"]
    assert (area.numerator, area.denominator) == (2.5, 6)
    assert (average.numerator, average.denominator) == (pytest.approx(1 / 2 + 2 / 3 + 3 / 5), 3)


def many_labels(n: int = 60, labels: int = 4, seed: int = 1) -> pl.DataFrame:
    """Predictions by seed of the same rows; the last label is in none of them."""
    rng = np.random.default_rng(seed)
    names = [f"label {i}" for i in range(labels)]
    p = rng.dirichlet(np.ones(labels), size=n)
    truth = np.random.default_rng(0).integers(0, labels - 1, size=n)
    return pl.DataFrame(
        {
            "row_id": range(n),
            "label": [names[i] for i in truth],
            "predicted": [names[i] for i in p.argmax(1)],
            "probabilities": p.tolist(),
        }
    )


def told(frames: dict[str, pl.DataFrame], labels: list[str]) -> History:
    history = fold(
        [
            RunStarted(run="x", name="x", task="classification", pid=1, host="h", ftev_version="0"),
            SplitPrepared(split="test", rows=70, columns=2, skipped_rows=3, truncated_rows=2),
        ]
    )
    history.labels = labels
    found = {m: evaluate_classification(f, labels, draws=50) for m, f in frames.items()}
    history.results["test"] = dict(found)
    a, b = frames["probe"], frames["tuned"]
    history.comparisons = compare("test", "probe", a, "tuned", b, labels)
    return history


def test_many_labels_and_a_lost_configuration_have_receipts_too() -> None:
    labels = [f"label {i}" for i in range(4)]
    history = told({"probe": many_labels(seed=2), "tuned": many_labels()}, labels)
    models = history.results["test"]
    models["probe"] = replace(models["probe"], n=60)
    for r in every_receipt(history, None):
        assert is_complete(r)
        if isinstance(r, Receipt):
            assert divided(r) == pytest.approx(r.value, rel=1e-9, abs=1e-12), r.metric
            assert r.rows == msgspec.convert(
                {"scored": 60, "in_split": 70, "unscored": 0, "truncated": 2, "skipped": 3},
                type(r.rows),
            )
            assert list(receipt_lines(r))
        else:
            assert list(difference_lines(r))
    area = receipt(history, None, "test", "tuned", "roc_auc")
    assert area.denominator_is == "labels that can be ranked"
    assert "unknown precision" in area.dtype


def test_rows_that_repeat_an_earlier_split_are_told_where_they_are_left_out() -> None:
    labels = [f"label {i}" for i in range(4)]
    history = told({"probe": many_labels(seed=2), "tuned": many_labels()}, labels)
    history.results["test_clean"] = history.results["test"]
    r = receipt(history, None, "test_clean", "tuned", "accuracy")
    assert (r.rows.scored, r.rows.in_split, r.rows.repeated) == (60, 70, 10)


def test_every_metric_that_may_stand_in_a_report_has_words() -> None:
    """Also those that the sample runs do not have."""
    for name, known in METRICS.items():
        history = History()
        task = known.tasks[-1]
        history.started = RunStarted(
            run="x", name="x", task=task, pid=1, host="h", ftev_version="0"
        )
        estimate = {"value": 0.5, "low": 0.4, "high": 0.6, "method": "Wilson 95 %"}
        stored = estimate | {"numerator": 1.0, "denominator": 2.0}
        result = {"n": 9, "metrics": {name: stored}, "positive": "p"}
        history.results = {"test": {"tuned": records.record(ModelResult, result)}}
        r = receipt(history, None, "test", "tuned", name)
        assert is_complete(r)
        assert (name in NO_RATIO) != bool(r.numerator_is and r.denominator_is)
        found = explain_metric(history, None, name)
        assert found.glossary.name == name
        assert all(label and text for block in explained_lines(found) for label, text in block)


def test_answers_are_counted_by_themselves_and_signatures_told() -> None:
    history = History()
    estimate = {"value": 12.5, "low": 10.0, "high": 15.0, "method": "bootstrap"}
    result = {"n": 90, "metrics": {"bleu": estimate}, "answered": 40, "signatures": {"bleu": "v2"}}
    history.results = {"test": {"tuned": records.record(ModelResult, result)}}
    r = receipt(history, None, "test", "tuned", "bleu")
    assert (r.rows.scored, r.rows.in_split) == (40, 90)
    assert "computed by: v2" in r.notes
    assert "not a quotient of two sums over rows" in r.notes


def test_answers_against_references_are_sums_over_answered_rows() -> None:
    frame = pl.DataFrame(
        {
            "row_id": [0, 1, 2],
            "nll": [3.0, 4.0, 5.0],
            "tokens": [3, 4, 5],
            "correct": [1, 2, 3],
            "bytes": [9, 9, 9],
            "completion": ["a cat sat", "A  DOG", None],
            "reference": ["a cat ran", "a dog", "a cow"],
        }
    )
    found = evaluate_text(frame, draws=50)
    exact = found.metrics["exact_match"]
    assert (exact.numerator, exact.denominator) == (1, 2)
    for name in {"rouge1", "rouge2", "rougeL"} & set(found.metrics):
        e = found.metrics[name]
        assert e.denominator == 2
        assert e.numerator is not None
        assert e.numerator / 2 == pytest.approx(e.value)
    if "rouge1" in found.metrics:
        assert found.metrics["rouge1"].numerator == pytest.approx(2 / 3 + 1)
    assert found.metrics["bleu"].numerator is None


def test_a_model_that_was_not_made_for_the_task_says_how_it_answers() -> None:
    history = read_history(Run(SAMPLES / "classification"))
    models = history.results["test"]
    models["base"] = replace(models["probe"], method="likeliest label")
    r = receipt(history, None, "test", "base", "accuracy")
    assert "how it answers: likeliest label" in r.notes
    assert "language model" in r.prefix


def test_an_evaluation_during_training_has_a_receipt() -> None:
    history = read_history(Run(SAMPLES / "generation"))
    e = history.validation_series()[0]
    assert isinstance(e, Evaluated)
    r = evaluation_receipt(history, None, e, "token_accuracy")
    assert r is not None
    assert (r.numerator, r.denominator) == (98, 2818)
    assert "step 0" in r.title
    assert evaluation_receipt(history, None, e, "accuracy") is None


def test_what_stands_beside_a_metric_goes_from_the_best_reference_down() -> None:
    _, history = remeasured("classification")
    assert list(compared_with(history, "test", "accuracy", "tuned")) == ["probe", "majority"]
    beside = compared_with(history, "test", "loss", "tuned")
    assert list(beside) == ["probe", "random guessing"]
    assert beside["random guessing"] == pytest.approx(math.log(2))
    _, generation = remeasured("generation")
    perplexity = compared_with(generation, "test", "perplexity", "tuned")
    assert perplexity["random guessing"] == pytest.approx(3000)


@pytest.mark.parametrize(
    ("split", "model", "metric", "says"),
    [
        ("test", "tuned", "recal", "Nearest: recall"),
        ("test", "tuned", "bleu", "bleu was not computed for tuned on test. There: accuracy"),
        ("tset", "tuned", "accuracy", "--split: the run has no results of 'tset'"),
        ("test", "base", "accuracy", "--model: the run has no results of 'base'"),
    ],
)
def test_what_a_run_does_not_have_is_one_error(
    split: str, model: str, metric: str, says: str
) -> None:
    run = Run(SAMPLES / "classification")
    with pytest.raises(ConfigError, match=says.replace("(", r"\(")) as caught:
        receipt(read_history(run), run.config(), split, model, metric)
    assert len(caught.value.faults) == 1


def test_a_metric_is_known_however_it_is_spelt() -> None:
    for spelling in ("macro_f1", "Macro-F1", "macro f1", "f1 macro"):
        assert metric_name(spelling) == "macro_f1"
    for term in ("overfitting", "bootstrap", "f11"):
        with pytest.raises(ConfigError, match="Nearest"):
            metric_name(term)


def test_a_receipt_can_be_written_as_json_with_nan() -> None:
    run, history = remeasured("classification")
    r = receipt(history, run.config(), "test", "tuned", "accuracy")
    assert r.interval is not None
    odd = replace(r, value=math.nan, interval=replace(r.interval, low=math.nan))
    assert spell_numbers(odd)["value"] == "NaN"
    assert list(receipt_lines(odd))


def test_receipts_tell_the_positive_label_and_changed_rows_only_where_they_matter() -> None:
    run, history = remeasured("classification")
    config = run.config()
    told = {m: receipt(history, config, "test", "tuned", m).positive for m in ("loss", "ece", "f1")}
    assert told == {"loss": None, "ece": None, "f1": history.positive}
    by_metric = {c.metric: c for c in history.comparisons if c.split == "test"}
    for metric, counted in (("loss", False), ("ece", False), ("accuracy", True), ("f1", False)):
        if metric not in by_metric:
            continue
        d = difference_receipt(history, config, by_metric[metric])
        assert (d.fixed is not None) is counted, metric
        lines = dict(difference_lines(d))
        unit = " nats, " if metric == "loss" else " points, "
        assert unit in lines["interval"]
