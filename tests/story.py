"""A run directory told from beginning to end without a model: what a worker would have written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import records
from ftev.core.config.config import DataConfig, ModelConfig, ObjectiveConfig, RunConfig
from ftev.core.config.config_file import dump_config
from ftev.core.run.events import (
    AnyEvent,
    CheckpointSaved,
    DeviceFound,
    EpochDone,
    Evaluated,
    EventWriter,
    LabelsFixed,
    LeakageFound,
    ModelLoaded,
    Note,
    PromptAnswered,
    RunFinished,
    RunStarted,
    SplitPrepared,
    StageDone,
    StageStarted,
    StepDone,
    TrainingEnded,
    TrainingPlanned,
)
from ftev.core.run.history import STAGES
from ftev.core.run.runs import Run

T0 = 1_790_000_000.0
STEPS_PER_EPOCH = 4
STANDARD_ERROR = 0.01  # of each change of the validation loss
VALIDATION = ((0.70, 10), (0.50, 15), (0.40, 18), (0.45, 17))  # loss, right of 20, step 0 first
LABELS = ["negative", "positive"]


def config(**objective: Any) -> RunConfig:
    return RunConfig(
        task="classification",
        name="story",
        model=ModelConfig(base="tiny"),
        data=DataConfig(train="train.csv", test="test.csv"),
        objective=ObjectiveConfig(**objective),
    )


def estimate(value: float, low: float, high: float) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high, "method": "Wilson 95 %"}


def result(right: tuple[int, int], rows: tuple[int, int] = (100, 100)) -> dict[str, Any]:
    """A classifier's result from the right rows of each label; intervals of ±5 points."""
    wrong = rows[0] - right[0], rows[1] - right[1]
    recalls = [r / n for r, n in zip(right, rows, strict=True)]
    precisions = [
        right[0] / max(1, right[0] + wrong[1]),
        right[1] / max(1, right[1] + wrong[0]),
    ]
    f1 = [2 * p * r / (p + r) if p + r else 0.0 for p, r in zip(precisions, recalls, strict=True)]
    accuracy, balanced, macro = sum(right) / sum(rows), sum(recalls) / 2, sum(f1) / 2
    metrics = {"accuracy": accuracy, "balanced_accuracy": balanced, "macro_f1": macro}
    metrics |= {"precision": precisions[1], "recall": recalls[1]}
    return {
        "n": sum(rows),
        "loss": 0.4,
        "metrics": {name: estimate(v, v - 0.05, min(1.0, v + 0.05)) for name, v in metrics.items()},
        "per_class": {
            label: {"precision": precisions[i], "recall": recalls[i], "f1": f1[i], "support": n}
            for i, (label, n) in enumerate(zip(LABELS, rows, strict=True))
        },
        "confusion": {
            "labels": LABELS,
            "counts": [[right[0], wrong[0]], [wrong[1], right[1]]],
        },
        "positive": "positive",
    }


def comparison(metric: str, difference: float, half: float, before: str = "probe") -> Any:
    return {
        "split": "test",
        "metric": metric,
        "from": before,
        "to": "tuned",
        "difference": difference,
        "low": difference - half,
        "high": difference + half,
        "p": 0.0004,
        "method": "exact McNemar p (mid-p 0.0003); paired bootstrap 95 %, 10,000 draws, seed 0",
        "fixed": 41,
        "broke": 12,
        "smallest_detectable": 0.06,
    }


RESULTS = {
    "majority": result((0, 100)),
    "probe": result((70, 80)),
    "tuned": result((88, 92)),
}
COMPARISONS = [comparison("accuracy", 0.15, 0.06), comparison("macro_f1", 0.15, 0.06)]


def beginning() -> list[AnyEvent]:
    """Up to step 0."""
    return [
        RunStarted(
            run="story",
            name="story",
            task="classification",
            pid=1,
            host="here",
            ftev_version="0.1.0",
        ),
        LabelsFixed(labels=LABELS, positive="positive"),
        StageStarted(stage=1, name=STAGES[0]),
        DeviceFound(
            device="cpu", name="a CPU", precision="float32", packages={"torch": "2"}, threads=2
        ),
        ModelLoaded(
            name="tiny",
            architecture="TinyForSequenceClassification",
            parameters=1000,
            trainable=1000,
            layers=2,
            vocab_size=512,
            max_length=128,
            new_head=True,
        ),
        StageDone(stage=1, name=STAGES[0], seconds=1.5, note="TinyForSequenceClassification"),
        SplitPrepared(
            split="train",
            rows=160,
            columns=3,
            source="train.csv",
            sha256="a" * 64,
            labels={"negative": 80, "positive": 80},
            tokens=3200,
        ),
        SplitPrepared(split="validation", rows=20, columns=3, labels=dict.fromkeys(LABELS, 10)),
        LeakageFound(exact=0, near=0, ngram=0),
        StageDone(stage=2, name=STAGES[1], seconds=0.5, rows_in=180, columns_in=3, rows_out=160),
        TrainingPlanned(
            max_steps=12,
            steps_per_epoch=STEPS_PER_EPOCH,
            epochs=3.0,
            warmup_steps=1,
            rows_per_step=40.0,
            padding=1.1,
        ),
        validated(0),
    ]


def validated(epoch: int) -> Evaluated:
    loss, right = VALIDATION[epoch]
    return Evaluated(
        split="validation",
        model="tuned",
        step=epoch * STEPS_PER_EPOCH,
        epoch=float(epoch),
        rows=20,
        loss_sum=loss * 20,
        loss_count=20,
        correct=right,
        count=20,
        changes=changes([loss for loss, _ in VALIDATION[: epoch + 1]]),
    )


def changes(losses: Sequence[float], every: int = STEPS_PER_EPOCH) -> list[Any]:
    """Of the last of these validation losses against each earlier one (V10)."""
    return [
        (i * every, losses[-1] - earlier, STANDARD_ERROR) for i, earlier in enumerate(losses[:-1])
    ]


def epoch(number: int) -> list[AnyEvent]:
    """The steps of an epoch (from 1) with its validation and checkpoint."""
    first = (number - 1) * STEPS_PER_EPOCH
    steps = [step(first + i + 1, loss=0.7 - 0.05 * (first + i)) for i in range(STEPS_PER_EPOCH)]
    last = number * STEPS_PER_EPOCH
    return [
        *steps,
        validated(number),
        EpochDone(epoch=number, step=last, seconds=2.0),
        CheckpointSaved(step=last, path=f"checkpoints/step_{last:06}", seconds=0.1),
    ]


def step(number: int, loss: float = 0.5, count: int = 40) -> StepDone:
    return StepDone(
        step=number,
        epoch=number / STEPS_PER_EPOCH,
        loss_sum=loss * count,
        loss_count=count,
        learning_rate=1e-4,
        grad_norm=1.0,
        tokens=800,
        seconds=0.5,
    )


def ending() -> list[AnyEvent]:
    """Results, comparisons and the last word."""
    return [
        CheckpointSaved(step=8, path="checkpoints/step_000008", seconds=0.1, best=True),
        TrainingEnded(reason="completed", step=12, best_step=8),
        SplitPrepared(
            split="test",
            rows=200,
            columns=3,
            source="test.csv",
            sha256="b" * 64,
            labels=dict.fromkeys(LABELS, 100),
        ),
        *(records.results("test", m, r) for m, r in RESULTS.items()),
        records.comparisons(COMPARISONS),
        PromptAnswered(
            prompt="good?",
            step=12,
            probe=True,
            base_probabilities={"positive": 0.6, "negative": 0.4},
            tuned_probabilities={"positive": 0.9, "negative": 0.1},
            base_name="base (linear probe)",
        ),
        Note(level="info", text="all is well"),
        RunFinished(status="finished"),
    ]


def whole() -> list[AnyEvent]:
    return [*beginning(), *epoch(1), *epoch(2), *epoch(3), *ending()]


def write_story(
    folder: Path, events: list[AnyEvent] | None = None, settings: RunConfig | None = None
) -> Run:
    """A run directory with these events, half a second apart; the whole story by default."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.toml").write_text(dump_config(settings or config()), encoding="utf-8")
    run = Run(folder)
    writer = EventWriter(run.events_path)
    from msgspec.structs import replace

    for i, event in enumerate(whole() if events is None else events):
        writer.write(replace(event, time=T0 + i / 2))
    writer.close()
    return run


NAN = math.nan
