"""M5: packed rows never see each other, whatever the architecture; what cannot, is padded."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from ftev.core.config.config import ModelConfig, RunConfig, TrainConfig
from ftev.core.engine.models.kernels import use_cpu_kernels
from ftev.core.engine.models.load import load
from ftev.core.engine.models.logits import ScoredPositions
from ftev.core.engine.models.models import Loaded
from ftev.core.engine.scoring.evaluate import can_share
from ftev.core.engine.scoring.rows import TokenRows
from ftev.core.engine.training import packing
from ftev.core.engine.training import trainer as trainer_module
from ftev.core.engine.training.packing import (
    WHOLE,
    Packed,
    Packing,
    attend,
    group_price,
    packed_batch,
    way_of_packing,
)
from ftev.core.engine.training.train import read_steps, train
from ftev.core.engine.training.trainer import Trainer, plan_training
from test_train import weights
from torch import Tensor
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

SETTINGS = TrainConfig(batch_size=8, epochs=2, learning_rate=1e-3)
LENGTHS = [3, 5, 5, 8, 13, 20, 9, 2]
SMALL: dict[str, Any] = {
    "vocab_size": 100,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "classifier_dropout": 0.0,
}
OWN: dict[str, dict[str, Any]] = {
    "DistilBert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64, "dropout": 0.0}
    | {"attention_dropout": 0.0, "seq_classif_dropout": 0.0},
    "GPT2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "attn_pdrop": 0.0}
    | {"resid_pdrop": 0.0, "embd_pdrop": 0.0},
    "Roberta": {"pad_token_id": 1},
    "OPT": {"ffn_dim": 64, "word_embed_proj_dim": 32, "dropout": 0.0},
    "Qwen2": {"num_key_value_heads": 2},
    "ModernBert": {"local_attention": 16},
}
PACKED = [
    ("classification", "Bert"),
    ("classification", "Roberta"),  # positions begin behind the padding's number
    ("classification", "DistilBert"),
    ("classification", "Llama"),  # its class is read from a row's last token
    ("generation", "Llama"),
    ("generation", "Qwen2"),  # fewer keys than queries
    ("generation", "GPT2"),  # positions learned by heart
    ("generation", "OPT"),
]
PADDED = [
    ("classification", "DebertaV2"),  # attention of its own
    ("classification", "ModernBert"),  # sees a few places to both sides
    ("generation", "Bloom"),  # attention of its own
    ("generation", "Mamba"),  # a state that goes through the row
]


PRICE = 32.0  # the layers here are so small that one group would hold all rows


@pytest.fixture(autouse=True)
def _several_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "MOST_PRICE", PRICE)


def test_a_group_costs_more_tokens_the_smaller_they_are() -> None:
    prices = [
        group_price(torch.nn.ModuleList([torch.nn.Linear(n, n)]), torch.device("cpu"), "float32")
        for n in (16, 2048, 16_384)
    ]
    assert prices == [PRICE, pytest.approx(3.4e8 / 6 / (2048 * 2049)), packing.LEAST_PRICE]


class Tokenizer:
    pad_token_id = 0


def made(task: str, name: str, **more: Any) -> Loaded:
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**SMALL | OWN.get(name, {}) | more)
    kind = AutoModelForCausalLM if task == "generation" else AutoModelForSequenceClassification
    model = kind.from_config(config)
    model.config.pad_token_id = config.pad_token_id or 0
    return Loaded(model, Tokenizer(), 64)


def rows_for(task: str) -> TokenRows:
    random = np.random.default_rng(0)
    ids = [random.integers(5, 90, n).astype(np.int32) for n in LENGTHS]
    rows = TokenRows(ids=ids, row_ids=list(range(len(ids))), bytes=LENGTHS)
    if task == "generation":
        return replace(rows, scored=[np.arange(n) >= n // 2 + (n == 2) for n in LENGTHS])
    return replace(rows, labels=np.arange(len(ids)) % 2)


def trainer(loaded: Loaded, task: str, settings: TrainConfig = SETTINGS, **more: Any) -> Trainer:
    rows = rows_for(task)
    return Trainer(loaded, rows, plan_training(rows, settings), settings, **more)


@pytest.mark.parametrize(("task", "name"), PACKED)
def test_M5_packed_training_is_training_row_by_row(task: str, name: str) -> None:
    """Losses, gradient norms and weights; as parts of a step, single rows know no other row."""
    alone = trainer(made(task, name), task, replace(SETTINGS, gradient_accumulation_steps=8))
    packed = trainer(made(task, name), task)
    reads_first = task == "classification" and name in ("Bert", "Roberta")
    assert packed.packing == Packing(PRICE, first_only=reads_first)
    assert [len(part) for part in packed.parts(np.arange(8))] == [8]
    one, two = read_steps(list(train(alone))), read_steps(list(train(packed)))
    for a, b in zip(one, two, strict=True):
        assert a.loss_sum == pytest.approx(b.loss_sum, rel=1e-5)
        assert (a.loss_count, a.tokens) == (b.loss_count, b.tokens)
        assert a.grad_norm == pytest.approx(b.grad_norm, rel=1e-4)
    before = weights(alone)
    for weight, value in weights(packed).items():
        assert torch.allclose(value, before[weight], atol=5e-5), weight


def test_a_pass_on_a_cpu_is_of_so_many_tokens_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer_module, "MOST_ON_CPU", 21)
    t = trainer(made("generation", "Llama"), "generation")
    parts = t.parts(np.arange(8))
    assert sorted(np.concatenate(parts).tolist()) == list(range(8))
    assert [int(t.lengths[part].sum()) for part in parts] == [15, 17, 13, 20]
    padded = trainer(made("generation", "Llama"), "generation", may_pack=False)
    parts = padded.parts(np.arange(8))
    assert sorted(np.concatenate(parts).tolist()) == list(range(8))
    assert [int(t.lengths[part].max()) * len(part) for part in parts] == [20, 18, 13, 20]


@pytest.mark.parametrize(("task", "name"), PADDED)
def test_an_architecture_that_cannot_be_packed_is_padded(task: str, name: str) -> None:
    loaded = made(task, name)
    before = loaded.model.config._attn_implementation
    t = trainer(loaded, task)
    assert t.packing is None
    assert loaded.model.config._attn_implementation in (before, "ftev_cpu")
    assert len(read_steps(list(train(t)))) == 2


def test_layers_see_no_padding_and_the_head_sees_the_padded_batch() -> None:
    loaded = made("classification", "Bert")
    t = trainer(loaded, "classification")
    seen: dict[str, tuple[int, ...]] = {}

    def note(name: str) -> Any:
        return lambda _, given: seen.__setitem__(name, tuple(given[0].shape[:2]))

    for i, name in enumerate(("layer", "last")):
        layer = loaded.model.bert.encoder.layer[i]
        layer.intermediate.register_forward_pre_hook(note(name))
    loaded.model.bert.pooler.register_forward_pre_hook(note("pooler"))
    next(train(t))
    assert seen["pooler"] == (8, 20)
    assert seen["layer"] == (1, 2 * WHOLE)  # 65 tokens, in groups some more, and filled up
    assert seen["last"] == (1, 8)  # its output is read at the first token of each row alone
    assert t.padding() < 128 / 65


def test_a_head_that_reads_every_token_gets_every_token() -> None:
    class Mean(torch.nn.Module):
        def forward(self, states: Tensor) -> Tensor:
            return states.mean(1)

    loaded = made("classification", "Bert")
    loaded.model.bert.pooler = Mean()
    assert trainer(loaded, "classification").packing == Packing(PRICE)


def test_gradients_of_an_embedding_kept_by_rows_are_those_kept_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rows that a step does not meet move by their momentum; what an earlier step met is gone."""
    settings = replace(SETTINGS, batch_size=3, gradient_accumulation_steps=2, max_grad_norm=0.1)
    found = []
    for large in (10**9, 1):
        monkeypatch.setattr(trainer_module, "LARGE_TABLE", large)
        t = trainer(made("classification", "Bert"), "classification", settings)
        words = t.loaded.model.bert.embeddings.word_embeddings
        steps = read_steps(list(train(t)))
        assert words.sparse == (large == 1)
        found.append(([step.grad_norm for step in steps], weights(t)))
    (norms, whole), (norms_by_rows, by_rows) = found
    assert norms_by_rows == pytest.approx(norms, rel=1e-5)
    assert min(norms) > 0.1  # every step was scaled down
    for name, weight in whole.items():
        assert torch.allclose(by_rows[name], weight, atol=1e-6), name


def test_a_table_with_another_use_keeps_its_gradient_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trainer_module, "LARGE_TABLE", 1)
    loaded = made("generation", "Llama", tie_word_embeddings=True)
    trainer(loaded, "generation")
    assert not loaded.model.model.embed_tokens.sparse


def test_packed_training_in_bfloat16_with_dropout_learns() -> None:
    loaded = made("classification", "Bert", hidden_dropout_prob=0.1)
    settings = replace(SETTINGS, epochs=40, learning_rate=3e-3)
    t = trainer(loaded, "classification", settings, precision="bfloat16")
    steps = read_steps(list(train(t)))
    assert steps[-1].loss_sum < 0.2 * steps[0].loss_sum


def test_a_model_trained_on_packed_rows_is_scored_as_ever() -> None:
    loaded = made("generation", "Llama")
    t = trainer(loaded, "generation")
    list(train(t))
    assert t.packing
    assert t.head
    assert can_share(t.head, 64)  # contexts are read once, as those of the base
    batch, _ = packed_batch(loaded, t.rows, np.arange(8), None)
    with torch.no_grad():
        after = t.head.hidden(batch.ids, batch.mask)
        loaded.model.set_attn_implementation("sdpa")
        torch.testing.assert_close(after, t.head.hidden(batch.ids, batch.mask))


def test_a_model_that_does_not_keep_rows_apart_is_found_out() -> None:
    loaded = made("generation", "Llama")
    use_cpu_kernels(loaded.model)
    rows, head = rows_for("generation"), ScoredPositions(loaded.model)
    assert way_of_packing(loaded, head, rows, "float32") == Packing(PRICE)
    set_attention = loaded.model.set_attn_implementation
    set_attention("sdpa")
    loaded.model.set_attn_implementation = lambda name: None  # all tokens see all before them
    assert way_of_packing(loaded, head, rows, "float32") is None


def test_a_narrower_view_than_the_longest_row_is_not_packed() -> None:
    for window, way in ((64, Packing(PRICE)), (12, None)):
        loaded = made("generation", "Mistral", num_key_value_heads=2, sliding_window=window)
        assert trainer(loaded, "generation").packing == way


def test_rows_of_one_length_need_no_packing() -> None:
    loaded, rows = made("generation", "Llama"), rows_for("generation")
    assert packed_batch(loaded, rows, np.array([1, 2]), Packing())[1] is None


def of_bounds(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bounds: Tensor,
    _: Tensor,
    longest: int,
    *more: Any,
    **named: Any,
) -> Tensor:
    """What the kernel of torch is told to compute, row by row. q: [tokens, heads, size]."""
    assert named["window_size"] == (-1, 0)
    assert int(bounds.diff().max()) == longest
    assert named["enable_gqa"] == (q.shape[1] != k.shape[1])
    out = []
    for a, b in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        row = (x[a:b].transpose(0, 1)[None] for x in (q, k, v))
        found = functional.scaled_dot_product_attention(
            *row, is_causal=True, scale=named["scale"], enable_gqa=named["enable_gqa"]
        )
        out.append(found[0].transpose(0, 1))
    return torch.cat(out)


@pytest.mark.parametrize("name", ["Llama", "Qwen2", "GPT2"])
def test_bounds_reach_the_kernel(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel itself needs a GPU; here its place is taken by the same rows one by one."""
    varlen = pytest.importorskip("torch.nn.attention.varlen", reason="torch before 2.10")
    monkeypatch.setattr(varlen, "varlen_attn", of_bounds)
    monkeypatch.setattr(torch, "get_autocast_dtype", lambda kind: torch.float32)
    one, two = trainer(made("generation", name), "generation"), made("generation", name)
    other = trainer(two, "generation")
    other.packing = Packing(by_bounds=True)
    for a, b in zip(read_steps(list(train(one))), read_steps(list(train(other))), strict=True):
        assert a.loss_sum == pytest.approx(b.loss_sum, rel=1e-5)
        assert a.grad_norm == pytest.approx(b.grad_norm, rel=1e-4)


def test_attention_that_is_more_than_packed_rows_know_is_refused() -> None:
    lengths = np.array([2, 3])
    packed: Packed = Packing().lay_out(lengths, torch.device("cpu"))
    q = torch.zeros(1, 2, len(packed.places), 4)
    model = made("generation", "Llama").model
    with packing.packing(model, packed):
        for more in ({"softcap": 30.0}, {"s_aux": q}, {"sliding_window": 2}):
            with pytest.raises(ValueError, match="more than packed rows know"):
                attend(model, q, q, q, None, **more)
        with pytest.raises(ValueError, match="more than packed rows know"):
            attend(model, q, q, q, torch.ones(1, 1, 5, 5))


def on_gpu(folder: Path, may_pack: bool) -> Trainer:
    config = RunConfig(task="generation", model=ModelConfig(base=str(folder)))
    torch.manual_seed(0)
    loaded = load(config, str(folder))
    loaded.model.to("cuda")
    return trainer(loaded, "generation", precision="bfloat16", may_pack=may_pack)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_M5_on_a_gpu_rows_are_packed_and_learn_what_padded_ones_learn(causal_folder: Path) -> None:
    packed, padded = on_gpu(causal_folder, True), on_gpu(causal_folder, False)
    assert packed.packing == Packing(by_bounds=True)
    assert padded.packing is None
    for a, b in zip(read_steps(list(train(packed))), read_steps(list(train(padded))), strict=True):
        assert a.loss_sum == pytest.approx(b.loss_sum, rel=1e-2)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("way", [Packing(), None])
def test_a_classifier_on_a_gpu_learns_what_it_learns_on_a_cpu(way: Packing | None) -> None:
    lines = []
    for device in ("cpu", "cuda"):
        loaded = made("classification", "Bert")
        loaded.model.to(device)
        t = trainer(loaded, "classification", may_pack=way is not None)
        assert t.packing == way
        lines.append(read_steps(list(train(t))))
    for a, b in zip(*lines, strict=True):
        assert a.loss_sum == pytest.approx(b.loss_sum, rel=1e-3)
