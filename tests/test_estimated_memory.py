"""The memory of training, beside what was estimated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ftev.core.config.config import DataConfig, ModelConfig, RunConfig
from ftev.core.run.estimate import Estimate, compare_with_estimate, training_memory, write_estimate
from ftev.core.run.events import (
    AnyEvent,
    RunStarted,
    StageDone,
    StageStarted,
    StepDone,
    SystemSampled,
)
from ftev.core.run.history import fold
from ftev.core.run.runs import create_run
from ftev.tui.commands.steer import status_rows
from ftev.tui.screens.run.pipeline import beside_estimate

MIB = 1 << 20


def sampled(time: float, memory: int, peak: int, device: int = -1) -> SystemSampled:
    return SystemSampled(
        time=time,
        memory=memory * MIB,
        cpu=1.0,
        peak_memory=peak * MIB,
        device_memory=device * MIB if device >= 0 else -1,
    )


def story(*samples: SystemSampled) -> list[AnyEvent]:
    started = RunStarted(
        time=1, run="r", name="r", task="generation", pid=1, host="h", ftev_version="0"
    )
    step = StepDone(
        time=6, step=1, epoch=1, loss_sum=1, loss_count=1, learning_rate=1, grad_norm=1, tokens=10,
        seconds=2.0,
    )  # fmt: skip
    facts: list[AnyEvent] = [
        started,
        StageStarted(time=2, stage=1, name="base model loaded"),
        StageDone(time=3, stage=1, name="base model loaded", seconds=1),
        StageStarted(time=5, stage=3, name="fine-tuned"),
        step,
        StageDone(time=9, stage=3, name="fine-tuned", seconds=4),
        *samples,
    ]
    return sorted(facts, key=lambda fact: fact.time)


EMPTY, BEGUN = sampled(1.5, 300, 300), sampled(5, 390, 900)  # a peak of the time before training
MIDST, ENDED = sampled(7, 480, 640), sampled(8.9, 470, 480)


def test_it_is_the_peak_within_training_above_the_empty_program() -> None:
    later = sampled(10, 990, 990)
    assert training_memory(fold(story(EMPTY, BEGUN, MIDST, ENDED, later))) == 340 * MIB


def test_on_a_gpu_it_is_that_of_the_gpu() -> None:
    samples = [
        replace_device(sample, device)
        for sample, device in ((EMPTY, 500), (BEGUN, 700), (MIDST, 2_100), (ENDED, 1_900))
    ]
    assert training_memory(fold(story(*samples))) == 1_600 * MIB


def replace_device(sample: SystemSampled, device: int) -> SystemSampled:
    return sampled(sample.time, sample.memory // MIB, sample.peak_memory // MIB, device)


@pytest.mark.parametrize(
    "samples",
    [
        [],
        [EMPTY, BEGUN],
        [BEGUN, MIDST, ENDED],
        [EMPTY, BEGUN, SystemSampled(time=7, memory=480 * MIB, cpu=1.0)],
    ],
    ids=["none", "none since training began", "none of the empty program", "of an older ftev"],
)
def test_nothing_is_said_where_it_was_not_sampled(samples: list[SystemSampled]) -> None:
    assert training_memory(fold(story(*samples))) is None


def test_time_and_memory_are_told_in_the_same_words(tmp_path: Path) -> None:
    config = RunConfig(
        task="generation", model=ModelConfig(base="tiny"), data=DataConfig(train="train.csv")
    )
    run = create_run(replace(config, name="told"), tmp_path)
    history = fold(story(EMPTY, BEGUN, MIDST, ENDED))
    assert compare_with_estimate(run, history) is None
    both = Estimate(steps=1, tokens=10, state_bytes=300 * MIB, tokens_per_second=4.0)
    write_estimate(run, both)
    found = compare_with_estimate(run, history)
    assert found is not None
    assert beside_estimate(found) == "2.00 s of 2.50 s, 340 MiB of 300 MiB estimated;"
    rows = dict(status_rows({**EMPTY_STATUS, "estimate": found}))
    assert rows["training took"] == "2.0 s, estimated 2.5 s"
    assert rows["training memory"] == "340 MiB, estimated 300 MiB"
    write_estimate(run, Estimate(steps=1, tokens=10, state_bytes=300 * MIB))
    found = compare_with_estimate(run, history)
    assert found is not None
    assert beside_estimate(found) == "340 MiB of 300 MiB estimated;"
    assert compare_with_estimate(run, fold(story())) is None


EMPTY_STATUS = {
    "id": "told",
    "name": "told",
    "task": "generation",
    "status": "finished",
    "created": None,
    "stage": None,
    "activity": None,
    "max_steps": 0,
    "eta_seconds": None,
    "metrics": {},
    "headline": None,
    "worker": None,
    "worker_memory": None,
    "error": None,
}
