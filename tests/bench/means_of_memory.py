"""What `means.py` measures of a step that does not fit: cut in pieces, or its activations not kept.

Each way runs in a process of its own, as its peak of memory is what is asked; the ways take turns.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from typing import Any

import numpy as np
from causal import made_model
from means_of_training import encoder, grown, settings, times, wait

STEPS = 3  # timed, after one that is not
WAYS = ("as it is", "in 4 pieces", "activations computed again")


def filled(rows: Any, count: int, longest: int, ids: int) -> Any:
    """As many rows of the greatest length, of made tokens."""
    random = np.random.default_rng(0)
    rows.ids = [random.integers(3, ids, longest).astype(np.int32) for _ in range(count)]
    rows.row_ids, rows.bytes = list(range(count)), [longest] * count
    if rows.scored is not None:
        rows.scored = [np.arange(longest) > 0] * count
    if rows.labels is not None:
        rows.labels = np.arange(count) % 4
    return rows


def made(args: argparse.Namespace, kind: str) -> tuple[Any, Any]:
    """Model and the rows of one step: 8 of 256 tokens, 4 of 512."""
    from ftev.core.engine.models.load import load
    from ftev.core.engine.scoring.rows import TokenRows

    if kind == "encoder":
        loaded, rows = encoder(args, 32)
        return loaded, filled(rows, 8, 256, 20_000)
    if args.causal is None:
        loaded = made_model("10m", 512, 1)
    else:
        from ftev.core.config.config import ModelConfig, RunConfig

        config = RunConfig(task="generation", model=ModelConfig(base=args.causal))
        loaded = load(config, args.causal)
    return loaded, filled(TokenRows(scored=[]), 4, 512, int(loaded.model.config.vocab_size))


def way(args: argparse.Namespace, kind: str, name: str, precision: str) -> dict[str, float]:
    """Some steps of one way: seconds a step, MiB above the loaded model, losses."""
    import torch
    from ftev.core.engine.training.train import read_steps, train
    from ftev.core.engine.training.trainer import Plan, Position, Trainer

    loaded, rows = made(args, kind)
    step = np.arange(len(rows.ids))
    position = Position(
        pieces=4 if name == "in 4 pieces" else 1, twice=name == "activations computed again"
    )
    plan = Plan([[step] * (STEPS + 1)], [STEPS + 1], [STEPS + 1])
    t = Trainer(
        loaded, rows, plan, settings(batch_size=len(rows.ids)), precision, position=position
    )
    torch.manual_seed(0)
    clock = time.perf_counter if loaded.device.type == "cuda" else time.process_time
    taken, marks = [], []

    def work() -> None:
        for done in train(t):
            wait()
            taken.append(done)
            marks.append(clock())

    memory = grown(work)
    losses = [s.loss_sum / s.loss_count for s in read_steps(taken)]
    return {"seconds": (marks[-1] - marks[0]) / STEPS, "memory": memory, "loss": losses[0]}


def child(given: list[str], *what: str) -> dict[str, float]:
    script = sys.argv[0]
    command = [sys.executable, "-W", "ignore", script, *given, "--alone", ":".join(["way", *what])]
    ran = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    text: dict[str, float] = json.loads(ran.stdout.splitlines()[-1])
    return text


def less_memory(args: argparse.Namespace) -> list[list[str]]:
    given = ["--encoder", args.encoder] + (["--causal", args.causal] if args.causal else [])
    rows, shapes = (
        [],
        {
            "encoder": "encoder, 8 × 256 tokens",
            "causal": f"{'12 M' if args.causal is None else 'language model'}, 4 × 512 tokens",
        },
    )
    for kind, shape in shapes.items():
        for precision in ("bfloat16", "float32") if args.causal else ("bfloat16",):
            found: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
            for _ in range(max(1, args.rounds - 1)):
                for name, taken in found.items():
                    taken.append(child(given, kind, name, precision))
            rows += _rows(found, f"{shape}, {precision}", precision)
    return rows


def _rows(found: dict[str, list[dict[str, float]]], shape: str, precision: str) -> list[list[str]]:
    plain, pieces, again = (found[name] for name in WAYS)
    for one, other in zip(plain, again, strict=True):
        close = 1e-6 if precision == "float32" else 1e-3
        assert abs(one["loss"] - other["loss"]) < close * one["loss"], (one, other)

    def told(side: list[dict[str, float]]) -> list[str]:
        ratio = statistics.median(
            a["seconds"] / b["seconds"] for a, b in zip(plain, side, strict=True)
        )
        a, b = (statistics.median(one["memory"] for one in of) for of in (plain, side))
        return [times(ratio), f"{a:,.0f} → {b:,.0f} MiB"]

    against = f"whole, kept ({shape})"
    when = "when memory runs out, the run going on"
    last = "when memory runs out at single rows"
    return [
        ["a step cut in 4 pieces", against, *told(pieces), when],
        ["activations computed again", against, *told(again), last],
    ]
