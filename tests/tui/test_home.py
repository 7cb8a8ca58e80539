"""The home screen."""

from __future__ import annotations

from pathlib import Path

from conftest import Shown, picture, seen
from ftev.core.catalog import run_facts as scan
from ftev.core.run.runs import Run
from ftev.tui.screens.home.home import HomeScreen
from ftev.tui.screens.run.run import RunScreen
from made_runs import live_worker, make_run, story, until_step, write_events


def several(folder: Path) -> list[Run]:
    runs = [make_run(folder, name=f"run-{n}", number=n) for n in range(4)]
    write_events(runs[0], story())
    write_events(runs[1], story("generation"))
    write_events(runs[2], until_step(story(), 93))
    write_events(runs[3], until_step(story(), 30))
    live_worker(runs[3])
    return runs


async def test_runs_stand_newest_first_with_status_and_headline(
    tmp_path: Path, shown: Shown
) -> None:
    several(tmp_path)
    async with shown(None, (120, 30), "4 runs") as pilot:
        lines = [line for line in picture(pilot).split("\n") if "reviews" in line]
        assert [("running" in n, "died" in n, "finished" in n) for n in lines] == [
            (True, False, False),
            (False, True, False),
            (False, False, True),
            (False, False, True),
        ]
        assert "running 21 %" in lines[0]
        assert "step 30 of 140" in picture(pilot)
        assert "loss 5.080 → 3.110 (test)" in lines[2]
        assert "macro F1 probe 71.4 % → 89.5 % (test)" in lines[3]
        assert any(0x2800 < ord(character) < 0x2900 for character in lines[0])


async def test_enter_opens_and_escape_comes_back(tmp_path: Path, shown: Shown) -> None:
    several(tmp_path)
    async with shown(None, (120, 40), "4 runs") as pilot:
        await pilot.press("down", "down", "enter")
        await seen(pilot, "asked by the run")
        assert isinstance(pilot.app.screen, RunScreen)
        await pilot.press("escape")
        await seen(pilot, "4 runs")
        assert isinstance(pilot.app.screen, HomeScreen)
        await pilot.press("escape")
        await seen(pilot, "asked by the run")


async def test_the_cursor_stays_on_its_run_when_a_new_one_appears(
    tmp_path: Path, shown: Shown
) -> None:
    several(tmp_path)
    async with shown(None, (120, 40), "4 runs") as pilot:
        await pilot.press("end", "up")
        screen = pilot.app.screen
        assert isinstance(screen, HomeScreen)
        assert screen.chosen is not None
        before = screen.chosen.run.id
        write_events(make_run(tmp_path, name="newest", number=9), story())
        await seen(pilot, "5 runs")
        assert screen.chosen.run.id == before


async def test_an_empty_folder_says_how_to_begin(tmp_path: Path, shown: Shown) -> None:
    async with shown(None, (80, 24), "ftev-tui demo") as pilot:
        assert "No runs here yet." in picture(pilot)
        await pilot.press("enter", "e", "up", "end")
        await pilot.press("question_mark")
        await seen(pilot, "a new run, empty or like the chosen one")
        await pilot.press("escape", "n")
        await seen(pilot, "2 to be given")


async def test_the_report_of_the_chosen_run(tmp_path: Path, shown: Shown) -> None:
    runs = several(tmp_path)
    async with shown(None, (120, 40), "4 runs") as pilot:
        await pilot.press("end", "e")
        await seen(pilot, "written: ")
        assert (runs[0].path / "report.md").exists()


async def test_a_list_longer_than_the_screen_scrolls(tmp_path: Path, shown: Shown) -> None:
    for number in range(40):
        make_run(tmp_path, name=f"run-{number}", number=number)
    async with shown(None, (80, 24), "40 runs") as pilot:
        await pilot.press("end")
        await seen(pilot, "▸  run-0 ")
        await pilot.press("home")
        await seen(pilot, "▸  run-39 ")


def test_a_long_file_is_summed_up_from_both_ends(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    events = story()
    write_events(run, events)
    whole = scan.read_edges(run.events_path)
    size = scan.EDGE_BYTES
    try:
        scan.EDGE_BYTES = 6_000
        edges = scan.read_edges(run.events_path)
    finally:
        scan.EDGE_BYTES = size
    assert len(edges.steps) < len(whole.steps)
    assert (edges.step, edges.max_steps, edges.task) == (140, 140, "classification")
    assert edges.results == whole.results
