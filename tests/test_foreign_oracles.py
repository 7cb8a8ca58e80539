"""Our readers of other tools' logs held against these tools, where they are installed."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import foreign_logs as logs
import pytest
from ftev.core.run.foreign.imported import find_run, open_log
from ftev.core.run.history import read_history
from waiting import patience

READ_BACK = """
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
found = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0, "tensors": 0})
found.Reload()
scalars = {t: [(e.step, e.value) for e in found.Scalars(t)] for t in found.Tags()["scalars"]}
print(json.dumps(scalars))
"""
WRITE_EVENTS = """
import sys
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter
writer = EventFileWriter(sys.argv[1])
for step in (0, 1, 2, 127, 128, 40_000):
    value = [Summary.Value(tag=t, simple_value=step / 3) for t in ("train/loss", "eval/acc\\u00e9")]
    writer.add_event(Event(wall_time=1.7e9 + step, step=step, summary=Summary(value=value)))
writer.close()
"""
WRITE_WANDB = """
import sys, wandb
run = wandb.init(project="p", name="a-name", config={"lr": 0.5, "m": {"d": 3}}, dir=sys.argv[1])
for step in range(300):
    values = {"loss": 1 / (step + 1), "eval/loss": float("nan"), "a": {"b": step}, "t": "x" * 200}
    run.log(values, step=2 * step)
run.finish()
"""
WANDB = {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB__DISABLE_STATS": "true"}


def run_python(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, **WANDB},
        capture_output=True,
        text=True,
        timeout=patience(120),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_tensorboard_reads_from_our_writer_what_we_read(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the oracle of event files is not installed")
    records = [logs.event(n, logs.scalar("a", n / 3), logs.scalar("b", -n)) for n in range(300)]
    logs.write_events(tmp_path / "tb", "1.box", *records)
    theirs = json.loads(run_python(READ_BACK, str(tmp_path / "tb")).splitlines()[-1])
    ours = read_history(open_log(tmp_path / "tb", tmp_path / "runs")).scalars.series
    assert set(theirs) == {name.removeprefix("train/") for name in ours} == {"a", "b"}
    for name, points in theirs.items():
        series = ours[f"train/{name}"]
        assert [tuple(p) for p in points] == list(zip(series.step, series.value, strict=True))


def test_files_of_tensorboard_are_read(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the oracle of event files is not installed")
    run_python(WRITE_EVENTS, str(tmp_path / "tb"))
    history = read_history(open_log(tmp_path / "tb", tmp_path / "runs"))
    assert list(history.steps.step) == [0, 1, 2, 127, 128, 40_000]
    assert history.steps.loss[3] == pytest.approx(127 / 3)
    assert history.steps.time[-1] == 1.7e9 + 40_000
    assert history.scalars.series["validation/accé"].value[-1] == pytest.approx(40_000 / 3)


def test_a_purge_is_as_in_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the oracle of event files is not installed")
    scalar = [logs.event(n, logs.scalar("a", n)) for n in (1, 2, 3, 4)]
    purge = logs.session_start(3, logs.STARTED + 9)
    again = [logs.event(n, logs.scalar("a", 10 * n), time=logs.STARTED + 10) for n in (3, 4, 5)]
    logs.write_events(tmp_path / "tb", "1.box", *scalar, purge, *again)
    theirs = json.loads(run_python(READ_BACK, str(tmp_path / "tb")).splitlines()[-1])
    series = read_history(open_log(tmp_path / "tb", tmp_path / "runs")).scalars.series["train/a"]
    ours = list(zip(series.step, series.value, strict=True))
    assert [tuple(p) for p in theirs["a"]] == ours == [(1, 1), (2, 2), (3, 30), (4, 40), (5, 50)]


def test_an_offline_run_of_wandb_is_read(tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="the oracle of .wandb files is not installed")
    run_python(WRITE_WANDB, str(tmp_path))
    history = read_history(find_run(str(tmp_path / "wandb"), tmp_path / "runs"))
    assert list(history.steps.step) == [2 * n for n in range(300)]
    assert list(history.steps.loss) == [1 / (n + 1) for n in range(300)]
    assert all(map(math.isnan, history.scalars.series["validation/loss"].value))
    assert history.scalars.series["train/a.b"].value[-1] == 299
    assert history.started is not None
    assert history.started.name == "a-name"
    assert history.finished is not None
    assert "lr = 0.5" in history.notes[0].text
    assert "m.d = 3" in history.notes[0].text
