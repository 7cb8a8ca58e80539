"""What a difference shows, said alike by verdict, report and compare; noise shows nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import records
import story
from ftev.core.compare.compare import compare_runs
from ftev.core.compare.compared import describe_outcome
from ftev.core.judgement.selection import read_difference
from ftev.core.judgement.verdict import judge
from ftev.core.metrics.comparisons import compare
from ftev.core.metrics.results import Comparison
from ftev.core.run.events import ComparisonsComputed, ResultsComputed
from ftev.core.run.history import fold
from ftev.core.wording.numbers import format_difference, format_difference_interval
from stored_runs import write_run, written


def again(frame: pl.DataFrame, noise: float) -> pl.DataFrame:
    """The same scores, summed in another order: the last bits are others, most of them higher."""
    last_bits = np.random.default_rng(3).normal(noise, noise, frame.height)
    return frame.with_columns(nll=pl.col("nll") + last_bits)


def test_noise_of_the_last_bits_is_the_same(tmp_path: Path) -> None:
    first = written(400)
    runs = [
        write_run(tmp_path / name, {"tuned": frame})
        for name, frame in (("a", first), ("b", again(first, 1e-5)))
    ]
    compared = compare_runs(runs)
    loss = next(c for c in compared["comparisons"] if c.metric == "loss")
    assert loss.low > 0  # a test of such noise finds a difference
    assert loss.p < 0.05
    assert read_difference(loss) == "the same"
    assert describe_outcome(compared) == (
        "b and a are the same in every digit shown: 0.000 in loss on test "
        "(paired 95 %: 0.000 to 0.000)."
    )


def test_a_difference_that_shows_is_told() -> None:
    first = written(400)
    found = {c.metric: c for c in compare("test", "a", first, "b", again(first, 0.5))}
    assert read_difference(found["loss"]) == "worse"


def judged(difference: float, half: float) -> Any:
    comparison = story.comparison("accuracy", difference, half)
    events = [
        *(e for e in story.whole() if not isinstance(e, ComparisonsComputed)),
        records.comparisons([comparison]),
    ]
    assert any(isinstance(e, ResultsComputed) for e in events)
    return judge(fold(events), story.config(metric="accuracy"))


def test_the_verdict_does_not_ship_what_no_digit_shows() -> None:
    assert judged(0.15, 0.06).decision == "ship"
    verdict = judged(0.00002, 0.00001)
    assert verdict.decision == "no evidence"
    assert "the same in every digit shown" in verdict.reasons[0]


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(-0.02, 0.02, "cannot tell"), (-0.00001, 0.00001, "the same"), (0.00001, 0.00002, "the same")],
)
def test_nothing_shown_is_the_same_only_where_it_is_surely_little(
    low: float, high: float, said: str
) -> None:
    c = {"metric": "accuracy", "difference": (low + high) / 2, "low": low, "high": high, "p": 0.01}
    assert read_difference(records.record(Comparison, c)) == said


def test_no_difference_has_one_spelling() -> None:
    assert {format_difference("loss", x) for x in (0, 0.0001, -0.0001, -0.0)} == {"0.000"}
    assert format_difference("accuracy", 0.0) == "0.0 points"
    assert format_difference_interval("bleu", -0.04, 0.04) == "0.0 to 0.0"
