"""Pairs of texts through the engine: both scored after the same, stored, and read back."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from data_files import write_jsonl
from ftev.core.config.config import DataConfig, RunConfig
from ftev.core.engine.models.models import Loaded, save
from ftev.core.engine.scoring.evaluate import score_tokens
from ftev.core.engine.scoring.preference import SCORER
from ftev.core.engine.scoring.read_back import _frame_of, _rows_of
from ftev.core.engine.scoring.rows import TokenRows, completion_rows
from ftev.core.run.runs import create_run
from scoring import WORDS, causal_model
from test_worker import all_agree, finish


@pytest.fixture(scope="module")
def causal(causal_folder: Path) -> Loaded:
    return causal_model(causal_folder)


def pairs(count: int) -> pl.DataFrame:
    """Answers of different lengths to prompts of which some come again."""
    random = np.random.default_rng(5)

    def text(words: int) -> str:
        return " ".join(random.choice(WORDS, words))

    prompts = [text(9) for _ in range(count // 2)] * 2
    return pl.DataFrame(
        {
            "row_id": np.arange(len(prompts)) * 3,
            "prompt": prompts,
            "completion": [text(1 + i % 4) for i in range(len(prompts))],
            "rejected": [text(1 + i % 3) for i in range(len(prompts))],
        }
    )


def rendered(frame: pl.DataFrame, loaded: Loaded) -> TokenRows:
    *_, rows = SCORER.forms["preference"](frame, loaded)
    assert isinstance(rows, TokenRows)
    return rows


def test_both_texts_have_the_likelihood_that_each_has_alone(causal: Loaded) -> None:
    frame = pairs(24)
    rows = rendered(frame, causal)
    *counts, found = SCORER.score(causal, rows, "float32", 256)
    assert counts[-1] == len(rows)
    for column, nll, tokens in (
        ("completion", "nll", "tokens"),
        ("rejected", "rejected_nll", "rejected_tokens"),
    ):
        *_, alone = completion_rows(frame.with_columns(completion=column), causal)
        *_, expected = score_tokens(causal, alone, "float32", 64)
        assert found[tokens].to_list() == expected["tokens"].to_list()
        assert found[nll].to_numpy() == pytest.approx(expected["nll"].to_numpy(), abs=1e-4)
    assert found["row_id"].to_list() == frame["row_id"].to_list()


def test_some_of_the_pairs_keep_their_rejected_texts(causal: Loaded) -> None:
    """In another order, and by way of the file that a reader in another process gets."""
    rows = rendered(pairs(12), causal)
    *_, whole = SCORER.score(causal, rows, "float32", 256)
    some = rows.take(np.array([7, 2, 4]))
    for given in (some, _rows_of(_frame_of(some, ()), causal)):
        *_, found = SCORER.score(causal, given, "float32", 256)
        expected = whole[[7, 2, 4]]
        assert found["row_id"].to_list() == expected["row_id"].to_list()
        for name in ("nll", "rejected_nll"):
            assert found[name].to_numpy() == pytest.approx(expected[name].to_numpy(), abs=1e-4)


def test_a_run_sets_two_models_against_each_other(
    verses: RunConfig, causal: Loaded, tmp_path: Path
) -> None:
    """From the file to the verdict, with every number made again from the stored rows."""
    other = replace(causal, model=copy.deepcopy(causal.model))
    with torch.no_grad():
        for weight in other.model.parameters():
            weight.mul_(1.1)
    save(other, tmp_path / "other")
    frame = pairs(40).rename({"completion": "chosen"}).drop("row_id")
    write_jsonl(tmp_path / "pairs.jsonl", frame.to_dicts())
    config = replace(
        verses,
        model=replace(verses.model, tuned=str(tmp_path / "other")),
        data=DataConfig(test=str(tmp_path / "pairs.jsonl"), validation=None),
        evaluate=replace(verses.evaluate, parity_rows=8),
    )
    run = create_run(config, tmp_path / "runs")
    history = finish(run)
    assert history.finished is not None
    assert history.finished.status == "finished", history.finished
    assert history.task == "preference"
    tuned = history.results["test"]["tuned"]
    assert tuned.n == 40
    assert {"preference_accuracy", "preference_margin", "loss"} <= tuned.metrics.keys()
    assert {c.metric for c in history.comparisons} >= {"preference_accuracy", "loss"}
    parity = history.analyses["test"]["parity"]["tuned"]
    assert parity.passed, parity  # type: ignore[attr-defined]
    assert all_agree(run)
