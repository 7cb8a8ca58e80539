"""Metrics, intervals, paired tests, calibration, thresholds and slices of many made-up predictions.

    python tests/bench/metrics_scale.py [ROWS] [LABELS]

Prints seconds of wall and CPU time and the process's peak memory, the two models' predictions
included. Predictions are drawn by seed; labels are stored as Polars enums.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
from ftev.core.analysis.calibration import calibration
from ftev.core.analysis.flips import find_flips
from ftev.core.analysis.predictions import Evaluation
from ftev.core.analysis.slices import slices
from ftev.core.analysis.thresholds import thresholds
from ftev.core.config.config import ModelConfig, RunConfig
from ftev.core.metrics.comparisons import compare
from ftev.core.metrics.evaluate import evaluate_classification

CONFIG = RunConfig(task="classification", model=ModelConfig(base="none"))


def predictions(truth: Any, labels: list[str], seed: int, skill: float) -> pl.DataFrame:
    """Predictions as a run stores them, of a model that knows about the truth."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(len(truth), len(labels))).astype(np.float32)
    scores[np.arange(len(truth)), truth] += skill
    p = np.exp(scores)
    p /= p.sum(axis=1, keepdims=True)
    names = pl.Series(labels, dtype=pl.Enum(labels))
    return pl.DataFrame(
        {
            "row_id": np.arange(len(truth)),
            "label": names.gather(truth),
            "predicted": names.gather(p.argmax(axis=1)),
            "probabilities": pl.Series(p.astype(np.float64)).arr.to_list(),
        }
    )


def told(what: str, work: Callable[[], Any]) -> Any:
    started, spent = time.perf_counter(), time.process_time()
    found = work()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    wall, cpu = time.perf_counter() - started, time.process_time() - spent
    print(
        f"{what:<34} {wall:7.2f} s wall {cpu:7.2f} s CPU   peak so far {peak:5.2f} GiB", flush=True
    )
    return found


def main(rows: int = 10_000_000, n_labels: int = 2) -> None:
    labels = [f"label {i}" for i in range(n_labels)]
    truth = np.random.default_rng(0).integers(0, n_labels, rows)
    before, after = told(
        f"{rows:,} predictions, twice",
        lambda: (predictions(truth, labels, 1, 1.0), predictions(truth, labels, 2, 1.3)),
    )
    told("metrics of one model", lambda: evaluate_classification(after, labels, labels[1]))
    told(
        "paired comparison",
        lambda: compare("test", "base", before, "tuned", after, labels, labels[1]),
    )
    lengths = pl.Series(["a", "text", "of some", "length"]).gather(truth % 4)
    source = before.select("row_id", lengths.alias("text"))
    e = Evaluation(
        "test",
        {"base": before, "tuned": after},
        source,
        CONFIG,
        tuple(labels),
        labels[1] if n_labels == 2 else None,
        validation={"base": before.head(100_000), "tuned": after.head(100_000)},
    )
    for look in (calibration, thresholds, slices, find_flips):
        told(f"{look.__name__} of both", lambda look=look: list(look(e)))


if __name__ == "__main__":
    main(*(int(number) for number in sys.argv[1:]))
