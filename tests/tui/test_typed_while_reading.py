"""Keys typed while a screen still reads its rows are heard once they are there."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Shown, picture, seen, until
from ftev.core.run.runs import Run
from ftev.tui.screens.evaluation.evaluation import EvaluationScreen
from ftev.tui.screens.examples.examples import ExamplesScreen
from ftev.tui.screens.examples.row import RowScreen
from textual.pilot import Pilot
from waiting import patience

SAMPLES = Path(__file__).parents[2] / "sample_runs"
PATIENCE = patience(30.0)
Threads = list[Callable[[], object]]


@pytest.fixture
def classified(tmp_path: Path) -> Run:
    shutil.copytree(SAMPLES / "classification", tmp_path / "classification")
    return Run(tmp_path / "classification")


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Threads:
    """What screens would read in threads, until the test lets it go."""
    threads: Threads = []
    for place in (
        "screens.examples.examples",
        "screens.examples.example_rows",
        "screens.evaluation.reading",
        "screens.evaluation.thresholds",
    ):
        monkeypatch.setattr(f"ftev.tui.{place}.in_thread", threads.append)
    return threads


def let_go(held: Threads) -> None:
    while held:
        held.pop(0)()


async def let_go_until(condition: Callable[[], object], pilot: Pilot[int], held: Threads) -> None:
    def holds() -> object:
        let_go(held)
        return condition()

    await until(pilot, holds, "it")


async def test_rows_are_opened_by_keys_typed_ahead(
    classified: Run, shown: Shown, held: Threads
) -> None:
    async with shown(classified) as pilot:
        await pilot.press("r", "down", "down", "enter", "right")
        assert isinstance(pilot.app.screen, ExamplesScreen)
        assert "reading the rows" in picture(pilot)
        await let_go_until(lambda: isinstance(pilot.app.screen, RowScreen), pilot, held)
        await seen(pilot, "4 of 200 in this list")


async def test_leaving_waits_for_nothing(classified: Run, shown: Shown, held: Threads) -> None:
    async with shown(classified) as pilot:
        await pilot.press("r", "down", "enter", "escape")
        await seen(pilot, "1 Pipeline")
        let_go(held)
        await pilot.press("r")
        await let_go_until(lambda: not held and "rows of test" in picture(pilot), pilot, held)
        assert isinstance(pilot.app.screen, ExamplesScreen)  # what was typed before is forgotten


async def test_sections_are_chosen_before_the_evaluation_is_read(
    classified: Run, shown: Shown, held: Threads
) -> None:
    async with shown(classified) as pilot:
        await pilot.press("v", "6", "down")
        screen = pilot.app.screen
        assert isinstance(screen, EvaluationScreen)
        await let_go_until(lambda: screen.pane.sections, pilot, held)
        await seen(pilot, "▸6 Findings")


async def test_a_threshold_is_moved_before_its_rows_are_read(
    classified: Run, shown: Shown, held: Threads
) -> None:
    async with shown(classified) as pilot:
        await pilot.press("v", "4", "left")
        await let_go_until(lambda: "0 returns" in picture(pilot), pilot, held)
