"""What is sent is what changed, and what stands on the terminal is the whole picture."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ftev.tui.terminal.frames import ScreenBuffer, cells_of
from hypothesis import given
from hypothesis import strategies as st
from made_runs import live_worker, make_run, story, until_step, write_events
from pseudo_terminal import Terminal

PLAIN, BOLD = ("", "", ""), ("1", "", "")
PROGRAM = "import sys; from ftev.tui.cli import main; sys.exit(main(sys.argv[1:]))"

styles = st.sampled_from([PLAIN, BOLD])
texts = st.lists(
    st.tuples(st.sampled_from(["a", "bc", "日本", "é", "e\u0301", "👩‍👩‍👧", " "]), styles)
)


def test_nothing_is_sent_for_what_stands_there() -> None:
    picture = ScreenBuffer()
    line = [("loss ", PLAIN), ("0.41", BOLD)]
    assert list(picture.changes(3, 2, line)) == [(3, line)]
    assert list(picture.changes(3, 2, line)) == []
    assert list(picture.changes(3, 2, [("loss ", PLAIN), ("0.4", BOLD), ("2", BOLD)])) == [
        (11, [("2", BOLD)])
    ]
    assert list(picture.changes(8, 2, [("0.42", PLAIN)])) == [
        (8, [(c, PLAIN) for c in "0.42"])
    ]  # the same text in another style
    picture.forget()
    assert list(picture.changes(3, 2, line)) == [(3, line)]


def test_a_wide_character_is_sent_whole() -> None:
    picture = ScreenBuffer()
    list(picture.changes(0, 0, [("a日b", PLAIN)]))
    assert list(picture.changes(0, 0, [("a本b", PLAIN)])) == [(1, [("本", PLAIN), ("", PLAIN)])]
    list(picture.changes(2, 0, [("x", PLAIN)]))  # half of it was overwritten
    assert list(picture.changes(0, 0, [("a本b", PLAIN)])) == [(1, [("本", PLAIN), ("", PLAIN)])]


@given(texts, texts)
def test_what_was_sent_and_what_stood_there_make_the_new_line(
    before: list[tuple[str, tuple[str, str, str]]], after: list[tuple[str, tuple[str, str, str]]]
) -> None:
    width = max(len(cells_of(before)), len(cells_of(after)))
    old, new = ([*line, (" " * (width - len(cells_of(line))), PLAIN)] for line in (before, after))
    picture = ScreenBuffer()
    shown = cells_of([piece for _, sent in picture.changes(0, 0, old) for piece in sent])
    for x, sent in picture.changes(0, 0, new):
        cells = [piece for text, codes in sent for piece in cells_of([(text, codes)])]
        shown[x : x + len(cells)] = cells
    assert shown == cells_of(new)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    worker = subprocess.Popen(["sleep", "600"], start_new_session=True)
    for number in range(2):
        run = make_run(tmp_path / "runs", number=number)
        write_events(run, until_step(story(), 93))
        live_worker(run, worker.pid)
    command = [sys.executable, "-c", PROGRAM, "--runs-dir", str(tmp_path / "runs")]
    terminal = Terminal(command, 120, 40, XDG_STATE_HOME=str(tmp_path / "state"))
    yield terminal
    terminal.close()
    worker.kill()
    worker.wait()


def test_the_terminal_shows_what_a_picture_drawn_anew_shows(terminal: Terminal) -> None:
    """After each key: nothing is left of what was there before, and nothing is missing."""
    terminal.wait_for("running")
    for key in ("?", "q", "\r", "2", "4", "+", "?", "q", "t", "h"):
        terminal.press(key)
        _settle(terminal)
        seen = _cells(terminal)
        terminal.press("\x0c")  # ctrl+l
        _settle(terminal)
        assert _cells(terminal) == seen, key
    terminal.resize(100, 34)
    _settle(terminal)
    seen = _cells(terminal)
    terminal.press("\x0c")
    _settle(terminal)
    assert _cells(terminal) == seen


def test_a_focus_key_sends_two_borders_and_no_more(terminal: Terminal) -> None:
    terminal.wait_for("running")
    terminal.press("\r")
    terminal.wait_for("step 93 of")
    _settle(terminal)
    terminal.press("3")
    _settle(terminal)
    before = terminal.bytes_read
    terminal.press("2")
    _settle(terminal)
    assert 200 < terminal.bytes_read - before < 6_000  # a whole screen is 20,000


def _settle(terminal: Terminal) -> None:
    """Until nothing came for a third of a second in which the program had nothing to do: on a busy
    machine one that waits for the processor is silent too.
    """
    for _ in range(60):
        before = terminal.bytes_read, _ticks(terminal)
        terminal.read(0.33)
        worked = _ticks(terminal) - before[1]
        if terminal.bytes_read == before[0] and worked <= 2 and not _is_waiting(terminal):
            return


def _threads(terminal: Terminal) -> list[list[str]]:
    """The fields of stat of each thread of the program, from the state on."""
    found = []
    for place in Path(f"/proc/{terminal.pid}/task").glob("*/stat"):
        with contextlib.suppress(OSError):  # it may just have ended
            found.append(place.read_text().rpartition(")")[2].split())
    return found


def _ticks(terminal: Terminal) -> int:
    """Processor time so far, in hundredths of a second."""
    return sum(int(fields[11]) + int(fields[12]) for fields in _threads(terminal))


def _is_waiting(terminal: Terminal) -> bool:
    """Whether a thread works, or would if it had a processor."""
    return any(fields[0] in "RD" for fields in _threads(terminal))


def _cells(terminal: Terminal) -> list[object]:
    screen = terminal.screen
    return [screen.buffer[y][x] for y in range(screen.lines) for x in range(screen.columns)]
