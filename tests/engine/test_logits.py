"""The loss made in chunks is the plain loss, and so are its gradients."""

from pathlib import Path

import pytest
import torch
from ftev.core.config.config import LoraConfig, ModelConfig, RunConfig
from ftev.core.engine.models import logits
from ftev.core.engine.models.load import add_adapter, load
from ftev.core.engine.models.logits import ScoredPositions, vocabulary_loss
from torch import Tensor
from torch.nn import functional


def head_of(folder: Path, adapter: str = "none", targets: str = "all-linear") -> ScoredPositions:
    torch.manual_seed(0)
    lora = LoraConfig(target_modules=[targets] if targets == "lm_head" else "all-linear")
    config = RunConfig(
        task="generation",
        model=ModelConfig(base=str(folder), adapter=adapter, lora=lora),  # type: ignore[arg-type]
    )
    loaded = load(config, str(folder))
    if adapter == "lora":
        add_adapter(loaded, config)
    return ScoredPositions(loaded.model)


def gradients(head: ScoredPositions, loss: Tensor, states: Tensor) -> list[Tensor]:
    head.zero_grad()
    states.grad = None
    (loss / 7).backward()
    assert states.grad is not None
    weights = [p.grad.clone() for p in head.parameters() if p.grad is not None]
    return [states.grad.clone(), *weights]


@pytest.mark.parametrize("rows_a_chunk", [3, 11, 1000])
def test_chunks_give_the_plain_loss_and_its_gradients(
    causal_folder: Path, rows_a_chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = head_of(causal_folder)
    assert head.matrix is not None
    vocabulary = head.model.config.vocab_size
    states = torch.randn(31, 32, requires_grad=True)
    targets = torch.randint(0, vocabulary, (31,))
    plain = functional.cross_entropy(head.logits(states), targets, reduction="sum")
    wanted = gradients(head, plain, states)
    monkeypatch.setattr(logits, "CHUNK_ELEMENTS", rows_a_chunk * vocabulary)
    loss = vocabulary_loss(head, states, targets)
    assert float(loss.detach()) == pytest.approx(float(plain.detach()), rel=1e-6)
    for found, known in zip(gradients(head, loss, states), wanted, strict=True):
        assert torch.allclose(found, known, atol=1e-5)


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`")
def test_a_frozen_projection_gets_no_gradient_and_an_adapted_one_keeps_its_adapter(
    causal_folder: Path,
) -> None:
    frozen = head_of(causal_folder, "lora")
    assert frozen.matrix is not None
    states = torch.randn(9, 32, requires_grad=True)
    targets = torch.randint(0, 300, (9,))
    vocabulary_loss(frozen, states, targets).backward()
    assert frozen.matrix.grad is None
    assert states.grad is not None
    adapted = head_of(causal_folder, "lora", "lm_head")
    assert adapted.matrix is None
    vocabulary_loss(adapted, states, targets).backward()
    named = {n: p.grad for n, p in adapted.named_parameters() if "lora_B" in n}
    assert any(g is not None and float(g.abs().sum()) > 0 for g in named.values())


def test_no_targets_cost_nothing_and_break_nothing(causal_folder: Path) -> None:
    head = head_of(causal_folder)
    states = torch.randn(0, 32, requires_grad=True)
    loss = vocabulary_loss(head, states, torch.zeros(0, dtype=torch.int64))
    assert float(loss.detach()) == 0
    loss.backward()
