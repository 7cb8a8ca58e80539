"""The evaluation, examples, row and quiz screens, key by key, on runs that ship."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import polars as pl
import pytest
import records
from conftest import Shown, picture, seen, until
from ftev.core.report.report import build_report
from ftev.core.run.events import EventWriter
from ftev.core.run.history import read_history
from ftev.core.run.runs import Run
from ftev.tui.app.app import FtevApp
from ftev.tui.screens.evaluation.evaluation import EvaluationScreen
from ftev.tui.screens.examples.examples import ExamplesScreen
from ftev.tui.screens.examples.row import RowScreen
from ftev.tui.screens.review import QuizScreen
from ftev.tui.screens.run.run import RunScreen
from made_runs import live_worker
from stored_runs import labelled, write_run
from test_safety import DANGEROUS, HOSTILE
from textual.pilot import Pilot
from textual.screen import Screen

SAMPLES = Path(__file__).parents[2] / "sample_runs"


@pytest.fixture
def classified(tmp_path: Path) -> Run:
    shutil.copytree(SAMPLES / "classification", tmp_path / "classification")
    return Run(tmp_path / "classification")


@pytest.fixture
def written(tmp_path: Path) -> Run:
    shutil.copytree(SAMPLES / "generation", tmp_path / "generation")
    return Run(tmp_path / "generation")


@asynccontextmanager
async def on_screen(
    screen: Screen[None], wait_for: str, size: tuple[int, int] = (100, 32)
) -> AsyncIterator[Pilot[int]]:
    app = FtevApp(Path(), theme="dark", first=screen)
    async with app.run_test(size=size) as pilot:
        await seen(pilot, wait_for)
        yield pilot


async def press(pilot: Pilot[int], keys: str, wait_for: str) -> str:
    await pilot.press(*keys.split())
    await seen(pilot, wait_for)
    return picture(pilot)


@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
async def test_every_section_of_a_classifier(classified: Run, size: tuple[int, int]) -> None:
    report = build_report(classified)
    async with on_screen(EvaluationScreen(classified), "tuned fixed 29", size) as pilot:
        assert "✓ SHIP" in picture(pilot)
        assert report["verdict"]["objective"] in picture(pilot)
        assert "accuracy of tuned is 90.0 %" in picture(pilot)
        assert "balanced accuracy of tuned" in await press(pilot, "down", "balanced accuracy of")
        await press(pilot, "2", "rightly called so")
        await press(pilot, "right", 'predicted as "')
        await press(pilot, "o", "→")
        await press(pilot, "o", "precision")
        found = await press(pilot, "f", "▸fixed 29")
        assert "broken 9" in found
        assert "✗ broke" in await press(pilot, "b", "▸broken 9")
        await press(pilot, "w", "▸still wrong")
        await press(pilot, "g", "▸still right")
        before = await press(pilot, "4", "move the threshold")
        assert "0 returns" in await press(pilot, "left left", "0 returns")
        assert await press(pilot, "0", "at 0.5") == before
        await press(pilot, "tab", "slice")
        await press(pilot, "6", "unread_columns")
        await press(pilot, "7", "Self-test")
        assert await press(pilot, "shift+tab 1", "change")


async def test_split_reference_receipt_and_what_a_metric_means(classified: Run) -> None:
    async with on_screen(EvaluationScreen(classified), "linear probe") as pilot:
        assert "against the majority" in await press(pilot, "m", "against the majority")
        assert "validation, 100 rows" in await press(pilot, "s", "validation, 100 rows")
        await press(pilot, "s m", "test, 200 rows · against the linear probe")
        assert "numerator" in await press(pilot, "enter", "Receipt: accuracy")
        await pilot.press("escape")
        assert "meaning" in await press(pilot, "question_mark", "(metric)")
        await pilot.press("escape")
        assert "next section" in await press(pilot, "f1", "Keys")
        await pilot.press("escape")
        await press(pilot, "6 question_mark", "(finding)")


def suspect_labels(run: Run, rows: int) -> None:
    """Say of the first test rows that their labels are probably wrong."""
    listed = pl.read_parquet(run.predictions / "test.tuned.parquet")["row_id"][:rows].to_list()
    result = {"n": 200, "suspected": rows, "share": 0.2, "low": 0.1, "high": 0.3, "model": "probe"}
    named = {"rows": [{"row_id": row, "label": "", "suggested": ""} for row in listed]}
    writer = EventWriter(run.events_path)
    writer.write(records.analysis("label_errors", result | named))
    writer.close()


async def test_a_cell_and_a_finding_list_their_rows_and_come_back(classified: Run) -> None:
    suspect_labels(classified, 12)
    async with on_screen(EvaluationScreen(classified), "linear probe") as pilot:
        await press(pilot, "2", "rightly called so")
        counts = read_history(classified).results["test"]["tuned"].confusion.counts
        found = await press(pilot, "right enter", f"{counts[0][1]} of 200 rows")
        assert "/ label=" in found
        await press(pilot, "f", "No row matches")  # none of them was fixed
        await press(pilot, "escape", f"{counts[0][1]} of 200 rows")
        assert "label=" in picture(pilot)
        await press(pilot, "escape", 'predicted as "')
        await press(pilot, "6 enter", "12 of 200 rows")
        assert "only the 12 test rows listed under label_errors" in picture(pilot)


async def test_the_sections_of_a_language_model(written: Run) -> None:
    async with on_screen(EvaluationScreen(written), "against the base") as pilot:
        await press(pilot, "2", "▸2 Texts")
        await press(pilot, "f", "loss fell 100")
        found = await press(pilot, "enter", "row ")
        assert "nats per token" in found
        assert "k scores this row again" in found
        await press(pilot, "escape 4", "▸4 Answers")
        await press(pilot, "6", "6 Findings")


async def test_rows_are_filtered_ordered_and_opened(classified: Run) -> None:
    frame = pl.read_parquet(classified.predictions / "test.tuned.parquet")
    sure = frame.filter(pl.col("probabilities").list.max() > 0.9).height
    async with on_screen(ExamplesScreen(classified), "200 rows") as pilot:
        await pilot.press("slash", *"conf", "greater_than_sign", *"0.9")
        await seen(pilot, f"{sure} of 200 rows")
        await pilot.press("s", "q")  # letters are text in the box
        assert "conf>0.9sq" in picture(pilot)
        await seen(pilot, "needs a number")
        await pilot.press("backspace", "backspace", "enter")
        await press(pilot, "o", "the most confident first")
        await press(pilot, "f", "flip fixed")
        await press(pilot, "escape", "200 rows")
        await press(pilot, "end enter", "200 of 200 in this list")
        await seen(pilot, "true label")
        assert "tuned" in picture(pilot)
        await press(pilot, "left", "199 of 200 in this list")
        await press(pilot, "p", "Open the run first")
        await press(pilot, "escape s", "rows of validation")


async def test_the_last_question_counts_whatever_is_answered_last(
    classified: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with on_screen(ExamplesScreen(classified), "200 rows") as pilot:
        threads: list[Callable[[], object]] = []
        monkeypatch.setattr("ftev.tui.screens.examples.examples.in_thread", threads.append)
        await pilot.press("slash", *"label=negative")
        assert len(threads) == len("label=negative")
        for find in reversed(threads):
            find()
        await seen(pilot, "95 of 200 rows")


async def test_the_rows_of_a_reference_left_behind_are_not_shown(
    classified: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with on_screen(EvaluationScreen(classified), "linear probe") as pilot:
        screen = pilot.app.screen
        assert isinstance(screen, EvaluationScreen)
        await press(pilot, "3", "✓ fixed")
        threads: list[Callable[[], object]] = []
        monkeypatch.setattr("ftev.tui.screens.examples.example_rows.in_thread", threads.append)
        await pilot.press("m", "m")
        for read in reversed(threads):
            read()
        await pilot.pause()
        assert screen.flips.examples is not None
        assert screen.flips.examples.reference == screen.reference


async def test_ten_myriads_of_rows_move_at_once(tmp_path: Path) -> None:
    frames = {"probe": labelled(100_000, 0.5, 1), "tuned": labelled(100_000, 2.0, 2)}
    run = write_run(tmp_path / "big", {})
    for model, frame in frames.items():
        frame.write_parquet(run.predictions / f"test.{model}.parquet")
    async with on_screen(ExamplesScreen(run, None, "test", "probe"), "100,000 rows") as pilot:
        await press(pilot, "end", "text number 99999")
        await press(pilot, "slash 7 7 7 7 enter", "of 100,000 rows")


async def test_hostile_rows_and_labels_are_shown_and_not_obeyed(tmp_path: Path) -> None:
    frame = labelled(30).with_columns(
        pl.lit(HOSTILE.replace("\ud800", "")).alias("input"),
        pl.col("label").replace("yes", "\x1b[31m[/]"),
        pl.col("predicted").replace("yes", "\x1b[31m[/]"),
    )
    run = write_run(tmp_path / "a", {"tuned": frame}, labels=("no", "\x1b[31m[/]"))
    async with on_screen(EvaluationScreen(run), "tuned", (80, 24)) as pilot:
        for keys, wait in (("2", "2 Labels"), ("o", "2 Labels"), ("3", "3 Flips"), ("7", "7 More")):
            assert not DANGEROUS.search((await press(pilot, keys, wait)).replace("\n", ""))
        await press(pilot, "r", "30 rows")
        assert not DANGEROUS.search(picture(pilot).replace("\n", ""))
        await press(pilot, "enter", "in this list")
        assert not DANGEROUS.search(picture(pilot).replace("\n", ""))


async def test_a_quiz_is_answered_explained_and_counted(classified: Run) -> None:
    async with on_screen(QuizScreen(classified), "Question 1 of 3") as pilot:
        screen = pilot.app.screen
        assert isinstance(screen, QuizScreen)
        await pilot.press("enter")  # nothing is answered yet
        await press(pilot, screen.pane.questions[0].right, "Correct.")
        await press(pilot, "question_mark", "meaning")
        await press(pilot, "escape enter", "Question 2 of 3")
        wrong = next(
            k for k in screen.pane.questions[1].choices if k != screen.pane.questions[1].right
        )
        await press(pilot, wrong, "is correct.")
        await press(pilot, "up down enter", "Question 3 of 3")
        await press(pilot, f"{screen.pane.questions[2].right} enter", "2 of 3 right.")
        await press(pilot, "N", "Question 1 of 3")


async def test_the_way_from_the_run_and_back(classified: Run, shown: Shown) -> None:
    async with shown(classified) as pilot:
        await press(pilot, "v", "▸1 Metrics")
        await press(pilot, "escape", "1 Pipeline")
        await press(pilot, "r", "rows of test")
        await press(pilot, "enter", "in this list")
        assert isinstance(pilot.app.screen, RowScreen)
        await press(pilot, "escape escape", "1 Pipeline")
        await press(pilot, "Q", "Question 1")
        await press(pilot, "escape B", "nothing to judge blind")
        await press(pilot, "3 down question_mark", "(metric)")


async def test_a_row_is_asked_about_in_the_prompt_box(classified: Run, shown: Shown) -> None:
    live_worker(classified)
    async with shown(classified) as pilot:
        await press(pilot, "r", "rows of test")
        await press(pilot, "enter", "in this list")
        screen = pilot.app.screen
        assert isinstance(screen, RowScreen)
        await until(pilot, lambda: screen.pane.detail is not None, "row that was read")
        assert screen.pane.detail is not None
        text = screen.pane.detail.text
        await press(pilot, "p", "5 Prompt")
        run = pilot.app.screen
        assert isinstance(run, RunScreen)
        assert run.prompt.box is not None
        assert run.prompt.box.text == text


async def test_answers_are_judged_from_the_run(tmp_path: Path, shown: Shown) -> None:
    run = write_run(tmp_path / "2026_run", {}, answers=[("q", "one", "two")])
    async with shown(run, wait_for="Pipeline") as pilot:
        await press(pilot, "B", "pair 1 of 1")
        await press(pilot, "l", "Every pair is judged")
        await press(pilot, "escape", "Pipeline")


async def test_home_opens_the_evaluation_and_a_run_without_results_says_so(
    classified: Run, running: Run, shown: Shown
) -> None:
    async with shown() as pilot:
        await seen(pilot, "2 runs")
        chosen = pilot.app.screen.chosen  # type: ignore[attr-defined]
        await press(pilot, "v", "evaluation")
        assert chosen is not None
    async with on_screen(EvaluationScreen(running), "No results yet") as pilot:
        await pilot.press("s", "m", "tab", "enter", "f", "o", "0", "down", "question_mark")
        await pilot.press("escape")
        await pilot.resize_terminal(60, 20)
        await seen(pilot, "ftev needs 80 × 24 cells")
