"""What can be asked of a run from its screen: refusals, orders, ended runs that go on."""

from __future__ import annotations

from pathlib import Path

from conftest import Shown, picture, seen
from ftev.core.runs import Run
from ftev.tui.screens.refusal import Refusal
from ftev.tui.screens.run import RunScreen
from ftev.tui.screens.run_prompt import NOTHING_ANSWERS


async def test_what_is_typed_after_a_refused_prompt_is_no_key(finished: Run, shown: Shown) -> None:
    async with shown(finished, (80, 24), "SHIP") as pilot:
        await pilot.press("p", *"Oh, gently he quits n", "c")
        await seen(pilot, NOTHING_ANSWERS[:40])
        assert isinstance(pilot.app.screen, Refusal)
        await pilot.press("enter", "4")
        await seen(pilot, "▸4 Charts")
        assert isinstance(pilot.app.screen, RunScreen)
        assert NOTHING_ANSWERS[:40] not in picture(pilot)
