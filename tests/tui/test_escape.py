"""Escape and the key behind it, however close together they come through a real terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import pytest
from ftev.core.run.runs import Run
from ftev.tui.app import keys
from ftev.tui.terminal.input import KeysApart
from pseudo_terminal import Terminal
from test_terminal import PROGRAM
from textual._xterm_parser import XTermParser
from textual.events import Key


@pytest.fixture
def terminal(running: Run) -> Iterator[Terminal]:
    terminal = Terminal([sys.executable, "-c", PROGRAM, str(running.path)], 80, 24)
    terminal.wait_for("step 93 of 140")
    yield terminal
    terminal.close()


def test_in_one_piece_they_are_two_keys(terminal: Terminal) -> None:
    terminal.press("phalf")
    terminal.wait_for("half")
    terminal.press("\x1b6")
    terminal.wait_for("▸6 Log")
    assert "half6" not in terminal.text()
    terminal.press("p\x1bq")
    assert terminal.wait() == 0


def test_a_line_is_still_broken_and_an_arrow_in_two_pieces_still_one_key(
    terminal: Terminal,
) -> None:
    terminal.press("pup\x1b\rdown")
    terminal.wait_for("down")
    rows = [row.strip(" ┃▎") for row in terminal.text().splitlines()]
    assert "down" in rows[rows.index("up") + 1], terminal.text()
    terminal.press("\x1b")
    time.sleep(0.03)  # a packet behind
    terminal.press("[D")
    terminal.press("-")
    terminal.wait_for("dow-n")


def test_a_key_long_behind_escape_is_that_key(terminal: Terminal) -> None:
    terminal.press("\x1b")
    terminal.wait_for("1 run")
    terminal.press("?")
    terminal.wait_for("╭─ Keys")
    terminal.press("\x1b")
    terminal.read(5.0, lambda: "╭─ Keys" not in terminal.text())
    terminal.press("\r")
    terminal.wait_for("step 93 of 140")


def test_a_parser_that_fails_ends_with_a_code(running: Run) -> None:
    broken = "import ftev.tui.terminal.input as e; e.KeysApart.feed = lambda self, data: 1 / 0; "
    terminal = Terminal([sys.executable, "-c", broken + PROGRAM, str(running.path)], 80, 24)
    try:
        terminal.read(20.0, lambda: "step 93" in terminal.text())
        terminal.press("6")
        assert terminal.wait() == 1
    finally:
        terminal.close()


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (["\x1bq"], ["escape", "q"]),
        (["\x1b", "q"], ["escape", "q"]),
        (["\x1b3\x1b?"], ["escape", "3", "escape", "question_mark"]),
        (["\x1b\x1bS"], ["escape", "escape", "S"]),
        (["\x1b[", "D"], ["left"]),
        (["\x1b", "[D"], ["left"]),
        (["\x1bOP", "x"], ["f1", "x"]),
        (["ab", "é"], ["a", "b", "é"]),
        (["\x1b\r"], ["alt+enter"]),
        (["\x1b", "\r"], ["alt+enter"]),
        (["a\x1b\rb"], ["a", "alt+enter", "b"]),
    ],
)
def test_what_a_terminal_sends_as_keys(pieces: list[str], expected: list[str]) -> None:
    parser = KeysApart()
    found = [event for piece in pieces for event in parser.feed(piece)]
    assert [event.key for event in found if isinstance(event, Key)] == expected


@pytest.mark.parametrize(
    "sent",
    [
        ["\x1b\x7f"],
        ["\x1bb", "\x1bf"],
        ["\x1b[<0;5;7M\x1b[<0;5;7m"],
        ["\x1b[200~one\x1btwo 3\x1b[201~q"],
        ["\x1b[200~one\x1b", "two", "\x1bq 3\x1b[201~"],
    ],
)
def test_the_rest_is_as_textual_reads_it(sent: list[str]) -> None:
    ours, theirs = KeysApart(), XTermParser()
    for piece in [*sent, ""]:
        assert [repr(e) for e in ours.feed(piece)] == [repr(e) for e in theirs.feed(piece)]


@pytest.mark.parametrize("next_key", ["g", "/", "\r", "\x1b", "\x1b[A"])
def test_a_key_long_behind_an_escape(monkeypatch: pytest.MonkeyPatch, next_key: str) -> None:
    parser, clock = KeysApart(), time.monotonic()
    monkeypatch.setattr("textual._parser.get_time", lambda: clock)
    assert not list(parser.feed("\x1b"))
    clock += 1
    assert [e.key for e in parser.tick() if isinstance(e, Key)] == ["escape"]
    alone = [e.key for e in KeysApart().feed(next_key) if isinstance(e, Key)]
    assert [e.key for e in parser.feed(next_key) if isinstance(e, Key)] == alone


def test_behind_a_paste_keys_are_apart_again() -> None:
    parser = KeysApart()
    for piece in ("\x1b[200~one", "two\x1b[201~"):
        list(parser.feed(piece))
    assert [e.key for e in parser.feed("\x1bq") if isinstance(e, Key)] == ["escape", "q"]


def test_no_key_is_alt_with_a_letter() -> None:
    tables = [value for name, value in vars(keys).items() if name.endswith("_KEYS")]
    assert len(tables) > 5
    names = [name for table in tables for key in table for name in key.keys.split(",")]
    assert not [name for name in names if name.startswith("alt+") and len(name) == 5]
