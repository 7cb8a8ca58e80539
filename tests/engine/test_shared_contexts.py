"""Rows with one context, read as a tree, score what they score alone (L5, K2)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ftev.core.engine.models.logits import ScoredPositions
from ftev.core.engine.models.models import Loaded, at_precision
from ftev.core.engine.scoring import evaluate
from ftev.core.engine.scoring.choices import LabelScores, label_likelihoods
from ftev.core.engine.scoring.evaluate import can_share, trees
from ftev.core.engine.scoring.rows import TokenRows
from ftev.core.engine.training.batches import Layout
from scoring import causal_model, scores
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)

LLAMA_SHAPE: dict[str, Any] = {
    "vocab_size": 99,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "initializer_range": 0.3,
}
PLAIN = Layout(seed=1)  # a layout that is asked for: rows alone, in any order


class Tokenizer:
    pad_token_id = 0


def loaded_of(model: Any) -> Loaded:
    return Loaded(model.eval(), Tokenizer(), 64)


def llama(**changes: Any) -> Loaded:
    torch.manual_seed(0)
    return loaded_of(LlamaForCausalLM(LlamaConfig(**{**LLAMA_SHAPE, **changes})))


def gpt2() -> Loaded:
    torch.manual_seed(0)
    shape = GPT2Config(vocab_size=99, n_embd=32, n_layer=2, n_head=4, initializer_range=0.3)
    return loaded_of(GPT2LMHeadModel(shape))


def choices(seed: int = 0) -> TokenRows:
    """Contexts of 8 to 30 tokens with one to five endings of 1 to 9, and some rows alone."""
    random, rows = np.random.default_rng(seed), TokenRows(scored=[])
    assert rows.scored is not None
    for endings in (1, 4, 5, 3, 1, 2):
        context = random.integers(1, 99, random.integers(8, 30))
        for _ in range(endings):
            ending = random.integers(1, 99, random.integers(1, 10))
            rows.ids.append(np.concatenate([context, ending]).astype(np.int32))
            scored = np.arange(len(rows.ids[-1])) >= len(context)
            scored[len(context) + 2 :: 3] = False  # not all of an ending need be scored
            rows.scored.append(scored)
            rows.row_ids.append(len(rows.row_ids))
            rows.bytes.append(0)
    return rows


@pytest.mark.parametrize("make", [llama, gpt2, lambda: llama(num_key_value_heads=2)])
@pytest.mark.parametrize("budget", [1, 90, 8192])
def test_L5_a_tree_scores_what_its_rows_score_alone(make: Any, budget: int) -> None:
    loaded, rows = make(), choices()
    assert can_share(ScoredPositions(loaded.model), 64)
    read: list[int] = []
    watch = loaded.model.get_input_embeddings().register_forward_hook(
        lambda m, args, out: read.append(out.shape[0] * out.shape[1])
    )
    alone = scores(loaded, rows, budget=budget, layout=PLAIN)
    plain = sum(read)
    read.clear()
    shared = scores(loaded, rows, budget=budget)
    watch.remove()
    assert sum(read) < 0.7 * plain  # tokens read
    np.testing.assert_allclose(shared["nll"], alone["nll"], atol=1e-5)
    assert shared.drop("nll").equals(alone.drop("nll"))


def test_a_tree_is_no_wider_than_asked_and_holds_each_row_once() -> None:
    rows = choices()
    for widest in (1, 32, 40, 64):
        found = trees(rows, widest)
        held = [row for tree in found for row in tree.rows]
        assert len(held) == len(set(held))
        assert all(len(tree.ids) <= widest for tree in found)
    assert len({row for tree in trees(rows, 64) for row in tree.rows}) == 4 + 5 + 3 + 2


def test_rows_that_share_their_prefix_alone_are_no_tree() -> None:
    rows = TokenRows(
        ids=[np.array([1, n, 5, 6], dtype=np.int32) for n in range(4)],
        scored=[np.array([False, True, True, True])] * 4,
        row_ids=list(range(4)),
    )
    assert trees(rows, 64) == []
    rows.scored = [np.zeros(4, dtype=bool)] * 4  # nothing is scored: nothing to share
    assert trees(rows, 64) == []


def bloom() -> Loaded:
    torch.manual_seed(0)
    shape = BloomConfig(vocab_size=99, hidden_size=32, n_layer=2, n_head=4, initializer_range=0.3)
    return loaded_of(BloomForCausalLM(shape))


def mistral() -> Loaded:
    torch.manual_seed(0)
    return loaded_of(
        MistralForCausalLM(MistralConfig(**LLAMA_SHAPE, num_key_value_heads=4, sliding_window=16))
    )


@pytest.mark.parametrize("make", [bloom, mistral, lambda: llama(attn_implementation="eager")])
def test_a_model_that_reads_no_tree_reads_rows(make: Any) -> None:
    loaded, rows = make(), choices()
    assert not can_share(ScoredPositions(loaded.model), 64)
    alone = scores(loaded, rows, budget=90, layout=PLAIN)
    found = scores(loaded, rows, budget=90)
    np.testing.assert_allclose(found["nll"], alone["nll"], atol=1e-5)


def test_a_model_that_does_as_if_there_were_no_mask_is_found_out() -> None:
    loaded = llama()
    forward = loaded.model.model.forward

    def blind(*args: Any, **kwargs: Any) -> Any:
        kwargs["attention_mask"] = None
        return forward(*args, **kwargs)

    loaded.model.model.forward = blind
    head = ScoredPositions(loaded.model)
    assert head.short_way
    assert not can_share(head, 64)


def test_K2_labels_share_their_text(causal_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = causal_model(causal_folder)
    texts = ["the tea was a good cup and a warm one", "a cold day makes a warm cup welcome"]
    found = []
    for sharing in (True, False):
        if not sharing:
            monkeypatch.setattr(evaluate, "can_share", lambda head, widest: False)
        *_, result = label_likelihoods(loaded, texts, ("good", "bad", "a cup"), "float32", 8192)
        assert isinstance(result, LabelScores)
        found.append(result.sums)
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)


def test_bfloat16_scores_with_weights_rounded_once() -> None:
    loaded, rows = llama(), choices()
    before = {name: p.clone() for name, p in loaded.model.named_parameters()}
    half = at_precision(loaded, "bfloat16")
    assert {p.dtype for p in half.model.parameters()} == {torch.bfloat16}
    assert at_precision(loaded, "float32") is loaded
    exact = scores(loaded, rows)
    *_, rounded = evaluate.score_tokens(loaded, rows, "bfloat16", 8192)
    apart = np.abs(rounded["nll"].to_numpy() - exact["nll"].to_numpy())  # type: ignore[union-attr]
    assert 0 < apart.max() < 0.05 * exact["nll"].max()
    for name, parameter in loaded.model.named_parameters():
        assert torch.equal(parameter, before[name])  # the model itself is as it was
    tied = at_precision(llama(tie_word_embeddings=True), "bfloat16").model
    assert tied.lm_head.weight is tied.model.embed_tokens.weight


def test_without_room_for_a_copy_the_weights_are_rounded_in_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ftev.core.engine.models import models

    monkeypatch.setattr(models, "free_memory", lambda device: 1_000)
    loaded, rows = llama(), choices()
    assert at_precision(loaded, "bfloat16") is loaded
    *_, rounded = evaluate.score_tokens(loaded, rows, "bfloat16", 8192)
    np.testing.assert_allclose(rounded["nll"], scores(loaded, rows)["nll"], rtol=0.05)  # type: ignore[index]
