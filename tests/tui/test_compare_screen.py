"""The compare screen: curves, settings, metrics, and what it remembers."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import Shown, picture, seen
from ftev.core.catalog.notes import RunNotes, write_notes
from ftev.core.compare.compared import describe_outcome
from ftev.core.judgement.selection import read_difference
from ftev.core.metrics.results import Comparison
from ftev.core.run.runs import Run
from ftev.tui.app.memory import Memory, encode_memory, read_memory, write_memory
from ftev.tui.drawing.lines import text_of, width_of
from ftev.tui.drawing.plot import ASCII
from ftev.tui.screens.compare.compare import CompareScreen, runs_of
from ftev.tui.screens.compare.panes import place_panes
from ftev.tui.screens.compare.tables import HANDS, Curve, OverlayView, overlay_lines, setting_lines
from ftev.tui.screens.home.home import HomeScreen
from ftev.tui.screens.run.run import RunScreen
from made_runs import make_run, story, until_step, write_events
from msgspec.structs import replace
from textual.pilot import Pilot

SAMPLES = Path(__file__).parents[2] / "sample_runs"


def two_alike(folder: Path) -> tuple[Run, Run]:
    """A sample run and its copy, in which one setting was another."""
    runs = []
    for name in ("2026-11-20_10-00-00_one", "2026-11-20_11-00-00_two"):
        shutil.copytree(SAMPLES / "classification", folder / name)
        runs.append(Run(folder / name))
    config = runs[1].path / "run.toml"
    config.write_text(config.read_text().replace("epochs = 5.0", "epochs = 6.0"))
    write_notes(runs[0], RunNotes(name="plain"))
    write_notes(runs[1], RunNotes(name="longer [/]"))
    return runs[0], runs[1]


def compared(pilot: Pilot[int]) -> CompareScreen:
    screen = pilot.app.screen
    assert isinstance(screen, CompareScreen)
    return screen


async def test_marked_runs_are_compared_row_by_row(tmp_path: Path, shown: Shown) -> None:
    two_alike(tmp_path)
    async with shown(None, (160, 45), "2 runs") as pilot:
        await pilot.press("space", "space", "c")
        await seen(pilot, "No difference is shown between", 30.0)
        found = picture(pilot)
        for text in ("plain", "longer [/]", "train.epochs", "· not shown", "95 % interval"):
            assert text in found
        screen = compared(pilot)
        view = screen.chart.view
        await pilot.press("tab", "tab", "tab", "1")
        assert screen.focused is screen.chart
        await pilot.press("left", "left", "shift+left", "right", "shift+right")
        assert view.cursor is not None
        await seen(pilot, "at step ")
        await pilot.press("plus", "plus", "minus")
        assert view.window is not None
        await pilot.press("s", "s", "y", "o", "b", "x", "l")
        assert (view.smoothing, view.log, view.clip_outliers) == (0.0, True, True)
        assert (view.axis, view.shown, view.marker.name) == ("epoch", "validation", "block")
        await pilot.press("0", "left", "escape")
        assert screen.chart.view.cursor is None
        await pilot.press("enter", "2", "end", "home", "shift+tab", "escape", "e")
        await seen(pilot, "written: ")
        page = next(tmp_path.glob("compare_*.md")).read_text()
        assert "# Runs side by side" in page
        assert "train.epochs" in page
        await pilot.press("escape")
        await seen(pilot, "2 marked")


async def test_a_refusal_says_why_at_every_size(tmp_path: Path, shown: Shown) -> None:
    first, _ = two_alike(tmp_path)
    half = make_run(tmp_path, name="half", number=9)
    write_events(half, until_step(story(), 40))
    assert first.path.exists()
    async with shown(None, (80, 24), "3 runs") as pilot:
        await pilot.press("end", "space", "home", "space", "c")
        await seen(pilot, "These runs cannot be compared", 30.0)
        assert "no split that every run has" in picture(pilot)
        await pilot.press("1")
        await seen(pilot, "training, smoothed")
        await pilot.press("3")
        await seen(pilot, "train.seed")
        await pilot.press("question_mark")
        await seen(pilot, "On the chart")
        await pilot.press("escape")
        await pilot.resize_terminal(60, 20)
        await seen(pilot, "ftev needs 80 × 24 cells")


async def test_a_run_is_compared_with_one_picked_from_a_list(tmp_path: Path, shown: Shown) -> None:
    _, second = two_alike(tmp_path)
    async with shown(second, (120, 40)) as pilot:
        await pilot.press("c")
        await seen(pilot, "compared with …")
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, RunScreen)
        await pilot.press("c")
        await seen(pilot, "▸  plain")
        assert "longer" not in picture(pilot).partition("\n")[2]
        await pilot.press("down", "up", "end", "enter")
        await seen(pilot, "No difference is shown between longer [/] and plain", 30.0)
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, RunScreen)


def difference(to: str, low: float, high: float, **more: float) -> Comparison:
    return Comparison(
        split="test",
        metric="macro_f1",
        from_model="a",
        to_model=to,
        difference=(low + high) / 2,
        low=low,
        high=high,
        p=0.01,
        method="paired",
        **more,
    )


def document(names: str, *comparisons: Comparison) -> dict[str, object]:
    runs = [{"name": name} for name in names]
    about = {"split": "test", "metric": "macro_f1", "baseline": "a", "positive": None}
    return {**about, "runs": runs, "comparisons": comparisons, "unpaired": []}


def test_the_sentence_says_what_came_out() -> None:
    better = difference("b", 0.01, 0.05, fixed=12, broke=3)
    assert describe_outcome(document("ab", better)) == (
        "b is better than a: +3.0 points in macro F1 on test "
        "(paired 95 %: +1.0 to +5.0, p = 0.0100); it fixed 12 rows and broke 3."
    )
    same = difference("b", -0.01, 0.03, smallest_detectable=0.025)
    assert describe_outcome(document("ab", same)).endswith(
        "detectable with these rows: 2.5 points or more."
    )
    worse = difference("c", -0.05, -0.01, p_holm=0.02)
    doubtful = difference("d", 0.01, 0.05, p_holm=0.06)
    assert read_difference(doubtful) == "cannot tell"
    assert describe_outcome(document("abcd", replace(better, p_holm=0.02), worse, doubtful)) == (
        "macro F1 on test against a: better: b (+3.0 points); worse: c (-3.0 points); "
        "no difference shown: d (+3.0 points)."
    )
    unpaired = {**document("ab"), "unpaired": [{"run": "b", "reason": "other rows"}]}
    assert describe_outcome(unpaired) == ("No evidence either way: b is not paired with a.")


def test_curves_fit_and_tell_themselves_apart_without_colour(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    write_events(run, story())
    from ftev.core.run.history import read_history

    curves = [Curve(f"run {i} 日本", hand, read_history(run)) for i, hand in enumerate(HANDS)]
    assert len({(h.line, h.sign) for h in HANDS}) == len({h.sign for h in HANDS}) == len(HANDS)
    for axis in ("step", "epoch", "time", "tokens"):
        for size in ((40, 12), (78, 18), (200, 50)):
            lines = overlay_lines(curves, OverlayView(axis=axis, marker=ASCII), *size)
            assert len(lines) <= size[1]
            assert all(width_of(line) <= size[0] for line in lines)
            assert sum("run " in text_of(line) for line in lines) == min(6, size[1] - 6)


def test_settings_and_places() -> None:
    lines = setting_lines({"train.seed": [1, None], "a\x1b": ["x" * 300, 0.5]}, ["a", "b\x07"], 78)
    found = [text_of(line) for line in lines]
    assert all(width_of(line) <= 78 for line in lines)
    assert "–" in found[1]
    assert "␛" in found[2]
    assert set(place_panes(160, 40, 2, zoomed=False)) == {1, 2, 3}
    assert set(place_panes(160, 40, 2, zoomed=True)) == {2}
    assert set(place_panes(80, 19, 1, zoomed=False)) == {1}


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


@pytest.mark.parametrize("expected", [None, [1], [["a"]], [["a", 3]], [["a", "../b"], ["a", ""]]])
def test_nonsense_names_no_runs(tmp_path: Path, expected: Any) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "in").mkdir()
    assert runs_of({"runs": expected}, tmp_path / "in") == []


async def test_nonsense_about_places_leaves_them(tmp_path: Path, shown: Shown) -> None:
    first, second = two_alike(tmp_path)
    runs = [["plain", first.path.name], ["longer [/]", second.path.name]]
    view = {"window": [-5, 1e30], "cursor": 1e300, "shown": "x", "axis": "x", "marker": 99}
    values = {"runs": runs, "shown": 9, "focus": [], "scrolled": 3, "view": view}
    write_memory(
        tmp_path, encode_memory(Memory(tmp_path, "compare", {"compare": values, "home": {}}))
    )
    async with shown(None, (160, 45), OUTCOME) as pilot:
        screen = compared(pilot)
        assert screen.named == [("plain", Run(first.path)), ("longer [/]", Run(second.path))]
        assert (screen.desk.shown, screen.focused, screen.chart.view.window) == (2, None, None)
        cursor = screen.chart.view.cursor
        assert cursor == screen.chart.view.full_range(screen.chart.curves)[1]
