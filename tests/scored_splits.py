"""Stored predictions of made-up models, and evaluations of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from ftev.core.analysis import Evaluation
from ftev.core.config.config import EvaluateConfig, ModelConfig, ObjectiveConfig, RunConfig

LABELS = ("ham", "spam")


def predictions(
    n: int = 400,
    labels: tuple[str, ...] = LABELS,
    skill: float = 1.5,
    sharpness: float = 1.0,
    seed: int = 0,
) -> pl.DataFrame:
    """A calibrated classifier of n rows; `sharpness` above 1 makes it overconfident."""
    rng = np.random.default_rng(seed)
    logits = skill * rng.normal(size=(n, len(labels)))
    honest = softmax(logits)
    truth = (honest.cumsum(axis=1) < rng.random(n)[:, None]).sum(axis=1).clip(0, len(labels) - 1)
    return stored(truth, softmax(logits * sharpness), labels)


def softmax(logits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def stored(
    truth: np.ndarray[Any, Any],
    probabilities: np.ndarray[Any, Any],
    labels: tuple[str, ...] = LABELS,
) -> pl.DataFrame:
    """As the worker writes them; truth int [n], probabilities [n, labels]."""
    names = np.array(labels)
    return pl.DataFrame(
        {
            "row_id": np.arange(len(truth)),
            "label": names[truth],
            "predicted": names[probabilities.argmax(axis=1)],
            "probabilities": pl.Series(probabilities).arr.to_list(),
        }
    )


def binary(truth: Any, scores: Any) -> pl.DataFrame:
    """Of a binary task: truth 0 or 1 and the probability of "spam"."""
    p = np.asarray(scores, dtype=float)
    return stored(np.asarray(truth), np.stack([1 - p, p], axis=1))


def evaluation(
    split: str = "test",
    labels: tuple[str, ...] = LABELS,
    source: pl.DataFrame | None = None,
    validation: pl.DataFrame | None = None,
    objective: ObjectiveConfig | None = None,
    slices: tuple[str, ...] = (),
    **frames: pl.DataFrame,
) -> Evaluation:
    """Of `tuned` and other frames by keyword; `validation` is the tuned model's there."""
    task = "generation" if "nll" in frames["tuned"].columns else "classification"
    return Evaluation(
        split=split,
        frames=frames,
        source=frames["tuned"].select("row_id") if source is None else source,
        config=RunConfig(
            task=task,  # type: ignore[arg-type]
            model=ModelConfig(base="tiny"),
            objective=objective or ObjectiveConfig(),
            evaluate=EvaluateConfig(slices=list(slices)),
        ),
        labels=labels,
        positive=labels[1] if len(labels) == 2 else None,
        validation={} if validation is None else {"tuned": validation},
    )
