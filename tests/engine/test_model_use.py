"""What counts as a model's own arithmetic, against torch's count of what it computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "bench")
    import causal

    return causal


def test_it_is_what_torch_counts_of_a_step(bench: Any) -> None:
    """Plain products join every token with every other; a causal kernel needs half of the pairs."""
    loaded = bench.made_model("1m", 128, 0)
    model, rows, tokens = loaded.model, 2, 96
    model.set_attn_implementation("eager")
    ids = torch.randint(3, 1_000, (rows, tokens))
    with FlopCounterMode(display=False) as counted:
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    found = bench.arithmetic(model, rows * tokens, rows * tokens, rows * tokens**2)
    assert found == pytest.approx(counted.get_total_flops(), rel=0.01)
    parameters = sum(p.numel() for p in model.parameters())  # head and embeddings are tied
    body = bench.arithmetic(model, rows * tokens, rows * tokens, 0)
    assert body == pytest.approx(6 * parameters * rows * tokens, rel=0.01)
