"""A comparison that was left, or whose line dropped, is found again as it was."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import Shown, picture, seen
from ftev.core.run.runs import Run
from ftev.tui.app.memory import Memory, encode_memory, read_memory, write_memory
from ftev.tui.screens.compare.compare import CompareScreen
from ftev.tui.screens.compare.compare_memory import runs_of
from ftev.tui.screens.home.home import HomeScreen
from test_compare_screen import compared, two_alike

OUTCOME = "No difference is shown between"


async def test_from_home_with_its_runs_pane_cursor_and_scroll(tmp_path: Path, shown: Shown) -> None:
    two_alike(tmp_path)
    async with shown(None, (80, 24), "2 runs") as pilot:
        await pilot.press("space", "space", "c")
        await seen(pilot, OUTCOME, 30.0)
        await pilot.press("2", "down", "down", "1", "enter", "l", "x", "plus", "left", "left")
        left = compared(pilot)
        view, named = left.chart.view, left.named
        assert view.cursor is not None
        assert view.window is not None
        before = picture(pilot)
        await pilot.press("q")
    async with shown(None, (80, 24), OUTCOME) as pilot:
        again = compared(pilot)
        assert again.named == named
        assert again.chart.view == view
        assert (again.desk.shown, again.desk.zoomed, again.focused) == (1, True, again.chart)
        await seen(pilot, "at epoch ")
        assert picture(pilot) == before
        await pilot.press("2")
        assert again.metrics.hidden_above == 2
        await pilot.press("escape", "escape")
        await seen(pilot, "2 marked")
        await pilot.press("q")
    async with shown(None, (80, 24), "2 marked") as pilot:
        assert isinstance(pilot.app.screen, HomeScreen)


async def test_over_a_run_it_is_found_over_that_run(tmp_path: Path, shown: Shown) -> None:
    _, second = two_alike(tmp_path)
    async with shown(second, (120, 40)) as pilot:
        await pilot.press("c")
        await seen(pilot, "▸  plain")
        await pilot.press("enter")
        await seen(pilot, OUTCOME, 30.0)
        await pilot.press("3", "q")
    async with shown(second, (120, 40), OUTCOME) as pilot:
        assert compared(pilot).desk.shown == 3
        await pilot.press("escape", "q")
    async with shown(None, (120, 40), "2 runs") as pilot:  # home has nothing over it
        await pilot.pause()
        assert isinstance(pilot.app.screen, HomeScreen)


async def test_where_a_run_is_gone_home_is_shown(tmp_path: Path, shown: Shown) -> None:
    two_alike(tmp_path)
    async with shown(None, (120, 40), "2 runs") as pilot:
        await pilot.press("space", "space", "c")
        await seen(pilot, OUTCOME, 30.0)
        await pilot.press("q")
    assert read_memory(tmp_path).on_top == "compare"
    shutil.rmtree(tmp_path / "2026-11-20_11-00-00_two")
    async with shown(None, (120, 40), "1 run") as pilot:
        await pilot.pause()
        assert not isinstance(pilot.app.screen, CompareScreen)


@pytest.mark.parametrize("told", [None, [1], [["a"]], [["a", 3]], [["a", "../b"], ["a", ""]]])
def test_nonsense_names_no_runs(tmp_path: Path, told: Any) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "in").mkdir()
    assert runs_of({"runs": told}, tmp_path / "in") == []


async def test_nonsense_about_places_leaves_them(tmp_path: Path, shown: Shown) -> None:
    first, second = two_alike(tmp_path)
    runs = [["plain", first.path.name], ["longer [/]", second.path.name]]
    view = {"window": [-5, 1e30], "cursor": 1e300, "shown": "x", "axis": "x", "marker": 99}
    told = {"runs": runs, "shown": 9, "focus": [], "scrolled": 3, "view": view}
    write_memory(
        tmp_path, encode_memory(Memory(tmp_path, "compare", {"compare": told, "home": {}}))
    )
    async with shown(None, (160, 45), OUTCOME) as pilot:
        screen = compared(pilot)
        assert screen.named == [("plain", Run(first.path)), ("longer [/]", Run(second.path))]
        assert (screen.desk.shown, screen.focused, screen.chart.view.window) == (2, None, None)
        cursor = screen.chart.view.cursor
        assert cursor == screen.chart.view.full_range(screen.chart.curves)[1]
