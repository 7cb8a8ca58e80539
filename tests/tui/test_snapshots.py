"""Pictures of the screens, compared with the ones that were looked at.

After a change that is meant: `pytest tests/tui/test_snapshots.py --snapshot-update`, and look at
what changed. A screen joins with a line in `SCREENS`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import seen
from ftev.core.review import Review
from ftev.core.runs import Run
from ftev.tui.app import FtevApp
from ftev.tui.screens import home
from ftev.tui.screens.review import ReviewScreen
from made_runs import live_worker, make_run, story, until_step, write_events
from stored_runs import write_run
from textual.pilot import Pilot

NOW = 1_795_190_400.0  # of the home screen: an hour and more after the runs
SMALL, LARGE = (80, 24), (160, 45)
BOTH = ((SMALL, "dark"), (LARGE, "light"))
ALL = (*BOTH, (SMALL, "light"), (LARGE, "dark"))


@dataclass(frozen=True)
class Pictured:
    """A screen: the app that shows it, what stands there once it is ready, and the keys to it."""

    name: str
    app: Callable[[str], FtevApp]
    ready: str
    keys: tuple[str, ...] = ()
    then: str = ""  # what stands there after the keys
    views: tuple[tuple[tuple[int, int], str], ...] = BOTH


def _of(number: int) -> Callable[[str], FtevApp]:
    def app(theme: str) -> FtevApp:
        (path,) = sorted(Path("runs").iterdir())[number : number + 1]
        return FtevApp(Path("runs"), Run(path), theme=theme)

    return app


def _home(theme: str) -> FtevApp:
    return FtevApp(Path("runs"), theme=theme)


def _review(theme: str) -> FtevApp:
    review = Review(Run(Path("judged")), "anna")
    return FtevApp(Path("runs"), theme=theme, first=ReviewScreen(review))


FINISHED, VERSE, RUNNING = _of(0), _of(1), _of(2)
SCREENS = (
    Pictured("home", _home, "3 runs", views=ALL),
    Pictured("running", RUNNING, "step 93 of", views=ALL),
    Pictured("chart", RUNNING, "step 93 of", ("4", "enter", "left", "left"), "at step"),
    Pictured("finished", FINISHED, "140 steps in"),
    Pictured("generation", VERSE, "140 steps in"),
    Pictured("receipt", FINISHED, "140 steps in", ("3", "down", "enter"), "Receipt"),
    Pictured("help", RUNNING, "step 93 of", ("question_mark",), "Keys"),
    Pictured("question", RUNNING, "step 93 of", ("S",), "Stop this run?"),
    Pictured("review", _review, "pair 1 of 3", ("down",)),
)
ANSWERS = [(f"question {i}", f"plain words {i}", f"other words {i}") for i in range(3)]


@pytest.fixture(autouse=True)
def one_place_and_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The same folder, clock, time zone and runs on any machine."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setattr(home.time, "time", lambda: NOW)
    write_events(make_run(tmp_path / "runs"), story())
    verse = make_run(tmp_path / "runs", "generation", "verse", 1)
    write_events(verse, story("generation", "verse"))
    running = make_run(tmp_path / "runs", number=2)
    write_events(running, until_step(story(), 93))
    live_worker(running)
    write_run(tmp_path / "judged", {}, answers=ANSWERS)
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("pictured", "size", "theme"),
    [
        pytest.param(p, size, theme, id=f"{p.name}-{size[0]}x{size[1]}-{theme}")
        for p in SCREENS
        for size, theme in p.views
    ],
)
def test_picture(
    pictured: Pictured,
    size: tuple[int, int],
    theme: str,
    snap_compare: Callable[..., bool],
) -> None:
    async def lead_there(pilot: Pilot[int]) -> None:
        await seen(pilot, pictured.ready)
        await pilot.press(*pictured.keys)
        await seen(pilot, pictured.then or pictured.ready)
        await pilot.pause()

    assert snap_compare(pictured.app(theme), terminal_size=size, run_before=lead_there)
