"""Run directories: made, listed, opened, and whether their worker is alive."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
import story
from ftev.core.catalog.summary import run_status, summarize
from ftev.core.errors import ConfigError, RunError
from ftev.core.files.disk import lives, process_start, write_whole
from ftev.core.run import runs
from ftev.core.run.history import read_history
from ftev.core.run.runs import (
    Run,
    WorkerInfo,
    create_run,
    last_checkpoint,
    list_runs,
    open_run,
    runs_folder,
)
from waiting import wait_for


def make(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "run.toml").write_text("", encoding="utf-8")


def with_worker(run: Run, pid: int, started: float, host: str = "") -> Run:
    info = WorkerInfo(pid, started, host or socket.gethostname())
    run.worker_path.write_bytes(msgspec.json.encode(info))
    return run


def test_a_new_run_holds_its_resolved_configuration(tmp_path: Path) -> None:
    config = story.config(metric="recall", at_least=0.85)
    first, second = create_run(config, tmp_path / "runs"), create_run(config, tmp_path / "runs")
    assert first.id != second.id
    assert first.id.endswith("_story")
    assert first.config() == config


@pytest.mark.parametrize("name", ["../../evil", "a/b", ".hidden", "  ", "é ü\n\x1b[31m"])
def test_no_name_leaves_the_folder(tmp_path: Path, name: str) -> None:
    from dataclasses import replace

    run = create_run(replace(story.config(), name=name), tmp_path / "runs")
    assert run.path.parent == tmp_path / "runs"
    assert "\x1b" not in run.id
    assert list_runs(tmp_path / "runs") == [run]


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="Choose --runs-dir"):
        create_run(story.config(), tmp_path / "file")


def test_runs_are_listed_newest_first(tmp_path: Path) -> None:
    make(tmp_path, "2026-01-01_a", "2026-03-01_b", "2026-02-01_c", ".hidden", "demo_data/task")
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "empty").mkdir()
    assert [r.id for r in list_runs(tmp_path)] == ["2026-03-01_b", "2026-02-01_c", "2026-01-01_a"]
    assert list_runs(tmp_path / "nowhere") == []


def test_a_run_is_opened_by_path_name_prefix_part_or_latest(tmp_path: Path) -> None:
    make(tmp_path, "2026-01-01_a", "2026-02-01_b", "2026-02-01_b-2")
    opened = {
        spec: open_run(spec, tmp_path).id
        for spec in ("2026-01", "2026-02-01_b", "2026-02-01_b-", "latest", "_a")
    }
    assert opened == {
        "2026-01": "2026-01-01_a",
        "2026-02-01_b": "2026-02-01_b",
        "2026-02-01_b-": "2026-02-01_b-2",
        "latest": "2026-02-01_b-2",
        "_a": "2026-01-01_a",
    }
    assert open_run(str(tmp_path / "2026-01-01_a"), Path("elsewhere")).id == "2026-01-01_a"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [("2026", "2 runs begin so"), ("x", "no such run"), ("", "RUN: is empty")],
)
def test_what_names_no_single_run_is_refused(tmp_path: Path, spec: str, expected: str) -> None:
    make(tmp_path, "2026-01-01_a", "2026-02-01_b")
    with pytest.raises(ConfigError, match=expected):
        open_run(spec, tmp_path)


def test_latest_of_nothing_says_how_to_begin(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ftev-tui demo"):
        open_run("latest", tmp_path)


def test_the_folder_of_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FTEV_RUNS", raising=False)
    assert runs_folder() == Path("runs")
    monkeypatch.setenv("FTEV_RUNS", "/there")
    assert runs_folder() == Path("/there")
    assert runs_folder("here") == Path("here")


def test_a_live_worker_is_seen_and_a_killed_one_missed(tmp_path: Path) -> None:
    run = story.write_story(tmp_path / "run", story.beginning())
    assert not run.worker_alive()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        with_worker(run, process.pid, process_start(process.pid))
        assert run.worker_alive()
        assert run_status(run, read_history(run)) == "running"
        process.kill()
        wait_for(lambda: not run.worker_alive(), "its end")  # a zombie counts as gone
        assert summarize(run)["status"] == "died"
    assert not run.worker_alive()


def test_a_reused_process_number_is_not_our_worker(tmp_path: Path) -> None:
    run = story.write_story(tmp_path / "run", story.beginning())
    with_worker(run, os.getpid(), process_start(os.getpid()) - 1)
    assert not run.worker_alive()
    with_worker(run, os.getpid(), process_start(os.getpid()))
    assert run.worker_alive()


def test_on_another_host_the_heartbeat_decides(tmp_path: Path) -> None:
    run = with_worker(story.write_story(tmp_path / "run", []), 1, 1.0, host="elsewhere")
    assert run.worker_alive()
    past = time.time() - runs.SILENT_SECONDS - 1
    os.utime(run.worker_path, (past, past))
    assert not run.worker_alive()


def test_a_damaged_worker_file_is_no_worker(tmp_path: Path) -> None:
    run = story.write_story(tmp_path / "run", [])
    run.worker_path.write_text('{"pid": "x"')
    assert run.worker() is None
    assert not run.worker_alive()


def test_a_worker_gone_before_its_first_word_has_died(tmp_path: Path) -> None:
    run = story.write_story(tmp_path / "run", [])
    assert summarize(run)["status"] == "starting"
    with_worker(run, 2**22 + 1, 1.0)
    assert summarize(run)["status"] == "died"


def test_only_whole_checkpoints_count(tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert last_checkpoint(run) is None
    for name, whole in (("step_000100", True), ("step_000200", True), ("step_000300", False)):
        (run.checkpoints / name).mkdir(parents=True)
        if whole:
            (run.checkpoints / name / runs.TRAINING_STATE).write_text("{}")
    found = last_checkpoint(run)
    assert found is not None
    assert found.name == "step_000200"


def test_what_a_dead_writer_left_is_removed_also_before_it_is_reaped(tmp_path: Path) -> None:
    """A killed worker is a zombie until whoever started it asks for its end."""
    child = os.fork()
    if child == 0:
        os._exit(0)
    try:
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)  # dead, and still in the table
        os.kill(child, 0)
        assert not lives(child)
        left = tmp_path / f".notes.json.{child}-1.tmp"
        left.write_bytes(b"half")
        write_whole(tmp_path / "notes.json", b"{}")
        assert [p.name for p in tmp_path.iterdir()] == ["notes.json"]
    finally:
        os.waitpid(child, 0)
