"""The differences that benchmarks print are those of `compare`, and means over the seeds."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from ftev.core.metrics.comparisons import compare

ROWS, LABELS = 400, ["ham", "spam"]
TRUTH = np.arange(ROWS) % 5 == 0
TOKENS = 5 + np.arange(ROWS) % 30


@pytest.fixture
def quality(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(Path(__file__).parent / "bench")
    return importlib.import_module("quality")


def labelled(seed: int) -> pl.DataFrame:
    odds = np.random.default_rng(seed).normal(size=ROWS) + np.where(TRUTH, 1.5, -1.5)
    spam = 1 / (1 + np.exp(-odds))
    p = np.stack([1 - spam, spam], axis=1)
    return pl.DataFrame(
        {
            "row_id": np.arange(ROWS),
            "label": [LABELS[i] for i in TRUTH.astype(int)],
            "predicted": [LABELS[i] for i in p.argmax(1)],
            "probabilities": pl.Series(p).arr.to_list(),
        }
    )


def scored(seed: int) -> pl.DataFrame:
    nll = np.random.default_rng(seed).gamma(5.0, 10.0, ROWS)
    columns = {"tokens": TOKENS, "correct": TOKENS // 2, "bytes": TOKENS * 4}
    return pl.DataFrame({"row_id": np.arange(ROWS), "nll": nll, **columns})


def test_one_seed_is_the_comparison_of_two_models(quality: Any) -> None:
    a, b = labelled(1), labelled(2)
    found = quality.label_gaps([a], [b], LABELS, "spam")
    found["text loss"] = quality.text_gaps([scored(1)], [scored(2)])["loss"]
    wanted = compare("test", "a", a, "b", b, LABELS, "spam", ["accuracy", "f1", "loss"])
    wanted += compare("test", "a", scored(1), "b", scored(2), metrics=["loss"])
    for gap, c in zip(found.values(), wanted, strict=True):
        assert gap.value == pytest.approx(c.difference)
        assert (gap.low, gap.high) == pytest.approx((c.low, c.high), abs=0.02)  # few rows: wider


def test_several_seeds_are_averaged_under_one_resample(quality: Any) -> None:
    a, b, c = labelled(1), labelled(2), labelled(3)
    once = quality.label_gaps([a], [b], LABELS, "spam")
    twice = quality.label_gaps([a, a], [b, b], LABELS, "spam")
    there_and_back = quality.label_gaps([a, b], [b, a], LABELS, "spam")
    for name, gap in once.items():
        assert (twice[name].low, twice[name].high) == pytest.approx((gap.low, gap.high))
        nothing = there_and_back[name]
        assert nothing.equal
        assert not nothing.behind
        assert nothing.value == pytest.approx(0, abs=1e-12)
        assert np.isnan([nothing.low, nothing.high]).all()  # no row differs: no interval (V14)
    mixed = quality.label_gaps([a, a], [b, c], LABELS, "spam")["f1"]
    assert mixed.value == pytest.approx(np.mean(mixed.seeds))
    assert mixed.seeds[0] == pytest.approx(once["f1"].value)


def test_behind_knows_the_direction_of_a_metric(quality: Any) -> None:
    assert quality.Gap(0.2, 0.1, 0.3, [0.2], higher_is_better=False).behind
    assert not quality.Gap(0.2, 0.1, 0.3, [0.2], higher_is_better=True).behind
    assert not quality.Gap(0.2, -0.1, 0.3, [0.2], higher_is_better=False).behind
