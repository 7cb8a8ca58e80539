"""Suspect labels: the rule by hand, planted errors found again, and what is told of them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from ftev.core.analyses import Evaluation, analyse
from ftev.core.analyses.label_errors import CAVEAT, LISTED, find_label_errors, suspect
from ftev.core.config import ModelConfig, RunConfig
from ftev.core.reporting.blocks import Heading, Paragraph, Table
from ftev.core.reporting.sections.label_errors import show_label_errors
from numpy.typing import NDArray

CONFIG = RunConfig(task="classification", model=ModelConfig(base="m"))


def predictions(
    truth: NDArray[np.int64], probabilities: NDArray[np.float64], labels: tuple[str, ...]
) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "row_id": range(10, 10 + len(truth)),
            "label": [labels[i] for i in truth],
            "predicted": [labels[i] for i in probabilities.argmax(1)],
            "probabilities": probabilities.tolist(),
        }
    )


def evaluation(truth: NDArray[np.int64], probabilities: NDArray[np.float64]) -> Evaluation:
    labels = tuple("abc"[: probabilities.shape[1]])
    frame = predictions(truth, probabilities, labels)
    probe = frame.with_columns(predicted=pl.lit("b"))
    texts = [f"text {i} " + "x" * 300 for i in range(len(truth))]
    source = pl.DataFrame({"row_id": frame["row_id"], "text": texts})
    return Evaluation("test", {"probe": probe, "tuned": frame}, source, CONFIG, labels)


def test_the_rule_by_hand() -> None:
    truth = np.array([0, 0, 0, 0, 1, 1, 1])
    p = np.array([0.9, 0.8, 0.4, 0.1, 0.2, 0.1, 0.6])  # of label 0
    found = suspect(truth, np.stack([p, 1 - p], axis=1))
    assert found.thresholds == pytest.approx([0.55, 0.7])
    # row 2: answers 1 with .6 < .7, no; row 3: 1 with .9 >= .7, and .1 < .55: suspect
    # row 6: answers 0 with .6 >= .55, and .4 < .7: suspect, though less
    assert found.places.tolist() == [3, 6]
    # joint: label 0: rows 0, 1 pass as 0, row 3 as 1, row 2 nowhere: 1 of 3, of 4 rows: 4/3
    # label 1: rows 4, 5 pass as 1, row 6 as 0: 1 of 3, of 3 rows: 1
    assert found.estimated == pytest.approx(4 / 3 + 1)


def test_a_label_without_rows_is_never_suggested_and_never_divides() -> None:
    p = np.array([[0.6, 0.1, 0.3], [0.1, 0.2, 0.7], [0.2, 0.2, 0.6]])
    found = suspect(np.array([0, 0, 1]), p)
    assert np.isnan(found.thresholds[2])
    assert found.places.tolist() == []
    # thresholds .35 and .2: row 1 passes as 1 only, row 0 as 0, row 2 as 1: 1 of 2 rows of label 0
    assert found.estimated == pytest.approx(1.0)


def test_planted_errors_are_found_and_counted() -> None:
    rng = np.random.default_rng(0)
    n, planted = 5_000, 250
    true = rng.integers(0, 3, n)
    scores = rng.normal(0, 1, (n, 3))
    scores[np.arange(n), true] += 5
    p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    wrong = rng.choice(n, planted, replace=False)
    given = true.copy()
    given[wrong] = (true[wrong] + 1) % 3
    found = suspect(given, p)
    hits = np.isin(found.places, wrong)
    assert hits.sum() > 0.8 * planted
    assert hits[:200].mean() > 0.95  # the most suspect first
    assert found.estimated == pytest.approx(planted, rel=0.2)
    clean = suspect(true, p)
    assert clean.estimated < 0.01 * n


def test_what_is_told_of_them() -> None:
    truth = np.array([0, 0, 0, 0, 1, 1, 1])
    p = np.array([0.9, 0.8, 0.4, 0.01, 0.2, 0.1, 0.6])
    [found] = find_label_errors(evaluation(truth, np.stack([p, 1 - p], axis=1)))
    told = found.result
    assert (told["n"], told["suspected"], told["unlikely"]) == (7, 2, 1)
    assert told["cells"] == [
        {"label": "a", "suggested": "b", "rows": 1},
        {"label": "b", "suggested": "a", "rows": 1},
    ]
    first = told["rows"][0]
    assert (first["row_id"], first["label"], first["suggested"]) == (13, "a", "b")
    assert (first["probability"], first["label_probability"]) == (0.99, 0.01)
    assert first["text"].startswith("text 3 x")
    assert len(first["text"]) == 200
    assert first["probe"] == "b"
    assert told["probe_agrees"] == 1
    assert told["caveat"] == CAVEAT


def test_no_more_rows_are_listed_than_a_report_can_hold() -> None:
    truth = np.zeros(1000, dtype=np.int64)
    p = np.where(np.arange(1000) < 300, 0.01, 0.9)
    truth[900:] = 1
    p[900:] = 0.1
    [found] = find_label_errors(evaluation(truth, np.stack([p, 1 - p], axis=1)))
    assert found.result["suspected"] == 300
    assert len(found.result["rows"]) == LISTED


def test_training_rows_and_models_without_probabilities_say_nothing() -> None:
    from dataclasses import replace

    truth, p = np.array([0, 1]), np.array([[0.9, 0.1], [0.2, 0.8]])
    e = evaluation(truth, p)
    assert not list(find_label_errors(replace(e, split="train")))
    bare = {"tuned": e.frames["tuned"].drop("probabilities")}
    assert not list(find_label_errors(replace(e, frames=bare)))
    nan = evaluation(truth, np.array([[np.nan, 0.1], [0.2, 0.8]]))
    assert not list(find_label_errors(nan))


def test_it_is_written_down_with_every_other_analysis() -> None:
    truth, p = np.array([0, 0, 1]), np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9]])
    assert "label_errors" in {fact.name for fact in analyse(evaluation(truth, p))}


def test_its_section_of_the_report() -> None:
    truth = np.array([0, 0, 0, 0, 1, 1, 1])
    p = np.array([0.9, 0.8, 0.4, 0.01, 0.2, 0.1, 0.6])
    [found] = find_label_errors(evaluation(truth, np.stack([p, 1 - p], axis=1)))
    blocks = show_label_errors({"analyses": {"test": {"label_errors": {"": found.result}}}})
    assert [b.text for b in blocks if isinstance(b, Heading)] == [
        "Labels that may be wrong",
        "test",
    ]
    [told] = [b.text for b in blocks if isinstance(b, Paragraph)]
    assert told.startswith("2 labels of the 7 rows of test are suspect; by the confident joint")
    cells, rows = [b for b in blocks if isinstance(b, Table)]
    assert ("a", "b", "1") in cells.rows
    assert rows.rows[0][:5] == ("13", "a", "1.0 %", "b", "99.0 %")
    assert all(len(row) == len(rows.columns) for row in rows.rows)
    assert show_label_errors({"analyses": {}}) == []
