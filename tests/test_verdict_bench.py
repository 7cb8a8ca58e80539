"""The fast part of the verdict bench: one run of the kinds that a wrong verdict would come from."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

FAST = [
    "no gain: tuned as good as the probe",
    "two identical models",
    "real gain, large",
    "5 test rows, every flip in favour",
    "98 % accuracy, 12 % recall of fraud",
    "a reference worse than chance",
    "exact leakage of 100%, no gain",
    "labels of test swapped",
    "cost dearer than a constant answer",
    "cost shown less than every rival's",
    "test rows without a finite score",
    "saved weights altered after scoring",
    "language model: real gain",
    "language model: both worse than guessing",
    "language model never stops",
    "answers got worse while the loss fell",
]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(Path(__file__).parent / "bench")
    return importlib.import_module("verdicts")


@pytest.mark.parametrize("name", FAST)
def test_the_verdict_is_that_of_the_planted_truth(name: str, bench: Any) -> None:
    outcome = bench.judged(name, [bench.make(name, 0)])
    assert (outcome["right"], outcome["missed"]) == (1, {}), outcome["decisions"]


def test_the_bench_has_every_kind_that_was_asked_for(bench: Any) -> None:
    assert len(bench.KINDS) >= 48
    assert set(FAST) <= set(bench.KINDS)


@pytest.mark.parametrize("n", [5, 20])
def test_a_gain_is_seldom_shown_where_there_is_none(n: int, bench: Any) -> None:
    """300 pairs of equal models: 2.5 % are 7.5, and 18 or more come by chance once in 2,000."""
    found = importlib.import_module("no_gain").shown("two labels", n, 1, 300)
    worst = max(count for metric, count in found.items() if not metric.endswith(" of"))
    assert worst < 18, found


@pytest.mark.parametrize("name", ["no target, equally good", "better by 5 points, it is 5"])
def test_ship_is_seldom_said_where_nothing_was_gained(name: str, bench: Any) -> None:
    """Of 40 pairs one, and 5 or more come by chance three times in a thousand."""
    assert importlib.import_module("no_gain").decided(name, 50, 1, 40)["ship"] < 5


def test_a_bench_that_is_fooled_says_so(bench: Any) -> None:
    """A ship where none is right is counted, and so is a finding that nobody planted."""
    wrong = ("two identical models", 0, "ship", ["leakage"], "")
    outcome = bench.judged("two identical models", [wrong])
    assert (outcome["right"], dict(outcome["false"])) == (0, {"leakage": 1})
    assert "1 wrong ships" in bench.totals([outcome])
