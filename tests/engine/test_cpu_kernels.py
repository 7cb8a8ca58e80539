"""What a CPU trains with gives the numbers of torch's own kernels."""

from pathlib import Path

import pytest
import torch
from ftev.core.config.config import ModelConfig, RunConfig
from ftev.core.engine.models.kernels import ON_CPU, Dropout, kept, memory_kept, use_cpu_kernels
from ftev.core.engine.models.load import load
from ftev.core.engine.models.models import save
from torch import Tensor, nn
from transformers import AutoConfig, LlamaConfig, LlamaForCausalLM


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_share_and_the_scale_that_it_was_told(
    dtype: torch.dtype, p: float
) -> None:
    torch.manual_seed(0)
    factors = kept((1_000, 333), p, dtype)
    assert factors.shape == (1_000, 333)
    zero = factors == 0
    assert float(zero.double().mean()) == pytest.approx(p, abs=0.004)  # 4 standard errors and more
    assert set(factors[~zero].tolist()) == {float(torch.tensor(1 / (1 - p), dtype=dtype))}
    neighbours = zero[:, 1:].flatten().double(), zero[:, :-1].flatten().double()
    assert abs(float(torch.corrcoef(torch.stack(neighbours))[0, 1])) < 0.01


def test_dropout_follows_torchs_seed_and_is_nothing_in_evaluation() -> None:
    drop, x = Dropout(0.3), torch.ones(50, 50)
    torch.manual_seed(4)
    first = drop(x)
    second = drop(x)
    torch.manual_seed(4)
    assert torch.equal(drop(x), first)
    assert not torch.equal(first, second)
    assert torch.equal(drop.eval()(x), x)


def llama(groups: int) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4 // groups,
    )
    return LlamaForCausalLM(config)


def passed(model: nn.Module, mask: Tensor | None) -> tuple[Tensor, list[Tensor]]:
    """Logits of real places and the gradients of all weights."""
    ids = torch.arange(24).reshape(2, 12) % 50
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(input_ids=ids, attention_mask=mask).logits.float()
    real = logits if mask is None else logits[mask.bool()]
    model.zero_grad()
    (real**2).sum().backward()
    return real.detach(), [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("groups", [1, 2])
def test_attention_gives_what_torchs_own_gives(padded: bool, groups: int) -> None:
    model = llama(groups)
    mask = torch.ones(2, 12, dtype=torch.int64)
    mask[1, 7:] = 0
    wanted, gradients = passed(model, mask if padded else None)
    use_cpu_kernels(model)
    assert model.config._attn_implementation == ON_CPU
    found, own = passed(model, mask if padded else None)
    scale = float(wanted.abs().max())
    assert torch.allclose(found, wanted, atol=0.02 * scale)
    for a, b in zip(own, gradients, strict=True):
        assert float((a - b).norm()) <= 0.03 * float(b.norm()) + 1e-6


def test_evaluation_and_what_is_saved_do_not_know_of_them(
    encoder_folder: Path, tmp_path: Path
) -> None:
    config = RunConfig(task="classification", model=ModelConfig(base=str(encoder_folder)))
    torch.manual_seed(0)
    loaded = load(config, str(encoder_folder), ("a", "b"))
    ids = torch.arange(20).reshape(2, 10)
    mask = torch.ones_like(ids)
    mask[0, 6:] = 0
    loaded.model.eval()
    with torch.inference_mode():
        before = loaded.model(input_ids=ids, attention_mask=mask).logits
    use_cpu_kernels(loaded.model)
    assert any(type(m) is Dropout for m in loaded.model.modules())
    assert not any(type(m) is nn.Dropout for m in loaded.model.modules())
    with torch.inference_mode():
        after = loaded.model(input_ids=ids, attention_mask=mask).logits
    assert torch.equal(before, after)
    save(loaded, tmp_path)
    assert ON_CPU not in (tmp_path / "config.json").read_text()
    assert AutoConfig.from_pretrained(tmp_path).architectures == ["BertForSequenceClassification"]


def test_memory_is_kept_only_while_training() -> None:
    with memory_kept(torch.device("cpu")):
        x = torch.ones(4 << 20)
        del x
    with memory_kept(torch.device("cuda")):  # another allocator's business
        pass
