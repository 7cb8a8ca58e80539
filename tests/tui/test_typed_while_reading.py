"""Keys typed while a screen still reads its rows are heard once they are there."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Shown, picture, seen
from ftev.core.run.runs import Run
from ftev.tui.screens.evaluation.evaluation import EvaluationScreen
from ftev.tui.screens.examples.examples import ExamplesScreen
from ftev.tui.screens.examples.row import RowScreen

SAMPLES = Path(__file__).parents[2] / "sample_runs"
Threads = list[Callable[[], object]]


@pytest.fixture
def classified(tmp_path: Path) -> Run:
    shutil.copytree(SAMPLES / "classification", tmp_path / "classification")
    return Run(tmp_path / "classification")


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Threads:
    """What screens would read in threads, until the test lets it go."""
    threads: Threads = []
    for place in ("screens.examples.examples", "screens.evaluation.evaluation_read"):
        monkeypatch.setattr(f"ftev.tui.{place}.in_thread", threads.append)
    return threads


def let_go(held: Threads) -> None:
    while held:
        held.pop(0)()


async def test_rows_are_opened_by_keys_typed_ahead(
    classified: Run, shown: Shown, held: Threads
) -> None:
    async with shown(classified) as pilot:
        await pilot.press("r", "down", "down", "enter", "right")
        assert isinstance(pilot.app.screen, ExamplesScreen)
        assert "reading the rows" in picture(pilot)
        while not isinstance(pilot.app.screen, RowScreen):
            let_go(held)
            await pilot.pause(0.01)
        await seen(pilot, "4 of 200 in this list")


async def test_leaving_waits_for_nothing(classified: Run, shown: Shown, held: Threads) -> None:
    async with shown(classified) as pilot:
        await pilot.press("r", "down", "enter", "escape")
        await seen(pilot, "1 Pipeline")
        let_go(held)
        await pilot.press("r")
        while held or "rows of test" not in picture(pilot):
            let_go(held)
            await pilot.pause(0.01)
        assert isinstance(pilot.app.screen, ExamplesScreen)  # what was typed before is forgotten


async def test_sections_are_chosen_before_the_evaluation_is_read(
    classified: Run, shown: Shown, held: Threads
) -> None:
    async with shown(classified) as pilot:
        await pilot.press("v", "6", "down")
        screen = pilot.app.screen
        assert isinstance(screen, EvaluationScreen)
        while not screen.pane.sections:
            let_go(held)
            await pilot.pause(0.01)
        await seen(pilot, "▸6 Findings")
