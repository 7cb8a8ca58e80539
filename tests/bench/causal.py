"""Fine-tuning a language model: ftev's loop against TRL's SFTTrainer with packing.

    python tests/bench/causal.py [--cases NAME …] [--size SIZE] [--tokens N] …

A Llama-shaped model is drawn from a config by seed. Both sides train it on the same token ids with
the same targets, epochs, learning rate, precision and about as many tokens a step, in a process of
its own, sides in turn; then ftev's evaluator scores both on rows that neither saw. Rows are made by
seed: each token has one likely successor. Only the training itself is timed. SFTTrainer packs best
fit first (bfd) and runs without activation checkpointing, its fastest way; where flash-attn is
installed, with it.
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
from typing import Any

import numpy as np
from measure import section, table

PACKAGES = ("torch", "transformers", "accelerate", "trl")
ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false"}
SIDES = ("ftev", "SFTTrainer")
CASES = ("completions", "texts", "completions-50k", "texts-50k")
# hidden, layers, heads, inner, vocabulary
SIZES = {
    "10m": (384, 6, 6, 1024, 4_000),
    "10m-50k": (384, 6, 6, 1024, 50_000),
    "0.1b": (768, 12, 12, 2048, 32_000),
    "0.5b": (1280, 22, 20, 3584, 50_000),
    "1b": (2048, 16, 32, 8192, 50_000),
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
    from ftev.core.engine.train import Trainer, plan_training, read_steps, train

    settings = TrainConfig(
        epochs=args.epochs,
        learning_rate=args.learning_rate,
        batch_tokens=args.batch_tokens,
        warmup_ratio=0.0,
        weight_decay=0.0,
        seed=args.seed,
    )
    plan = plan_training(rows, settings)
    args.padding = padding_ratio(plan.epochs[0], rows.lengths)
    return len(read_steps(list(train(Trainer(loaded, rows, plan, settings, "bfloat16")))))


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
                bf16=True,
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
        args.started = clocks()  # packing is preparation, as tokenising is
        return int(trainer.train().global_step)


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
    size = "10m-50k" if args.case.endswith("50k") and args.size == "10m" else args.size
    loaded = made_model(size, args.longest, args.seed)
    vocabulary = SIZES[size][-1]
    rows = made_rows(args.case, args.tokens, args.longest, vocabulary, args.seed)
    others = made_rows(args.case, 4_000, args.longest, vocabulary, args.seed + 1)
    args.started = clocks()
    work = train_ours if args.side == "ftev" else train_theirs
    told: dict[str, Any] = {"steps": work(args, loaded, rows)}
    if loaded.device.type == "cuda":
        torch.cuda.synchronize()
    ended = clocks()
    told["wall"], told["cpu"] = (b - a for a, b in zip(args.started, ended, strict=True))
    told["tokens"] = int(rows.lengths.sum()) * args.epochs
    told["padding"] = getattr(args, "padding", 1.0)
    if loaded.device.type == "cuda":
        told["memory"] = torch.cuda.max_memory_allocated() / 2**20
    else:
        told["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    told["mfu"] = model_use(loaded.model, rows, told["wall"], args.epochs)
    *_, scores = score_tokens(loaded, others, "float32", 4096)
    told["loss"] = float(scores["nll"].sum() / scores["tokens"].sum())
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

    size = "10m-50k" if args.size == "10m" else args.size
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


def report(args: argparse.Namespace, found: dict[tuple[str, str], list[dict[str, Any]]]) -> str:
    def median(case: str, side: str, name: str) -> float:
        return statistics.median(told[name] for told in found[case, side])

    def speed(case: str, side: str, clock: str) -> float:
        return median(case, side, "tokens") / median(case, side, clock)

    lines = []
    for case, side in found:
        use = found[case, side][-1]["mfu"]
        lines.append(
            (
                f"{case}, {side}",
                f"{speed(case, side, 'cpu'):,.0f}",
                f"{speed(case, 'ftev', 'cpu') / speed(case, side, 'cpu'):.2f}",
                f"{speed(case, side, 'wall'):,.0f}",
                f"{speed(case, 'ftev', 'wall') / speed(case, side, 'wall'):.2f}",
                int(median(case, side, "steps")),
                f"{median(case, side, 'loss'):.3f}",
                f"{median(case, side, 'memory'):,.0f}",
                "" if use is None else f"{use:.1%}",
            )
        )
    head = (
        "",
        "tokens a CPU s",
        "ftev ×",
        "tokens a s",
        "ftev ×",
        "steps",
        "loss",
        "MiB",
        "of peak",
    )
    ratios = [speed(c, "ftev", "cpu") / speed(c, "SFTTrainer", "cpu") for c in args.cases]
    gaps = [abs(median(c, "ftev", "loss") - median(c, "SFTTrainer", "loss")) for c in args.cases]
    padding = max(median(case, "ftev", "padding") for case in args.cases)
    words = (
        f"By CPU time {min(ratios):.2f} to {max(ratios):.2f} times SFTTrainer's tokens; losses on "
        f"rows that neither saw differ by {max(gaps):.3f} nats at most. ftev computes at most "
        f"{padding:.2f} tokens for each real one, rows of like length together; SFTTrainer packs."
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


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", nargs="*", default=CASES, choices=CASES)
    parser.add_argument("--size", default="10m", choices=SIZES)
    parser.add_argument("--tokens", type=int, default=16_000)
    parser.add_argument("--longest", type=int, default=512)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--batch-tokens", type=int, default=2048)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--side")
    parser.add_argument("--case", default=CASES[0])
    return parser.parse_args()


def main() -> None:
    args = arguments()
    if args.side in ("chunks", "whole logits"):
        memory_of_loss(args)
    elif args.side:
        one_side(args)
    else:
        found: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for _ in range(args.rounds):
            for case in args.cases:
                for side in SIDES:
                    found.setdefault((case, side), []).append(child(side, "--case", case))
        print(report(args, found))


if __name__ == "__main__":
    main()
