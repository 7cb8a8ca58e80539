"""What a screen remembers, and that a line that drops costs nothing of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Shown, picture, seen
from ftev.core.run.events import RunFinished
from ftev.core.run.history import fold
from ftev.core.run.runs import Run
from ftev.tui.app.memory import (
    FILES_KEPT,
    Memory,
    encode_memory,
    memory_path,
    read_memory,
    seen_of,
    while_away,
    write_memory,
)
from ftev.tui.screens.run.run import RunScreen
from made_runs import live_worker, make_run, story, until_step, write_events
from pseudo_terminal import Terminal, children_of
from test_terminal import PROGRAM
from waiting import patience

END = RunFinished(status="finished")


def test_away_tells_what_changed_in_one_line() -> None:
    before = fold(until_step(story(), 30))
    seen_then = seen_of(before, "running")
    after = fold([*until_step(story(), 93), END])
    assert while_away(seen_then, after, "finished") == (
        "While you were away: 2 epochs, validation loss 0.497 → 0.353, "
        "checkpoint of step 84, finished."
    )
    few = fold(until_step(story(), 31))
    assert while_away(seen_then, few, "running") == "While you were away: 1 step."
    assert while_away(seen_then, before, "running") == ""
    assert "the worker died" in while_away(seen_then, before, "died")
    assert while_away({"epochs": "x", "loss": [], "step": None}, before, "running") == ""


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[1]",
        b"\xff\xfe",
        b'{"schema":"ftev.screens/1"}',
        b'{"schema":"other","of":"x","on_top":"","screens":{}}',
        b'{"schema":"ftev.screens/1","of":"/elsewhere","on_top":"","screens":{"run":{}}}',
        b"[" * 200_000,
    ],
)
def test_a_damaged_or_foreign_memory_is_none(tmp_path: Path, content: bytes) -> None:
    path = memory_path(tmp_path)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert read_memory(tmp_path) == Memory(tmp_path)


def test_a_memory_is_written_whole_for_its_owner_alone(tmp_path: Path) -> None:
    memory = Memory(tmp_path, "run", {"run": {"shown": 3, "loss": float("nan")}})
    write_memory(tmp_path, encode_memory(memory))
    assert read_memory(tmp_path).screens == {"run": {"shown": 3, "loss": None}}
    path = memory_path(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    for number in range(FILES_KEPT + 3):
        (path.parent / f"{number}.json").write_bytes(b"")
    write_memory(tmp_path / "other", b"{}")
    assert len(list(path.parent.iterdir())) <= FILES_KEPT + 1


def test_nowhere_to_write_is_no_fault(
    tmp_path: Path, state_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (state_home / "ftev").write_text("a file in the way")
    write_memory(tmp_path, b"{}")
    assert read_memory(tmp_path) == Memory(tmp_path)


async def test_a_screen_is_found_again_as_it_was_left(running: Run, shown: Shown) -> None:
    async with shown(running) as pilot:
        await pilot.press("4", "enter", "x", "s", "left", "left", "left", "p")
        await pilot.press(*"half a thought", "escape", "4", "q")
        left = pilot.app.screen
        assert isinstance(left, RunScreen)
        cursor = left.chart.view.cursor
    async with shown(running, wait_for="at step") as pilot:
        screen = pilot.app.screen
        assert isinstance(screen, RunScreen)
        assert screen.pane_in_view == 4
        assert screen.desk.zoomed
        assert screen.chart.view.cursor == cursor is not None
        assert (screen.chart.view.axis, screen.chart.view.smoothing) == ("epoch", 0.9)
        await pilot.press("p")
        await seen(pilot, "half a thought")


async def test_nonsense_in_a_memory_leaves_the_screen_as_it_is(finished: Run, shown: Shown) -> None:
    nonsense = {
        "shown": 99,
        "zoomed": "yes",
        "scrolled": {"1": [-5, 1e30], "2": 7},
        "focus": [],
        "metric": -3,
        "draft": 8,
        "seen": {"epochs": {}, "loss": "x"},
        "chart": {"view": {"axis": "nowhere", "window": [9, 1], "cursor_step": "x", "log": 3}},
    }
    memory = Memory(finished.path, "stop", {"run": nonsense})
    write_memory(finished.path, encode_memory(memory))
    async with shown(finished) as pilot:
        screen = pilot.app.screen
        assert isinstance(screen, RunScreen)
        assert screen.focused is None
        assert (screen.desk.zoomed, screen.chart.view.axis) == (False, "step")
        assert "Stop this run" not in picture(pilot)


@pytest.fixture
def live(tmp_path: Path) -> Iterator[tuple[Run, subprocess.Popen[bytes]]]:
    worker = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True
    )
    run = make_run(tmp_path)
    write_events(run, until_step(story(), 93))
    live_worker(run, worker.pid)
    yield run, worker
    worker.kill()
    worker.wait()


def _drop(terminal: Terminal, how: str) -> None:
    (screen,) = children_of(terminal.pid)
    began = time.monotonic()
    if how == "SIGHUP":
        os.kill(screen, signal.SIGHUP)
        assert terminal.wait() == 129
    else:
        terminal.hang_up()
        os.waitpid(terminal.pid, 0)
        terminal.status = 0
    assert time.monotonic() - began < patience(1.0)  # it takes a tenth of that


@pytest.mark.parametrize("how", ["SIGHUP", "closed"])
def test_attaching_again_shows_the_same_and_what_happened(
    live: tuple[Run, subprocess.Popen[bytes]], how: str
) -> None:
    run, worker = live
    command = [sys.executable, "-c", PROGRAM, str(run.path)]
    first = Terminal(command, 80, 24)
    try:
        first.wait_for("step 93 of 140")
        first.press("4\r\x1b[D\x1b[D\x1b[Dx")
        first.wait_for("at step 89")
        first.read(5.0, lambda: b'"cursor_step":89' in _kept(run) and b'"epoch"' in _kept(run))
        _drop(first, how)
    finally:
        first.close()
    assert worker.poll() is None
    write_events(run, [*until_step(story(), 126)[len(until_step(story(), 93)) :], END])
    again = Terminal(command, 80, 24)
    try:
        again.wait_for("While you were away: 1 epoch, validation loss 0.353")
        assert "at step 89" in again.text()

        def has_focus() -> bool:  # its frame is painted after its text on a busy machine
            return "━━ 4 Charts" in again.text().replace("┏━ 4", "━━ 4")

        again.read(10.0, has_focus)
        assert has_focus()
        again.press("q")
        assert again.wait() == 0
    finally:
        again.close()


def _kept(run: Run) -> bytes:
    path = memory_path(run.path)
    return path.read_bytes() if path.exists() else b""
