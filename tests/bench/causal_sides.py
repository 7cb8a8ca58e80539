"""The sides of `causal.py`: rows and a model made by seed, ftev's training and SFTTrainer's."""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import tempfile
import time
from itertools import chain
from typing import Any

import numpy as np

PEER, SAME, OWN = "SFTTrainer", "ftev, the same steps", "ftev, steps of its own"
SIDES = (PEER, SAME)  # the first tells the others its steps and which rows they had
# hidden, layers, heads, inner, vocabulary
SIZES = {
    "1m": (128, 4, 4, 384, 1_000),
    "10m": (384, 6, 6, 1024, 4_000),
    "10m-50k": (384, 6, 6, 1024, 50_000),
    "0.1b": (768, 12, 12, 2048, 32_000),
    "0.5b": (1280, 22, 20, 3584, 50_000),
    "1b": (2048, 16, 32, 8192, 50_000),
}
USED = 500  # words that occur
PAD, BOS, EOS = 0, 1, 2


def made_rows(case: str, tokens: int, longest: int, vocabulary: int, seed: int) -> Any:
    """Rows of lognormal length until there are so many tokens, as ftev holds them."""
    from ftev.core.engine.scoring.rows import TokenRows

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
    from ftev.core.engine.models.models import Loaded
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
    device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    with device:  # a billion numbers take a CPU ten seconds to draw
        model = LlamaForCausalLM(config)
    return Loaded(model, tokenizer, longest)


def train_ours(args: argparse.Namespace, loaded: Any, rows: Any) -> int:
    """With the rows of each of their steps, or as many steps of rows in an order of its own."""
    from ftev.core.config.config import TrainConfig
    from ftev.core.engine.training.train import read_steps, train
    from ftev.core.engine.training.trainer import Plan, Trainer, plan_training

    theirs = [[np.array(step) for step in epoch] for epoch in json.loads(args.steps.read_text())]
    settings = TrainConfig(
        epochs=args.epochs,
        learning_rate=args.learning_rate,
        batch_tokens=-(-int(rows.lengths.sum()) // len(theirs[0])),
        warmup_ratio=0.0,
        weight_decay=0.0,
        seed=args.seed,
    )
    counts = [len(epoch) for epoch in theirs]
    plan = Plan(theirs, counts, counts) if args.side == SAME else plan_training(rows, settings)
    args.started = clocks()
    t = Trainer(loaded, rows, plan, settings, args.precision)
    args.padding = t.padding()
    return len(read_steps(list(train(t))))


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
