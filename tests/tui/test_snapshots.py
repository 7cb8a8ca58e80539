"""Pictures of the screens, compared with the ones that were looked at.

After a change that is meant: `pytest tests/tui/test_snapshots.py --snapshot-update`, and look at
what changed. A screen joins with a line in `SCREENS`.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import seen
from ftev.core.config.draft import Draft
from ftev.core.report.review.review import Review
from ftev.core.run import launch
from ftev.core.run.control import Held
from ftev.core.run.runs import Run
from ftev.tui.app.app import FtevApp
from ftev.tui.screens.compare.compare import CompareScreen
from ftev.tui.screens.evaluation.evaluation import EvaluationScreen
from ftev.tui.screens.examples.examples import ExamplesScreen
from ftev.tui.screens.home import home
from ftev.tui.screens.new_run import starting
from ftev.tui.screens.new_run.new_run import NewRunScreen
from ftev.tui.screens.prompt.answers import Exchange
from ftev.tui.screens.prompt.asking import AnswerNews, ReplyCame
from ftev.tui.screens.review import QuizScreen, ReviewScreen
from ftev.tui.screens.run.run import RunScreen
from made_runs import live_worker, make_run, story, until_step, write_events
from stored_runs import write_run
from test_new_run import TOLD_BY_ENGINE
from test_prompt_pane import answered
from test_trace_screen import traced
from textual.pilot import Pilot
from textual.screen import Screen

SAMPLES = Path(__file__).parents[2] / "sample_runs"

NOW = 1_795_190_400.0  # of the home screen: an hour and more after the runs
SMALL, LARGE = (80, 24), (160, 45)
BOTH = ((SMALL, "dark"), (LARGE, "light"))
ALL = (*BOTH, (SMALL, "light"), (LARGE, "dark"))


@dataclass(frozen=True)
class Pictured:
    """A screen: the app that shows it, what stands there once it is ready, and the keys to it."""

    name: str
    app: Callable[[str], FtevApp]
    ready: str
    keys: tuple[str, ...] = ()
    then: str = ""  # what stands there after the keys
    views: tuple[tuple[tuple[int, int], str], ...] = BOTH
    last: Callable[[Pilot[int]], None] | None = None  # what is done after the keys


def _of(number: int) -> Callable[[str], FtevApp]:
    def app(theme: str) -> FtevApp:
        (path,) = sorted(Path("runs").iterdir())[number : number + 1]
        return FtevApp(Path("runs"), Run(path), theme=theme)

    return app


def _home(theme: str) -> FtevApp:
    return FtevApp(Path("runs"), theme=theme)


def _first(screen: Callable[[], Screen[None]]) -> Callable[[str], FtevApp]:
    return lambda theme: FtevApp(Path("runs"), theme=theme, first=screen())


def _compare() -> Screen[None]:
    return CompareScreen([(n, Run(Path("alike") / n)) for n in ("one", "two")], Path("alike"))


def _form() -> Screen[None]:
    given = {"task": "classification", "model.base": "tiny", "data.train": "train.csv"}
    return NewRunScreen(Path("runs"), Draft(given))


def _talk(pilot: Pilot[int]) -> None:
    """An answered prompt, as if a worker had sent it."""
    assert isinstance(pilot.app.screen, RunScreen)
    prompt = pilot.app.screen.prompt
    prompt.answers.show_exchanges([answered("Would you call the day cold, or warm?")])
    prompt.action_likelihoods()
    prompt.action_token(1)


CLASSIFIED, WRITTEN = Run(SAMPLES / "classification"), Run(SAMPLES / "generation")
FINISHED, VERSE, RUNNING, LIVE_VERSE = _of(0), _of(1), _of(2), _of(3)
EVALUATION = _first(lambda: EvaluationScreen(CLASSIFIED))
EXAMPLES = _first(lambda: ExamplesScreen(CLASSIFIED))
SCREENS = (
    Pictured("home", _home, "4 runs", views=ALL),
    Pictured("marked", _home, "4 runs", ("slash", *"rev", "enter", "space", "space"), "2 marked"),
    Pictured("running", RUNNING, "step 93 of", views=ALL),
    Pictured("chart", RUNNING, "step 93 of", ("4", "enter", "left", "left"), "at step"),
    Pictured("finished", FINISHED, "140 steps in"),
    Pictured("generation", VERSE, "140 steps in"),
    Pictured("receipt", FINISHED, "140 steps in", ("3", "down", "enter"), "Receipt"),
    Pictured("help", RUNNING, "step 93 of", ("question_mark",), "Keys"),
    Pictured("question", RUNNING, "step 93 of", ("S",), "Stop this run?"),
    Pictured("tokens", LIVE_VERSE, "step 93 of", ("5", "enter"), last=_talk),
    Pictured("trace", LIVE_VERSE, "step 93 of", ("l", "down"), "after layer 2"),
    Pictured("compare", _first(_compare), "No difference is shown"),
    Pictured("new", _first(_form), "ready: S starts", ("end", "home", "down")),
    Pictured("metrics", EVALUATION, "linear probe", ("down",)),
    Pictured("labels", EVALUATION, "linear probe", ("2", "right"), "predicted"),
    Pictured("flips", EVALUATION, "linear probe", ("f",), "▸fixed 29"),
    Pictured("calibration", EVALUATION, "linear probe", ("4", "left"), "0 returns"),
    Pictured("slices", EVALUATION, "linear probe", ("5",), "slice"),
    Pictured("findings", EVALUATION, "linear probe", ("6",), "unread_columns"),
    Pictured("texts", _first(lambda: EvaluationScreen(WRITTEN)), "against the base", ("2",)),
    Pictured("examples", EXAMPLES, "200 rows", ("o", "f", "down"), "flip fixed"),
    Pictured("row", EXAMPLES, "200 rows", ("enter",), "in this list"),
    Pictured("quiz", _first(lambda: QuizScreen(CLASSIFIED)), "Question 1 of", ("a",), "continues"),
    Pictured(
        "review",
        _first(lambda: ReviewScreen(Review(Run(Path("judged")), "anna"))),
        "pair 1 of 3",
        ("down",),
    ),
)
ANSWERS = [(f"question {i}", f"plain words {i}", f"other words {i}") for i in range(3)]


@pytest.fixture(autouse=True)
def one_place_and_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The same folder, clock, time zone and runs on any machine."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setattr(home.time, "time", lambda: NOW)
    write_events(make_run(tmp_path / "runs"), story())
    verse = make_run(tmp_path / "runs", "generation", "verse", 1)
    write_events(verse, story("generation", "verse"))
    running = make_run(tmp_path / "runs", number=2)
    write_events(running, until_step(story(), 93))
    live_worker(running)
    verse = make_run(tmp_path / "runs", "generation", "sonnet", 3)
    write_events(verse, until_step(story("generation", "sonnet"), 93))
    live_worker(verse)
    write_run(tmp_path / "judged", {}, answers=ANSWERS)
    for name in ("one", "two"):
        shutil.copytree(CLASSIFIED.path, tmp_path / "alike" / name)
    rows = [f"a fine cup of tea number {i},{'good' if i % 2 else 'bad'}" for i in range(40)]
    (tmp_path / "train.csv").write_text("\n".join(["note,kind", *rows]) + "\n", encoding="utf-8")
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "config.json").write_text("{}", encoding="utf-8")
    _answer_in_place_of_the_engine(monkeypatch)
    yield
    monkeypatch.undo()
    time.tzset()


def _answer_in_place_of_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    def trace(run: Run, exchange: Exchange, request: Any, post: Any) -> None:
        for reply in (Held(step=93), traced()):
            post(ReplyCame(exchange, reply))
        post(AnswerNews(exchange, "", ended=True))

    monkeypatch.setattr("ftev.tui.screens.trace.trace.ask_prompt", trace)
    monkeypatch.setattr(launch, "ask_engine", lambda *_: TOLD_BY_ENGINE)
    monkeypatch.setattr(starting, "DATA_SECONDS", 0.0)
    monkeypatch.setattr(starting, "MODEL_SECONDS", 0.0)


@pytest.mark.parametrize(
    ("pictured", "size", "theme"),
    [
        pytest.param(p, size, theme, id=f"{p.name}-{size[0]}x{size[1]}-{theme}")
        for p in SCREENS
        for size, theme in p.views
    ],
)
def test_picture(
    pictured: Pictured,
    size: tuple[int, int],
    theme: str,
    snap_compare: Callable[..., bool],
) -> None:
    async def lead_there(pilot: Pilot[int]) -> None:
        await seen(pilot, pictured.ready)
        await pilot.press(*pictured.keys)
        await seen(pilot, pictured.then or pictured.ready)
        if pictured.last is not None:
            pictured.last(pilot)
        await pilot.pause()

    assert snap_compare(pictured.app(theme), terminal_size=size, run_before=lead_there)
