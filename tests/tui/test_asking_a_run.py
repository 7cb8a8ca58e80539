"""What can be asked of a run from its screen: refusals, orders, ended runs that go on."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import Shown, picture, seen
from ftev.core.control import AskCheckpoint, AskPause, AskResume, AskStop
from ftev.core.events import CheckpointSaved, Event, Paused, Resumed, RunFinished
from ftev.core.runs import Run
from ftev.tui.screens.refusal import Refusal
from ftev.tui.screens.run import RunScreen
from ftev.tui.screens.run_prompt import NOTHING_ANSWERS
from ftev.tui.widgets.asking import RequestTold
from made_runs import write_events


async def test_what_is_typed_after_a_refused_prompt_is_no_key(finished: Run, shown: Shown) -> None:
    async with shown(finished, (80, 24), "SHIP") as pilot:
        await pilot.press("p", *"Oh, gently he quits n", "c")
        await seen(pilot, NOTHING_ANSWERS[:40])
        assert isinstance(pilot.app.screen, Refusal)
        await pilot.press("enter", "4")
        await seen(pilot, "▸4 Charts")
        assert isinstance(pilot.app.screen, RunScreen)
        assert NOTHING_ANSWERS[:40] not in picture(pilot)


SAID = {
    AskPause: "pausing after this step",
    AskResume: "going on",
    AskCheckpoint: "saving after this step",
    AskStop: "stopping: the state is saved first",
}
DONE: list[tuple[str, Event, str]] = [
    ("P", Paused(step=93), "paused after step 93"),
    ("C", CheckpointSaved(step=93, path="checkpoints/step_93", seconds=0), "saved: checkpoints"),
    ("P", Resumed(step=93), "going on after step 93"),
    ("S", RunFinished(status="stopped"), "stopped at step 93"),
]


async def test_an_order_is_told_as_done_once_it_is(
    running: Run, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, Any]] = []

    def answer(run: Run, request: Any, post: Any) -> None:
        asked.append((SAID[type(request)], post))

    monkeypatch.setattr("ftev.tui.screens.run_questions.ask_request", answer)
    async with shown(running, (80, 24), "▶ running") as pilot:
        for key, event, done in DONE:
            await pilot.press(key, "y")
            await pilot.pause()
            said, post = asked.pop()
            post(RequestTold(said))
            await seen(pilot, said)
            write_events(running, [event])
            await seen(pilot, done)
            assert said not in picture(pilot).replace(done, "")
            post(RequestTold(said))  # late: it is done
            await pilot.pause()
            assert done in picture(pilot)
