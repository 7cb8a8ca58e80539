"""Every theme and every kind of terminal: readable, and never by colour alone."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from ftev.tui.app.themes import THEMES, theme_name
from ftev.tui.drawing.lines import ROLES
from ftev.tui.terminal.terminal import speaks_unicode, within
from made_runs import live_worker, make_run, story, until_step, write_events
from pseudo_terminal import Terminal
from test_terminal import PROGRAM
from textual.color import Color
from textual.theme import Theme

COLOURED = [theme for theme in THEMES if not theme.ansi]
CLI = "import sys; from ftev.tui.cli import main; sys.exit(main(sys.argv[1:]))"


@pytest.mark.parametrize("theme", COLOURED, ids=lambda theme: theme.name)
def test_text_stands_out_from_what_it_stands_on(theme: Theme) -> None:
    result = theme.variables
    least = 7.0 if "high-contrast" in theme.name else 4.5
    for role in ("ink", *ROLES):
        for ground in ("paper", "raised"):
            aside = role in ("muted", "reference") and ground == "raised" and least < 7
            if role == "rule" or aside:  # lines, and asides in a box
                continue
            contrast = _contrast(Color.parse(result[role]), Color.parse(result[ground]))
            assert contrast >= least, (role, ground, round(contrast, 2))


@pytest.mark.parametrize("pair", [("good", "bad"), ("train", "validation"), ("base", "tuned")])
def test_the_colour_blind_theme_is_told_apart_without_red_or_green(pair: tuple[str, str]) -> None:
    (theme,) = (theme for theme in THEMES if theme.name == "ftev-colour-blind")
    one, other = (Color.parse(theme.variables[role]) for role in pair)
    assert _distance(_without_green(one), _without_green(other)) > 0.25


def _linear(colour: Color) -> list[float]:
    return [
        (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4) for c in colour.normalized
    ]


def _contrast(one: Color, other: Color) -> float:
    """WCAG 2: of relative luminance, 1 to 21."""
    bright = [
        sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), _linear(x), strict=True))
        for x in (one, other)
    ]
    return (max(bright) + 0.05) / (min(bright) + 0.05)


def _without_green(colour: Color) -> tuple[float, float, float]:
    """As a deuteranope sees it (Viénot, Brettel and Mollon, 1999), linear RGB."""
    r, g, b = _linear(colour)
    return 0.29275 * r + 0.70725 * g, 0.29275 * r + 0.70725 * g, -0.02234 * r + 0.02234 * g + b


def _distance(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) ** 0.5


def test_the_locale_says_whether_more_than_ascii_is_drawn() -> None:
    assert not speaks_unicode({"LANG": "C"})
    assert not speaks_unicode({"LC_ALL": "POSIX", "LANG": "en_GB.UTF-8"})
    assert not speaks_unicode({"LANG": "C", "LC_CTYPE": "C.UTF-8"})


def test_names_of_themes() -> None:
    assert theme_name("high-contrast", {}) == "ftev-high-contrast"
    assert theme_name("colour-blind", {}) == "ftev-colour-blind"


def test_old_terminals_are_spared_what_they_would_print() -> None:
    text = "\x1b[?1049h\x1b[>1u\x1b[?2004h\x1b[?2026$p\x1b[?25l\x1b[1;2Htext\x1b[31m\x1b[<u"
    assert within("linux", text) == "\x1b[?1049h\x1b[?25l\x1b[1;2Htext\x1b[31m"
    assert within("xterm-256color", text) == text


@pytest.fixture
def live(tmp_path: Path) -> Path:
    run = make_run(tmp_path)
    write_events(run, until_step(story(), 93))
    live_worker(run)
    return run.path


KNOWN = re.compile(rb"\x1b\[[0-9;]*[Hm]|\x1b\[\?(?:25|1049|7)[hl]|\x1b\[0?J|\x1b\[H")


@pytest.mark.parametrize(
    "environment",
    [{"TERM": "linux"}, {"TERM": "screen"}, {"NO_COLOR": "1"}, {"LANG": "C"}],
    ids=lambda text: "=".join(*text.items()),
)
def test_nothing_is_lost_on_any_terminal(live: Path, environment: dict[str, str]) -> None:
    terminal = Terminal(
        [sys.executable, "-c", PROGRAM, str(live)], 80, 24, COLORTERM="", **environment
    )
    try:
        terminal.wait_for("step 93 of 140")
        for text in ("base model loaded", "1,000", "running", "validation 0.353", "4 Charts"):
            assert text in terminal.text()
        written = b"".join(block for _, block in terminal.output)
        written = re.sub(rb"\x1b[^a-zA-Z]*\Z", b"", written)  # it came in two pieces
        if environment.get("TERM") == "linux":
            assert b"\x1b" not in KNOWN.sub(b"", written)
        if "TERM" in environment:
            assert b"38;" not in written
            assert b"48;" not in written
        if "NO_COLOR" in environment:
            assert not re.search(rb"\x1b\[[0-9;]*\b(3[0-7]|4[0-7]|9[0-7]|38|48)\b[0-9;]*m", written)
        if "LANG" in environment:
            assert written.isascii()
        terminal.press("q")
        assert terminal.wait() == 0
    finally:
        terminal.close()


def test_a_dumb_terminal_gets_lines_and_follows(live: Path) -> None:
    command = [sys.executable, "-c", CLI, "--runs-dir", str(live.parent), "open", live.name]
    terminal = Terminal(command, 80, 24, TERM="dumb")
    try:
        terminal.wait_for("epoch 3:")
        from ftev.core.run.runs import Run

        write_events(Run(live), story()[len(until_step(story(), 93)) :])
        assert terminal.wait() == 0
        written = b"".join(block for _, block in terminal.output)
        assert b"epoch 5: training loss" in written
        assert b"run finished" in written
        assert b"\x1b" not in written
    finally:
        terminal.close()
