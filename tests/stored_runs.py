"""Finished runs with stored predictions, made without a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import records
import story
from ftev.core.config.config import DataConfig, ModelConfig, RunConfig
from ftev.core.metrics.comparisons import compare
from ftev.core.metrics.evaluate import evaluate_classification, evaluate_text
from ftev.core.run.events import (
    AnyEvent,
    LabelsFixed,
    PromptAnswered,
    RunFinished,
    RunStarted,
    SplitPrepared,
    TrainingEnded,
    spell_numbers,
)
from ftev.core.run.runs import Run

LABELS = ("no", "yes")
Frame = pl.DataFrame


def labelled(n: int = 120, skill: float = 1.0, seed: int = 0) -> Frame:
    """Predictions as they are stored; truth, ids and content depend on n alone."""
    truth = np.random.default_rng(99).integers(0, 2, n)
    scores = np.random.default_rng(seed).normal(size=(n, 2))
    scores[np.arange(n), truth] += skill
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    names = np.array(LABELS)
    return pl.DataFrame(
        {
            "row_id": np.arange(n),
            "label": names[truth],
            "predicted": names[probabilities.argmax(axis=1)],
            "probabilities": probabilities.tolist(),
            "content": pl.Series(np.arange(n) * 7919, dtype=pl.UInt64),
            "input": [f"text number {i}" for i in range(n)],
        }
    )


def written(n: int = 60, gain: float = 0.0, seed: int = 0) -> Frame:
    rng = np.random.default_rng(seed)
    tokens = np.random.default_rng(98).integers(5, 50, n)
    return pl.DataFrame(
        {
            "row_id": np.arange(n),
            "nll": tokens * (rng.gamma(9, 0.3, n) - gain),
            "tokens": tokens,
            "correct": tokens // 3,
            "bytes": tokens * 4,
            "content": pl.Series(np.arange(n) * 7919, dtype=pl.UInt64),
        }
    )


def preferred(n: int = 60, gain: float = 0.0, seed: int = 0) -> Frame:
    """Pairs; a gain of 1 nat a token has nearly every chosen text preferred."""
    chosen, rejected = written(n, gain, seed), written(n, 0.0, seed + 50)
    return chosen.with_columns(
        rejected_nll=rejected["nll"] * chosen["tokens"] / rejected["tokens"],
        rejected_tokens=chosen["tokens"],
    )


def write_run(
    folder: Path,
    frames: dict[str, Frame],
    *,
    labels: Sequence[str] = LABELS,
    split: str = "test",
    answers: Sequence[tuple[str, str, str]] = (),
    compared: bool = False,
    **train: Any,
) -> Run:
    """A finished run whose models were scored on a split; `answers`: prompt, base, tuned.

    `compared`: with the paired differences from base to tuned.
    """
    is_labelled = not frames or "label" in next(iter(frames.values())).columns
    task = "generation" if answers or not is_labelled else "classification"
    config = RunConfig(
        task=task,  # type: ignore[arg-type]
        name="made",
        model=ModelConfig(base="tiny"),
        data=DataConfig(train="train.csv", test="test.csv"),
        **train,
    )
    started = RunStarted(
        run=folder.name, name="made", task=task, pid=1, host="here", ftev_version="0.1.0"
    )
    events: list[AnyEvent] = [started]
    if task == "classification":
        events.append(LabelsFixed(labels=list(labels), positive=labels[-1]))
    events.append(TrainingEnded(reason="completed", step=4, best_step=4))
    for model, frame in frames.items():
        result = evaluate_classification(frame, labels) if is_labelled else evaluate_text(frame)
        plain = spell_numbers(msgspec.to_builtins(result))
        events.append(records.results(split, model, plain))
    if frames:
        rows = next(iter(frames.values())).height
        events.append(SplitPrepared(split=split, rows=rows, columns=2, sha256="c" * 64))
        known = labels if is_labelled else None
        pair = (split, "base", frames["base"], "tuned", frames["tuned"]) if compared else None
        events.append(records.comparisons([] if pair is None else compare(*pair, known)))
    for prompt, base, tuned in answers:
        events.append(PromptAnswered(prompt=prompt, step=4, probe=True, base=base, tuned=tuned))
    run = story.write_story(folder, [*events, RunFinished(status="finished")], config)
    run.predictions.mkdir(exist_ok=True)
    for model, frame in frames.items():
        frame.write_parquet(run.predictions / f"{split}.{model}.parquet")
    return run
