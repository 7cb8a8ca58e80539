"""F: whether train and test were drawn alike, and what is said of random splits."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from ftev.core.data.data import Split
from ftev.core.data.drawn import compare_draws
from ftev.core.data.rows import with_content

QUESTIONS = ("labels", "lengths", "wording")
WORDS = np.array([a + b + c for a in "bdfgklmnprst" for b in "aeiou" for c in ("n", "st", "la")])
COMMON = 1 / np.arange(1, len(WORDS) + 1)


def texts(
    rng: np.random.Generator, rows: int, longer: float = 1.0, other: float = 0.0
) -> list[str]:
    """`other`: share of rows with other words in them."""
    made = []
    for _ in range(rows):
        words = rng.choice(
            WORDS, max(3, int(rng.lognormal(2.3, 0.5) * longer)), p=COMMON / sum(COMMON)
        )
        if rng.random() < other:
            words = np.where(rng.random(len(words)) < 0.5, np.char.add("zu", words), words)
        made.append(" ".join(words))
    return made


def labels(
    rng: np.random.Generator, rows: int, shares: tuple[float, ...] = (0.6, 0.3, 0.1)
) -> list[str]:
    return list(rng.choice(list("abc"), rows, p=shares))


def split(name: str, texts: list[str], labels: list[str], **more: Any) -> Split:
    frame = pl.DataFrame({"row_id": range(len(texts)), "text": texts, "label": labels, **more})
    return Split(name, with_content(frame), (f"{name}.csv",), len(texts), 2, "")


def shown(train: Split, test: Split, seed: int = 0) -> set[str]:
    found = compare_draws(train, test, seed)
    answers = {name: getattr(found, name) for name in QUESTIONS}
    return {name for name, answer in answers.items() if answer is not None and answer.shown}


@pytest.mark.parametrize("rows", [60, 300])
def test_F_random_splits_of_one_file_are_drawn_alike(rows: int) -> None:
    false = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        both = texts(rng, rows), labels(rng, rows)
        cut = rows // 3
        train, test = (
            split(n, *(b[part] for b in both))
            for n, part in (("train", slice(cut, None)), ("test", slice(cut)))
        )
        false += bool(shown(train, test, seed))
    assert false <= 1


@pytest.mark.parametrize("planted", QUESTIONS)
def test_F_a_planted_difference_is_found(planted: str) -> None:
    found = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        train = split("train", texts(rng, 400), labels(rng, 400))
        longer, other = 1.0 + 0.5 * (planted == "lengths"), 0.4 * (planted == "wording")
        shares = (0.4, 0.4, 0.2) if planted == "labels" else (0.6, 0.3, 0.1)
        test = split("test", texts(rng, 200, longer, other), labels(rng, 200, shares))
        found += planted in shown(train, test, seed)
    assert found == 10


def test_F_a_large_split_with_a_difference_that_does_not_matter() -> None:
    rng = np.random.default_rng(1)
    words = [f"text {i}" for i in range(40_000)]
    train = split("train", words, labels(rng, 40_000))
    test = split("test", words, labels(rng, 40_000, (0.62, 0.29, 0.09)))
    found = compare_draws(train, test)
    assert found.labels.p_holm < 0.01
    assert not found.labels.shown


def test_F_rows_of_one_group_and_copies_count_once() -> None:
    rng = np.random.default_rng(2)
    base, named = texts(rng, 60), labels(rng, 60)
    train = split("train", texts(rng, 200), labels(rng, 200))
    copies = [0] * 140 + list(range(60))
    test = split("test", [base[i] for i in copies], [named[i] for i in copies])
    assert "labels" not in shown(train, test)
    many = split(
        "test", texts(rng, 200), [named[i] for i in copies], group=[str(i) for i in copies]
    )
    assert "labels" not in shown(train, many)
    assert compare_draws(train, split("test", base[:19], named[:19])) is None


def test_F_labels_are_tested_exactly_where_they_are_rare() -> None:
    """Against the two-sided exact test of Fisher, for two labels."""
    from scipy.stats import fisher_exact

    words = [f"text {i}" for i in range(200)]
    train = split("train", words[:150], ["a"] * 149 + ["b"])
    test = split("test", words[150:], ["a"] * 44 + ["b"] * 6)
    exact = fisher_exact([[149, 1], [44, 6]]).pvalue
    assert compare_draws(train, test).labels.p == pytest.approx(exact, abs=0.0015)
