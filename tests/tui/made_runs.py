"""Realistic runs without a model: event files as a worker would write them, whole or growing."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import msgspec
import records
from ftev.core.config.config import DataConfig, ModelConfig, RunConfig
from ftev.core.config.config_file import dump_config
from ftev.core.files.disk import process_start
from ftev.core.run.events import (
    CheckpointSaved,
    DeviceFound,
    EpochDone,
    Evaluated,
    Event,
    EventWriter,
    LabelsFixed,
    ModelLoaded,
    Note,
    Progress,
    PromptAnswered,
    RunFinished,
    RunStarted,
    SplitPrepared,
    StageDone,
    StageStarted,
    StepDone,
    SystemSampled,
    TextScored,
    TrainingEnded,
    TrainingPlanned,
)
from ftev.core.run.history import STAGES
from ftev.core.run.runs import Run, WorkerInfo

STEPS_PER_EPOCH, EPOCHS = 28, 5
BEGAN = 1_790_000_000.0  # seconds since the Unix epoch
ROWS = 100  # of validation
REPORTS = ("report.md", "report.html", "report.json")
TOKENS = 9_800  # of validation, generation


def make_run(
    folder: Path, task: str = "classification", name: str = "reviews", number: int = 0
) -> Run:
    """A run directory with its configuration and no events."""
    run = Run(folder / f"2026-11-20_14-05-{number:02}_{name}")
    run.path.mkdir(parents=True)
    config = RunConfig(
        task=task,  # type: ignore[arg-type]
        name=name,
        model=ModelConfig(base="ftev/tiny-encoder"),
        data=DataConfig(train="train.csv"),
    )
    (run.path / "run.toml").write_text(dump_config(config), encoding="utf-8")
    return run


def write_events(run: Run, events: list[Event]) -> None:
    writer = EventWriter(run.events_path)
    writer.write(*events)
    writer.close()
    if isinstance(events[-1], RunFinished):  # its worker wrote a report before that
        for name in REPORTS:
            (run.path / name).touch()


def live_worker(run: Run, pid: int | None = None) -> None:
    """Have a process of this machine, by default this one, pass for the worker."""
    import socket

    pid = pid or os.getpid()
    info = WorkerInfo(pid, process_start(pid), socket.gethostname())
    run.worker_path.write_bytes(msgspec.json.encode(info))


def story(task: str = "classification", name: str = "reviews", seed: int = 1) -> list[Event]:
    """Every event of a whole run, stamped."""
    return list(_stamped_story(task, name, seed))


@cache
def _stamped_story(task: str, name: str, seed: int) -> tuple[Event, ...]:
    return tuple(stamped(_story(task, name, random.Random(seed))))


def until_step(events: list[Event], step: int) -> list[Event]:
    """The story up to and with a step."""
    for index, event in enumerate(events):
        if isinstance(event, StepDone) and event.step == step:
            return events[: index + 1]
    raise AssertionError(f"no step {step}")


def stamped(events: Iterator[Event]) -> Iterator[Event]:
    now = BEGAN
    for event in events:
        seconds = getattr(event, "seconds", 0.0)
        now += 0.01 if isinstance(event, StageDone | EpochDone) else 0.05 + seconds
        yield msgspec.structs.replace(event, time=now)


def _story(task: str, name: str, dice: random.Random) -> Iterator[Event]:
    generation = task == "generation"
    yield RunStarted(run=name, name=name, task=task, pid=4711, host="gpu7", ftev_version="0.1.0")
    yield DeviceFound(
        device="cpu", name="AMD EPYC", precision="float32", packages={"torch": "2.9.0"}, threads=2
    )
    yield from _prepare(generation)
    yield from _train(generation, dice)
    yield from _evaluate(generation, dice)
    yield RunFinished(status="finished")


def _prepare(generation: bool) -> Iterator[Event]:
    yield StageStarted(stage=1, name=STAGES[0])
    yield ModelLoaded(
        name="ftev/tiny-llama" if generation else "ftev/tiny-encoder",
        architecture="LlamaForCausalLM" if generation else "BertForSequenceClassification",
        parameters=1_315_842,
        trainable=1_315_842,
        layers=4,
        vocab_size=2048,
        max_length=256,
        prefix="<s>" if generation else "",
        new_head=not generation,
    )
    note = "1.32 M parameters, 4 layers, 2,048 tokens"
    yield StageDone(stage=1, name=STAGES[0], seconds=0.84, note=note)
    yield StageStarted(stage=2, name=STAGES[1])
    yield Progress(what="tokenized rows", done=500, total=1000)
    if not generation:
        yield LabelsFixed(labels=["negative", "positive"], positive="positive")
    for split, rows in (("train", 900), ("validation", ROWS)):
        yield SplitPrepared(split=split, rows=rows, columns=3, tokens=rows * 41)
    yield Note(level="info", text="text column: review; label column: sentiment")
    yield Note(level="warning", text="3 rows of train also stand in validation: moved to train")
    found = "labels 51 % positive; longest row 74 tokens, none truncated"
    yield StageDone(
        stage=2,
        name=STAGES[1],
        seconds=1.21,
        rows_in=1000,
        columns_in=10,
        rows_out=1000,
        columns_out=3,
        note=found,
    )


def _loss(step: int, generation: bool, dice: random.Random) -> float:
    start, end = (5.1, 2.9) if generation else (0.71, 0.18)
    course = end + (start - end) * math.exp(-step / 45)
    return course * (1 + dice.gauss(0, 0.05)) * (1.9 if step == 77 else 1)


def _validation_loss(step: int, generation: bool) -> float:
    if generation:
        return 3.05 + 2.05 * math.exp(-step / 48)
    overfit = max(0.0, step / STEPS_PER_EPOCH - 3) * 0.035
    return 0.31 + 0.39 * math.exp(-step / 38) + overfit


def _validation(step: int, generation: bool, earlier: Sequence[int] = ()) -> Evaluated:
    epoch, loss = step / STEPS_PER_EPOCH, _validation_loss(step, generation)
    if generation:
        right = round(TOKENS * (0.42 - 0.26 * math.exp(-step / 50)))
        count = TOKENS
    else:
        right = round(ROWS * (0.9 - 0.41 * math.exp(-step / 36)))
        count = ROWS
    return Evaluated(
        split="validation",
        model="tuned",
        step=step,
        epoch=epoch,
        rows=ROWS,
        loss_sum=loss * count,
        loss_count=count,
        correct=right,
        count=count,
        seconds=0.21,
        changes=[(e, loss - _validation_loss(e, generation), 0.004) for e in earlier],
    )


def _train(generation: bool, dice: random.Random) -> Iterator[Event]:
    last = STEPS_PER_EPOCH * EPOCHS
    yield StageStarted(stage=3, name=STAGES[2])
    yield TrainingPlanned(
        max_steps=last,
        steps_per_epoch=STEPS_PER_EPOCH,
        epochs=EPOCHS,
        warmup_steps=9,
        rows_per_step=32,
        padding=0.07,
    )
    yield _validation(0, generation)
    evaluated = [0]
    yield from _probe_prompt(0, generation)
    for step in range(1, last + 1):
        yield StepDone(
            step=step,
            epoch=step / STEPS_PER_EPOCH,
            loss_sum=_loss(step, generation, dice) * 32,
            loss_count=32,
            learning_rate=5e-4 * min(step / 9, (last - step) / (last - 9)),
            grad_norm=0.6 + dice.random(),
            tokens=1300 + dice.randrange(100),
            seconds=0.09 + dice.random() / 50,
        )
        if step % 10 == 0:
            yield SystemSampled(memory=812 << 20, cpu=1.9)
        if step % (STEPS_PER_EPOCH // 2) == 0:
            yield _validation(step, generation, evaluated)
            evaluated.append(step)
            yield from _probe_prompt(step, generation)
        if step % STEPS_PER_EPOCH == 0:
            epoch = step // STEPS_PER_EPOCH
            best = generation or epoch <= 3
            yield CheckpointSaved(
                step=step, path=f"checkpoints/step_{step:06}", seconds=0.05, best=best
            )
            yield EpochDone(epoch=epoch, step=step, seconds=3.2)
    yield TrainingEnded(
        reason="completed", step=last, best_step=last if generation else STEPS_PER_EPOCH * 3
    )
    yield StageDone(
        stage=3, name=STAGES[2], seconds=16.4, rows_in=900, rows_out=900, note="140 steps"
    )


def _probe_prompt(step: int, generation: bool) -> Iterator[Event]:
    if generation:
        yield PromptAnswered(
            prompt="Shall I compare",
            step=step,
            probe=True,
            base="Shall I compare the price of the two houses on the main street, he said.",
            tuned="Shall I compare thee to the summer’s day,\nThou art more fair and gentle still.",
        )


def _evaluate(generation: bool, dice: random.Random) -> Iterator[Event]:
    yield StageStarted(stage=4, name=STAGES[3])
    yield SplitPrepared(split="test", rows=200, columns=3)
    yield StageDone(
        stage=4,
        name=STAGES[3],
        seconds=0.31,
        rows_in=200,
        columns_in=10,
        rows_out=200,
        columns_out=3,
        note="no row of test stands in train",
    )
    yield StageStarted(stage=5, name=STAGES[4])
    for model, result in (_generation() if generation else _classification()).items():
        yield records.results("test", model, result)
    yield records.comparisons(_comparisons(generation))
    if generation:
        for model, mean in (("base", -4.07), ("tuned", -2.66)):
            yield TextScored(
                source="held_out:0",
                model=model,
                tokens=132,
                bytes=240,
                log_likelihood=mean * 132,
                prefix="<s>",
                window=256,
                stride=128,
            )
    yield StageDone(
        stage=5, name=STAGES[4], seconds=1.02, rows_in=200, columns_in=3, note="test: 200 rows"
    )


def _estimate(value: float, half: float = 0.04) -> dict[str, object]:
    return {"value": value, "low": value - half, "high": value + half, "method": "bootstrap 10,000"}


def _classification() -> dict[str, dict[str, object]]:
    values = {
        "majority": (0.505, 0.336, 0.0, 0.693),
        "probe": (0.715, 0.714, 0.43, 0.58),
        "tuned": (0.895, 0.895, 0.79, 0.318),
    }
    return {
        model: {
            "n": 200,
            "loss": loss,
            "metrics": {
                "accuracy": {**_estimate(accuracy), "method": "Wilson"},
                "balanced_accuracy": _estimate(accuracy),
                "macro_precision": _estimate(f1 + 0.002),
                "macro_recall": _estimate(f1 - 0.001),
                "macro_f1": _estimate(f1),
                "weighted_f1": _estimate(f1 + 0.001),
                "mcc": _estimate(mcc),
                "brier": _estimate(0.5 - accuracy / 2),
            },
            "per_class": {},
            "confusion": {"labels": ["negative", "positive"], "counts": [[90, 9], [12, 89]]},
        }
        for model, (accuracy, f1, mcc, loss) in values.items()
    }


def _generation() -> dict[str, dict[str, object]]:
    return {
        model: {
            "n": 200,
            "loss": loss,
            "metrics": {
                "perplexity": _estimate(math.exp(loss), 1.1),
                "token_accuracy": _estimate(accuracy, 0.01),
                "average_log_likelihood": _estimate(-loss),
                "bits_per_byte": _estimate(loss / 2.4),
            },
        }
        for model, loss, accuracy in (("base", 5.08, 0.161), ("tuned", 3.11, 0.401))
    }


def _comparisons(generation: bool) -> list[dict[str, object]]:
    text: list[dict[str, object]] = []
    changes = (
        (("loss", -1.97, 0.08), ("token_accuracy", 0.24, 0.011), ("perplexity", -138.4, 9.0))
        if generation
        else (("accuracy", 0.18, 0.06), ("macro_f1", 0.181, 0.06), ("loss", -0.262, 0.05))
    )
    for metric, difference, half in changes:
        text.append(
            {
                "split": "test",
                "metric": metric,
                "from": "base" if generation else "probe",
                "to": "tuned",
                "difference": difference,
                "low": difference - half,
                "high": difference + half,
                "p": 0.0001,
                "method": "paired bootstrap",
                "fixed": 41,
                "broke": 5,
                "smallest_detectable": 0.07,
            }
        )
    return text
