"""Fine-tuning a language model: ftev's loop against TRL's SFTTrainer with packing.

    python tests/bench/causal.py [--cases NAME …] [--size SIZE] [--tokens N] …

A Llama-shaped model is drawn from a config by seed. All sides train it on the same token ids with
the same targets, epochs, learning rate and its schedule, precision and number of steps, each in a
process of its own, in turn; then ftev's evaluator scores all of them on rows that none saw. ftev
takes the very steps of SFTTrainer, row by row: its loss must be the same. In one case it also draws
steps of its own. Rows are made by seed: each token has one likely successor. Only the
training itself is timed. SFTTrainer packs best fit first (bfd) and runs without activation
checkpointing, its fastest way; where flash-attn is installed, with it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
from causal_sides import (
    OWN,
    PEER,
    SAME,
    SIDES,
    SIZES,
    clocks,
    made_model,
    made_rows,
    train_ours,
    train_theirs,
)
from measure import section, table
from quality import INTERVAL, Gap, text_gaps

PACKAGES = ("torch", "transformers", "accelerate", "trl")
ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false"}
# nats by which the same steps may end apart: a precision rounds other shapes in another way
CLOSE = {"bfloat16": 0.01, "float32": 1e-4}
# size of the model, how many times --tokens it learns from, precision, sides
CASES: dict[str, tuple[str, float, str, Sequence[str]]] = {
    "completions": ("10m", 1, "bfloat16", SIDES),
    "texts": ("10m", 1, "bfloat16", SIDES),
    "completions-50k": ("10m-50k", 0.6, "bfloat16", SIDES),
    "texts-50k": ("10m-50k", 0.6, "bfloat16", SIDES),
    "learned": ("1m", 5, "bfloat16", (*SIDES, OWN)),  # until the loss has fallen far
    "texts, float32": ("1m", 2, "float32", SIDES),  # nothing is rounded away
}
# dense bfloat16, from the makers' sheets; the first that is part of a device's name counts
PEAKS = {"H100 PCIe": 756e12, "H100": 989e12, "H200": 989e12, "A100": 312e12}


def one_side(args: argparse.Namespace) -> None:
    """Train once and print what it took and what came of it, as JSON."""
    import torch
    import transformers
    from ftev.core.engine.scoring.evaluate import score_tokens

    if args.threads:
        torch.set_num_threads(args.threads)
    transformers.utils.logging.set_verbosity_error()
    size, times, args.precision, _ = CASES[args.case]
    size = args.size or size
    loaded = made_model(size, args.longest, args.seed)
    vocabulary = SIZES[size][-1]
    rows = made_rows(args.case, round(args.tokens * times), args.longest, vocabulary, args.seed)
    others = made_rows(args.case, 4_000, args.longest, vocabulary, args.seed + 1)
    work = train_theirs if args.side == PEER else train_ours
    text: dict[str, Any] = {"steps": work(args, loaded, rows)}
    if loaded.device.type == "cuda":
        torch.cuda.synchronize()
    ended = clocks()
    text["wall"], text["cpu"] = (b - a for a, b in zip(args.started, ended, strict=True))
    text["tokens"] = int(rows.lengths.sum()) * args.epochs
    text["padding"] = getattr(args, "padding", 1.0)
    if loaded.device.type == "cuda":
        text["memory"] = torch.cuda.max_memory_allocated() / 2**20
    else:
        text["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    text["mfu"] = model_use(loaded.model, rows, text["wall"], args.epochs)
    *_, scores = score_tokens(loaded, others, "float32", 4096)
    text["loss"] = float(scores["nll"].sum() / scores["tokens"].sum())
    scores.write_parquet(args.scores)
    print(json.dumps(text))


def model_use(model: Any, rows: Any, seconds: float, epochs: int) -> float | None:
    """Share of the device's peak that the model's own arithmetic took; None: peak not known."""
    import torch

    if not torch.cuda.is_available():
        return None
    peak = next((p for name, p in PEAKS.items() if name in torch.cuda.get_device_name()), None)
    if peak is None:
        return None
    pairs = float((rows.lengths.astype(float) ** 2).sum()) / 2  # half of a causal square
    work = arithmetic(model, int(rows.lengths.sum()), int(rows.targets.sum()), pairs)
    return work * epochs / seconds / peak


def arithmetic(model: Any, tokens: int, targets: int, pairs: float) -> float:
    """Floating-point operations of training a causal model on so many tokens, 6·N·T and attention.

    6 for each weight of a matrix and real token, the vocabulary's for targets only, and 12 x layers
    x hidden for each pair of tokens that attention joins: a multiplication and an addition each,
    once forward and twice backward. What a loop computes beyond that is not the model's.
    """
    c = model.config
    matrices = sum(
        p.numel()
        for n, p in model.named_parameters()
        if p.ndim == 2 and "embed" not in n and "lm_head" not in n
    )
    head = 6 * c.vocab_size * c.hidden_size * targets
    return 6 * matrices * tokens + head + 12 * c.num_hidden_layers * c.hidden_size * pairs


def memory_of_loss(args: argparse.Namespace) -> None:
    """One forward and backward pass with the loss in chunks or over whole logits; prints MiB."""
    import torch
    from ftev.core.engine.models.logits import ScoredPositions, vocabulary_loss
    from torch.nn import functional

    size = args.size or "10m-50k"
    loaded = made_model(size, args.longest, args.seed)
    device, kind = loaded.device, loaded.device.type
    head = ScoredPositions(loaded.model)
    states = torch.randn(args.batch_tokens, SIZES[size][0], device=device, requires_grad=True)
    targets = torch.randint(3, SIZES[size][-1], (args.batch_tokens,), device=device)
    before = now_used(kind)
    with torch.autocast(kind, dtype=torch.bfloat16):
        if args.side == "chunks":
            loss = vocabulary_loss(head, states, targets)
        else:
            loss = functional.cross_entropy(head.logits(states), targets, reduction="sum")
    (loss / len(targets)).backward()
    gradient = loaded.model.get_output_embeddings().weight.grad
    values = {
        "memory": now_used(kind) - before,
        "loss": float(loss.detach()) / len(targets),
        "norm": float(gradient.norm()),
    }
    print(json.dumps(values))


def now_used(kind: str) -> float:
    """MiB at most so far."""
    import torch

    if kind == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def child(side: str, *more: str) -> dict[str, Any]:
    command = [sys.executable, __file__, *sys.argv[1:], "--side", side, *more]
    environment = {**os.environ, **ENVIRONMENT}
    ran = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment)
    text: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    print(side, *more, text, file=sys.stderr, flush=True)
    return text


def report(
    args: argparse.Namespace, found: dict[tuple[str, str], list[dict[str, Any]]], folder: Path
) -> str:
    def median(case: str, side: str, name: str) -> float:
        return statistics.median(text[name] for text in found[case, side])

    def speed(case: str, side: str, clock: str) -> float:
        return median(case, side, "tokens") / median(case, side, clock)

    def gap(case: str, side: str) -> Gap:
        frames = [[pl.read_parquet(folder / f"{case} {s}.parquet")] for s in (PEER, side)]
        return text_gaps(*frames)["loss"]

    gaps = {(case, side): gap(case, side) for case, side in found if side != PEER}
    lines = []
    for case, side in found:
        use = found[case, side][-1]["mfu"]
        lines.append(
            (
                f"{case}, {side}",
                f"{speed(case, side, 'cpu'):,.0f}",
                f"{speed(case, side, 'cpu') / speed(case, PEER, 'cpu'):.2f}",
                f"{speed(case, side, 'wall'):,.0f}",
                f"{speed(case, side, 'wall') / speed(case, PEER, 'wall'):.2f}",
                int(median(case, side, "steps")),
                f"{median(case, side, 'loss'):.4f}",
                gaps.get((case, side), ""),
                f"{median(case, side, 'memory'):,.0f}",
                "" if use is None else f"{use:.1%}",
            )
        )
    head = (
        "",
        "tokens a CPU s",
        "× SFTTrainer",
        "tokens a s",
        "× SFTTrainer",
        "steps",
        "loss",
        "above SFTTrainer's (95 %)",
        "MiB",
        "of peak",
    )
    words = in_words(
        gaps,
        {key: speed(*key, "cpu") / speed(key[0], PEER, "cpu") for key in gaps},
        {key: median(*key, "padding") for key in gaps},
    )
    chunks, whole = child("chunks"), child("whole logits")
    assert abs(chunks["loss"] - whole["loss"]) < 1e-3 * whole["loss"]
    assert abs(chunks["norm"] - whole["norm"]) < 1e-2 * whole["norm"]
    memory = table(
        (f"the loss of {args.batch_tokens:,} targets among 50,000 words", "MiB above the model"),
        (
            ("in chunks, as ftev", f"{chunks['memory']:,.0f}"),
            ("whole logits", f"{whole['memory']:,.0f}"),
        ),
    )
    command = " ".join(["python tests/bench/causal.py", *sys.argv[1:]])
    title = "Fine-tuning a language model"
    return section(title, command, PACKAGES, table(head, lines), words, memory)


Key = tuple[str, str]  # case and side of ftev


def in_words(gaps: dict[Key, Gap], speeds: dict[Key, float], padding: dict[Key, float]) -> str:
    """How fast, and whether the sides learned the same."""
    for (case, side), gap in gaps.items():
        assert side != SAME or abs(gap.value) < CLOSE[CASES[case][2]], (case, gap)

    def apart(precision: str) -> str:
        found = [
            abs(g.value) for (c, s), g in gaps.items() if (s, CASES[c][2]) == (SAME, precision)
        ]
        return f"{max(found):.1g}" if found else "(not run)"

    own = [f"{gap.value:+.3f}" for (_, side), gap in gaps.items() if side == OWN]
    return (
        "Loss: nats a token on rows that no side saw, and how far ftev's stands above SFTTrainer's "
        f"(below 0: ahead), {INTERVAL}. All sides take the same rows in as many steps, with the "
        "same optimizer and the same linear schedule without warm-up. With the very rows of each "
        f"of SFTTrainer's steps ftev's loss differs by {apart('bfloat16')} nats at most in "
        f"bfloat16 and by {apart('float32')} in float32: what is left is rounding. With as many "
        f"steps of rows drawn in its own order it stands {', '.join(own) or '(not run)'} from "
        "SFTTrainer's, as any other order would: the interval covers rows and not orders. By CPU "
        f"time {min(speeds.values()):.2f} to {max(speeds.values()):.2f} times SFTTrainer's tokens. "
        f"ftev's layers compute {min(padding.values()):.2f} to {max(padding.values()):.2f} tokens "
        "for each real one; SFTTrainer packs."
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=CASES)
    parser.add_argument("--size", choices=SIZES)
    parser.add_argument("--tokens", type=int, default=16_000)
    parser.add_argument("--longest", type=int, default=512)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--batch-tokens", type=int, default=2048)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--side")
    parser.add_argument("--case", default="texts-50k")
    parser.add_argument("--steps", type=Path)
    parser.add_argument("--scores", type=Path)
    return parser.parse_args()


def main() -> None:
    args = arguments()
    if args.side in ("chunks", "whole logits"):
        memory_of_loss(args)
    elif args.side:
        one_side(args)
    else:
        found: dict[tuple[str, str], list[dict[str, Any]]] = {}
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for _ in range(args.rounds):
                for case in args.cases:
                    for side in CASES[case][-1]:
                        files = folder / f"{case}.json", folder / f"{case} {side}.parquet"
                        given = ["--steps", str(files[0]), "--scores", str(files[1])]
                        result = child(side, "--case", case, *given)
                        found.setdefault((case, side), []).append(result)
            print(report(args, found, folder))


if __name__ == "__main__":
    main()
