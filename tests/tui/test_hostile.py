"""What a demanding user met: each test holds one thing that once went wrong on the screen."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Shown, picture, seen
from ftev.core.catalog.filter import arrange
from ftev.core.catalog.run_facts import RunEntry, RunFacts
from ftev.core.run.events import PromptAnswered
from ftev.core.run.history import read_history
from ftev.core.run.runs import Run
from ftev.tui.app import keys
from ftev.tui.drawing.format import format_signed
from ftev.tui.drawing.lines import Line, text_of
from ftev.tui.drawing.plot import ASCII
from ftev.tui.screens.charts.chart import ChartPane, table_lines
from ftev.tui.screens.charts.data import ChartData
from ftev.tui.screens.charts.plot import View, chart_lines, legend
from ftev.tui.screens.compare.compare import CompareScreen
from ftev.tui.screens.compare.panes import OverlayPane
from ftev.tui.screens.evaluation.evaluation import EvaluationScreen
from ftev.tui.screens.examples.examples import ExamplesScreen
from ftev.tui.screens.examples.row import RowScreen
from ftev.tui.screens.home.home import HomeScreen
from ftev.tui.screens.home.run_list import PickRun
from ftev.tui.screens.new_run.new_run import NewRunScreen
from ftev.tui.screens.prompt.answers import Answer, answer_head, exchange_of
from ftev.tui.screens.prompt.answers_pane import AnswersPane
from ftev.tui.screens.prompt.prompt import NOTHING_ANSWERS
from ftev.tui.screens.review import QuizScreen, ReviewScreen
from ftev.tui.screens.run.metrics import Judgement, judgement_lines
from ftev.tui.screens.run.run import RunScreen
from ftev.tui.screens.trace.trace import TraceScreen
from ftev.tui.terminal.terminal import to_ascii
from ftev.tui.widgets.framed import hint_line
from pseudo_terminal import Terminal

SAMPLES = Path(__file__).parents[2] / "sample_runs"

STARTED = (  # as `ftev-tui train` leaves it: the data was read, the screen comes next
    "import argparse, sys; from pathlib import Path; import polars;"
    "from ftev.core.run.runs import Run; from ftev.tui.commands.train import draw_screen;"
    "path = Path(sys.argv[1]); polars.DataFrame({'a': [1, 2]}).sort('a');"
    "told = argparse.Namespace(runs_dir=str(path.parent), theme='dark', ascii=False);"
    "sys.exit(draw_screen(Run(path), told))"
)


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Terminal]:
    run = tmp_path / "runs" / "finished"
    shutil.copytree(SAMPLES / "classification", run)
    terminal = Terminal([sys.executable, "-c", STARTED, str(run)], 100, 30)
    yield terminal
    terminal.close()


def test_a_started_run_shows_its_rows_though_its_data_was_read_before(started: Terminal) -> None:
    started.wait_for("145 steps")
    started.press("r")
    started.wait_for("200 rows")
    started.press("q")
    assert started.wait() == 0


def told(lines: list[Line]) -> str:
    return "\n".join(text_of(line).rstrip() for line in lines)


async def test_a_trace_that_nothing_can_answer_says_why_and_else_bears_the_name(
    shown: Shown, finished: Run
) -> None:
    async with shown(finished, size=(80, 24)) as pilot:
        await pilot.press("l")
        await seen(pilot, NOTHING_ANSWERS[:40])
        await pilot.press("escape")
        finished.model_path.mkdir()
        await pilot.press("l")
        await seen(pilot, "prediction trace")
        assert finished.id not in picture(pilot)


def test_the_way_to_all_keys_is_always_among_the_hints() -> None:
    hints: list[Line] = [[(k, "accent"), (f" {w}", "")] for k, w in (("a", "one"), ("b", "two"))]
    hints += [[("?", "accent"), (" help", "muted")], [("q", "accent"), (" leave", "muted")]]
    assert text_of(hint_line(hints, 16)) == "a one   ? help"
    assert text_of(hint_line(hints, 80)) == "a one   b two   ? help   q leave"


def test_reasons_that_begin_alike_are_told_apart_in_a_low_pane() -> None:
    aside = "f1 on test_clean (2,968 of 3,080 rows, those that repeat nothing of an earlier split)"
    reasons = f"{aside} changes by +0.41 points", f"{aside} is 92.7 % (95 %: 91.6 % to 93.5 %)"
    lines = judgement_lines(Judgement("no evidence", "f1 at least 90 %", reasons), 76, 12)
    assert told(lines).splitlines()[1:] == [
        "  f1 on test_clean changes by +0.41 points",
        "  f1 on test_clean is 92.7 %",
    ]


def test_what_both_models_say_does_not_scroll_away_behind_many_labels() -> None:
    labels = {f"label {i}": 1 / 2 ** (i + 1) for i in range(77)}
    event = PromptAnswered(
        step=9, prompt="x", base="", tuned="", base_probabilities=labels, tuned_probabilities=labels
    )
    pane = AnswersPane()
    for exchanges in ([exchange_of(event)], [exchange_of(event), exchange_of(event)]):
        pane.exchanges = exchanges
        lines = told(pane.draw(76, 11))
        assert "both predict label 0" in lines
        assert "label 4" in lines


def test_a_head_too_narrow_leaves_out_the_seconds_first() -> None:
    answer = Answer("base", tokens=22, seconds=0.36, done=True, ended_by_eos=True)
    assert text_of(answer_head(answer, "base", 60)).rstrip().endswith("0.36 s, ended by itself")
    assert text_of(answer_head(answer, "base", 37)).rstrip() == "base  22 tokens, ended by itself"


def chart_data() -> ChartData:
    data = ChartData()
    data.update(read_history(Run(SAMPLES / "classification")))
    return data


def test_the_table_of_a_chart_has_whole_columns_only() -> None:
    lines, _ = table_lines(chart_data(), 76, 10, 0)
    assert "grad. norm" in told(lines)
    assert "tokens" not in told(lines)
    assert "…" not in told(lines)
    assert "tokens/s" in told(table_lines(chart_data(), 90, 10, 0)[0])


def test_a_share_on_a_logarithmic_axis_ends_at_all_of_it() -> None:
    data = chart_data()
    name = next(n for n in data.names if data.chart(n).unit == "share")
    view = View(log=True, name=name, window=(70.0, 145.0))
    lines = told(chart_lines(data, view, [], 76, 14))
    assert not re.search(r"1[1-9]0 %", lines)


def test_in_ascii_the_legend_names_the_letters_that_are_drawn() -> None:
    data, view = chart_data(), View(marker=ASCII)
    head = text_of(legend(data, view, 76))
    drawn = told(chart_lines(data, view, [], 76, 14))
    assert "* training" in head
    assert "o validation" in head
    assert {"*", "o", "O"} <= set(drawn)
    assert "●" not in drawn


def test_a_difference_of_thousands_is_written_as_the_values_are() -> None:
    assert format_signed(-1056.27, 2) == "−1,056.27"
    assert format_signed(-0.004, 2) == "0.00"
    assert format_signed(0.25, 1) == "+0.2"


async def test_an_answer_of_another_moment_says_so(
    shown: Shown, finished: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ftev.tui.screens.prompt.prompt.ask_prompt", lambda *_: None)
    async with shown(finished, size=(80, 24)) as pilot:
        screen = pilot.app.screen
        assert isinstance(screen, RunScreen)
        await pilot.press("4", "right", "enter")
        await seen(pilot, "Metrics and prompt are as of step")
        screen.prompt.ask("a text", 0)
        assert screen.moment is not None
        newest = screen.prompt.answers.newest
        assert newest is not None
        assert newest.settings == f"as of step {screen.moment.step}"
        await pilot.press("escape")
        screen.prompt.ask("a text", 0)
        newest = screen.prompt.answers.newest
        assert newest is not None
        assert newest.settings == ""


def test_the_newest_run_is_first_whatever_its_directory_is_called() -> None:
    made = {"a copy": 300.0, "2026-11-20_10-00-00_x": 100.0, "older": 200.0}
    entries = [
        RunEntry(Run(Path(name)), RunFacts(name=name, created=created), "finished")
        for name, created in made.items()
    ]
    (group,) = arrange(entries, "newest", "")
    assert [e.run.id for e in group.entries] == ["a copy", "older", "2026-11-20_10-00-00_x"]


def test_in_ascii_a_difference_of_nothing_is_no_gain() -> None:
    assert to_ascii(format_signed(0.0, 1)) == "0.0"
    assert to_ascii(format_signed(-1.5, 1)) == "-1.5"


@pytest.mark.parametrize(
    ("table", "place"),
    [
        (keys.RUN_KEYS, RunScreen),
        (keys.CHART_KEYS, ChartPane),
        (keys.TRACE_KEYS, TraceScreen),
        (keys.HOME_KEYS, HomeScreen),
        (keys.PICK_KEYS, PickRun),
        (keys.COMPARE_KEYS, CompareScreen),
        (keys.OVERLAY_KEYS, OverlayPane),
        (keys.NEW_RUN_KEYS, NewRunScreen),
        (keys.REVIEW_KEYS, ReviewScreen),
        (keys.EVALUATION_KEYS, EvaluationScreen),
        (keys.EXAMPLES_KEYS, ExamplesScreen),
        (keys.ROW_KEYS, RowScreen),
        (keys.QUIZ_KEYS, QuizScreen),
    ],
)
def test_every_key_of_the_help_does_something(table: tuple[keys.Key, ...], place: type) -> None:
    """A key whose action its place does not have does nothing, and says nothing."""
    own = [key.action.partition("(")[0] for key in table if "." not in key.action]
    assert [name for name in own if not hasattr(place, f"action_{name}")] == []
