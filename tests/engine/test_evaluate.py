import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from ftev.core.config import ModelConfig, RunConfig
from ftev.core.engine.evaluate import (
    TextScore,
    rolling_windows,
    score_labels,
    score_text,
    score_tokens,
)
from ftev.core.engine.models import Loaded, ScoredPositions, load
from ftev.core.engine.rows import TokenRows, classification_rows, completion_rows, text_rows

TEXTS = [
    "the kettle boils",
    "a cold day makes a warm cup welcome and the tea was bad",
    "tea",
    "what a good day for a good cup of tea, ’tis true",
    "this kettle is broken and i want it gone",
]


@pytest.fixture(scope="module")
def causal(causal_folder: Path) -> Loaded:
    config = RunConfig(task="generation", model=ModelConfig(base=str(causal_folder)))
    return load(config, str(causal_folder))


@pytest.fixture(scope="module")
def classifier(encoder_folder: Path) -> Loaded:
    torch.manual_seed(1)
    config = RunConfig(task="classification", model=ModelConfig(base=str(encoder_folder)))
    return load(config, str(encoder_folder), ("good", "bad"))


def rows_of(causal: Loaded, texts: list[str]) -> TokenRows:
    frame = pl.DataFrame({"row_id": range(len(texts)), "text": texts})
    *_, rows = text_rows(frame, causal)
    assert isinstance(rows, TokenRows)
    return rows


def scores(causal: Loaded, rows: TokenRows, budget: int) -> pl.DataFrame:
    *_, frame = score_tokens(causal, rows, "float32", budget)
    assert isinstance(frame, pl.DataFrame)
    return frame


def plain_nll(causal: Loaded, ids: np.ndarray) -> float:
    """The definition, one row at a time, no padding, in float64."""
    tensor = torch.tensor(ids.astype(np.int64))[None]
    with torch.no_grad():
        logits = causal.model(input_ids=tensor).logits[0].double()
    return float(-logits[:-1].log_softmax(-1).gather(1, tensor[0, 1:, None]).sum())


def test_L1_loss_is_one_division_of_sums(causal: Loaded) -> None:
    rows = rows_of(causal, TEXTS)
    frame = scores(causal, rows, 10_000)
    expected = sum(plain_nll(causal, ids) for ids in rows.ids)
    tokens = sum(len(ids) - 1 for ids in rows.ids)
    assert frame["tokens"].sum() == tokens
    assert frame["nll"].sum() / frame["tokens"].sum() == pytest.approx(expected / tokens, abs=1e-5)


def test_L2_the_first_token_is_never_a_target(causal: Loaded) -> None:
    rows = rows_of(causal, TEXTS)
    assert rows.scored is not None
    assert not any(scored[0] for scored in rows.scored)


@pytest.mark.parametrize("budget", [1, 40, 100, 10_000])
def test_L5_the_same_rows_in_any_batches_give_the_same_loss(causal: Loaded, budget: int) -> None:
    rows = rows_of(causal, TEXTS)
    one, many = scores(causal, rows, budget), scores(causal, rows, 64)
    assert np.allclose(one["nll"], many["nll"], atol=1e-4)
    assert one["correct"].to_list() == many["correct"].to_list()
    assert one["row_id"].to_list() == [0, 1, 2, 3, 4]


def test_L6_rows_with_nothing_to_score_count_nothing(causal: Loaded) -> None:
    rows = rows_of(causal, TEXTS[:2])
    assert rows.scored is not None
    rows.scored[0][:] = False
    frame = scores(causal, rows, 1000)
    assert frame["tokens"].to_list()[0] == 0
    assert frame["nll"].to_list()[0] == 0.0
    assert frame["nll"].to_list()[1] > 0


def test_L3_the_short_way_gives_the_models_own_logits(causal: Loaded) -> None:
    head = ScoredPositions(causal.model)
    assert head.short_way
    head.short_way = False
    ids = torch.tensor([[1, 40, 41, 42]])
    full = head.logits(head.hidden(ids, torch.ones_like(ids)))
    head.short_way = True
    short = head.logits(head.hidden(ids, torch.ones_like(ids)))
    assert torch.allclose(full, short, atol=1e-5)


def test_a_head_that_scales_its_logits_is_not_taken_the_short_way(causal_folder: Path) -> None:
    config = RunConfig(task="generation", model=ModelConfig(base=str(causal_folder)))
    loaded = load(config, str(causal_folder))
    forward = loaded.model.forward

    def scaled(*args: object, **kwargs: object) -> object:
        out = forward(*args, **kwargs)
        out.logits = out.logits * 0.5
        return out

    loaded.model.forward = scaled
    assert not ScoredPositions(loaded.model).short_way
    rows = rows_of(loaded, TEXTS)
    expected = sum(plain_nll(loaded, ids) for ids in rows.ids)
    assert scores(loaded, rows, 100)["nll"].sum() == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        (1, [(-1, 0, 4), (3, 4, 8), (5, 8, 10)]),
        (3, [(-1, 0, 4), (1, 4, 6), (3, 6, 8), (5, 8, 10)]),
    ],
)
def test_K3_each_token_is_scored_in_exactly_one_window(
    context: int, expected: list[tuple[int, int, int]]
) -> None:
    assert list(rolling_windows(10, 4, context)) == expected


def test_K3_a_text_within_one_window_has_one(causal: Loaded) -> None:
    assert list(rolling_windows(4, 4, 1)) == [(-1, 0, 4)]
    assert list(rolling_windows(0, 4, 1)) == []


def test_K1_a_text_is_scored_after_one_prefix_token(causal: Loaded) -> None:
    text = "the kettle boils and the tea"
    *_, score = score_text(causal, text)
    assert isinstance(score, TextScore)
    ids = causal.tokenizer(text, add_special_tokens=False).input_ids
    expected = plain_nll(causal, np.array([causal.tokenizer.bos_token_id, *ids]))
    assert score.total == pytest.approx(-expected, abs=1e-4)
    assert score.prefix == "<s>"
    assert len(score.tokens) == len(ids)
    assert score.bytes == len(text.encode())


def test_K3_a_long_text_scores_every_token_once(causal: Loaded) -> None:
    text = " ".join(TEXTS * 12)
    *_, score = score_text(causal, text)
    assert isinstance(score, TextScore)
    n = len(causal.tokenizer(text, add_special_tokens=False).input_ids)
    assert n > 3 * causal.max_length
    assert len(score.log_likelihoods) == len(score.ranks) == n
    assert all(math.isfinite(v) and v <= 0 for v in score.log_likelihoods)


def test_M1_only_the_completion_and_its_eos_are_scored(causal: Loaded) -> None:
    frame = pl.DataFrame({"row_id": [0], "prompt": ["a cold day"], "completion": ["warm cup"]})
    *_, rows = completion_rows(frame, causal)
    assert isinstance(rows, TokenRows)
    assert rows.scored is not None
    said = rows.ids[0][rows.scored[0]].tolist()
    assert causal.tokenizer.decode(said[:-1]) == "warm cup"
    assert said[-1] == causal.tokenizer.eos_token_id == causal.tokenizer.pad_token_id


def test_classes_are_scored_the_same_in_any_batches(classifier: Loaded) -> None:
    labels = ["good", "bad", "good", "bad", "good"]
    frame = pl.DataFrame({"row_id": [3, 1, 4, 0, 2], "text": TEXTS, "label": labels})
    *_, rows = classification_rows(frame, classifier)
    assert isinstance(rows, TokenRows)
    *_, one = score_labels(classifier, rows, "float32", 1)
    *_, many = score_labels(classifier, rows, "float32", 1000)
    assert isinstance(one, pl.DataFrame)
    assert isinstance(many, pl.DataFrame)
    assert one["row_id"].to_list() == [3, 1, 4, 0, 2]
    assert one["label"].to_list() == labels
    assert np.allclose(one["nll"], many["nll"], atol=1e-5)
    total = one["probabilities"].list.sum()
    assert np.allclose(total, 1.0)
    best = [("good", "bad")[int(np.argmax(p))] for p in one["probabilities"].to_list()]
    assert one["predicted"].to_list() == best
