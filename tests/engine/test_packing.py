"""M5: packed rows never see each other."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ftev.core.config import ModelConfig, RunConfig, TrainConfig
from ftev.core.engine import packing
from ftev.core.engine.models import Loaded, ScoredPositions, load
from ftev.core.engine.packing import keeps_rows_apart, pack, packed_states
from ftev.core.engine.rows import TokenRows
from ftev.core.engine.train import Trainer, plan_training, read_steps, train
from test_train import rows_of, weights
from torch import Tensor
from torch.nn import functional
from transformers import GPT2Config, GPT2LMHeadModel

SETTINGS = TrainConfig(batch_size=8, epochs=2, learning_rate=1e-3)


def loaded_from(folder: Path) -> Loaded:
    torch.manual_seed(0)
    config = RunConfig(task="generation", model=ModelConfig(base=str(folder)))
    return load(config, str(folder))


@pytest.fixture(params=["llama", "gpt2"])
def shaped(request: pytest.FixtureRequest, causal_folder: Path) -> Loaded:
    """A Llama, whose positions turn its queries, or a GPT-2, which has learned them by heart."""
    loaded = loaded_from(causal_folder)
    if request.param == "gpt2":
        torch.manual_seed(0)
        size = loaded.model.config.vocab_size
        config = GPT2Config(
            vocab_size=size,
            n_positions=64,
            n_embd=32,
            n_layer=2,
            n_head=4,
            attn_pdrop=0.0,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
        )
        loaded.model = GPT2LMHeadModel(config)
    return loaded


def losses(head: ScoredPositions, rows: TokenRows, chosen: list[int]) -> Tensor:
    packed = pack(rows, np.array(chosen), torch.device("cpu"))
    states = packed_states(head, packed)[packed.before]
    return functional.cross_entropy(
        head.logits(states), packed.ids[0][packed.before + 1], reduction="none"
    )


def gradients(head: ScoredPositions, loss: Tensor) -> list[Tensor]:
    head.zero_grad()
    loss.backward()
    return [p.grad.clone() for p in head.parameters() if p.grad is not None]


def test_M5_a_packed_rows_losses_and_gradients_are_those_of_the_row_alone(shaped: Loaded) -> None:
    rows, head = rows_of(shaped), ScoredPositions(shaped.model)
    together = losses(head, rows, [3, 0, 6, 1, 2])
    alone = [losses(head, rows, [r]) for r in (3, 0, 6, 1, 2)]
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)
    places = np.cumsum([0, *map(len, alone)])
    for i, own in enumerate(alone):
        part = together[places[i] : places[i + 1]]
        one = torch.autograd.grad(part.sum(), list(head.parameters()), retain_graph=True)
        two = torch.autograd.grad(own.sum(), list(head.parameters()))
        for a, b in zip(one, two, strict=True):
            assert torch.allclose(a, b, atol=1e-5)


def test_M5_packed_training_is_padded_training(shaped: Loaded) -> None:
    state = {k: v.clone() for k, v in shaped.model.state_dict().items()}
    rows = rows_of(shaped)
    padded = Trainer(shaped, rows, plan_training(rows, SETTINGS), SETTINGS)
    assert padded.packed is False  # on a CPU
    one, before = read_steps(list(train(padded))), weights(padded)
    shaped.model.load_state_dict(state)
    packed = Trainer(shaped, rows, plan_training(rows, SETTINGS), SETTINGS, packed=True)
    two = read_steps(list(train(packed)))
    for a, b in zip(one, two, strict=True):
        assert a.loss_sum == pytest.approx(b.loss_sum, rel=1e-5)
        assert (a.loss_count, a.tokens) == (b.loss_count, b.tokens)
        assert a.grad_norm == pytest.approx(b.grad_norm, rel=1e-4)
    for name, value in weights(packed).items():
        assert torch.allclose(value, before[name], atol=2e-5), name


def test_a_model_that_does_not_keep_rows_apart_is_found_out(shaped: Loaded) -> None:
    rows, head = rows_of(shaped), ScoredPositions(shaped.model)
    assert keeps_rows_apart(head, rows, "float32")
    whole = shaped.model.forward
    backbone: Any = getattr(shaped.model, shaped.model.base_model_prefix)
    own = backbone.forward

    def leaky(*, position_ids: Tensor | None = None, **more: Any) -> Any:
        return own(**more)  # neither positions nor bounds reach the layers

    backbone.forward = leaky
    assert not keeps_rows_apart(head, rows, "float32")
    assert shaped.model.forward == whole


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


def test_bounds_reach_the_kernel_and_padded_batches_go_past_it(
    shaped: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel itself needs a GPU; here its place is taken by the same rows one by one."""
    varlen = pytest.importorskip("torch.nn.attention.varlen", reason="torch before 2.10")
    from transformers import AttentionInterface, AttentionMaskInterface

    rows, head = rows_of(shaped), ScoredPositions(shaped.model)
    wanted = losses(head, rows, [3, 0, 6, 1, 2])
    ids = torch.arange(3, 27).reshape(2, 12)
    mask = torch.ones_like(ids)
    mask[0, 5:] = 0
    padded = head.hidden(ids, mask)[mask.bool()]
    AttentionInterface.register(packing.NAME, packing.attend)
    AttentionMaskInterface.register(packing.NAME, packing._mask)
    shaped.model.set_attn_implementation(packing.NAME)
    monkeypatch.setattr(varlen, "varlen_attn", of_bounds)
    monkeypatch.setattr(torch, "get_autocast_dtype", lambda kind: torch.float32)
    assert torch.allclose(losses(head, rows, [3, 0, 6, 1, 2]), wanted, atol=1e-5)
    assert keeps_rows_apart(head, rows, "float32")
    assert torch.allclose(head.hidden(ids, mask)[mask.bool()], padded, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_M5_on_a_gpu_rows_are_packed_and_learn_what_padded_ones_learn(causal_folder: Path) -> None:
    steps = {}
    for packed in (None, False):
        loaded = loaded_from(causal_folder)
        loaded.model.to("cuda")
        rows = rows_of(loaded)
        plan = plan_training(rows, SETTINGS)
        t = Trainer(loaded, rows, plan, SETTINGS, "bfloat16", packed=packed)
        assert t.packed is (packed is None)
        steps[packed] = read_steps(list(train(t)))
    for a, b in zip(steps[None], steps[False], strict=True):
        assert a.loss_sum == pytest.approx(b.loss_sum, rel=1e-2)
