"""Predictions of rows with several labels each, as they are stored."""

from __future__ import annotations

import numpy as np
import polars as pl
from ftev.core.metrics.label_sets.rows import as_lists
from numpy.typing import NDArray

LABELS = ("toxic", "insult", "threat")
SHARES = (0.4, 0.3, 0.15)  # of the rows


def truth_of(n: int = 150, seed: int = 7) -> NDArray[np.bool_]:
    """[n, 3]; about a third of the rows has no label."""
    return np.random.default_rng(seed).random((n, len(LABELS))) < SHARES


def scored(skill: float, n: int = 150, seed: int = 0, truth: object = None) -> pl.DataFrame:
    """With probabilities, decided at 0.5; the truth depends on n alone."""
    marks = truth_of(n) if truth is None else np.asarray(truth)
    noise = np.random.default_rng(seed).normal(size=marks.shape)
    logits = skill * (2.0 * marks - 1) + noise
    return frame_of(marks, 1 / (1 + np.exp(-logits)))


def frame_of(marks: NDArray[np.bool_], probabilities: NDArray[np.float64]) -> pl.DataFrame:
    texts = pl.List(pl.String)
    n = len(marks)
    likely = np.where(marks, probabilities, 1 - probabilities)
    return pl.DataFrame(
        {
            "row_id": np.arange(n),
            "labels": pl.Series(as_lists(marks, LABELS), dtype=texts),
            "predicted": pl.Series(as_lists(probabilities >= 0.5, LABELS), dtype=texts),
            "probabilities": probabilities.tolist(),
            "nll": -np.log(likely).mean(axis=1),
            "content": pl.Series(np.arange(n) * 7919, dtype=pl.UInt64),
            "input": [f"text number {i}" for i in range(n)],
        }
    )
