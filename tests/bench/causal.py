"""Fine-tuning a language model: ftev's loop against TRL's SFTTrainer with packing.

    python tests/bench/causal.py [--cases NAME …] [--size SIZE] [--tokens N] …

A Llama-shaped model is drawn from a config by seed. All sides train it on the same token ids with
the same targets, epochs, learning rate and its schedule, precision and number of steps, each in a
process of its own, in turn; then ftev's evaluator scores all of them on rows that none saw. One
side of ftev takes the very steps of SFTTrainer, row by row: its loss must be the same. The other
cuts batches as ftev does. Rows are made by seed: each token has one likely successor. Only the
training itself is timed. SFTTrainer packs best fit first (bfd) and runs without activation
checkpointing, its fastest way; where flash-attn is installed, with it.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from measure import section, table
from quality import INTERVAL, Gap, text_gaps

PACKAGES = ("torch", "transformers", "accelerate", "trl")
ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false"}
PEER, SAME, OWN = "SFTTrainer", "ftev, the same steps", "ftev, own batches"
SIDES = (PEER, SAME, OWN)  # the first tells the others its steps and which rows they had
CLOSE = 0.01  # nats by which the same steps may end apart: bfloat16 rounds
# hidden, layers, heads, inner, vocabulary
SIZES = {
    "1m": (128, 4, 4, 384, 1_000),
    "10m": (384, 6, 6, 1024, 4_000),
    "10m-50k": (384, 6, 6, 1024, 50_000),
    "0.1b": (768, 12, 12, 2048, 32_000),
    "0.5b": (1280, 22, 20, 3584, 50_000),
    "1b": (2048, 16, 32, 8192, 50_000),
}
# size of the model, and how many times --tokens it learns from
CASES = {
    "completions": ("10m", 1),
    "texts": ("10m", 1),
    "completions-50k": ("10m-50k", 0.6),
    "texts-50k": ("10m-50k", 0.6),
    "learned": ("1m", 8),  # until the loss has fallen far
}
PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}  # dense bfloat16, from the makers' sheets
USED = 500  # words that occur
PAD, BOS, EOS = 0, 1, 2


def made_rows(case: str, tokens: int, longest: int, vocabulary: int, seed: int) -> Any:
    """Rows of lognormal length until there are so many tokens, as ftev holds them."""
    from ftev.core.engine.rows import TokenRows

    random = np.random.default_rng(seed)
    words = np.random.default_rng(0).choice(np.arange(3, vocabulary), USED, replace=False)
    follows = np.random.default_rng(0).permutation(USED)
    rows = TokenRows(scored=[])
    assert rows.scored is not None
    while sum(map(len, rows.ids)) < tokens:
        middle = 4.0 if case.startswith("completions") else 5.0
        n = int(np.clip(random.lognormal(middle, 0.7), 8, longest - 2))
        place, row = int(random.integers(USED)), [BOS]
        for likely in random.random(n) < 0.8:
            place = int(follows[place]) if likely else int(random.integers(USED))
            row.append(int(words[place]))
        ids = np.asarray([*row, EOS], dtype=np.int32)
        start = int(len(ids) * 0.5) if case.startswith("completions") else 1
        rows.scored.append(np.arange(len(ids)) >= start)
        rows.ids.append(ids)
        rows.row_ids.append(len(rows.row_ids))
        rows.bytes.append(len(ids))
    return rows


def made_model(size: str, longest: int, seed: int) -> Any:
    """A Llama shape with weights drawn by seed, and a tokenizer of as many words."""
    import torch
    from ftev.core.engine.models import Loaded
    from tokenizers import Tokenizer, models
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    hidden, layers, heads, inner, vocabulary = SIZES[size]
    named = {"<pad>": PAD, "<s>": BOS, "</s>": EOS} | {f"w{i}": i for i in range(3, vocabulary)}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(named, unk_token="<pad>")),
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
    )
    torch.manual_seed(seed)
    config = LlamaConfig(
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=inner,
        vocab_size=vocabulary,
        max_position_embeddings=max(2048, longest),
        pad_token_id=PAD,
        bos_token_id=BOS,
        eos_token_id=EOS,
        tie_word_embeddings=True,
    )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return Loaded(LlamaForCausalLM(config).to(device), tokenizer, longest)


def train_ours(args: argparse.Namespace, loaded: Any, rows: Any) -> int:
    from ftev.core.config import TrainConfig
    from ftev.core.engine.batches import padding_ratio
    from ftev.core.engine.train import Plan, Trainer, plan_training, read_steps, train

    settings = TrainConfig(
        epochs=args.epochs,
        learning_rate=args.learning_rate,
        batch_tokens=args.batch_tokens,
        warmup_ratio=0.0,
        weight_decay=0.0,
        seed=args.seed,
    )
    theirs = json.loads(args.steps.read_text())
    if args.side == SAME:
        small = args.batch_tokens // (1 if loaded.device.type == "cuda" else 2)
        plan = Plan([[in_parts(step, rows.lengths, small) for step in e] for e in theirs])
    else:  # a budget counts padding: raised until there are no more steps than theirs
        plan = plan_training(rows, settings)
        args.more = plan.max_steps / sum(map(len, theirs)) - 1
        while plan.max_steps > sum(map(len, theirs)):
            settings = replace(settings, batch_tokens=settings.batch_tokens + 8)
            plan = plan_training(rows, settings)
    args.padding = padding_ratio(plan.epochs[0], rows.lengths)
    args.started = clocks()
    return len(read_steps(list(train(Trainer(loaded, rows, plan, settings, args.precision)))))


def in_parts(step: list[int], lengths: Any, budget: int) -> list[Any]:
    """The rows of a step, those of like length together."""
    from ftev.core.engine.batches import cut_by_tokens

    chosen = np.array(step)
    return cut_by_tokens(chosen[np.argsort(lengths[chosen], kind="stable")], lengths, budget)


def train_theirs(args: argparse.Namespace, loaded: Any, rows: Any) -> int:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    labels = [np.where(s, i, -100).tolist() for i, s in zip(rows.ids, rows.scored, strict=True)]
    data = Dataset.from_dict({"input_ids": [i.tolist() for i in rows.ids], "labels": labels})
    cuda = loaded.device.type == "cuda"
    if cuda and importlib.util.find_spec("flash_attn"):
        loaded.model.set_attn_implementation("flash_attention_2")
    together = args.batch_tokens // args.longest
    at_once = together if cuda else 1  # on a CPU one block at a time is its faster way
    with tempfile.TemporaryDirectory() as folder:
        trainer = SFTTrainer(
            model=loaded.model,
            args=SFTConfig(
                output_dir=folder,
                packing=True,
                max_length=args.longest,
                per_device_train_batch_size=at_once,
                gradient_accumulation_steps=max(1, together // at_once),
                num_train_epochs=args.epochs,
                learning_rate=args.learning_rate,
                gradient_checkpointing=False,
                bf16=args.precision == "bfloat16",
                optim="adamw_torch_fused",
                use_cpu=not cuda,
                seed=args.seed,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
            ),
            train_dataset=data,
            processing_class=loaded.tokenizer,
        )
        seen: list[list[int]] = []
        trainer.data_collator = noting(trainer.data_collator, rows, seen)
        args.started = clocks()  # packing is preparation, as tokenising is
        done = int(trainer.train().global_step)
    epochs = np.array_split(np.arange(len(seen)), args.epochs)
    group = max(1, together // at_once)
    steps = [
        [list(chain(*(seen[i] for i in part[k : k + group]))) for k in range(0, len(part), group)]
        for part in epochs
    ]
    assert sum(map(len, steps)) == done
    assert all(sorted(chain(*epoch)) == list(range(len(rows))) for epoch in steps)
    args.steps.write_text(json.dumps(steps))
    return done


def noting(collate: Any, rows: Any, seen: list[list[int]]) -> Any:
    """The collator, which also notes the rows that each micro-batch packs."""
    places: dict[bytes, list[int]] = {}
    for i, ids in enumerate(rows.ids):
        places.setdefault(ids.tobytes(), []).append(i)

    def batch(examples: list[dict[str, Any]]) -> Any:
        found = []
        for example in examples:
            ids = np.asarray(example["input_ids"], dtype=np.int32)
            for row in np.split(ids, np.cumsum(example["seq_lengths"])[:-1]):
                equal = places[row.tobytes()]
                equal.append(equal.pop(0))  # equal rows, and those of a new epoch, in turn
                found.append(equal[-1])
        seen.append(found)
        return collate(examples)

    return batch


def clocks() -> tuple[float, float]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return time.perf_counter(), used.ru_utime + used.ru_stime


def one_side(args: argparse.Namespace) -> None:
    """Train once and print what it took and what came of it, as JSON."""
    import torch
    import transformers
    from ftev.core.engine.evaluate import score_tokens

    if args.threads:
        torch.set_num_threads(args.threads)
    transformers.utils.logging.set_verbosity_error()
    size, times = CASES[args.case]
    size = args.size or size
    loaded = made_model(size, args.longest, args.seed)
    vocabulary = SIZES[size][-1]
    rows = made_rows(args.case, round(args.tokens * times), args.longest, vocabulary, args.seed)
    others = made_rows(args.case, 4_000, args.longest, vocabulary, args.seed + 1)
    work = train_theirs if args.side == PEER else train_ours
    told: dict[str, Any] = {"steps": work(args, loaded, rows)}
    if loaded.device.type == "cuda":
        torch.cuda.synchronize()
    ended = clocks()
    told["wall"], told["cpu"] = (b - a for a, b in zip(args.started, ended, strict=True))
    told["tokens"] = int(rows.lengths.sum()) * args.epochs
    told["padding"] = getattr(args, "padding", 1.0)
    told["more"] = getattr(args, "more", 0.0)
    if loaded.device.type == "cuda":
        told["memory"] = torch.cuda.max_memory_allocated() / 2**20
    else:
        told["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    told["mfu"] = model_use(loaded.model, rows, told["wall"], args.epochs)
    *_, scores = score_tokens(loaded, others, "float32", 4096)
    told["loss"] = float(scores["nll"].sum() / scores["tokens"].sum())
    scores.write_parquet(args.scores)
    print(json.dumps(told))


def model_use(model: Any, rows: Any, seconds: float, epochs: int) -> float | None:
    """Share of the device's peak that the model's own arithmetic took; None without a known peak.

    Counted: 6 for each weight of a matrix and real token, the vocabulary's for targets only, and
    12 x layers x hidden for each pair that attention joins (half of a causal square).
    """
    import torch

    if not torch.cuda.is_available():
        return None
    peak = next((p for name, p in PEAKS.items() if name in torch.cuda.get_device_name()), None)
    if peak is None:
        return None
    matrices = sum(
        p.numel() for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n
    )
    c = model.config
    pairs = float((rows.lengths.astype(float) ** 2).sum()) / 2
    work = 6 * matrices * int(rows.lengths.sum())
    work += 6 * c.vocab_size * c.hidden_size * int(rows.targets.sum())
    work += 12 * c.num_hidden_layers * c.hidden_size * pairs
    return work * epochs / seconds / peak


def memory_of_loss(args: argparse.Namespace) -> None:
    """One forward and backward pass with the loss in chunks or over whole logits; prints MiB."""
    import torch
    from ftev.core.engine.models import ScoredPositions
    from ftev.core.engine.vocabulary_loss import vocabulary_loss
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
    told = {
        "memory": now_used(kind) - before,
        "loss": float(loss.detach()) / len(targets),
        "norm": float(gradient.norm()),
    }
    print(json.dumps(told))


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
    told: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    print(side, *more, told, file=sys.stderr, flush=True)
    return told


def report(
    args: argparse.Namespace, found: dict[tuple[str, str], list[dict[str, Any]]], folder: Path
) -> str:
    def median(case: str, side: str, name: str) -> float:
        return statistics.median(told[name] for told in found[case, side])

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
        {s: [speed(c, s, "cpu") / speed(c, PEER, "cpu") for c in args.cases] for s in SIDES},
        {s: [gaps[c, s] for c in args.cases] for s in SIDES if s != PEER},
        {s: max(median(c, s, "padding") for c in args.cases) for s in SIDES},
        max(median(c, OWN, "more") for c in args.cases),
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


def in_words(
    speeds: dict[str, list[float]],
    gaps: dict[str, list[Gap]],
    padding: dict[str, float],
    more: float,
) -> str:
    """How fast, and whether the sides learned the same."""
    most = {side: max(abs(g.value) for g in found) for side, found in gaps.items()}
    assert most[SAME] < CLOSE, gaps
    ahead = sum(g.value < 0 and not g.equal for g in gaps[OWN])
    behind = sum(g.behind for g in gaps[OWN])
    return (
        "Loss: nats a token on rows that no side saw, and how far ftev's stands above SFTTrainer's "
        f"(below 0: ahead), {INTERVAL}. All sides take the same rows in as many steps, with the "
        "same optimizer and the same linear schedule without warm-up. "
        f"With the very rows of each of SFTTrainer's steps ftev's loss differs by {most[SAME]:.4f} "
        "at most, which is how bfloat16 rounds other shapes: no row sees another in SFTTrainer's "
        "packing, and both sides average over the targets of a whole step. "
        f"With batches of its own it differs by {most[OWN]:.4f} at most, {told_of(ahead, behind)}: "
        "other rows stand together, those of like length. A budget of tokens counts padding, so "
        f"batches of SFTTrainer's tokens a step would be up to {more:.0%} more steps, which learn "
        "more from the same rows: it is raised until the steps are as many. "
        f"By CPU time {span(speeds[SAME])} times SFTTrainer's tokens with the same steps and "
        f"{span(speeds[OWN])} with own batches. ftev computes at most {padding[SAME]:.2f} and "
        f"{padding[OWN]:.2f} tokens for each real one; SFTTrainer packs."
    )


def told_of(ahead: int, behind: int) -> str:
    return f"clearly lower in {ahead or 'no'} case{'s' * (ahead != 1)} and clearly higher in " + (
        f"{behind or 'none'}"
    )


def span(ratios: list[float]) -> str:
    return f"{min(ratios):.2f} to {max(ratios):.2f}"


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
    parser.add_argument("--precision", default="bfloat16", choices=("float32", "bfloat16"))
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
                    for side in SIDES:
                        files = folder / f"{case}.json", folder / f"{case} {side}.parquet"
                        given = ["--steps", str(files[0]), "--scores", str(files[1])]
                        told = child(side, "--case", case, *given)
                        found.setdefault((case, side), []).append(told)
            print(report(args, found, folder))


if __name__ == "__main__":
    main()
