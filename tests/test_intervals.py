"""Intervals where next to no row is wrong, or few rows are there at all (V14).

`tests/bench/coverage.py` simulates all metrics over many sizes and true values; here a small part.
"""

import math

import numpy as np
import polars as pl
import pytest
from ftev.core.metrics.bootstrap import beyond_of, interval_of
from ftev.core.metrics.comparisons import compare
from ftev.core.metrics.evaluate import evaluate_classification
from ftev.core.metrics.statistics import wilson
from scipy import stats

LABELS = ("no", "yes")


def frame(truth, p):
    names = np.array(LABELS)
    return pl.DataFrame(
        {
            "row_id": range(len(truth)),
            "label": names[truth],
            "predicted": names[(p >= 0.5).astype(int)],
            "probabilities": np.stack((1 - p, p), axis=1).tolist(),
        }
    )


def all_right(n):
    truth = np.arange(n) % 2
    return frame(truth, np.where(truth == 1, 0.9, 0.1) + 0.01 * np.sin(np.arange(n)))


@pytest.mark.parametrize("n", [5, 40])
def test_V14_no_interval_of_right_rows_alone_is_without_width(n):
    found = evaluate_classification(all_right(n), LABELS, "yes", draws=2_000).metrics
    assert (found["accuracy"].low, found["accuracy"].high) == wilson(n, n)
    assert found["accuracy"].low == pytest.approx(n / (n + stats.norm.ppf(0.975) ** 2))
    for name, e in found.items():
        assert e.high > e.low, name
        assert e.low <= e.value <= e.high, name
    for name in ("f1", "macro_f1", "balanced_accuracy", "roc_auc", "average_precision"):
        assert 1 - 14 / n < found[name].low < 1 - 1 / n, name
        assert found[name].high == 1, name
    assert "smoothed" in found["macro_f1"].method
    assert found["loss"].high > 2 * found["loss"].value  # a wrong row may be to come


def test_V14_identical_models_have_an_honest_interval():
    for c in compare("t", "a", all_right(40), "b", all_right(40), LABELS, "yes"):
        assert c.p == 1
        if math.isnan(c.low):  # no row differs
            assert c.metric == "ece"
            assert "no row differs" in c.method
        else:
            assert c.low < 0 < c.high, c.metric
            assert 0.01 < c.high < 0.35, c.metric


def test_V14_an_interval_of_no_width_is_none():
    (low, high), found = interval_of(np.full(100, 0.25), 50, "method")
    assert math.isnan(low)
    assert math.isnan(high)
    assert found.startswith("no interval")


def test_V14_percentiles_of_few_rows_are_widened_as_by_students_t():
    for n in (2, 5, 20, 100):
        z = math.sqrt(n / (n - 1)) * stats.t.ppf(0.975, n - 1)
        assert beyond_of(n) == pytest.approx(stats.norm.sf(z), rel=1e-9)
    assert beyond_of(200) == 0.025
    assert "widened for 20 rows" in interval_of(np.arange(100.0), 20, "method")[1]
    assert interval_of(np.arange(100.0), 200, "method")[1] == "method"


def calibrated(n, skill, seed):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, n)
    z = 2 * skill * (rng.normal(size=n) + skill * (2 * truth - 1))
    return frame(truth, 1 / (1 + np.exp(-z)))


@pytest.mark.parametrize(("n", "share"), [(6, 0.9), (30, 0.95)])
def test_V14_intervals_hold_the_true_value(n, share):
    skill = stats.norm.ppf(share)
    true = evaluate_classification(calibrated(200_000, skill, 0), LABELS, "yes", draws=2).metrics
    names = ("macro_f1", "balanced_accuracy", "mcc", "f1", "roc_auc", "brier", "loss")
    held = {name: [] for name in names}
    for seed in range(1, 41):
        rows = calibrated(n, skill, seed)
        found = evaluate_classification(rows, LABELS, "yes", draws=200).metrics
        for name in names:
            if name in found and not math.isnan(found[name].low):
                e = found[name]
                held[name].append(e.low - 1e-9 <= true[name].value <= e.high + 1e-9)
    for name, inside in held.items():
        assert np.mean(inside) >= 0.85, name  # 40 runs: 93 % less two standard errors


def test_V14_where_many_rows_changed_the_plain_bootstrap_is_taken():
    """Imagined rows are added only where some label has fewer than 5 rows fixed, or broken."""
    truth = np.arange(80) % 2
    before, after = np.where(np.arange(80) < 40, 0.8, 0.3), np.where(np.arange(80) < 40, 0.3, 0.8)
    first, second = (frame(truth, np.where(truth == 1, p, 1 - p)) for p in (before, after))
    found = {c.metric: c for c in compare("test", "a", first, "b", second, LABELS, "yes")}
    assert "smoothed" not in found["loss"].method
    few = {c.metric: c for c in compare("test", "a", first, "b", first, LABELS, "yes")}
    assert "smoothed" in few["loss"].method
