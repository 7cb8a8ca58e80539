"""What a run will take, by its rows, its model, and how earlier runs went."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from ftev.core.catalog.summary import describe_status
from ftev.core.config.config import RunConfig
from ftev.core.config.draft import Draft, check_draft
from ftev.core.run.estimate import (
    Pace,
    compare_with_estimate,
    estimate_run,
    find_pace,
    read_estimate,
    write_estimate,
)
from ftev.core.run.events import EventWriter, RunFinished, RunStarted, StepDone, TrainingEnded
from ftev.core.run.history import read_history
from ftev.core.run.runs import Run, create_run
from ftev.tui.commands.steer import status_rows

MODEL: dict[str, Any] = {
    "splits": {"train": {"rows": 100, "tokens": 2_000, "p95": 30}},
    "state_bytes": 1_000,
    "layers": 2,
    "hidden": 8,
    "vocab": 50,
}


def config(**given: Any) -> RunConfig:
    settings = {"task": "classification", "model.base": "tiny", "data.train": "train.csv"}
    found = check_draft(Draft(settings | {k.replace("__", "."): v for k, v in given.items()}))
    assert found.config is not None, found.faults
    return found.config


def finished_run(folder: Path, wanted: RunConfig, host: str = "") -> Run:
    run = create_run(wanted, folder)
    writer = EventWriter(run.events_path)
    writer.write(
        RunStarted(
            run=run.id,
            name=run.id,
            task="classification",
            pid=1,
            host=host or socket.gethostname(),
            ftev_version="0",
        ),
        *(
            StepDone(
                step=i,
                epoch=i / 2,
                loss_sum=1.0,
                loss_count=1,
                learning_rate=1e-4,
                grad_norm=1.0,
                tokens=500,
                seconds=0.5,
            )
            for i in (1, 2)
        ),
        TrainingEnded(reason="completed", step=2, best_step=2),
        RunFinished(status="finished"),
    )
    writer.close()
    return run


def test_steps_tokens_and_memory_follow_from_rows_and_settings() -> None:
    found = estimate_run(config(), MODEL, Pace())
    assert found is not None
    assert (found.steps, found.tokens, found.seconds) == (12, 6_000, None)
    assert found.activation_bytes == 32 * 20 * 2 * 8 * 68  # 20 tokens a row, as none is padded
    one_row = estimate_run(config(train__batch_size=1), MODEL, Pace())
    assert one_row is not None
    assert one_row.activation_bytes == 30 * 2 * 8 * 68  # a long one
    less = estimate_run(config(train__max_steps=6), MODEL, Pace(1_000.0, ("a",)))
    assert less is not None
    assert (less.steps, less.tokens, less.seconds) == (6, 3_000, 3.0)
    by_tokens = estimate_run(config(train__batch_tokens=500), MODEL, Pace())
    assert by_tokens is not None
    assert by_tokens.steps == 12
    assert estimate_run(config(model__tuned="other"), MODEL, Pace()) is None


def test_several_devices_share_a_step_and_shards_the_state() -> None:
    four = estimate_run(config(train__devices=4), MODEL, Pace())
    assert four is not None
    assert (four.activation_bytes, four.state_bytes) == (32 * 20 // 4 * 2 * 8 * 68, 1_000)
    shared = estimate_run(config(train__devices=4, train__sharding="full"), MODEL, Pace())
    assert shared is not None
    assert shared.state_bytes == 250


def test_the_pace_is_that_of_earlier_runs_of_the_same_base_here(tmp_path: Path) -> None:
    assert find_pace(config(), tmp_path) == Pace()
    run = finished_run(tmp_path, config())
    finished_run(tmp_path, config(), host="elsewhere")
    finished_run(tmp_path, config(model__base="other"))
    finished_run(tmp_path, config(model__adapter="lora"))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.toml").write_text("model = 3")
    assert find_pace(config(), tmp_path) == Pace(1_000.0, (run.id,))


def test_the_estimate_is_held_against_what_the_run_took(tmp_path: Path) -> None:
    run = finished_run(tmp_path, config())
    assert read_estimate(run) is None
    assert describe_status(run)["estimate"] is None
    found = estimate_run(config(train__max_steps=2), MODEL, Pace(800.0))
    assert found is not None
    write_estimate(run, found)
    assert read_estimate(run) == found
    result = compare_with_estimate(run, read_history(run))
    assert result == {
        "estimated_seconds": 1.25,
        "seconds": 1.0,
        "estimated_tokens": 1_000,
        "tokens": 1_000,
    }
    rows = dict(status_rows(describe_status(run)))
    assert "estimated" in rows["training took"]
    (run.path / "estimate.json").write_text("{")
    assert read_estimate(run) is None
