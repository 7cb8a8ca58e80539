"""Logs of other tools, read into run directories: whole, growing, restarted, damaged."""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import foreign_logs as logs
import pytest
from ftev.core.catalog.listed import list_entries, refresh_logs
from ftev.core.catalog.notes import move_to_trash
from ftev.core.catalog.summary import describe_status, summarize
from ftev.core.errors import ConfigError, FtevError, RunError
from ftev.core.run.control import AskStop, ask
from ftev.core.run.foreign.imported import find_run, open_log, update
from ftev.core.run.history import History, read_history
from ftev.core.run.launch import start_worker
from ftev.core.run.runs import QUIET_SECONDS, Run, list_runs
from waiting import patience


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "kept" / "runs"


def opened(path: Path, runs: Path, wanted: str = "") -> History:
    history = read_history(open_log(path, runs, wanted))
    assert not history.unreadable_lines
    return history


def points(history: History, name: str) -> list[tuple[int, float]]:
    series = history.scalars.series[name]
    return list(zip(series.step, series.value, strict=True))


def losses(history: History) -> list[tuple[int, float]]:
    return list(zip(history.steps.step, history.steps.loss, strict=True))


def listing(folder: Path) -> list[tuple[str, int, int]]:
    return sorted(
        (str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in [folder, *folder.rglob("*")]
    )


def steps(*numbers: int) -> list[bytes]:
    return [
        logs.event(n, logs.scalar("train/loss", n / 4), logs.scalar("eval/acc", n / 8))
        for n in numbers
    ]


# TensorBoard


def test_event_files_become_series(tmp_path: Path, runs: Path) -> None:
    path = logs.write_events(tmp_path / "tb", "1.box", *steps(1, 2, 300, 70_000))
    before = listing(tmp_path / "tb")
    history = opened(path, runs)
    assert losses(history) == [(1, 0.25), (2, 0.5), (300, 75.0), (70_000, 17_500.0)]
    assert points(history, "validation/acc")[-1] == (70_000, 8_750.0)
    assert history.origin == "tensorboard"
    assert history.steps.as_logged
    assert history.steps.time[0] == logs.STARTED + 1
    assert listing(tmp_path / "tb") == before


def test_values_of_every_form_are_read(tmp_path: Path, runs: Path) -> None:
    arguments = json.dumps({"learning_rate": 5e-5, "max_steps": -1})
    path = logs.write_events(
        tmp_path,
        "1.box",
        logs.event(0, logs.text("args", arguments)),
        logs.event(1, logs.tensor("val/f1", 0.123456789012), logs.scalar("train/loss", math.nan)),
        logs.event(2, logs.scalar("train/epoch", 0.5), logs.scalar("train/loss", 2.0)),
        logs.event(2, logs.field(1, logs.field(1, "weights") + logs.field(5, b"\x01\x02"))),
    )
    history = opened(path, runs)
    assert points(history, "validation/f1") == [(1, 0.123456789012)]
    assert math.isnan(losses(history)[0][1])
    assert losses(history)[1] == (2, 2.0)
    assert history.steps.epoch[-1] == 0.5
    assert "learning_rate = 5e-05" in history.notes[0].text


def test_a_restart_makes_the_later_steps_again(tmp_path: Path, runs: Path) -> None:
    logs.write_events(tmp_path / "tb", "1.box", *steps(1, 2, 3, 4, 5))
    again = [logs.event(n, logs.scalar("train/loss", 9.0), time=logs.STARTED + 99) for n in (4, 5)]
    logs.write_events(tmp_path / "tb", "2.box", *again)
    history = opened(tmp_path / "tb", runs)
    assert losses(history) == [(1, 0.25), (2, 0.5), (3, 0.75), (4, 9.0), (5, 9.0)]
    # as TensorBoard has it, what no later file makes again is gone as well
    assert points(history, "validation/acc")[-1][0] == 3


def test_two_that_write_side_by_side_are_no_restart(tmp_path: Path, runs: Path) -> None:
    logs.write_events(tmp_path / "tb", "1.box", *steps(1, 2, 3, 4, 5))
    beside = logs.event(2, logs.scalar("eval/loss", 7.0), time=logs.STARTED + 2)
    logs.write_events(tmp_path / "tb", "2.box", beside)
    history = opened(tmp_path / "tb", runs)
    assert len(losses(history)) == 5
    assert points(history, "validation/loss") == [(2, 7.0)]


def test_a_purge_step_is_obeyed(tmp_path: Path, runs: Path) -> None:
    purge = logs.session_start(3, logs.STARTED + 9)
    logs.write_events(tmp_path, "1.box", *steps(1, 2, 3, 4), purge, *steps(5))
    assert [step for step, _ in losses(opened(tmp_path, runs))] == [1, 2, 5]


def test_folders_of_keras_and_hyperparameters_are_of_one_run(tmp_path: Path, runs: Path) -> None:
    for split, value in (("train", 1.0), ("validation", 2.0)):
        records = [logs.event(n, logs.scalar("epoch_loss", value + n)) for n in (0, 1)]
        logs.write_events(tmp_path / "tb" / split, "1.box", *records)
    entry = logs.field(1, "lr") + logs.field(2, logs.field(2, 0.25))
    content = logs.field(3, logs.field(1, entry))
    plugin = logs.field(9, logs.field(1, logs.field(1, "hparams") + logs.field(2, content)))
    value = logs.field(1, logs.field(1, "_hparams_/session_start_info") + plugin)
    logs.write_events(tmp_path / "tb" / "170000.5", "1.box", logs.event(0, value))
    history = opened(tmp_path / "tb" / "train", runs)
    assert points(history, "validation/epoch_loss") == [(0, 2.0), (1, 3.0)]
    assert points(history, "train/epoch_loss") == [(0, 1.0), (1, 2.0)]
    assert "lr = 0.25" in history.notes[0].text


def test_a_torn_tail_is_waited_for(tmp_path: Path, runs: Path) -> None:
    whole = b"".join((logs.first_event(), *steps(1, 2, 3)))
    path = tmp_path / "tb" / "events.out.tfevents.1.box"
    path.parent.mkdir()
    found: list[int] = []
    run: Run | None = None
    for length in (*range(100, len(whole), 7), len(whole)):
        path.write_bytes(whole[:length])
        run = find_run(str(path), runs)
        history = read_history(run)
        assert not history.notes, length
        found.append(history.step)
    assert found == sorted(found)
    assert found[-1] == 3
    assert run is not None
    assert losses(read_history(run)) == [(1, 0.25), (2, 0.5), (3, 0.75)]


def test_what_a_file_system_has_not_yet_written_is_waited_for(tmp_path: Path, runs: Path) -> None:
    path = logs.write_events(tmp_path, "1.box", *steps(1))
    whole = path.read_bytes()
    path.write_bytes(whole + bytes(500))
    assert not opened(path, runs).notes
    path.write_bytes(whole + b"".join(steps(2)) + bytes(400))
    assert [s for s, _ in losses(opened(path, runs))] == [1, 2]


def test_a_damaged_record_is_passed_over_and_named(tmp_path: Path, runs: Path) -> None:
    path = logs.write_events(tmp_path, "1.box", *steps(*range(1, 60)))
    content = bytearray(path.read_bytes())
    content[600] ^= 0xFF
    content[1200:1230] = os.urandom(30)
    path.write_bytes(content)
    history = opened(path, runs)
    assert 50 <= len(losses(history)) < 60
    assert losses(history)[-1] == (59, 14.75)
    assert any("is damaged at byte" in note.text for note in history.notes)


# W&B


def test_an_offline_file_of_wandb_is_read(tmp_path: Path, runs: Path) -> None:
    config = {"lr": 0.001, "model": {"name": "tiny"}, "_wandb": {"x": 1}}
    records = [logs.run_record("proud-moon-1", config)]
    for n in range(400):
        values = {"train/loss": 2.0 / (n + 1), "eval/loss": math.nan, "a.b": n, "note": "x" * 99}
        records.append(logs.history(n, values))
    path = logs.write_wandb(tmp_path / "wandb" / "run-1" / "run-id123.wandb", *records)
    assert path.stat().st_size > 2 * 32768  # records go over the ends of blocks
    history = opened(tmp_path / "wandb", runs)
    assert losses(history) == [(n, 2.0 / (n + 1)) for n in range(400)]
    assert math.isnan(points(history, "validation/loss")[0][1])
    assert points(history, "train/a.b")[-1] == (399, 399.0)
    assert history.started is not None
    assert history.started.name == "proud-moon-1"
    assert history.started.host == "box"
    assert history.origin == "wandb"
    assert "model.name = tiny" in history.notes[0].text
    assert "_wandb" not in history.notes[0].text
    assert history.finished is None
    logs.write_wandb(path, *records, logs.field(18, b""))
    assert read_history(find_run(str(path), runs)).finished is not None


def test_steps_of_the_trainer_count_and_not_calls_of_log(tmp_path: Path, runs: Path) -> None:
    entry = {"train/loss": 1.0, "train/global_step": 50, "train/epoch": 0.5}
    path = logs.write_wandb(tmp_path / "run.wandb", logs.history(1, entry))
    history = opened(path, runs)
    assert losses(history) == [(50, 1.0)]
    assert history.epoch == 0.5
    assert not history.scalars.series


def test_a_file_of_wandb_is_followed_while_it_grows(tmp_path: Path, runs: Path) -> None:
    records = [logs.history(n, {"loss": float(n), "note": "y" * 300}) for n in range(150)]
    whole = logs.wandb_bytes(records)
    path = tmp_path / "run.wandb"
    found: list[int] = []
    for length in (*range(5_000, len(whole), 1_999), len(whole)):
        path.write_bytes(whole[:length])
        found.append(read_history(find_run(str(path), runs)).step)
    assert found == sorted(found)
    assert found[-1] == 149
    assert losses(opened(path, runs)) == [(n, float(n)) for n in range(150)]


def test_a_damaged_block_of_wandb_is_passed_over(tmp_path: Path, runs: Path) -> None:
    records = [logs.history(n, {"loss": float(n), "note": "y" * 300}) for n in range(400)]
    content = bytearray(logs.wandb_bytes(records))
    content[40_000:40_050] = os.urandom(50)
    (tmp_path / "run.wandb").write_bytes(content)
    history = opened(tmp_path / "run.wandb", runs)
    assert 250 < len(losses(history)) < 400
    assert history.step == 399
    assert "is damaged at byte" in history.notes[0].text


# Trainers


def entries(*numbers: int) -> list[dict[str, object]]:
    return [{"step": n, "epoch": n / 10, "loss": 1 / n, "learning_rate": 0.1} for n in numbers]


def test_the_newest_state_of_a_trainer_is_read(tmp_path: Path, runs: Path) -> None:
    out = tmp_path / "out"
    for number, name in ((10, "checkpoint-10"), (20, "checkpoint-20")):
        (out / name).mkdir(parents=True)
        (out / name / "trainer_state.json").write_text(
            logs.state(entries(*range(5, number + 1, 5)))
        )
        os.utime(out / name / "trainer_state.json", (logs.STARTED + number,) * 2)
    run = open_log(out, runs)
    history = read_history(run)
    assert [s for s, _ in losses(history)] == [5, 10, 15, 20]
    assert history.max_steps == 30
    assert history.steps.epoch[-1] == 2.0
    assert history.steps.learning_rate[-1] == 0.1
    more: list[dict[str, object]] = [
        *entries(5, 10, 15, 20, 25),
        {"step": 25, "epoch": 2.5, "eval_loss": math.nan, "eval_f1": 0.5},
        {"step": 30, "epoch": 3.0, "train_runtime": 9.0, "train_loss": 0.9, "total_flos": 1.0},
    ]
    (out / "trainer_state.json").write_text(logs.state(more))
    assert update(run)
    assert not update(run)
    history = read_history(run)
    assert [s for s, _ in losses(history)] == [5, 10, 15, 20, 25]
    assert math.isnan(points(history, "validation/loss")[0][1])
    assert points(history, "validation/f1") == [(25, 0.5)]
    assert history.finished is not None
    assert history.finished.status == "finished"


def test_a_state_of_another_training_replaces_the_first(tmp_path: Path, runs: Path) -> None:
    path = tmp_path / "out" / "trainer_state.json"
    path.parent.mkdir()
    path.write_text(logs.state(entries(1, 2, 3)))
    run = open_log(path, runs)
    path.write_text(logs.state([{"step": 2, "loss": 8.0}, {"step": 4, "loss": 7.0}]))
    assert update(run)
    assert losses(read_history(run)) == [(2, 8.0), (4, 7.0)]


def test_a_log_of_llama_factory_is_followed(tmp_path: Path, runs: Path) -> None:
    path = tmp_path / "out" / "trainer_log.jsonl"
    path.parent.mkdir()
    path.write_text(logs.log_line(10, loss=2.0, lr=1e-4, epoch=1.0) + '{"current_st')
    (path.parent / "trainer_state.json").write_text(logs.state(entries(10)))
    run = open_log(path.parent, runs)  # of two logs of one training the live one
    history = read_history(run)
    assert losses(history) == [(10, 2.0)]
    assert history.max_steps == 30
    assert not history.notes
    path.write_text(
        logs.log_line(10, loss=2.0, lr=1e-4, epoch=1.0)
        + logs.log_line(20, eval_loss=1.5, epoch=2.0)
        + "no json\n"
        + logs.log_line(30, loss=1.0, total_tokens=500, epoch=3.0)
    )
    assert update(run)
    history = read_history(run)
    assert losses(history)[-1] == (30, 1.0)
    assert points(history, "validation/loss") == [(20, 1.5)]
    assert history.steps.learning_rate[0] == 1e-4
    assert sum(history.steps.tokens) == 500
    assert history.steps.time[-1] - history.steps.time[0] == 20.0
    assert history.finished is not None
    assert "no JSON" in history.notes[0].text


def test_metrics_as_csv_are_read_also_with_a_new_column(tmp_path: Path, runs: Path) -> None:
    folder = tmp_path / "lightning_logs" / "version_0"
    folder.mkdir(parents=True)
    (folder / "hparams.yaml").write_text("lr: 0.01\nlayers:\n- 1\nname: tiny\n")
    path = folder / "metrics.csv"
    path.write_text("epoch,step,train_loss\n0,9,1.5\n0,19,1.25\n")
    run = open_log(tmp_path, runs)
    path.write_text(
        "epoch,step,train_loss,val_loss\n0,9,1.5,\n0,19,1.25,\n0,19,,0.5\n1,29,nan,\n1,"
    )
    assert update(run)
    history = read_history(run)
    assert losses(history)[:2] == [(9, 1.5), (19, 1.25)]
    assert history.step == 29
    assert math.isnan(losses(history)[2][1])
    assert points(history, "validation/loss") == [(19, 0.5)]
    assert history.notes[0].text == "lr = 0.01, name = tiny"
    assert history.started is not None
    assert history.started.name == "lightning_logs/version_0"


# Databases


def test_runs_of_a_trackio_file_are_chosen_by_name(tmp_path: Path, runs: Path) -> None:
    folder = tmp_path / "trackio"
    folder.mkdir()
    first = [{"train/loss": 1 / n, "eval/acc": "NaN", "x": {"_type": "image"}} for n in (1, 2)]
    db = logs.write_trackio(folder / "p.db", {"one": first, "two": [{"reward": 3.0}]})
    with pytest.raises(ConfigError, match=r"holds 2 runs: two, one.*--run NAME"):
        open_log(folder, runs)
    before = sorted(p.name for p in folder.iterdir())
    run = open_log(folder / "p.db", runs, "one")
    history = read_history(run)
    assert losses(history) == [(1, 1.0), (2, 0.5)]
    assert math.isnan(points(history, "validation/acc")[0][1])
    assert history.created == 1_763_647_200.0 + 365 * 86400
    logs.add_trackio(db, "one", 3, {"train/loss": 0.25})
    assert update(run)
    assert losses(read_history(run))[-1] == (3, 0.25)
    db.close()
    assert sorted(p.name for p in folder.iterdir()) == ["p.db"]  # nothing of ours
    assert before == ["p.db", "p.db-shm", "p.db-wal"]
    assert points(opened(folder / "p.db", runs, "two"), "train/reward") == [(1, 3.0)]
    assert sorted(p.name for p in folder.iterdir()) == ["p.db"]


def test_a_run_of_mlflow_is_read(tmp_path: Path, runs: Path) -> None:
    figures = [("train_loss", 1.0, 1, 0), ("val_loss", 0.0, 1, 1), ("train_loss", 0.5, 2, 0)]
    logs.write_mlflow(tmp_path / "mlflow.db", "FAILED", figures)
    history = opened(tmp_path / "mlflow.db", runs)
    assert losses(history) == [(1, 1.0), (2, 0.5)]
    assert history.steps.time[0] == logs.STARTED + 1
    assert math.isnan(points(history, "validation/loss")[0][1])
    assert history.finished is not None
    assert history.finished.status == "failed"
    assert history.started is not None
    assert history.started.name == "shy-crow-12"
    assert history.notes[0].text == "lr = 0.001"


# As runs


def test_a_folder_lists_ours_and_theirs(tmp_path: Path) -> None:
    own = tmp_path / "2026-01-01_00-00-00_own"
    own.mkdir()
    (own / "events.jsonl").write_bytes(b"")
    logs.write_events(tmp_path / "tb" / "first", "1.box", *steps(1, 2))
    logs.write_wandb(tmp_path / "wandb" / "run-9" / "run-9.wandb", logs.history(3, {"loss": 1.0}))
    (tmp_path / "wandb" / "latest-run").symlink_to("run-9")
    listed = list_entries(tmp_path, summarize)
    assert {e["name"] for e in listed} == {"first", "9", own.name}
    assert all(e["id"] in {run.id for run in list_runs(tmp_path)} for e in listed)
    assert not refresh_logs(tmp_path)  # nothing is new
    (run,) = (run for run in list_runs(tmp_path) if "first" in run.id)
    move_to_trash(run)
    refresh_logs(tmp_path)
    assert {e["name"] for e in list_entries(tmp_path, summarize)} == {"9", own.name}


def test_a_log_is_running_while_it_is_written_to_and_then_quiet(tmp_path: Path, runs: Path) -> None:
    path = logs.write_events(tmp_path / "tb", "1.box", *steps(1, 2))
    run = open_log(path, runs)
    assert describe_status(run)["status"] == "running"
    old = time.time() - QUIET_SECONDS - 5
    with path.open("ab") as file:
        file.write(b"".join(steps(3)))
    os.utime(path, (old, old))
    assert update(run)
    status = describe_status(run)
    assert (status["status"], status["step"], status["worker"]) == ("quiet", 3, None)
    assert status["metrics"]["train/loss"] == 0.75
    assert status["origin"] == "tensorboard"


def test_what_only_a_worker_can_do_is_refused_in_a_sentence(tmp_path: Path, runs: Path) -> None:
    run = open_log(logs.write_events(tmp_path, "1.box", *steps(1)), runs)
    for deed in (lambda: list(ask(run, AskStop())), lambda: start_worker(run)):
        with pytest.raises(RunError, match="is the log of another tool"):
            deed()


def test_two_that_follow_a_log_write_it_once(tmp_path: Path, runs: Path) -> None:
    path = logs.write_events(tmp_path / "tb", "1.box", *steps(*range(1, 400)))
    code = (
        "import sys, pathlib; from ftev.core.run.foreign.imported import find_run\n"
        "for _ in range(30): find_run(sys.argv[1], pathlib.Path(sys.argv[2]))"
    )
    command = [sys.executable, "-c", code, str(path), str(runs)]
    both = [subprocess.Popen(command) for _ in range(2)]
    with path.open("ab", buffering=0) as file:
        for number in range(400, 600):
            file.write(b"".join(steps(number)))
    assert [process.wait(patience(60)) for process in both] == [0, 0]
    assert [s for s, _ in losses(opened(path, runs))] == list(range(1, 600))


def test_a_write_that_was_not_noted_is_made_again(tmp_path: Path, runs: Path) -> None:
    path = logs.write_events(tmp_path / "tb", "1.box", *steps(1, 2))
    run = open_log(path, runs)
    with run.events_path.open("ab") as file:
        file.write(b'{"kind":"ScalarsLogged","step":9,"val')  # killed before its place was kept
    with path.open("ab") as file:
        file.write(b"".join(steps(3)))
    assert update(run)
    assert [s for s, _ in losses(opened(path, runs))] == [1, 2, 3]


# What nobody wrote on purpose


def test_a_log_that_is_none_is_one_sentence(tmp_path: Path, runs: Path) -> None:
    for name, content in (
        ("x.db", b"SQLite format 3\0" + bytes(90)),
        ("notes.txt", b"nothing"),
        ("x.csv", b"a,b\n1,2\n"),
        ("empty", b""),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FtevError) as caught:
            open_log(tmp_path / name, runs)
        assert len(caught.value.faults) == 1
        assert str(tmp_path / name) in str(caught.value)
    with pytest.raises(ConfigError, match="no such file"):
        open_log(tmp_path / "gone", runs)
    (tmp_path / "trainer_state.json").write_text('{"log_history": 3}')
    assert "is damaged" in opened(tmp_path / "trainer_state.json", runs).notes[0].text


def test_figures_that_no_run_can_have_are_left_out(tmp_path: Path, runs: Path) -> None:
    far = {"step": 10**14, "loss": 1.0}
    huge = [{"step": -3, "loss": 1.0}, {"step": True, "loss": 10**400}, far, {"step": "x"}]
    (tmp_path / "trainer_state.json").write_text(logs.state([*huge, *entries(1, 2)]))
    history = opened(tmp_path / "trainer_state.json", runs)
    assert history.step == 10**14
    assert losses(history)[0] == (1, math.inf)
    assert "below 0" in history.notes[0].text
    events = [logs.event(5, logs.scalar("loss", 1.0), time=math.nan)]
    events += [logs.event(2**62 + n, logs.scalar(f"n{n}", 1.0), time=-1e300) for n in range(3)]
    logs.write_events(tmp_path / "tb", "1.box", *events)
    assert opened(tmp_path / "tb", runs).step == 5


def test_names_and_settings_from_elsewhere_are_bounded(tmp_path: Path, runs: Path) -> None:
    many = [logs.history(n, {f"{'long' * 200}{n}_{k}": 1.0 for k in range(50)}) for n in range(90)]
    config = {f"key{n}": "\x1b[2J" * 900 for n in range(200)}
    path = logs.write_wandb(
        tmp_path / "run.wandb", logs.run_record("\x1b]0;gone\x07" * 99, config), *many
    )
    run = open_log(path, runs)
    history = read_history(run)
    assert len(history.scalars.series) <= 1_000
    assert len(history.notes[0].text) <= 10_000
    assert "\x1b" not in run.path.name
    assert history.started is not None
    assert len(history.started.name) <= 200


@pytest.mark.parametrize("seed", range(6))
def test_no_bytes_raise_more_than_an_error_of_ours(tmp_path: Path, runs: Path, seed: int) -> None:
    dice = random.Random(seed)
    logs.write_events(tmp_path / "a", "1.box", *steps(*range(1, 40)))
    wandb = [logs.history(n, {"loss": float(n), "note": "z" * 400}) for n in range(100)]
    logs.write_wandb(tmp_path / "b" / "run.wandb", logs.run_record("r", {"a": 1}), *wandb)
    logs.write_mlflow(tmp_path / "c.db", "RUNNING", [("loss", 1.0, n, 0) for n in range(99)])
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "trainer_state.json").write_text(logs.state(entries(*range(1, 30))))
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "metrics.csv").write_text("step,loss\n" + "1,2\n" * 200)
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "trainer_log.jsonl").write_text(
        "".join(logs.log_line(n, loss=1.0) for n in range(30))
    )
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    for round_number in range(6):
        for path in files:
            content = bytearray(path.read_bytes())
            for _ in range(dice.randrange(1, 9)):
                at = dice.randrange(len(content))
                content[at : at + dice.randrange(1, 5)] = dice.randbytes(dice.randrange(1, 5))
            path.write_bytes(content)
            with contextlib.suppress(FtevError):
                read_history(open_log(path, runs / str(round_number)))
