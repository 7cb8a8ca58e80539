"""The cases of `whole_job.py`: a base model, three files of rows, and ftev's configuration."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from classifier_sides import find_model, made_rows, read_rows

SHARED = Path(__file__).resolve().parents[3] / "shared"
SPLITS = ("train", "validation", "test")
CASES = ("classifier", "stories260K", "llama14m", "llama14m-lora")
CLASSIFIER_LENGTH, TEXT_LENGTH = 128, 512
BLOCK = 512  # tokens that the script packs together
ROWS_A_STEP = 16

RUN = """
name = "whole-job"
task = "{task}"
[model]
base = "{model}"
adapter = "{adapter}"
max_length = {max_length}
[data]
train = "train.jsonl"
validation = "validation.jsonl"
test = "test.jsonl"
[train]
epochs = {epochs}
learning_rate = {learning_rate}
batch_size = {batch_size}
best_metric = "loss"
[evaluate]
serve_minutes = 0.0
"""


def write_case(name: str, folder: Path, args: argparse.Namespace) -> str:
    """Writes case.json (for the script), run.toml (for ftev) and the rows; returns a line on it."""
    folder.mkdir(parents=True)
    counts = (args.train_rows, args.validation_rows, args.test_rows)
    make = _classifier if name == "classifier" else _language_model
    rows, case, words = make(name, folder, counts, args)
    for split, frame in zip(SPLITS, _cut(rows, counts), strict=True):
        frame.write_ndjson(folder / f"{split}.jsonl")
    (folder / "case.json").write_text(json.dumps(case))
    adapter = "lora" if case.get("lora") else "none"
    (folder / "run.toml").write_text(RUN.format(adapter=adapter, **case))
    sizes = " / ".join(f"{n:,}" for n in counts)
    return f"**{name}**: {words}; {sizes} rows, {case['epochs']} epochs, validated after each."


def _cut(rows: pl.DataFrame, counts: tuple[int, ...]) -> Iterator[pl.DataFrame]:
    start = 0
    for count in counts:
        yield rows.slice(start, count)
        start += count


def _classifier(
    name: str, folder: Path, counts: tuple[int, ...], args: argparse.Namespace
) -> tuple[pl.DataFrame, dict[str, Any], str]:
    real = SHARED / "data/sms_spam/SMSSpamCollection"
    if real.is_file():
        rows, words = read_rows(real, False, None, None), real.name
    else:
        rows, words = made_rows(sum(counts), 256, 1), "texts made by seed"
    rows = rows.sample(sum(counts), shuffle=True, seed=1)
    case = {
        "task": "classification",
        "model": find_model(args.model),
        "max_length": CLASSIFIER_LENGTH,
        "epochs": 2,
        "learning_rate": 3e-4,
        "batch_size": 32,
        "bf16": True,
    }
    return rows, case, f"MiniLM on {words}, {ROWS_A_STEP * 2} rows a step, script in bfloat16"


def _language_model(
    name: str, folder: Path, counts: tuple[int, ...], args: argparse.Namespace
) -> tuple[pl.DataFrame, dict[str, Any], str]:
    real = SHARED / "data/gsm8k/train.jsonl"
    if real.is_file():
        rows = pl.read_ndjson(real).rename({"question": "prompt", "answer": "completion"})
        words = "gsm8k"
    else:
        rows, words = _made_sums(sum(counts)), "sums made by seed"
    rows = rows.sample(sum(counts), shuffle=True, seed=1)
    if name == "stories260K":
        model = str(SHARED / "models/stories260K")
        if not os.path.isdir(model):
            raise SystemExit(f"{model}: not here; leave stories260K out of --cases")
    else:
        model = str(folder / "base")
        write_llama(Path(model), rows)
    case = {
        "task": "generation",
        "model": model,
        "max_length": TEXT_LENGTH,
        "epochs": 2,
        "learning_rate": 1e-3,
        "batch_size": ROWS_A_STEP,
        "bf16": True,
        "lora": name.endswith("lora"),
        "blocks": _blocks(model, rows[: counts[0]]),
    }
    return rows, case, f"{name} on {words}, {ROWS_A_STEP} rows a step, script packed in bfloat16"


def _made_sums(count: int) -> pl.DataFrame:
    random = np.random.default_rng(1)
    pairs = random.integers(100, 10_000, (count, 2)).tolist()
    return pl.DataFrame(
        {
            "prompt": [f"A shop sold {a} cups and {b} plates. How many in all?" for a, b in pairs],
            "completion": [f"It sold {a} + {b} = {a + b} things. #### {a + b}" for a, b in pairs],
        }
    )


def _blocks(model: str, rows: pl.DataFrame) -> int:
    """Packed blocks that hold as many tokens as ftev's step has."""
    from transformers import AutoTokenizer

    texts = [f"{prompt} {completion}" for prompt, completion in rows.iter_rows()]
    tokens = sum(map(len, AutoTokenizer.from_pretrained(model)(texts).input_ids))
    return max(1, round(tokens / len(texts) * ROWS_A_STEP / BLOCK))


def write_llama(folder: Path, rows: pl.DataFrame) -> None:
    """A Llama of 14 million parameters drawn by seed, its 8,000 tokens found in the rows."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=8_000,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(rows["prompt"].to_list() + rows["completion"].to_list(), trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        model_max_length=TEXT_LENGTH,
    )
    fast.save_pretrained(folder)
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=8_000,
        hidden_size=384,
        intermediate_size=1024,
        num_hidden_layers=6,
        num_attention_heads=6,
        max_position_embeddings=TEXT_LENGTH,
        bos_token_id=fast.bos_token_id,
        eos_token_id=fast.eos_token_id,
        pad_token_id=fast.pad_token_id,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
