"""Text from data and models is shown in full and never obeyed."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
from conftest import Shown, picture, seen
from ftev.core.run.events import (
    LabelsFixed,
    ModelLoaded,
    Note,
    PromptAnswered,
    ResultsComputed,
    RunFinished,
    RunStarted,
    StageDone,
    TextScored,
)
from ftev.core.wording.text import visible, visible_lines
from ftev.tui.terminal.terminal import AsciiFilter, SanitizeFilter, to_ascii
from made_runs import live_worker, make_run, story, until_step, write_events
from rich.segment import Segment
from rich.style import Style
from textual.color import Color

PAYLOADS = (
    "\x1b[31mred\x1b[2J",
    "\x1b]52;c;ZXZpbA==\x07",
    "\x1b]0;title\x07",
    "\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\",
    "\x9b31m",
    "\x00\x08\x07\x0b\x7f",
    "\u202eevil\u2066\u2069\u200b\ufeff",
    "[/]",
    "[@click=app.quit]x[/]",
    "[bold red]x",
    "[link=http://evil.example]x[/link]",
    "\ud800lone",
    "日本語 👩‍👩‍👧 é\u0301",
)
HOSTILE = " ".join(PAYLOADS)
DANGEROUS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@pytest.mark.parametrize("payload", PAYLOADS)
def test_control_characters_become_pictures(payload: str) -> None:
    assert not DANGEROUS.search(visible(payload))
    assert "\n" not in visible(payload + "\n")


def test_what_they_look_like() -> None:
    assert visible("a\x1b[0m\x7f\x9b\u202e\n") == "a␛[0m␡<U+009B><U+202E>↵"
    assert visible_lines("a\tb\r\nc\rd") == ["a    b", "c␍d"]
    assert visible("x" * 10, limit=4) == "xxxx…"


def test_the_last_gate_lets_nothing_through() -> None:
    segments = [
        Segment("ok"),
        Segment("a\x1b]52;c;x\x07b", Style(link="http://evil.example", bold=True)),
        Segment("moves", None, [(1,)]),  # type: ignore[list-item]
    ]
    safe = SanitizeFilter().apply(segments, Color(0, 0, 0))
    assert [s.text for s in safe] == ["ok", "a]52;c;xb"]
    assert safe[1].style is not None
    assert safe[1].style.link is None
    clean = [Segment("ok", Style(bold=True))]
    assert SanitizeFilter().apply(clean, Color(0, 0, 0)) is clean


def hostile_events() -> list[msgspec.Struct]:
    """A whole run in which every text is hostile."""
    text: list[msgspec.Struct] = []
    for event in story("generation"):
        if isinstance(event, RunStarted):
            event = msgspec.structs.replace(event, name=HOSTILE)
        elif isinstance(event, StageDone):
            event = msgspec.structs.replace(event, note=HOSTILE)
        elif isinstance(event, ModelLoaded):
            event = msgspec.structs.replace(event, name=HOSTILE)
        elif isinstance(event, Note):
            event = msgspec.structs.replace(event, text=HOSTILE)
        elif isinstance(event, LabelsFixed):
            event = msgspec.structs.replace(event, labels=[HOSTILE])
        elif isinstance(event, PromptAnswered):
            event = msgspec.structs.replace(event, prompt=HOSTILE, base=HOSTILE, tuned=HOSTILE)
        elif isinstance(event, TextScored):
            event = msgspec.structs.replace(event, source=HOSTILE)
        elif isinstance(event, ResultsComputed):
            event = msgspec.structs.replace(event, split=HOSTILE)
        elif isinstance(event, RunFinished):
            event = msgspec.structs.replace(event, status="failed", error=HOSTILE)
        text.append(event)
    return text


async def test_a_hostile_run_is_shown_and_not_obeyed(tmp_path: Path, shown: Shown) -> None:
    run = make_run(tmp_path)
    write_events(run, [_without_surrogates(e) for e in hostile_events()])  # type: ignore[misc]
    run.log_path.write_bytes(HOSTILE.encode("utf-8", "surrogatepass"))
    async with shown(run, (200, 50), "✗ failed") as pilot:
        for key in ("1", "2", "3", "4", "5", "6"):
            await pilot.press(key, "enter")
            await pilot.pause()
            assert not DANGEROUS.search(picture(pilot).replace("\n", ""))
            await pilot.press("enter")
        await pilot.press("3", "down", "enter")
        await pilot.pause()
        assert not DANGEROUS.search(picture(pilot).replace("\n", ""))
        assert pilot.app.is_running
        await pilot.press("escape", "h")
        await seen(pilot, "1 run")
        assert "[/]" in picture(pilot) or "␛" in picture(pilot)
        assert not DANGEROUS.search(picture(pilot).replace("\n", ""))


def _without_surrogates(event: msgspec.Struct) -> msgspec.Struct:
    """JSON cannot carry a lone surrogate."""

    def mend(value: object) -> object:
        return value.replace("\ud800", "?") if isinstance(value, str) else value

    return msgspec.structs.replace(
        event, **{f: mend(getattr(event, f)) for f in event.__struct_fields__}
    )


async def test_typed_and_pasted_text_is_no_markup(tmp_path: Path, shown: Shown) -> None:
    run = make_run(tmp_path)
    write_events(run, until_step(story(), 30))
    live_worker(run)
    async with shown(run) as pilot:
        await pilot.press("p")
        screen = pilot.app.screen
        screen.prompt.box.insert(HOSTILE.replace("\ud800", ""))  # type: ignore[attr-defined]
        await pilot.press("enter")
        await pilot.pause(0.2)
        assert not DANGEROUS.search(picture(pilot).replace("\n", ""))
        assert pilot.app.is_running


def test_the_whole_screen_in_ascii_keeps_its_cells() -> None:
    assert to_ascii("╭─ 1 Pipeline ─╮") == "+- 1 Pipeline -+"
    assert to_ascii("✓ ✗ ● ◆ → … × −") == "+ x * # > . x -"
    assert to_ascii("⠀⠁⣀⣿") == " ..#"
    assert to_ascii("日本é") == "?????"
    segments = AsciiFilter().apply([Segment("│"), Segment("a")], Color(0, 0, 0))
    assert [s.text for s in segments] == ["|", "a"]
