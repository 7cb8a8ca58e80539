"""What can be asked of a run from its screen: refusals, orders, ended runs that go on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import Shown, picture, seen
from ftev.core.run.control import AskCheckpoint, AskPause, AskResume, AskStop
from ftev.core.run.events import CheckpointSaved, Event, Paused, Resumed, RunFinished, RunStarted
from ftev.core.run.runs import TRAINING_STATE, Run
from ftev.tui.screens.prompt.answers import Exchange
from ftev.tui.screens.prompt.prompt import NOTHING_ANSWERS
from ftev.tui.screens.run.run import RunScreen
from ftev.tui.widgets.framed import Outcome, Refusal
from made_runs import live_worker, make_run, story, until_step, write_events


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

    monkeypatch.setattr("ftev.tui.screens.run.status.ask_request", answer)
    async with shown(running, (80, 24), "▶ running") as pilot:
        for key, event, done in DONE:
            await pilot.press(key, "y")
            await pilot.pause()
            said, post = asked.pop()
            post(Outcome(said))
            await seen(pilot, said)
            write_events(running, [event])
            await seen(pilot, done)
            assert said not in picture(pilot).replace(done, "")
            post(Outcome(said))  # late: it is done
            await pilot.pause()
            assert done in picture(pilot)


def with_checkpoint(run: Run, step: int) -> None:
    folder = run.checkpoints / f"step_{step:06d}"
    folder.mkdir(parents=True)
    (folder / TRAINING_STATE).write_text("{}")


@pytest.fixture
def stopped(tmp_path: Path) -> Run:
    run = make_run(tmp_path, number=3)
    write_events(run, [*until_step(story(), 93), RunFinished(status="stopped")])
    with_checkpoint(run, 93)
    return run


@pytest.mark.parametrize("size", [(80, 24), (160, 45)])
async def test_a_stopped_run_goes_on_from_its_screen(
    stopped: Run, shown: Shown, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Run] = []
    monkeypatch.setattr(
        "ftev.tui.screens.run.status.resume_run", lambda run, post: begun.append(run)
    )
    command = f"ftev-tui resume {stopped.id}"
    async with shown(stopped, size, "■ stopped") as pilot:
        assert command in picture(pilot)
        assert "P resume" in picture(pilot)
        for key in "SC":
            await pilot.press(key)
            await seen(pilot, "The run is stopped. P or")
            text = " ".join(picture(pilot).split())
            assert text.endswith(f"`{command}` goes on from step 93.")  # whole, if in two lines
        await pilot.press("P")
        await seen(pilot, "Go on with this run?")
        await pilot.press("y")
        await pilot.pause()
        assert begun == [stopped]
        live_worker(stopped)
        start = RunStarted(
            run="r",
            name="reviews",
            task="classification",
            pid=1,
            host="h",
            resumed_from_step=93,
            ftev_version="0.1.0",
        )
        write_events(stopped, [start])
        await seen(pilot, "going on from step 93")
        await seen(pilot, "▶ running")


async def test_what_nothing_is_kept_of_cannot_go_on(stopped: Run, shown: Shown) -> None:
    shutil.rmtree(stopped.checkpoints)
    async with shown(stopped, (120, 40), "■ stopped") as pilot:
        assert "ftev-tui resume" not in picture(pilot)
        await pilot.press("P")
        await seen(pilot, "no checkpoint is here to resume from")
        await pilot.press("p")
        await seen(pilot, NOTHING_ANSWERS[:40])


async def test_a_stopped_run_answers_with_its_kept_checkpoint(
    stopped: Run, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Exchange] = []
    monkeypatch.setattr(
        "ftev.tui.screens.prompt.prompt.ask_prompt",
        lambda run, exchange, request, post: asked.append(exchange),
    )
    with_checkpoint(stopped, 84)  # the best one
    async with shown(stopped, (120, 40), "■ stopped") as pilot:
        await pilot.press("p", *"tea", "enter")
        await pilot.pause()
        assert [e.settings for e in asked] == ["as of step 84"]


async def test_a_died_run_must_go_on_before_it_answers(tmp_path: Path, shown: Shown) -> None:
    run = make_run(tmp_path, number=4)
    write_events(run, until_step(story(), 93))
    with_checkpoint(run, 84)
    async with shown(run, (120, 40), "✗ died") as pilot:
        assert f"P or ftev-tui resume {run.id} goes on from step 84" in picture(pilot)
        await pilot.press("p")
        await seen(pilot, "It died. P or")
