import math

import numpy as np
import polars as pl
import pytest
from ftev.core.analysis.calibration import at_temperature, calibration, fit_temperature
from ftev.core.metrics.analyses import Calibration
from ftev.core.metrics.bootstrap import Resampling, bootstrap_rows
from ftev.core.metrics.calibration import (
    BINS,
    TopLabel,
    ece_interval,
    null_ece,
    reliability,
    top_label,
)
from ftev.core.metrics.comparisons import compare
from ftev.core.metrics.evaluate import evaluate_classification
from ftev.core.metrics.metric import METRICS
from ftev.core.metrics.probabilities import ProbabilityScores
from ftev.core.metrics.statistics import sign_flip, wilson
from ftev.core.report.blocks import Chart, Paragraph, Table
from ftev.core.report.sections.calibration import overconfidence, show_calibration
from scored_splits import LABELS, evaluation, predictions, softmax, stored
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss


def answers(confidence, right):
    bins = np.searchsorted(np.linspace(0, 1, BINS + 1), confidence, side="left") - 1
    return TopLabel(confidence, right, bins.clip(0).astype(np.int8))


def spread_over_the_top_four_bins(n):
    """Confidences at even distances from 11/15 to 1."""
    return 11 / 15 + 4 / 15 * (np.arange(n) + 0.5) / n


def numbers(frame, labels=LABELS):
    codes = {label: i for i, label in enumerate(labels)}
    truth = frame["label"].replace_strict(codes, return_dtype=pl.Int64).to_numpy()
    return truth, np.array(frame["probabilities"].to_list())


def result(split="test", **frames):
    [found] = [a.result for a in calibration(evaluation(split, **frames)) if a.model == "tuned"]
    return found


@pytest.mark.parametrize(("n", "expected"), [(100, 0.051), (1000, 0.016)])
def test_B1_null_value_of_confidences_spread_over_the_top_four_bins(n, expected):
    """The setting in which the vectors hold: confidences even from 11/15 to 1, 15 bins."""
    confidence = spread_over_the_top_four_bins(n)
    found = null_ece(answers(confidence, np.ones(n, bool)), draws=20_000)
    assert round(found.value, 3) == expected


def test_B1_null_value_is_the_mean_ece_of_calibrated_samples():
    rng = np.random.default_rng(5)
    confidence = rng.uniform(0.5, 1, 300)
    eces = [answers(confidence, rng.random(300) < confidence).ece for _ in range(3000)]
    found = null_ece(answers(confidence, rng.random(300) < confidence))
    assert found.value == pytest.approx(np.mean(eces), abs=0.001)
    assert found.high == pytest.approx(np.quantile(eces, 0.975), abs=0.002)


def test_B1_null_value_of_full_bins_comes_from_their_normal_limit():
    confidence = spread_over_the_top_four_bins(8000)
    right = np.random.default_rng(0).random(8000) < confidence
    few = null_ece(answers(confidence, right))
    many = null_ece(answers(np.tile(confidence, 2), np.tile(right, 2)))  # 4,000 rows a bin
    assert many.value * math.sqrt(2) == pytest.approx(few.value, rel=0.03)


def test_B1_p_of_the_null_is_small_for_an_overconfident_model_only():
    calibrated, overconfident = predictions(1000), predictions(1000, sharpness=3.0)
    assert result(tuned=calibrated).ece_null.p > 0.05
    assert result(tuned=overconfident).ece_null.p < 0.001


def test_B1_reliability_table_equals_sklearn():
    truth, probabilities = numbers(predictions(2000))
    rows = top_label(truth, probabilities)
    accuracy, confidence = calibration_curve(rows.right, rows.confidence, n_bins=BINS)
    table = reliability(rows)
    assert [b.accuracy for b in table] == pytest.approx(accuracy.tolist(), abs=1e-12)
    assert [b.confidence for b in table] == pytest.approx(confidence.tolist(), abs=1e-12)
    assert sum(b.rows for b in table) == 2000
    for b in table:
        low, high = wilson(round(b.accuracy * b.rows), b.rows)
        assert (b.accuracy_low, b.accuracy_high) == pytest.approx((low, high))
        assert b.low < b.confidence <= b.high


def test_B1_brier_loss_and_ece_agree_with_the_oracle_and_the_results():
    frame = predictions(500)
    truth, probabilities = numbers(frame)
    found = result(tuned=frame)
    assert found.brier.value == pytest.approx(brier_score_loss(truth, probabilities[:, 1]))
    assert found.loss.value == pytest.approx(log_loss(truth, probabilities))
    table = evaluate_classification(frame, LABELS, "spam").metrics
    for name in ("ece", "brier", "loss"):
        for key in ("value", "low", "high"):
            assert getattr(getattr(found, name), key) == pytest.approx(
                getattr(table[name], key), abs=1e-9
            )
        assert getattr(found, name).method == table[name].method


def test_B1_ece_of_the_table_is_the_weighted_gap():
    found = result(tuned=predictions(500, tuple("abcde")), labels=tuple("abcde"))
    gaps = [b.rows * abs(b.confidence - b.accuracy) for b in found.bins]
    assert found.ece.value == pytest.approx(sum(gaps) / 500)


@pytest.mark.parametrize("sharpness", [1.0, 1.5, 3.0])
def test_B1_ece_interval_holds_its_value(sharpness):
    for seed in range(10):
        frame = predictions(120, sharpness=sharpness, seed=seed)
        ece = evaluate_classification(frame, LABELS, draws=1000).metrics["ece"]
        assert 0 <= ece.low <= ece.value <= ece.high
        assert "percentile" not in ece.method


@pytest.mark.parametrize(("lean", "least"), [(0.0, 0.93), (0.05, 0.93), (0.15, 0.9)])
def test_B1_ece_interval_covers_the_true_ece(lean, least):
    """Confidence 11/15 to 1, accuracy less by `lean`: that is the true ECE."""
    rng = np.random.default_rng(7)
    hits, samples, n = 0, 300, 200
    for _ in range(samples):
        confidence = rng.uniform(11 / 15, 1, n)
        right = rng.random(n) < confidence - lean
        probabilities = np.stack([confidence, 1 - confidence], axis=1)
        scores = ProbabilityScores((~right).astype(int), probabilities, 1)
        drawn, _ = bootstrap_rows([scores], Resampling(draws=300))
        low, high = ece_interval(scores.answers.ece, drawn[0]["ece"], scores.null)
        hits += low <= lean <= high
    assert hits / samples >= least


def test_B1_ece_of_a_model_against_itself_does_not_change():
    frame = predictions(300)
    [found] = compare("test", "a", frame, "b", frame, LABELS, metrics=["ece"])
    assert (found.difference, found.p) == (0, 1)
    assert np.isnan(found.low)  # no width is no interval (V14)


def test_B1_worse_calibration_is_shown_by_a_paired_interval():
    a, b = predictions(1500), predictions(1500, sharpness=3.0)
    [found] = compare("test", "a", a, "b", b, LABELS, metrics=["ece"])
    assert 0 < found.low < found.difference < found.high
    assert found.p < 0.01


def test_B2_temperature_undoes_a_known_sharpness():
    truth, probabilities = numbers(predictions(20_000, tuple("abcd"), sharpness=2.5), tuple("abcd"))
    fitted = fit_temperature(truth, probabilities)
    assert fitted.value == pytest.approx(2.5, rel=0.05)
    assert not fitted.at_limit
    assert fitted.rows == 20_000


def test_B2_temperature_has_the_least_loss():
    truth, probabilities = numbers(predictions(500, sharpness=2.0))
    fitted = fit_temperature(truth, probabilities)
    losses = [
        log_loss(truth, at_temperature(probabilities, fitted.value * factor))
        for factor in (0.97, 1.0, 1.03)
    ]
    assert min(losses) == losses[1]


def test_B2_temperature_one_changes_nothing_and_none_changes_an_answer():
    _, probabilities = numbers(predictions(200, tuple("abc")), tuple("abc"))
    assert at_temperature(probabilities, 1.0) == pytest.approx(probabilities)
    softer = at_temperature(probabilities, 3.0)
    assert softer.sum(axis=1) == pytest.approx(1.0)
    assert (softer.argmax(axis=1) == probabilities.argmax(axis=1)).all()


def test_B2_temperature_is_fitted_on_validation_and_only_applied_to_test():
    validation = predictions(1000, sharpness=2.0, seed=1)
    for seed in (2, 3):
        test = predictions(300, sharpness=2.0, seed=seed)
        t = result(tuned=test, validation=validation).temperature
        expected = fit_temperature(*numbers(validation))
        assert t.value == expected.value  # whatever test holds
        assert (t.fitted_on, t.rows) == ("validation", 1000)
        truth, probabilities = numbers(test)
        after = at_temperature(probabilities, expected.value)
        assert t.loss.before == pytest.approx(log_loss(truth, probabilities))
        assert t.loss.after == pytest.approx(log_loss(truth, after))
        assert t.ece.after == pytest.approx(top_label(truth, after).ece)


def test_B2_change_of_the_loss_is_paired():
    validation, test = predictions(1000, sharpness=3.0, seed=1), predictions(500, sharpness=3.0)
    change = result(tuned=test, validation=validation).temperature.loss_change
    assert change.low < change.difference < change.high < 0
    truth, probabilities = numbers(test)
    t = fit_temperature(*numbers(validation)).value
    rows = np.arange(500)
    moved = np.log(probabilities[rows, truth]) - np.log(
        at_temperature(probabilities, t)[rows, truth]
    )
    assert change.difference == pytest.approx(moved.mean())
    assert change.p == sign_flip(moved)


def test_B2_nothing_is_applied_to_validation_itself():
    frame = predictions(300)
    found = result("validation", tuned=frame, validation=frame)
    assert found.temperature is found.no_temperature is None


def test_B2_no_validation_no_temperature():
    assert result(tuned=predictions(100)).no_temperature.startswith("there are no validation")


def test_B2_a_certain_and_wrong_row_has_no_temperature():
    frame = stored(np.array([0, 1, 0]), np.array([[0.0, 1.0], [0.2, 0.8], [0.7, 0.3]]))
    assert fit_temperature(*numbers(frame)) is None
    found = result(tuned=predictions(50), validation=frame)
    assert "not finite" in found.no_temperature


def test_B2_rows_that_are_all_right_run_into_the_limit():
    truth = np.array([0, 1] * 20)
    probabilities = softmax(np.where(truth[:, None] == [0, 1], 1.0, 0.0))
    assert fit_temperature(truth, probabilities).at_limit
    found = result(tuned=predictions(100), validation=stored(truth, probabilities))
    assert "the fit on 40 validation rows ran into its limit" in found.no_temperature
    assert found.temperature is None


def test_L6_probabilities_that_are_no_numbers_are_said():
    broken = predictions(20).with_columns(
        probabilities=pl.when(pl.col("row_id") == 3)
        .then(pl.lit([math.nan, math.nan]))
        .otherwise("probabilities")
    )
    assert result(tuned=broken) == Calibration(n=20, why_not="a probability is not a number")
    blocks = show_calibration(
        {"analyses": {"test": {"calibration": {"tuned": result(tuned=broken)}}}}
    )
    assert any("is not a number" in b.text for b in blocks if isinstance(b, Paragraph))


def test_models_without_probabilities_have_no_calibration():
    frame = predictions(50)
    found = list(calibration(evaluation(tuned=frame, majority=frame.drop("probabilities"))))
    assert [a.model for a in found] == ["tuned"]


def section(**frames):
    found = {a.model: a.result for a in calibration(evaluation(**frames))}
    return show_calibration({"analyses": {"test": {"calibration": found}}})


def sentences(blocks):
    return " ".join(b.text for b in blocks if isinstance(b, Paragraph))


def test_section_says_what_the_numbers_mean():
    off = predictions(1000, sharpness=3.0)
    blocks = section(tuned=off, validation=predictions(1000, sharpness=3.0, seed=1))
    text = sentences(blocks)
    assert "its confidences are off" in text
    assert "over-confident" in text
    assert "makes confidences softer and changes no answer" in text
    assert "the loss falls" in text
    found = result(tuned=off)
    assert overconfidence(found.bins, found.n) > 0.05
    fine = sentences(section(tuned=predictions(1000)))
    assert "no miscalibration is shown" in fine
    assert "no temperature is applied: there are no validation rows" in fine


def test_section_has_the_table_and_the_diagram():
    frame = predictions(500)
    blocks = section(tuned=frame)
    bins = result(tuned=frame).bins
    [_, table] = [b for b in blocks if isinstance(b, Table)]
    assert len(table.rows) == len(bins)
    assert table.rows[-1][1] == f"{bins[-1].rows:,}"
    [chart] = [b for b in blocks if isinstance(b, Chart)]
    assert [list(line.y) for line in chart.lines][1] == [b.accuracy for b in bins]
    assert chart.lines[0].x == chart.lines[0].y


def test_section_is_absent_without_its_analysis():
    assert show_calibration({"analyses": {}}) == []


def test_ece_is_better_when_lower():
    assert METRICS["ece"].direction == "lower"
