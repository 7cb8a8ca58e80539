"""The real program in a real pseudo-terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ftev.core.run.runs import Run
from ftev.tui.app.themes import theme_name
from made_runs import live_worker, make_run, story, until_step, write_events
from pseudo_terminal import Terminal, children_of
from waiting import patience

PROGRAM = (
    "import sys; from pathlib import Path; from ftev.tui.app.app import run_app;"
    "from ftev.core.run.runs import Run;"
    "path = Path(sys.argv[1]);"
    "sys.exit(run_app(path.parent, Run(path), ascii_only='ascii' in sys.argv[2:]))"
)


@pytest.fixture
def worker() -> Iterator[subprocess.Popen[bytes]]:
    """A process that stands for a worker, in a session of its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True
    )
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def live(tmp_path: Path, worker: subprocess.Popen[bytes]) -> Run:
    run = make_run(tmp_path)
    write_events(run, until_step(story(), 93))
    live_worker(run, worker.pid)
    return run


@pytest.fixture
def terminal(live: Run) -> Iterator[Terminal]:
    terminal = Terminal([sys.executable, "-c", PROGRAM, str(live.path)], 100, 33)
    yield terminal
    terminal.close()


def test_it_paints_grows_resizes_and_leaves_the_worker(
    terminal: Terminal, live: Run, worker: subprocess.Popen[bytes]
) -> None:
    terminal.wait_for("step 93 of 140")
    for _ in range(10):  # a slow machine is still at its first pictures
        before = terminal.bytes_read
        terminal.read(0.5)
        if terminal.bytes_read == before:
            break
    terminal.read(1.0)
    assert terminal.bytes_read == before  # nothing changes: not one byte
    write_events(live, until_step(story(), 94)[-1:])
    terminal.wait_for("step 94 of 140")
    assert terminal.bytes_read - before < 2_000
    terminal.resize(80, 24)
    terminal.wait_for("▸4 Charts")
    terminal.press("q")
    assert terminal.wait() == 0
    assert worker.poll() is None
    written = b"".join(block for _, block in terminal.output)
    assert written.count(b"\x1b[?1049h") == written.count(b"\x1b[?1049l") == 1


def test_the_changed_cells_add_up_to_the_whole_picture(
    terminal: Terminal, live: Run, tmp_path: Path
) -> None:
    """Characters and colours: the same after many small changes as in a fresh picture."""
    terminal.wait_for("step 93 of 140")
    rest = story()[len(until_step(story(), 93)) : len(until_step(story(), 128))]
    for start in range(0, len(rest), 9):
        write_events(live, rest[start : start + 9])
        terminal.read(0.3)
    terminal.wait_for("step 128 of 140")
    command = [sys.executable, "-c", PROGRAM, str(live.path)]
    fresh = Terminal(command, 100, 33, XDG_STATE_HOME=str(tmp_path))  # it has seen nothing yet
    fresh.wait_for("step 128 of 140")
    for one in (terminal, fresh):
        one.press("4\x1b[D\x1b[D")
        one.wait_for("at step")
        one.press("\x1b")
        one.wait_for("━ training")
    try:
        for one in (terminal, fresh):
            one.read(3.0, lambda: not _different_cells(terminal, fresh))
        assert not _different_cells(terminal, fresh), fresh.text()
    finally:
        fresh.close()


def _different_cells(one: Terminal, other: Terminal) -> list[tuple[int, int]]:
    return [
        (x, y)
        for y in range(33)
        for x in range(100)
        if one.screen.buffer[y][x] != other.screen.buffer[y][x]
    ]


def test_keys_that_come_in_one_piece_act_in_their_order(terminal: Terminal) -> None:
    """As over a slow line: what follows a key finds the focus where that key put it."""
    terminal.wait_for("step 93 of 140")
    terminal.press("4\x1b[D\x1b[D\x1b[D")  # the first sets the cursor on the last step
    terminal.wait_for("at step 85")
    terminal.press("pSo, what is this?")  # S would stop the run, h leave, q end
    terminal.wait_for("So, what is this?")
    assert "Stop this run" not in terminal.text()
    assert "Pipeline" in terminal.text()


def test_a_hang_up_ends_the_screen_within_a_second(
    terminal: Terminal, worker: subprocess.Popen[bytes]
) -> None:
    terminal.wait_for("step 93 of 140")
    (screen,) = children_of(terminal.pid)
    terminal.hang_up()
    _wait_until_gone(terminal, screen)
    assert worker.poll() is None


def _wait_until_gone(terminal: Terminal, screen: int) -> None:
    end = time.monotonic() + patience(5.0)  # it takes 0.05 to 0.6
    while os.path.exists(f"/proc/{screen}/fd"):
        pid, _ = os.waitpid(terminal.pid, os.WNOHANG)
        if pid:
            break
        assert time.monotonic() < end, "the screen goes on without its line"
        time.sleep(0.02)
    terminal.status = 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_the_terminal_is_put_right_when_the_screen_is_killed(
    terminal: Terminal, number: signal.Signals, worker: subprocess.Popen[bytes]
) -> None:
    before = termios.tcgetattr(terminal.line)  # the program is still being imported
    terminal.wait_for("step 93 of 140")
    assert termios.tcgetattr(terminal.line) != before
    (screen,) = children_of(terminal.pid)
    os.kill(screen, number)
    assert terminal.wait() == 128 + number
    assert termios.tcgetattr(terminal.line) == before
    written = b"".join(block for _, block in terminal.output)
    assert b"\x1b[?1049l" in written.rpartition(b"\x1b[?1049h")[2]
    assert (b"runs go on without it" in written) == (number != signal.SIGHUP)
    assert worker.poll() is None


def test_where_hang_ups_are_ignored_a_closed_line_is_noticed(
    live: Run, worker: subprocess.Popen[bytes]
) -> None:
    """As under nohup, or in a shell with a trap: nothing is told, reads fail with EIO."""
    ignoring = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN);"
    terminal = Terminal([sys.executable, "-c", ignoring + PROGRAM, str(live.path)], 80, 24)
    terminal.wait_for("step 93 of 140")
    (screen,) = children_of(terminal.pid)
    terminal.hang_up()
    _wait_until_gone(terminal, screen)
    assert worker.poll() is None


def test_a_line_that_nobody_reads_does_not_stop_the_program(terminal: Terminal, live: Run) -> None:
    """For some seconds nothing is taken from the line: keys still count, memory stays bounded."""
    terminal.wait_for("step 93 of 140")
    (screen,) = children_of(terminal.pid)
    before = _resident_bytes(screen)
    rest = story()[len(until_step(story(), 93)) :]
    for start in range(0, len(rest), 4):
        write_events(live, rest[start : start + 4])
        terminal.press("t" * 3)  # whole pictures, many times what a line holds
        time.sleep(0.05)
    assert _resident_bytes(screen) - before < 30 << 20
    began = terminal.bytes_read
    terminal.wait_for("✓ finished")
    assert terminal.bytes_read - began < 400_000  # not every picture that nobody wanted
    terminal.press("?")
    terminal.wait_for("one layer out")
    terminal.press("q")
    terminal.read(5.0, lambda: "one layer out" not in terminal.text())
    terminal.press("q")
    assert terminal.wait() == 0


def _resident_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_ascii_only_writes_nothing_but_ascii(live: Run) -> None:
    terminal = Terminal([sys.executable, "-c", PROGRAM, str(live.path), "ascii"], 100, 33)
    try:
        terminal.wait_for("step 93 of 140")
        assert b"".join(block for _, block in terminal.output).isascii()
    finally:
        terminal.close()


def test_no_colour_and_sixteen_colours(live: Run) -> None:
    for environment, forbidden in (
        ({"NO_COLOR": "1"}, (b"38;", b"48;", b"\x1b[36m")),
        ({"TERM": "linux", "COLORTERM": ""}, (b"38;2", b"48;2", b"38;5")),
    ):
        terminal = Terminal([sys.executable, "-c", PROGRAM, str(live.path)], 80, 24, **environment)
        try:
            terminal.wait_for("step 93 of 140")
            written = b"".join(block for _, block in terminal.output)
            assert not [code for code in forbidden if code in written]
        finally:
            terminal.close()


def test_themes_go_by_what_the_terminal_says() -> None:
    assert theme_name("auto", {}) == "ftev-dark"
    assert theme_name("auto", {"COLORFGBG": "0;15"}) == "ftev-light"
    assert theme_name("auto", {"NO_COLOR": ""}) == "ftev-ansi"
    assert theme_name("auto", {"TERM": "linux"}) == "ftev-ansi"
    assert theme_name("light", {}) == "ftev-light"
    assert theme_name("nord", {}) == "nord"


CAN_DRAW = "from ftev.tui.commands.show import can_draw_screen; print(can_draw_screen())"


def test_without_a_terminal_nothing_can_be_drawn() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CAN_DRAW], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def test_the_screen_needs_nothing_heavy() -> None:
    code = (
        "import sys, ftev.tui.app.app, ftev.tui.screens.home.home;"
        "print([m for m in ('torch', 'transformers', 'numpy', 'polars', 'scipy', 'jinja2')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
