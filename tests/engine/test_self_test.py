"""L5: a row's score does not depend on what it is batched with, on padding or on its side."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from ftev.core.engine.models.models import Loaded, left_padding_refused
from ftev.core.engine.scoring import self_test
from ftev.core.engine.scoring.self_test import (
    LAYOUTS,
    measure,
    sample,
    score_layouts,
    scored_again,
    summarise,
    tolerance,
    within_budget,
)
from ftev.core.engine.training.batches import Layout
from scoring import (
    causal_model,
    classifier_model,
    made_texts,
    rows_of_labels,
    rows_of_texts,
    scorer_of,
    scores,
)
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForSequenceClassification,
)

SIDES = [Layout(rows=n, seed=n) for n in (1, 2, 8, 64)]
SIDES += [Layout(rows=n, seed=n, extra=9) for n in (2, 8)]
LEFT = [Layout(rows=n, seed=n, pad_left=True, extra=n % 3) for n in (1, 2, 8, 64)]


def told(layout: Layout) -> str:
    side = "left" if layout.pad_left else "right"
    return f"{layout.rows} rows, {side}, {layout.extra} extra"


@pytest.fixture(scope="module")
def causal(causal_folder: Path) -> Loaded:
    return causal_model(causal_folder)


@pytest.fixture(scope="module")
def learned_positions(causal: Loaded) -> Loaded:
    """A GPT-2, whose positions are learned and not relative: a shifted row scores otherwise."""
    torch.manual_seed(3)
    size = len(causal.tokenizer)
    config = GPT2Config(vocab_size=size, n_positions=64, n_embd=32, n_layer=2, n_head=4)
    return Loaded(GPT2LMHeadModel(config).eval(), causal.tokenizer, 64)


@pytest.fixture(scope="module")
def decoder_classifier(causal: Loaded) -> Loaded:
    torch.manual_seed(4)
    tokenizer = causal.tokenizer
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64,
        pad_token_id=tokenizer.pad_token_id,
        num_labels=2,
    )
    model = LlamaForSequenceClassification(config).eval()
    return Loaded(model, tokenizer, 64, ("good", "bad"))


@pytest.mark.parametrize("layout", SIDES + LEFT, ids=told)
@pytest.mark.parametrize("kind", ["causal", "learned_positions"])
def test_L5_texts_score_the_same_in_any_layout(
    kind: str, layout: Layout, request: pytest.FixtureRequest
) -> None:
    loaded = request.getfixturevalue(kind)
    rows = rows_of_texts(loaded, made_texts(40))
    usual, other = scores(loaded, rows), scores(loaded, rows, layout=layout)
    tokens = usual["tokens"].to_numpy()
    assert np.abs(usual["nll"] - other["nll"]).to_numpy() / tokens == pytest.approx(0, abs=1e-5)
    losses = [frame["nll"].sum() / tokens.sum() for frame in (usual, other)]
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)
    assert usual["correct"].to_list() == other["correct"].to_list()
    assert usual["row_id"].to_list() == other["row_id"].to_list() == list(range(40))


@pytest.mark.parametrize("layout", SIDES, ids=told)
def test_L5_an_encoder_labels_the_same_in_any_layout(encoder_folder: Path, layout: Layout) -> None:
    loaded = classifier_model(encoder_folder)
    rows = rows_of_labels(loaded, made_texts(40))
    usual, other = scores(loaded, rows), scores(loaded, rows, layout=layout)
    assert np.allclose(usual["nll"], other["nll"], rtol=0, atol=1e-5)
    assert usual["predicted"].to_list() == other["predicted"].to_list()


@pytest.mark.parametrize("layout", SIDES + LEFT, ids=told)
def test_L5_a_decoder_labels_the_same_in_any_layout(
    decoder_classifier: Loaded, layout: Layout
) -> None:
    rows = rows_of_labels(decoder_classifier, made_texts(40))
    usual = scores(decoder_classifier, rows)
    other = scores(decoder_classifier, rows, layout=layout)
    assert np.allclose(usual["nll"], other["nll"], rtol=0, atol=1e-5)
    assert usual["predicted"].to_list() == other["predicted"].to_list()


def test_a_layout_takes_every_row_once_and_is_as_wide_as_asked() -> None:
    lengths = np.array([3, 9, 1, 4, 4])
    for layout in (Layout(), Layout(rows=2), Layout(rows=2, seed=1), Layout(seed=7)):
        batches = layout.batches(lengths, 9)
        assert sorted(np.concatenate(batches).tolist()) == [0, 1, 2, 3, 4]
    assert [len(b) for b in Layout(rows=2, seed=1).batches(lengths, 9)] == [2, 2, 1]


def test_left_padding_is_left_out_where_a_model_reads_its_first_place(
    encoder_folder: Path, causal: Loaded, decoder_classifier: Loaded
) -> None:
    assert "first place" in left_padding_refused(classifier_model(encoder_folder))
    assert left_padding_refused(causal) == left_padding_refused(decoder_classifier) == ""


def test_the_sample_holds_the_shortest_and_the_longest_row(causal: Loaded) -> None:
    rows = rows_of_texts(causal, made_texts(50))
    assert rows.scored is not None
    rows.scored[int(rows.lengths.argmax())][:] = False  # nothing to score: nothing to compare
    index = sample(rows, 10)
    chosen, scorable = rows.lengths[index], rows.lengths[rows.targets > 0]
    assert len(index) == 10
    assert (chosen.min(), chosen.max()) == (scorable.min(), scorable.max())
    assert index.tolist() == sorted(set(index.tolist()))
    assert len(sample(rows, 500)) == 49
    assert not len(sample(rows, 0))
    few = rows.take(index)
    assert few.row_ids == index.tolist()
    assert scores(causal, few)["nll"].to_list() == pytest.approx(
        scores(causal, rows)["nll"][index].to_list(), abs=1e-4
    )


def test_the_self_test_passes_in_every_layout(causal: Loaded) -> None:
    rows = rows_of_texts(causal, made_texts(20))
    *counts, found = score_layouts(
        causal,
        scores(causal, rows),
        scored_again(scorer_of(rows), rows, "float32", 256),
        scorer_of(rows).changed,
        rows.lengths,
        {},
    )
    assert counts == list(range(1, len(LAYOUTS) + 1))
    assert isinstance(found, dict)
    assert [x["layout"] for x in found["layouts"]] == list(LAYOUTS)
    whole = summarise(found["layouts"], 1e-5, labels=False)
    assert whole["passed"]
    assert whole["changed_predictions"] == 0


def test_the_self_test_catches_a_model_that_reads_its_padding(encoder_folder: Path) -> None:
    """The mask is dropped on the way in, as a wrapper that forgets it would."""
    loaded = classifier_model(encoder_folder)
    torch.nn.init.normal_(
        loaded.model.classifier.weight, std=1.0
    )  # an untrained one hardly differs
    rows = rows_of_labels(loaded, made_texts(30, seed=2))
    stored = scores(loaded, rows, budget=1)  # each row by itself: nothing is padded
    forward = loaded.model.forward
    loaded.model.forward = lambda input_ids, attention_mask: forward(input_ids=input_ids)
    *_, found = score_layouts(
        loaded,
        stored,
        scored_again(scorer_of(rows), rows, "float32", 256),
        scorer_of(rows).changed,
        rows.lengths,
        {},
    )
    assert isinstance(found, dict)
    drift = {x["layout"]: x["largest_loss_drift"] for x in found["layouts"]}
    assert drift["1 row at a time"] < 1e-5
    assert drift["8 rows at a time, shuffled"] > 1e-4
    assert not summarise(found["layouts"], 1e-5, labels=True)["passed"]
    assert "first place" in found["left_out"][0]["reason"]


def test_padding_that_cannot_be_made_is_not_called_tested(causal: Loaded) -> None:
    """A text cut into windows of the model's length leaves no room for more padding."""
    windows = rows_of_texts(causal, ["a cold day " * 200])
    rows = windows.take(np.flatnonzero(windows.lengths == causal.max_length))
    assert len(rows) > 8
    again = scored_again(scorer_of(rows), rows, "float32", 256)
    *_, found = score_layouts(causal, scores(causal, rows), again, "correct", rows.lengths, {})
    assert isinstance(found, dict)
    [left_out] = found["left_out"]
    assert "extra padding" in left_out["layout"]
    assert f"{causal.max_length} tokens" in left_out["reason"]


def frame(nll: list[float], predicted: str) -> pl.DataFrame:
    return pl.DataFrame({"row_id": [7, 8, 9], "nll": nll, "predicted": list(predicted)})


def test_drift_is_told_with_its_row_and_nan_is_no_agreement() -> None:
    nan, inf = float("nan"), float("inf")
    stored = frame([1.0, nan, inf], "aab")
    same = measure(stored, stored, "predicted")
    assert (same["largest_nll_drift"], same["changed_predictions"]) == (0.0, 0)
    other = measure(frame([1.0, 2.0, 3.0], "aab"), frame([1.0, 2.5, 3.0], "aba"), "predicted")
    assert (other["largest_nll_drift"], other["worst_row"]) == (0.5, 8)
    assert (other["changed_predictions"], other["changed_rows"]) == (2, [8, 9])
    assert measure(stored.clear(), stored.clear(), "predicted")["worst_row"] == -1
    lost = measure(frame([1.0, 2.0, 3.0], "aab"), frame([1.0, nan, 3.0], "aab"), "predicted")
    assert np.isnan(lost["largest_loss_drift"])
    whole = summarise([same, lost], 1e-5, labels=True)
    assert not whole["passed"]
    assert np.isnan(whole["largest_loss_drift"])


def test_a_label_that_changes_fails_and_a_token_in_a_text_does_not() -> None:
    close = {
        "largest_nll_drift": 1e-7,
        "largest_loss_drift": 1e-7,
        "changed_predictions": 1,
        "changed_rows": [3],
    }
    assert not summarise([close], 1e-5, labels=True)["passed"]
    assert summarise([close], 1e-5, labels=False)["passed"]
    assert summarise([close], 1e-5, labels=False)["changed_rows"] == [3]


def test_tolerances_are_stated_for_each_arithmetic() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda", 0)
    assert tolerance(cpu, "float32") == 1e-5
    assert tolerance(gpu, "float32") == 1e-4
    assert tolerance(cpu, "bfloat16") == tolerance(gpu, "bfloat16") == 0.1


def test_a_run_that_wants_no_self_test_has_none(causal: Loaded) -> None:
    rows = {"test": rows_of_texts(causal, ["tea"])}
    config = SimpleNamespace(evaluate=SimpleNamespace(self_test_rows=0))
    session = SimpleNamespace(config=config, rows=rows)
    assert not list(self_test.self_test(session, "test", {}))  # type: ignore[arg-type]


def budgeted(trained_tokens: int, training: str = "float32") -> Any:
    """A run of a language model, as far as the size of its samples depends on it."""
    return SimpleNamespace(
        config=SimpleNamespace(evaluate=SimpleNamespace(precision="float32")),
        task=SimpleNamespace(has_head=False),
        base_has_head=False,
        base=None,
        tuned=None,
        precision=training,
        trained_tokens=trained_tokens,
    )


def test_the_self_test_costs_a_twentieth_of_training_and_has_eight_rows(causal: Loaded) -> None:
    rows = rows_of_texts(causal, made_texts(60))
    whole = sample(rows, 32)
    passes = 2 * len(LAYOUTS)  # two models
    enough = int(rows.lengths[whole].sum()) * passes * 20 // 3 + 20
    for run, most in ((budgeted(enough), 32), (budgeted(0), 32)):  # and without training
        assert within_budget(run, rows, most).tolist() == whole.tolist()
    for training in ("float32", "bfloat16"):
        some = within_budget(budgeted(enough // 2, training), rows, 32)
        cost = int(rows.lengths[some].sum()) * passes * (2 if training == "bfloat16" else 1)
        assert 8 <= len(some) < 32
        assert cost <= 0.05 * 3 * (enough // 2) or len(some) == 8
    assert len(within_budget(budgeted(1), rows, 32)) == 8
    assert len(within_budget(budgeted(1), rows, 3)) == 3
