"""Runs to look at and ways to look at them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ftev.core.run.runs import Run
from ftev.tui.app.app import FtevApp
from made_runs import live_worker, make_run, story, until_step, write_events
from textual.css.model import RuleSet
from textual.css.stylesheet import Stylesheet
from textual.css.types import CSSLocation
from textual.pilot import Pilot
from waiting import patience

Shown = Callable[..., AbstractAsyncContextManager[Pilot[int]]]


parse_rules = Stylesheet._parse_rules


@pytest.fixture(autouse=True, scope="session")
def _rules_parsed_once() -> Iterator[None]:
    """Of the same variables: each test has an app of its own, which would parse its sheet anew."""

    @cache
    def parsed(variables: frozenset[tuple[str, str]], *rules: Any) -> list[RuleSet]:
        return parse_rules(Stylesheet(variables=dict(variables)), *rules)

    def parse(
        self: Stylesheet,
        css: str,
        read_from: CSSLocation,
        is_default_rules: bool = False,
        tie_breaker: int = 0,
        scope: str = "",
    ) -> list[RuleSet]:
        variables = frozenset(self._variables.items())
        return parsed(variables, css, read_from, is_default_rules, tie_breaker, scope)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stylesheet, "_parse_rules", parse)
        yield


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
