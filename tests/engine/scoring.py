"""Tiny models loaded, their rows made, and the plain definition of a row's score."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import torch
from ftev.core.config.config import ModelConfig, RunConfig
from ftev.core.engine.models.load import load
from ftev.core.engine.models.models import Loaded
from ftev.core.engine.scoring.classification import SCORER as CLASSIFICATION
from ftev.core.engine.scoring.generation import SCORER as GENERATION
from ftev.core.engine.scoring.rows import TokenRows, classification_rows, text_rows
from ftev.core.engine.scoring.scorer import Scorer
from ftev.core.engine.training.batches import Layout

WORDS = ["the", "kettle", "boils", "a", "cold", "day", "makes", "warm", "cup", "tea", "was", "bad"]


def causal_model(folder: Path) -> Loaded:
    config = RunConfig(task="generation", model=ModelConfig(base=str(folder)))
    return load(config, str(folder))


def classifier_model(folder: Path, labels: tuple[str, ...] = ("good", "bad")) -> Loaded:
    torch.manual_seed(1)
    config = RunConfig(task="classification", model=ModelConfig(base=str(folder)))
    return load(config, str(folder), labels)


def made_texts(count: int, longest: int = 20, seed: int = 0) -> list[str]:
    """Texts of 1 to `longest` words, of very uneven lengths."""
    random = np.random.default_rng(seed)
    return [
        " ".join(random.choice(WORDS, 1 + int(random.random() ** 2 * longest)))
        for _ in range(count)
    ]


def rows_of_texts(loaded: Loaded, texts: list[str]) -> TokenRows:
    *_, rows = text_rows(pl.DataFrame({"row_id": range(len(texts)), "text": texts}), loaded)
    assert isinstance(rows, TokenRows)
    return rows


def rows_of_labels(loaded: Loaded, texts: list[str]) -> TokenRows:
    labels = [loaded.labels[i % len(loaded.labels)] for i in range(len(texts))]
    frame = pl.DataFrame({"row_id": range(len(texts)), "text": texts, "label": labels})
    *_, rows = classification_rows(frame, loaded)
    assert isinstance(rows, TokenRows)
    return rows


def scorer_of(rows: TokenRows) -> Scorer:
    return GENERATION if rows.labels is None else CLASSIFICATION


def scores(
    loaded: Loaded, rows: TokenRows, budget: int = 512, layout: Layout | None = None
) -> pl.DataFrame:
    *_, frame = scorer_of(rows).score(loaded, rows, "float32", budget, layout or Layout())
    assert isinstance(frame, pl.DataFrame)
    return frame


def plain_nll(loaded: Loaded, ids: np.ndarray) -> float:
    """The definition, one row at a time, no padding, log-softmax in float64."""
    tensor = torch.tensor(ids.astype(np.int64))[None]
    with torch.no_grad():
        logits = loaded.model(input_ids=tensor).logits[0].double()
    return float(-logits[:-1].log_softmax(-1).gather(1, tensor[0, 1:, None]).sum())
