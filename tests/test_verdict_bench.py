"""The fast part of the verdict bench: one run of the kinds that a wrong verdict would come from."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

# Each with a part of its rows: what is planted is still plain, and the bench itself takes all.
FAST = {
    "no gain: tuned as good as the probe": 2,
    "two identical models": 2,
    "real gain, large": 2,
    "5 test rows, every flip in favour": 1,
    "98 % accuracy, 12 % recall of fraud": 4,
    "a reference worse than chance": 2,
    "exact leakage of 100%, no gain": 2,
    "labels of test swapped": 3,
    "cost dearer than a constant answer": 3,
    "cost shown less than every rival's": 3,
    "test rows without a finite score": 2,
    "saved weights altered after scoring": 2,
    "language model: real gain": 4,
    "language model: both worse than guessing": 4,
    "language model never stops": 2,
    "answers got worse while the loss fell": 2,
}


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(Path(__file__).parent / "bench")
    return importlib.import_module("verdicts")


@pytest.fixture
def no_gain(bench: Any) -> Any:
    return importlib.import_module("no_gain")


def with_a_part_of_its_rows(make: Callable[..., Any], part: int) -> Callable[..., Any]:
    return lambda rng, folder, s: make(
        rng, folder, replace(s, rows=tuple(n // part for n in s.rows))
    )


@pytest.mark.parametrize(("name", "part"), FAST.items())
def test_the_verdict_is_that_of_the_planted_truth(
    name: str, part: int, bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for make in ("run", "write"):
        monkeypatch.setattr(bench, make, with_a_part_of_its_rows(getattr(bench, make), part))
    outcome = bench.judged(name, [bench.make(name, 0)])
    assert (outcome["right"], outcome["missed"]) == (1, {}), outcome["decisions"]


def test_the_bench_has_every_kind_that_was_asked_for(bench: Any) -> None:
    assert len(bench.KINDS) >= 48
    assert FAST.keys() <= bench.KINDS.keys()


@pytest.mark.parametrize("n", [5, 20])
def test_a_gain_is_seldom_shown_where_there_is_none(n: int, no_gain: Any) -> None:
    """120 pairs of equal models: 2.5 % are 3. By chance one metric has 13 or more once in 93,000,
    and any of sixteen less than once in 5,000."""
    found = no_gain.shown("two labels", n, 1, 120)
    worst = max(count for metric, count in found.items() if not metric.endswith(" of"))
    assert worst < 13, found


@pytest.mark.parametrize("name", ["no target, equally good", "better by 5 points, it is 5"])
def test_ship_is_seldom_said_where_nothing_was_gained(name: str, no_gain: Any) -> None:
    """Of 25 pairs 0.6, and 5 or more come by chance once in 2,900."""
    assert no_gain.decided(name, 50, 1, 25)["ship"] < 5


def test_a_bench_that_is_fooled_says_so(bench: Any) -> None:
    """A ship where none is right is counted, and so is a finding that nobody planted."""
    wrong = ("two identical models", 0, "ship", ["leakage"], "")
    outcome = bench.judged("two identical models", [wrong])
    assert (outcome["right"], dict(outcome["false"])) == (0, {"leakage": 1})
    assert "Wrong ships: 1 where the planted truth is decisive" in bench.totals([outcome])


def test_a_ship_among_equals_is_chance_and_one_of_seen_rows_is_not(bench: Any) -> None:
    names = ("language model: no gain", "exact leakage of 100%, no gain")
    outcomes = [bench.judged(name, [(name, 0, "ship", [], "")]) for name in names]
    assert "Wrong ships: 1 where the planted truth is decisive; 1 in 1 runs" in bench.totals(
        outcomes
    )
