"""`ftev-tui serve`: for this machine alone, unless it is asked otherwise."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from ftev.tui.cli import main
from ftev.tui.commands.serve import is_own_page
from pseudo_terminal import Terminal

SAMPLES = Path(__file__).parents[2] / "sample_runs"


def test_only_its_own_page_may_open_the_line() -> None:
    assert is_own_page("http://127.0.0.1:8000", "127.0.0.1:8000", "127.0.0.1")
    assert is_own_page("http://localhost:9000", "localhost:9000", "127.0.0.1")  # through ssh -L
    assert is_own_page("http://[::1]:8000", "[::1]:8000", "::1")
    assert not is_own_page("http://evil.example", "127.0.0.1:8000", "127.0.0.1")
    assert not is_own_page("", "127.0.0.1:8000", "127.0.0.1")
    rebound = "http://evil.example:8000", "evil.example:8000"  # a name that leads here
    assert not is_own_page(*rebound, "127.0.0.1")
    assert is_own_page("http://box.lan:8000", "box.lan:8000", "0.0.0.0")


def test_without_the_package_one_sentence_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "textual_serve", None)
    monkeypatch.setitem(sys.modules, "textual_serve.server", None)
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    assert main(["--runs-dir", str(SAMPLES), "serve", "classification"]) == 2
    assert capsys.readouterr().err == (
        "ftev: serve: textual-serve is not installed. Install it: pip install 'ftev[serve]'\n"
    )


def test_the_page_asks_nothing_of_other_hosts() -> None:
    pytest.importorskip("textual_serve", reason="the extra `serve` is not installed")
    command = [sys.executable, "-m", "ftev.tui.cli", "--runs-dir", str(SAMPLES)]
    terminal = Terminal([*command, "serve", "--host", "0.0.0.0", "--port", "18765"], 100, 10)
    try:
        terminal.wait_for("there is no password")
        terminal.read(10.0, lambda: bool(_page()))
        page = _page()
        assert "textual.js" in page
        assert "googleapis" not in page
        assert '.xterm-helper-textarea")?.focus()' in page  # keys are heard without a click
    finally:
        terminal.close()


def _page() -> str:
    try:
        with urllib.request.urlopen("http://127.0.0.1:18765/", timeout=2) as answer:
            return str(answer.read().decode())
    except (urllib.error.URLError, OSError):
        return ""
