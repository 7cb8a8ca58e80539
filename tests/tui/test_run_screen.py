"""The run screen, key by key."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest
from conftest import Shown, picture, seen
from ftev.core.run.control import AskPrompt, Held, Labelled
from ftev.core.run.events import RunFinished, StepDone
from ftev.core.run.runs import Run
from ftev.tui.app.app import FtevApp
from ftev.tui.app.keys import APP_KEYS, CHART_KEYS, HOME_KEYS, PROMPT_KEYS, RUN_KEYS
from ftev.tui.drawing.plot import BLOCK
from ftev.tui.screens.charts.chart import ChartPane
from ftev.tui.screens.prompt.asking import ReplyCame
from ftev.tui.screens.run.run import RunScreen
from ftev.tui.widgets.framed import Outcome
from ftev.tui.widgets.pane import NumberedPane
from made_runs import REPORTS, live_worker, make_run, story, until_step, write_events
from textual.pilot import Pilot
from waiting import wait_for_silence

TAKEN_BY_TERMINALS = {f"ctrl+{letter}" for letter in "basz" + "mihw"}


def run_screen(pilot: Pilot[int]) -> RunScreen:
    screen = pilot.app.screen_stack[0]
    assert isinstance(screen, RunScreen)
    return screen


@pytest.mark.parametrize("size", [(80, 24), (100, 33), (120, 40), (150, 37), (200, 50), (300, 100)])
async def test_a_run_in_motion_is_shown_at_every_size(
    running: Run, shown: Shown, size: tuple[int, int]
) -> None:
    async with shown(running, size, "▶ running") as pilot:
        screen = picture(pilot)
        assert "training data prepared" in screen
        assert "step 93 of 140" in screen
        assert "4 Charts" in screen
        assert {len(line) for line in screen.split("\n")} == {size[0]}
        if size[0] >= 120:
            assert "[+24.4, +48.0]" in screen
            assert "still learning" in screen


async def test_below_the_smallest_size_there_is_one_sentence(running: Run, shown: Shown) -> None:
    async with shown(running, (79, 23), "ftev needs 80 × 24 cells") as pilot:
        assert picture(pilot).split() == [
            "ftev",
            "needs",
            "80",
            "×",
            "24",
            "cells;",
            "this",
            "is",
            "79",
            "×",
            "23.",
            "q",
            "leaves.",
        ]
        await pilot.press("p", "h", "S", "y", "4", "ctrl+p")
        assert [type(s) for s in pilot.app.screen_stack] == [RunScreen]
        assert pilot.app.focused is None
        await pilot.resize_terminal(80, 24)
        await seen(pilot, "base model loaded")
        await pilot.resize_terminal(1, 1)
        await pilot.pause()
        await pilot.press("q")
        assert pilot.app.return_code == 0


async def test_a_finished_run_opens_on_its_metrics_and_verdict(finished: Run, shown: Shown) -> None:
    async with shown(finished, (80, 24), "SHIP") as pilot:
        assert "▸3 Metrics" in picture(pilot)
        assert "S stop" not in picture(pilot)


async def test_a_generation_run_shows_perplexity_and_held_out_text(
    generated: Run, shown: Shown
) -> None:
    async with shown(generated, (200, 50), "SHIP") as pilot:
        screen = picture(pilot)
        assert "perplexity" in screen
        assert "held out 0" in screen
        assert "asked by the run at step 140" in screen
        assert "◆" in screen.partition("asked by the run")[2]


async def test_a_dead_worker_and_a_failed_run_are_told_apart(tmp_path: Path, shown: Shown) -> None:
    died, failed = make_run(tmp_path, number=3), make_run(tmp_path, number=4)
    write_events(died, until_step(story(), 93))
    end = RunFinished(status="failed", error="out of memory\nlower train.batch_size", exit_code=1)
    write_events(failed, [*until_step(story(), 93), end])
    async with shown(died, (120, 40), "✗ died") as pilot:
        assert "the worker died at step 93" in picture(pilot)
    async with shown(failed, (120, 40), "✗ failed") as pilot:
        assert "lower train.batch_size" in picture(pilot)


async def test_a_run_without_events_and_a_vanished_run_are_shown(
    tmp_path: Path, shown: Shown
) -> None:
    run = make_run(tmp_path, number=5)
    async with shown(run, (80, 24), "waiting for the worker") as pilot:
        shutil.rmtree(run.path)
        await pilot.pause(0.3)
        assert "· starting" in picture(pilot)


async def test_what_a_worker_adds_appears_by_itself(running: Run, shown: Shown) -> None:
    async with shown(running) as pilot:
        write_events(running, until_step(story(), 112)[len(until_step(story(), 93)) :])
        await seen(pilot, "step 112 of 140")
        await seen(pilot, "step 98")  # the last evaluation, in the metrics


async def test_panes_are_reached_by_number_and_by_tab(running: Run, shown: Shown) -> None:
    async with shown(running, (80, 24)) as pilot:
        for number, text in ((2, "epoch  train loss"), (3, "100 rows"), (6, "text column")):
            await pilot.press(str(number))
            await seen(pilot, text)
            assert f"▸{number}" in picture(pilot)
            focused = pilot.app.focused
            assert isinstance(focused, NumberedPane)
            assert number == focused.NUMBER
        await pilot.press("tab")
        assert pilot.app.focused is run_screen(pilot).pipeline
        await pilot.press("shift+tab", "shift+tab")
        assert pilot.app.focused is run_screen(pilot).prompt


async def test_enter_zooms_and_escape_goes_one_layer_out(running: Run, shown: Shown) -> None:
    async with shown(running) as pilot:
        await pilot.press("4", "enter")
        await pilot.pause()
        assert "Pipeline" not in picture(pilot)
        assert run_screen(pilot).chart.region.width == 120
        await pilot.press("left")
        assert run_screen(pilot).chart.view.cursor == 92
        await pilot.press("escape")
        assert run_screen(pilot).chart.view.cursor is None
        await pilot.press("escape")
        await seen(pilot, "Pipeline")
        await pilot.press("escape")
        await seen(pilot, "1 run")


async def test_the_keys_of_the_chart(running: Run, shown: Shown) -> None:
    async with shown(running) as pilot:
        chart = run_screen(pilot).chart
        await pilot.press("4", "left", "left")
        await seen(pilot, "at step 9")
        near = chart.view.cursor
        assert near is not None
        assert near < 92
        await pilot.press("shift+left")
        assert chart.view.cursor is not None
        assert chart.view.cursor < near - 5
        await pilot.press("right", "shift+right")
        await pilot.press("plus")
        assert chart.view.window is not None
        await pilot.press("minus")
        assert chart.view.window is None
        await pilot.press("s")
        assert chart.view.smoothing == 0.9
        await pilot.press("y", "o", "b")
        assert chart.view.log
        assert chart.view.clip_outliers
        assert chart.view.marker is BLOCK
        for axis in ("epoch", "time", "tokens"):
            await pilot.press("x")
            assert chart.view.axis == axis
            await pilot.pause()
        await pilot.press("m")
        await seen(pilot, "learning rate")
        await pilot.press("up", "home")
        await seen(pilot, "       1")
        await pilot.press("m", "0")
        assert not chart.view.log
        assert chart.view.axis == "step"
        assert chart.view.cursor is None


async def test_enter_on_a_metric_opens_its_receipt(finished: Run, shown: Shown) -> None:
    async with shown(finished, (120, 40), "SHIP") as pilot:
        await pilot.press("3", "down", "down", "enter")
        await seen(pilot, "Receipt: accuracy")
        screen = picture(pilot)
        assert "right rows ÷ rows" in screen
        assert "fixed 41, broke 5" in screen
        await pilot.press("escape")
        await pilot.pause()
        assert "Receipt" not in picture(pilot)
        await pilot.press("end", "escape")
        assert run_screen(pilot).metrics.cursor is None


async def test_help_is_made_from_the_table_that_drives_the_keys(running: Run, shown: Shown) -> None:
    async with shown(running, (120, 60)) as pilot:
        await pilot.press("question_mark")
        await seen(pilot, "Keys")
        screen = picture(pilot)
        for key in (*RUN_KEYS, *CHART_KEYS, *APP_KEYS):
            assert not key.shown or f"{key.shown.ljust(18)}{key.words}" in screen
        await pilot.press("q")
        await pilot.pause()
        assert pilot.app.is_running
        assert "On the chart" not in picture(pilot)


async def test_help_scrolls_where_it_is_longer_than_the_screen(running: Run, shown: Shown) -> None:
    async with shown(running, (80, 24)) as pilot:
        await pilot.press("f1")
        await seen(pilot, "lines below")
        await pilot.press("pagedown", "pagedown", "pagedown")
        await seen(pilot, "never stops a run")


async def test_the_worker_of_a_run_that_is_over_is_only_ended(finished: Run, shown: Shown) -> None:
    live_worker(finished)
    async with shown(finished, wait_for="✓ finished") as pilot:
        await pilot.press("C")
        await seen(pilot, "The run is over")
        await pilot.press("S")
        await seen(pilot, "End its worker?")
        assert "resume" not in picture(pilot)


async def test_acts_on_the_worker_ask_first_and_default_to_no(running: Run, shown: Shown) -> None:
    async with shown(running, wait_for="▶ running") as pilot:
        for key, question in (
            ("S", "Stop this run?"),
            ("P", "Pause this"),
            ("C", "checkpoint now?"),
        ):
            for answer in ("enter", "escape", "n"):
                await pilot.press(key)
                await seen(pilot, question)
                await pilot.press(answer)
                await pilot.pause()
                assert question not in picture(pilot)
        assert "no worker" not in picture(pilot)


async def test_yes_sends_the_request_and_its_answer_is_told(running: Run, shown: Shown) -> None:
    async with shown(running) as pilot:
        await pilot.press("S")
        await seen(pilot, "Stop this run?")
        await pilot.press("y")
        await seen(pilot, "no worker is running")  # this test has no socket
        run_screen(pilot).post_message(Outcome("a checkpoint will be saved"))
        await seen(pilot, "a checkpoint will be saved")


async def test_nothing_is_asked_of_a_worker_that_is_not_there(finished: Run, shown: Shown) -> None:
    async with shown(finished) as pilot:
        await pilot.press("S")
        await seen(pilot, "No worker is alive")
        await pilot.press("p")
        await seen(pilot, "the weights of this run are not")
        assert run_screen(pilot).prompt.box is None


async def test_a_prompt_is_written_sent_recalled_and_answered(
    running: Run, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def answer(run: Run, exchange: object, request: AskPrompt, post: object) -> None:
        asked.append(request.text)
        for reply in (
            Held(step=93),
            Labelled(model="base", name="probe", probabilities={"positive": 0.6, "negative": 0.4}),
            Labelled(model="tuned", name="tuned", probabilities={"positive": 0.1, "negative": 0.9}),
        ):
            post(ReplyCame(exchange, reply))  # type: ignore[operator,arg-type]

    monkeypatch.setattr("ftev.tui.screens.prompt.prompt.ask_prompt", answer)
    async with shown(running, wait_for="▶ running") as pilot:
        await pilot.press("p")
        box = run_screen(pilot).prompt.box
        assert box is not None
        await pilot.press(*"bad q1", "ctrl+j", *"S?", "enter")
        await seen(pilot, "changed: positive → negative")
        assert asked == ["bad q1\nS?"]
        assert "training is held at step 93" in picture(pilot)
        await pilot.press("up")
        assert box.text == "bad q1\nS?"
        await pilot.press("escape")
        assert pilot.app.focused is run_screen(pilot).prompt
        assert not box.can_focus
        await pilot.press("tab", "tab", "tab", "tab", "tab", "tab")
        assert pilot.app.focused is run_screen(pilot).prompt


async def test_no_input_has_the_focus_by_itself(running: Run, shown: Shown) -> None:
    async with shown(running) as pilot:
        assert pilot.app.focused is None


async def test_the_report_is_written_on_e(finished: Run, shown: Shown) -> None:
    async with shown(finished) as pilot:
        await pilot.press("e")
        await seen(pilot, "written: ")
    assert all((finished.path / name).stat().st_size for name in REPORTS)


async def test_a_finished_run_without_a_report_gets_it_from_who_opens_it(
    finished: Run, shown: Shown
) -> None:
    for name in REPORTS[1:]:
        (finished.path / name).unlink()
    async with shown(finished) as pilot:
        await seen(pilot, f"report.html, report.json of {finished.id} were missing: written now")
    report = json.loads((finished.path / "report.json").read_bytes())
    assert report["run"]["status"] == "finished"
    assert not (finished.path / "report.md").stat().st_size  # it was there


async def test_leaving_is_q_and_ctrl_c_says_so(running: Run, shown: Shown) -> None:
    async with shown(running) as pilot:
        await pilot.press("ctrl+c")
        await seen(pilot, "q leaves; the run goes on")
        assert pilot.app.is_running
        await pilot.press("q")
        await pilot.pause()
        assert pilot.app.return_code == 0
    assert running.worker_alive()


async def test_themes_and_the_palette(running: Run, shown: Shown) -> None:
    async with shown(running) as pilot:
        for name in ("light", "high-contrast", "colour-blind", "ansi"):
            await pilot.press("t")
            assert pilot.app.theme == f"ftev-{name}"
        await pilot.press("ctrl+p")
        await seen(pilot, "all runs")
        await pilot.press("escape")
        pilot.app.theme = "nord"  # one that knows nothing of our colours
        await pilot.pause()
        assert "Pipeline" in picture(pilot)


def test_no_key_is_one_that_terminals_take() -> None:
    tables = (APP_KEYS, RUN_KEYS, CHART_KEYS, HOME_KEYS, PROMPT_KEYS)
    keys = {key for table in tables for entry in table for key in entry.keys.split(",")}
    assert not keys & TAKEN_BY_TERMINALS


async def test_values_that_are_not_finite_break_nothing(tmp_path: Path, shown: Shown) -> None:
    run = make_run(tmp_path, number=6)
    events = [
        StepDone(
            step=step,
            epoch=0.1,
            loss_sum=float("nan" if step % 2 else "inf"),
            loss_count=1,
            learning_rate=0.0,
            grad_norm=float("inf"),
            tokens=0,
            seconds=0.0,
        )
        for step in range(1, 40)
    ]
    write_events(run, [*story()[:5], *events])
    live_worker(run)
    async with shown(run, (120, 40), "39 not finite") as pilot:
        await pilot.press("4", "left", "y", "s", "x", "m")
        await pilot.pause()
        assert pilot.app.is_running


async def test_nothing_is_drawn_while_nothing_changes(running: Run, shown: Shown) -> None:
    async with shown(running) as pilot:
        drawn: list[object] = []
        app = pilot.app
        assert isinstance(app, FtevApp)
        screen = run_screen(pilot)
        screen._compositor.render_partial_update = lambda: drawn.append(1)  # type: ignore
        await asyncio.to_thread(wait_for_silence, lambda: len(drawn), seconds=1.2)


def test_a_chart_pane_is_the_fourth() -> None:
    assert (ChartPane.NUMBER, ChartPane.NAME) == (4, "Charts")


async def test_a_receipt_explains_the_number_and_scrolls(finished: Run, shown: Shown) -> None:
    async with shown(finished, (100, 30), "SHIP") as pilot:
        await pilot.press("3", "down", "down", "enter")
        await seen(pilot, "Receipt: accuracy")
        assert "180: right rows" not in picture(pilot)  # of the sample, not of this run
        assert "179: right rows" in picture(pilot)
        await seen(pilot, "lines below")
        await pilot.press("pagedown", "pagedown", "pagedown", "pagedown", "pagedown")
        await seen(pilot, "see also")
        assert "beside it" in picture(pilot)


async def test_a_receipt_while_training_is_of_the_last_evaluation(
    running: Run, shown: Shown
) -> None:
    async with shown(running, (120, 60)) as pilot:
        await pilot.press("3", "down", "enter")
        await seen(pilot, "Receipt: loss")
        screen = picture(pilot)
        assert "loss (mean negative log-likelihood) at step 84" in screen
        assert "100: rows" in screen
        assert "since step 0" in screen
