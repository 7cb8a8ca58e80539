"""What `means.py` measures of asking models: shared contexts, a base and its adapter together."""

from __future__ import annotations

import argparse
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from answers import together, twice, with_adapter
from means_of_training import Rows, paid, times
from measure import alternate
from scoring import model, requests, rows_of, tokenizer


def contexts(args: argparse.Namespace) -> Rows:
    from ftev.core.engine.models.models import Loaded
    from ftev.core.engine.scoring import evaluate

    loaded, rows = (
        Loaded(model("float32"), tokenizer(), 512),
        rows_of(requests("shared contexts", 80)),
    )

    def side(share: bool) -> Any:
        with patch.object(evaluate, "_trees", evaluate._trees if share else lambda *_: []):
            *_, frame = evaluate.score_tokens(loaded, rows, "float32", 8_192)
        return frame["nll"].to_numpy()

    spent = alternate({"each": lambda: side(False), "once": lambda: side(True)}, args.rounds, True)
    assert np.abs(spent["each"].result - spent["once"].result).max() < 1e-3
    lines = ["contexts of four rows each read once", "each row by itself (float32)"]
    return [[*lines, times(paid(spent, "each", "once")), "", "in every evaluation that shares any"]]


def pairs(args: argparse.Namespace) -> Rows:
    """Base and adapter in one batch: streamed answers, and rows that are scored."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    loaded = with_adapter(device)
    loaded.model.to(torch.bfloat16)
    prompt = np.random.default_rng(0).integers(3, 32_000, 32).tolist()
    asked = alternate(
        {
            "apart": lambda: twice(loaded, prompt, 16),
            "together": lambda: together(loaded, prompt, 16),
        },
        args.rounds,
        warm_up=True,
    )
    ids = torch.randint(3, 32_000, (2, 256), device=device)
    scored = alternate(
        {"apart": lambda: apart(loaded, ids), "together": lambda: in_one(loaded, ids)},
        args.rounds + 1,
        warm_up=True,
    )
    gap = (scored["apart"].result - scored["together"].result).abs().max()
    assert float(gap) < 0.05 * float(scored["apart"].result.abs().max()), gap
    lines = ["base and adapter in one batch", "one after the other (130 M, bfloat16)"]
    return [
        [
            f"{lines[0]}: 16 tokens streamed",
            lines[1],
            times(paid(asked, "apart", "together")),
            "",
            "yes",
        ],
        [
            f"{lines[0]}: two rows of 256 tokens scored",
            lines[1],
            times(paid(scored, "apart", "together")),
            "",
            "no",
        ],
    ]


@torch.inference_mode()
def apart(loaded: Any, ids: torch.Tensor) -> torch.Tensor:
    states = []
    for voice in (loaded.as_base(), loaded):
        with voice.active() as model:
            states.append(model.get_base_model().model(input_ids=ids, use_cache=False)[0])
    return torch.cat(states).float()


@torch.inference_mode()
def in_one(loaded: Any, ids: torch.Tensor) -> torch.Tensor:
    """The base's rows first; what the adapter adds to them is set to nothing."""
    from ftev.core.engine.answering.generate import without_adapter

    with loaded.active() as model, without_adapter(model, slice(0, len(ids))):
        out = model.get_base_model().model(input_ids=ids.repeat(2, 1), use_cache=False)[0]
    return out.float()


MEASURES = {"contexts": contexts, "pairs": pairs}
