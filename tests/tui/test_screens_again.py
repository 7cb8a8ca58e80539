"""The screens over a run are found again as they were left: by `q`, and by a line that drops."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
from conftest import Shown, picture, seen
from ftev.core.run.runs import Run
from ftev.tui.app.memory import Memory, encode_memory, memory_path, read_memory, write_memory
from ftev.tui.screens.evaluation.evaluation import EvaluationScreen
from ftev.tui.screens.evaluation.sections import ListSection
from ftev.tui.screens.examples.examples import ExamplesScreen
from ftev.tui.screens.home.home import HomeScreen
from ftev.tui.screens.trace.trace import TraceScreen
from made_runs import live_worker
from pseudo_terminal import Terminal, children_of
from test_terminal import PROGRAM

SAMPLES = Path(__file__).parents[2] / "sample_runs"


@pytest.fixture
def classified(tmp_path: Path) -> Run:
    shutil.copytree(SAMPLES / "classification", tmp_path / "classification")
    return Run(tmp_path / "classification")


async def test_the_evaluation_comes_back_with_section_split_and_cursor(
    classified: Run, shown: Shown
) -> None:
    async with shown(classified) as pilot:
        await pilot.press("v")
        await seen(pilot, "linear probe")
        await pilot.press("m", "s", "down", "down", "b")
        await seen(pilot, "▸broken")
        await pilot.press("down", "q")
    async with shown(classified, wait_for="▸3 Flips") as pilot:
        screen = pilot.app.screen
        assert isinstance(screen, EvaluationScreen)
        await seen(pilot, "▸broken")
        assert (screen.split, screen.reference) == ("validation", "majority")
        lists = [s for s in screen.pane.sections if isinstance(s, ListSection)]
        assert [section.cursor for section in lists] == [2, 1, 0, 0]
        await pilot.press("escape")
        await seen(pilot, "1 Pipeline")
        await pilot.press("q")
    async with shown(classified) as pilot:
        assert "▸3 Flips" not in picture(pilot)  # the run itself was on top


async def test_rows_come_back_with_their_filter_order_and_cursor(
    classified: Run, shown: Shown
) -> None:
    async with shown(classified) as pilot:
        await pilot.press("r")
        await seen(pilot, "rows of test")
        await pilot.press("slash", *"label=positive", "enter", "o", "f", "down", "down")
        await seen(pilot, "flip fixed")
        screen = picture(pilot)
        await pilot.press("q")
    async with shown(classified, wait_for="flip fixed") as pilot:
        assert isinstance(pilot.app.screen, ExamplesScreen)
        await seen(pilot, " of 200 rows")
        assert picture(pilot) == screen
        await pilot.press("escape", "escape", "v")
        await seen(pilot, "linear probe")
        await pilot.press("r")  # from there, every row of the split is asked for
        await seen(pilot, "200 rows")


async def test_an_evaluation_seen_from_home_does_not_open_with_the_run(
    classified: Run, shown: Shown
) -> None:
    async with shown(wait_for="✓ ship") as pilot:
        await pilot.press("v")
        await seen(pilot, "linear probe")
        await pilot.press("4", "escape", "enter")
        await seen(pilot, "1 Pipeline")
        await pilot.press("v")
        await seen(pilot, "▸4 Calibration")
        await pilot.press("escape", "h")
        await seen(pilot, "1 run")
        assert isinstance(pilot.app.screen, HomeScreen)


async def test_the_text_of_a_trace_waits_in_the_box(
    generated: Run, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(
        "ftev.tui.screens.trace.trace.ask_prompt",
        lambda run, e, request, post: asked.append(e.prompt),
    )
    live_worker(generated)
    write_memory(
        generated.path,
        encode_memory(Memory(generated.path, "layers", {"run": {}, "layers": {"text": "a cup"}})),
    )
    async with shown(generated, wait_for="Layers") as pilot:
        screen = pilot.app.screen
        assert isinstance(screen, TraceScreen)
        await seen(pilot, "a cup")
        assert asked == []
        await pilot.press("enter")
        assert asked == ["a cup"]


async def test_nonsense_in_a_memory_leaves_the_screens_as_they_are(
    classified: Run, shown: Shown
) -> None:
    bad = {"split": "../x", "reference": 7, "section": 99, "only": ["x"], "cursor": -1, "kind": "?"}
    places = [{"top": -1, "cursor": 10**5}, 3, {"kind": 99, "cursor": 10**5}, None, {}]
    screens = {"evaluation": {**bad, "places": places}, "rows": {**bad, "order": [], "about": 1}}
    memory = Memory(classified.path, "rows", screens)
    write_memory(classified.path, encode_memory(memory))
    async with shown(classified, wait_for="200 rows") as pilot:
        assert "rows of test" in picture(pilot)
        await pilot.press("escape", "v")
        await seen(pilot, "▸1 Metrics")
        await pilot.press("3")
        await seen(pilot, "▸still right")
        for section in "1234567":
            await pilot.press(section)
        await seen(pilot, "▸7 More")


def test_a_line_that_drops_keeps_the_filter_of_the_rows(classified: Run) -> None:
    command = [sys.executable, "-c", PROGRAM, str(classified.path)]
    first = Terminal(command, 80, 24)
    try:
        first.wait_for("finished")
        first.press("r")
        first.wait_for("rows of test")
        first.press("/")
        assert first.read(10.0, lambda: "flip" in first.text().split("\n")[3])  # under the box
        first.press("label=negative")
        first.wait_for("95 of 200 rows")
        first.press("\r")
        path = memory_path(classified.path)
        assert first.read(10.0, lambda: path.exists() and b"label=negative" in path.read_bytes())
        (screen,) = children_of(first.pid)
        os.kill(screen, signal.SIGHUP)
        assert first.wait() == 129
    finally:
        first.close()
    assert read_memory(classified.path).on_top == "rows"
    again = Terminal(command, 80, 24)
    try:
        again.wait_for("95 of 200 rows")
        again.press("q")
        assert again.wait() == 0
    finally:
        again.close()
