"""Runs to look at and ways to look at them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from ftev.core.run.runs import Run
from ftev.tui.app.app import FtevApp
from made_runs import live_worker, make_run, story, until_step, write_events
from textual.pilot import Pilot
from waiting import patience

Shown = Callable[..., AbstractAsyncContextManager[Pilot[int]]]


@pytest.fixture(autouse=True)
def state_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What screens remember stays within the test."""
    folder = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    return folder


@pytest.fixture
def finished(tmp_path: Path) -> Run:
    run = make_run(tmp_path)
    write_events(run, story())
    return run


@pytest.fixture
def generated(tmp_path: Path) -> Run:
    run = make_run(tmp_path, "generation", "verse", 1)
    write_events(run, story("generation", "verse"))
    return run


@pytest.fixture
def running(tmp_path: Path) -> Run:
    run = make_run(tmp_path, number=2)
    write_events(run, until_step(story(), 93))
    live_worker(run)
    return run


@pytest.fixture
def shown(tmp_path: Path) -> Shown:
    """The app in a terminal of a size, its first data drawn."""

    @asynccontextmanager
    async def show(
        run: Run | None = None, size: tuple[int, int] = (120, 40), wait_for: str = ""
    ) -> AsyncIterator[Pilot[int]]:
        app = FtevApp(tmp_path, run, theme="dark")
        async with app.run_test(size=size) as pilot:
            await seen(pilot, wait_for or ("base model loaded" if run else "runs"))
            yield pilot

    return show


def picture(pilot: Pilot[int]) -> str:
    """What stands on the screen, a line a row."""
    strips = pilot.app.screen._compositor.render_strips()
    return "\n".join(strip.text for strip in strips)


async def seen(pilot: Pilot[int], text: str, seconds: float = patience(30.0)) -> None:
    """Wait until a text stands on the screen."""
    await until(pilot, lambda: text in picture(pilot), repr(text), seconds)


async def until(
    pilot: Pilot[int], holds: Callable[[], object], what: str, seconds: float = patience(30.0)
) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"no {what} on\n{picture(pilot)}"
        await pilot.pause(0.02)
