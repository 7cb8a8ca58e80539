"""The embedded default: tiny base models that ship with ftev, and data made by seed.

Nothing here needs the network, and nothing but the standard library is imported.
"""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

from . import reviews, texts

MODELS = Path(__file__).parent / "models"
SHIPPED = "ftev-demo/"  # ftev-demo/encoder and ftev-demo/causal are the models that ship
TASKS = ("classification", "generation")
SEED = 7

TRAIN_REVIEWS, TEST_REVIEWS = 1_000, 200
TRAIN_STANZAS, TEST_STANZAS = 400, 100

_CLASSIFICATION = """\
name = "demo-reviews"
task = "classification"

[model]
base = "{base}"
adapter = "none"

[data]
train = "{train}"
validation = 0.1
test = "{test}"
text = "review"
label = "sentiment"

[train]
epochs = 5
learning_rate = 5e-5
batch_size = 32
warmup_ratio = 0.1
weight_decay = 0.01
eval_every = 0.5
seed = {seed}

[objective]
metric = "accuracy"
positive = "positive"
at_least = 0.80

[evaluate]
prompts = [
  "Not bad at all. I would buy it again.",
  "The screen is lovely, but it freezes on the home page.",
  "Oh great, another charger that dies within a week.",
]
"""

_GENERATION = """\
name = "demo-verse"
task = "generation"

[model]
base = "{base}"
adapter = "none"

[data]
train = "{train}"
validation = 0.1
test = "{test}"
text = "text"

[train]
epochs = 5
learning_rate = 2e-3
batch_size = 16
warmup_ratio = 0.1
weight_decay = 0.01
eval_every = 0.5
seed = {seed}

[objective]
metric = "loss"
at_most = 3.0

[evaluate]
max_new_tokens = 64
prompts = ["When I behold the", "O gentle", "The weather in town"]
"""


def write_demo(task: str, folder: Path, seed: int = SEED) -> Path:
    """Write the data of a demo run and its `run.toml` into `folder`; return its path.

    The same seed writes the same files. Raises ValueError for a task that is not in TASKS.
    """
    if task not in TASKS:
        raise ValueError(f"no demo for the task {task!r}: it is one of {', '.join(TASKS)}")
    folder.mkdir(parents=True, exist_ok=True)
    if task == "classification":
        train, test = _write_reviews(folder, seed)
        template, base = _CLASSIFICATION, "encoder"
    else:
        train, test = _write_stanzas(folder, seed)
        template, base = _GENERATION, "causal"
    config = folder / "run.toml"
    config.write_text(
        template.format(base=SHIPPED + base, train=train.name, test=test.name, seed=seed),
        encoding="utf-8",
    )
    return config


def _write_reviews(folder: Path, seed: int) -> tuple[Path, Path]:
    train, test = reviews.make_splits(TRAIN_REVIEWS, TEST_REVIEWS, seed)
    return _write_csv(folder / "train.csv", train), _write_csv(folder / "test.csv", test)


def _write_csv(path: Path, rows: list[reviews.Review]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, reviews.COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(review.row for review in rows)
    return path


def _write_stanzas(folder: Path, seed: int) -> tuple[Path, Path]:
    train, test = texts.make_splits(TRAIN_STANZAS, TEST_STANZAS, seed)
    return _write_jsonl(folder / "train.jsonl", train), _write_jsonl(folder / "test.jsonl", test)


def _write_jsonl(path: Path, rows: list[str]) -> Path:
    lines = [json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in rows]
    path.write_text("".join(lines), encoding="utf-8")
    return path


def find_model(name: str) -> str:
    """The folder of a model that ships with ftev; any other name as it is."""
    shipped = MODELS / name.removeprefix(SHIPPED)
    return str(shipped) if name.startswith(SHIPPED) and os.path.isdir(shipped) else name
