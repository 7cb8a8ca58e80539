"""One row in full, and its tokens under both models."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import picture, seen
from ftev.core.errors import ModelError
from ftev.core.run.runs import Run
from ftev.tui.drawing.lines import Line, text_of
from ftev.tui.screens.examples.examples import ExamplesScreen
from ftev.tui.screens.examples.row import (
    RowQuestion,
    RowScreen,
    RowTokens,
    read_tokens,
    token_lines,
)
from ftev.tui.screens.examples.row_detail import RowDetail, row_lines
from ftev.tui.terminal.terminal import to_ascii
from test_evaluation_screen import on_screen, press
from test_safety import DANGEROUS, HOSTILE
from textual.pilot import Pilot
from waiting import patience

SAMPLES = Path(__file__).parents[2] / "sample_runs"
TOLD = {
    "base": [["When", -2.0, 9], [" I", -0.5, 1], [" rest", "-Infinity", 300]],
    "tuned": [["When", -0.25, 1], [" I", -1.5, 2], [" rest", -3.0, 20]],
}


def sample(tmp_path: Path, name: str) -> Run:
    shutil.copytree(SAMPLES / name, tmp_path / name)
    return Run(tmp_path / name)


def plain(lines: list[Line]) -> str:
    return "\n".join("".join(text for text, _ in line) for line in lines)


def asks(pilot: Pilot[int], answer: Callable[..., dict[str, Any]]) -> RowScreen:
    """The row on the screen, which puts its questions to `answer`."""
    screen = pilot.app.screen
    assert isinstance(screen, RowScreen)
    screen.question = RowQuestion(screen.post_message, answer)
    return screen


@pytest.mark.parametrize("size", [(80, 24), (160, 45)])
async def test_k_shows_the_tokens_and_takes_them_away(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    go_on, asked = threading.Event(), []

    def answer(module: str, question: dict[str, Any], tell: Any, _: Any) -> dict[str, Any]:
        asked.append((module, question))
        tell("scoring this row under base")
        go_on.wait(patience(30))
        return TOLD

    run = sample(tmp_path, "generation")
    async with on_screen(ExamplesScreen(run), "100 rows", size) as pilot:
        await press(pilot, "enter", "k scores this row again")
        screen = asks(pilot, answer)
        assert "k tokens" in picture(pilot)
        await press(pilot, "k", "scoring this row under base …")
        go_on.set()
        await seen(pilot, "1 of 3 tokens lost")
        told = picture(pilot)
        assert "tuned  average log-likelihood −1.583 nats per token, 3 tokens" in told
        assert "2 of 3 tokens gained" in told
        assert "+1.75 nats" in told
        assert "−2.000 → −0.250, rank 9 → 1" in told
        assert "≥ 10 %" in told
        await press(pilot, "k", "k scores this row again")
        go_on.clear()
        await press(pilot, "k", "scoring this row")
        await press(pilot, "right", "k scores this row again")  # another row has other tokens
        go_on.set()
        assert screen.pane.tokens is None
    ((module, question), _) = asked
    assert module == "row_tokens"
    assert question["run"] == str(run.path)
    assert question["split"] == "test"
    assert len(question["sha256"]) == 64


async def test_what_fails_is_told_in_a_sentence_and_leaving_ends_the_engine(
    tmp_path: Path,
) -> None:
    class Engine:
        killed = threading.Event()

        def kill(self) -> None:
            self.killed.set()

    started = threading.Event()

    def fails(*_: Any) -> dict[str, Any]:
        raise ModelError("model/: there is no tuned model")

    def waits(_: str, __: Any, ___: Any, take: Any) -> dict[str, Any]:
        take(Engine())
        started.set()
        Engine.killed.wait(patience(30))
        raise ModelError("killed")

    async with on_screen(ExamplesScreen(sample(tmp_path, "generation")), "100 rows") as pilot:
        await press(pilot, "enter", "k scores this row again")
        asks(pilot, fails)
        await press(pilot, "k", "The tokens cannot be shown: model/: there is no tuned model")
        asks(pilot, waits)
        await press(pilot, "k", "scoring this row under base and tuned …")
        assert started.wait(patience(30))
        await press(pilot, "escape", "100 rows")
        assert Engine.killed.wait(patience(30))


async def test_a_classifier_has_probabilities_instead(tmp_path: Path) -> None:
    async with on_screen(ExamplesScreen(sample(tmp_path, "classification")), "200 rows") as pilot:
        await press(pilot, "enter", "in this list")
        assert "k tokens" not in picture(pilot)
        await press(pilot, "k", "has probabilities, not likelihoods")


def test_stored_losses_other_tokens_and_hostile_ones() -> None:
    scored = read_tokens({"base": TOLD["tuned"], "tuned": TOLD["tuned"]})
    told = plain(token_lines(RowTokens(scored=scored), {"base": 4.75 / 3, "tuned": 2.0}, 100))
    assert "base   average log-likelihood −1.583 nats per token, 3 tokens, as stored" in told
    assert ", stored: −2.000" in told
    assert "0 of 3 tokens gained" in told
    told = plain(token_lines(RowTokens(scored=read_tokens(TOLD)), {}, 100))
    assert "−∞ → −3.000" in told
    assert to_ascii(told).isascii()
    other = {"base": TOLD["base"], "tuned": [["Wh", -1.0, 1], [HOSTILE, -1.0, 2]]}
    told = plain(token_lines(RowTokens(scored=read_tokens(other)), {}, 100))
    assert "differently" in told
    evil = [[HOSTILE, -1.0, 1]]
    moved = [[HOSTILE, -2.0, 1]]
    for state in (
        RowTokens(scored=read_tokens({"base": evil, "tuned": moved})),
        RowTokens(failed=HOSTILE),
        RowTokens(progress=HOSTILE),
    ):
        assert not DANGEROUS.search(plain(token_lines(state, {}, 60)))
    nothing = plain(token_lines(RowTokens(scored={"base": [], "tuned": []}), {}, 60))
    assert "no token of this row is scored" in nothing


FOUND = {"row_id": 3, "kind": "fell"}
LONG = "\n".join(f"line {i} of the prompt" for i in range(40))


def told(detail: RowDetail, height: int) -> list[str]:
    return [text_of(line) for line in row_lines(detail, 76, height)]


def test_a_long_prompt_leaves_room_for_reference_and_answers() -> None:
    detail = RowDetail("test", FOUND, LONG, False, truth="the reference")
    detail.answers = {"base": "the base's answer", "tuned": "the tuned answer"}
    lines = told(detail, 18)
    first = lines[:18]
    order = ["prompt, the first 6 of 40 lines; all of it is below", "the reference"]
    places = [first.index(text) for text in (*order, "the base's answer", "the tuned answer")]
    assert places == sorted(places)
    assert lines[lines.index("prompt in full") + 1 :][:40] == LONG.split("\n")


def test_a_text_that_fits_is_told_once() -> None:
    detail = RowDetail("test", {**FOUND, "label": "a"}, "one\ntwo", False, truth="a")
    lines = told(detail, 18)
    assert lines.count("one") == 1
    assert "text" in lines


def test_a_text_that_is_not_there_says_why() -> None:
    detail = RowDetail("test", FOUND, "", False, missing="the data file has changed")
    assert "The text of this row is not stored (the data file has changed)." in told(detail, 18)
