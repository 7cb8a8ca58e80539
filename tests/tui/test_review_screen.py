"""The screen of the blind review, key by key."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from conftest import picture, seen
from ftev.core.report.review.review import Review, read_judgements
from ftev.core.run.runs import Run
from ftev.tui.app.app import FtevApp
from ftev.tui.screens.review import ReviewScreen
from stored_runs import write_run
from test_safety import DANGEROUS, HOSTILE
from textual.pilot import Pilot

NAMES = re.compile(r"base|tuned|tiny|secret", re.IGNORECASE)
LONG = "\n".join(f"line {i} of a long answer" for i in range(60))
ANSWERS = [(f"question {i}", f"plain words {i}", f"other words {i}") for i in range(3)]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return write_run(tmp_path / "2026_secret-tuned-run", {}, answers=ANSWERS)


@asynccontextmanager
async def reviewing(
    run: Run, size: tuple[int, int] = (80, 24), wait_for: str = "pair 1 of 3"
) -> AsyncIterator[Pilot[int]]:
    app = FtevApp(run.path, theme="dark", first=ReviewScreen(Review(run, "anna")))
    async with app.run_test(size=size) as pilot:
        await seen(pilot, wait_for)
        yield pilot


@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
async def test_prompt_answers_and_keys_stand_on_the_screen(run: Run, size: tuple[int, int]) -> None:
    async with reviewing(run, size) as pilot:
        screen = picture(pilot)
        pair = Review(run, "anna").next()
        assert pair is not None
        line = next(line for line in screen.split("\n") if pair.left in line)
        assert line.index(pair.left) < size[0] // 2 <= line.index(pair.right)
        assert pair.prompt in screen
        assert "← left" in screen
        for criterion in ("relevance", "coherence", "correctness", "style"):
            assert criterion in screen


async def test_every_judgement_is_written_at_once(run: Run) -> None:
    async with reviewing(run) as pilot:
        await pilot.press("left")
        await seen(pilot, "pair 2 of 3")
        assert "noted: left is better" in picture(pilot)
        assert [j.choice for j in read_judgements(run)] == ["left"]
        await pilot.press("t")
        await seen(pilot, "pair 3 of 3")
        await pilot.press("s")
        await seen(pilot, "Every pair is judged")
        assert "plain words" not in picture(pilot)
        await pilot.press("l", "t", "3")  # nothing is left to judge
    assert [j.choice for j in read_judgements(run)] == ["left", "tie", "skip"]
    assert {j.reviewer for j in read_judgements(run)} == {"anna"}


async def test_ratings_go_with_the_judgement_and_are_cleared_after_it(run: Run) -> None:
    async with reviewing(run) as pilot:
        await pilot.press("4", "tab", "5", "tab", "2", "0", "shift+tab", "shift+tab")
        await pilot.press("shift+tab", "1")
        await pilot.pause()
        assert "[1]" in picture(pilot)
        await pilot.press("r")
        await seen(pilot, "pair 2 of 3")
        assert "[·]" in picture(pilot)
    (found,) = read_judgements(run)
    assert found.choice == "right"
    assert found.ratings == {"left": {"relevance": 4, "coherence": 5}, "right": {"style": 1}}


async def test_undo_brings_the_pair_back(run: Run) -> None:
    async with reviewing(run) as pilot:
        before = picture(pilot).split("\n")[1:18]
        await pilot.press("u")
        await seen(pilot, "nothing to undo")
        await pilot.press("l")
        await seen(pilot, "pair 2 of 3")
        await pilot.press("u")
        await seen(pilot, "undone")
        assert picture(pilot).split("\n")[1:18] == before
    assert Review(run, "anna").judged == 0


async def test_a_review_goes_on_where_it_was_left(run: Run) -> None:
    async with reviewing(run) as pilot:
        await pilot.press("l")
        await seen(pilot, "pair 2 of 3")
        await pilot.press("q")
    async with reviewing(run, wait_for="pair 2 of 3") as pilot:
        assert pilot.app.is_running


async def test_no_picture_names_a_model_or_the_run(run: Run) -> None:
    async with reviewing(run, (120, 40)) as pilot:
        shown = [picture(pilot)]
        for keys in (["question_mark"], ["escape"], ["u"], ["l"], ["r"], ["t"], ["ctrl+p"]):
            await pilot.press(*keys)
            await pilot.pause()
            shown.append(picture(pilot))
        assert "the left answer is better" in shown[1]
        assert "Every pair is judged" in shown[6]
        for text in [*shown, pilot.app.title, pilot.app.sub_title]:
            assert not NAMES.search(text), text


async def test_long_answers_scroll_and_small_terminals_are_told(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", {}, answers=[(LONG, LONG, LONG + "\nand an end")])
    async with reviewing(run, wait_for="pair 1 of 1") as pilot:
        assert "lines below ↓" in picture(pilot)
        assert "[·]" in picture(pilot)  # the ratings keep their place
        for _ in range(8):
            await pilot.press("pagedown")
        await seen(pilot, "and an end")
        await pilot.press("shift+down")
        await seen(pilot, "1 lines above ↑")
        await pilot.resize_terminal(60, 20)
        await seen(pilot, "ftev needs 80 × 24 cells")


async def test_hostile_answers_are_shown_and_not_obeyed(tmp_path: Path) -> None:
    text = HOSTILE.replace("\ud800", "?")
    run = write_run(tmp_path / "a", {}, answers=[(text, text, text + "!")])
    async with reviewing(run, (120, 40), "pair 1 of 1") as pilot:
        screen = picture(pilot)
        assert not DANGEROUS.search(screen.replace("\n", ""))
        assert "[bold red]x" in screen
        assert "␛" in screen
