"""The form of a new run: every key of it, its preview, and the run that it starts."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from conftest import Shown, picture, seen, until
from ftev.core.config.config_file import load_config
from ftev.core.config.draft import Draft
from ftev.core.errors import ModelError
from ftev.core.run import launch
from ftev.core.run.estimate import Estimate, read_estimate, write_estimate
from ftev.tui.app.keys import NEW_RUN_KEYS
from ftev.tui.screens.home.home import HomeScreen
from ftev.tui.screens.new_run import starting
from ftev.tui.screens.new_run.form import FieldBox
from ftev.tui.screens.new_run.new_run import NewRunScreen
from ftev.tui.screens.new_run.starting import Previewer, Working
from ftev.tui.screens.run.run import RunScreen
from made_runs import make_run, story, write_events
from test_safety import DANGEROUS, HOSTILE
from textual.pilot import Pilot
from waiting import patience, wait_for

TOLD_BY_ENGINE: dict[str, Any] = {
    "max_length": 128,
    "parameters": 1_234,
    "state_bytes": 20_000,
    "layers": 2,
    "hidden": 8,
    "vocab": 50,
    "unread_keys": [],
    "splits": {
        "train": {
            "rows": 36,
            "tokens": 360,
            "median": 9,
            "p95": 12,
            "longest": 128,
            "truncated_rows": 3,
            "truncated_tokens": 40,
            "histogram": [[1, 10, 30], [11, 20, 3], [121, 130, 3]],
        }
    },
}


@pytest.fixture(autouse=True)
def engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that answers at once, and no waiting for a person to stop typing."""
    monkeypatch.setattr(launch, "ask_engine", lambda *_: TOLD_BY_ENGINE)
    monkeypatch.setattr(starting, "DATA_SECONDS", 0.0)
    monkeypatch.setattr(starting, "MODEL_SECONDS", 0.0)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with data and a model's folder."""
    folder = tmp_path / "project"
    (folder / "models" / "tiny").mkdir(parents=True)
    (folder / "models" / "tiny" / "config.json").write_text("{}")
    (folder / "models" / "empty").mkdir()
    rows = [f"a fine cup of tea number {i},{'good' if i % 2 else 'bad'}" for i in range(40)]
    (folder / "train.csv").write_text("\n".join(["note,kind", *rows]) + "\n")
    (folder / ".hidden.csv").write_text("")
    monkeypatch.chdir(folder)
    return folder


def screen_of(pilot: Pilot[int]) -> NewRunScreen:
    screen = pilot.app.screen
    assert isinstance(screen, NewRunScreen)
    return screen


def given_in(pilot: Pilot[int]) -> dict[str, Any]:
    draft = screen_of(pilot).draft
    assert draft is not None
    return dict(draft.given)


async def go_to(pilot: Pilot[int], path: str) -> None:
    screen_of(pilot).form.go_to_path(path)
    await pilot.pause()


async def write(pilot: Pilot[int], path: str, text: str) -> None:
    await go_to(pilot, path)
    await pilot.press("enter")
    await type_in(pilot, text)
    await pilot.press("enter")
    await until(pilot, lambda: path in given_in(pilot), path)


async def type_in(pilot: Pilot[int], text: str) -> None:
    """Into the box that has the focus, as a paste: quicker than a key a letter."""
    box = pilot.app.focused
    assert isinstance(box, FieldBox)
    box.value, box.cursor_position = text, len(text)
    await pilot.pause()


async def fill(pilot: Pilot[int]) -> None:
    await write(pilot, "model.base", "models/tiny")
    await write(pilot, "data.train", "train.csv")
    await seen(pilot, "ready: S starts")


async def test_fields_are_walked_chosen_written_and_taken_back(project: Path, shown: Shown) -> None:
    async with shown(None, (80, 24)) as pilot:
        await pilot.press("n")
        await seen(pilot, "2 to be given")
        form = screen_of(pilot).form
        assert form.focused_field is not None
        assert form.focused_field.path == "task"
        assert "[classification]" in picture(pilot)
        await pilot.press("space")
        await seen(pilot, "completion")
        assert given_in(pilot)["task"] == "generation"
        assert " label " not in picture(pilot)
        await pilot.press("left")
        await seen(pilot, "[classification]")
        await pilot.press("tab")
        assert form.focused_field.path == "data.train"
        await pilot.press("tab", "shift+tab", "shift+tab")
        assert form.focused_field.path == "task"
        await pilot.press("end", "home", "pagedown", "pageup", "down")
        assert form.focused_field.path == "name"
        await pilot.press("right")
        await seen(pilot, "enter writes a value here")
        await pilot.press("enter", *"qSWv?", "enter")  # letters are text in the box
        await until(pilot, lambda: given_in(pilot).get("name") == "qSWv?", "name")
        await pilot.press("enter", "x", "escape")
        assert given_in(pilot)["name"] == "qSWv?"
        await pilot.press("backspace")
        await until(pilot, lambda: "name" not in given_in(pilot), "default")
        await pilot.press("a")
        await pilot.press("end")
        await seen(pilot, "evaluate.serve_minutes")
        await pilot.press("a", "home", "question_mark")
        await seen(pilot, "back to the default")


async def test_a_wrong_value_is_told_beside_its_field(project: Path, shown: Shown) -> None:
    async with shown(None, (80, 24)) as pilot:
        await pilot.press("n")
        await seen(pilot, "2 to be given")
        await go_to(pilot, "train.epochs")
        await pilot.press("enter", *["backspace"] * 3, *"many", "down")
        await seen(pilot, "many  ✗ 'many' is not a number")
        await go_to(pilot, "task")
        await pilot.press("f")
        await seen(pilot, "model.base")
        await pilot.press("S")
        await seen(pilot, "must be given")
        assert isinstance(pilot.app.screen, NewRunScreen)


async def test_names_are_completed_with_tab(project: Path, shown: Shown) -> None:
    (project / "trail.csv").write_text("a,b\n")
    async with shown(None, (80, 24)) as pilot:
        await pilot.press("n")
        await seen(pilot, "2 to be given")
        await go_to(pilot, "model.base")
        await pilot.press("enter", "m", "tab", "tab")
        await seen(pilot, "empty/")
        assert "tiny" in picture(pilot)
        await pilot.press("t", "tab", "enter")
        await until(pilot, lambda: given_in(pilot).get("model.base") == "models/tiny", "model")
        await go_to(pilot, "data.train")
        await pilot.press("enter", "t", "tab")
        await seen(pilot, "trail.csv")
        assert ".hidden" not in picture(pilot)
        await pilot.press("tab", "tab")
        await seen(pilot, "[train.csv]")
        await pilot.press("shift+tab")
        await seen(pilot, "[trail.csv]")
        await pilot.press("tab", "enter")
        await until(pilot, lambda: given_in(pilot).get("data.train") == "train.csv", "file")


async def test_the_preview_tells_columns_labels_lengths_and_costs(
    project: Path, shown: Shown
) -> None:
    async with shown(None, (160, 60)) as pilot:
        await pilot.press("n")
        await seen(pilot, "Name a file to learn from")
        await fill(pilot)
        screen = picture(pilot)
        for text in (
            "note  → text  by its contents",
            "kind  → label  by its contents",
            "40 rows in train.csv",
            "a fine cup of tea number 0",
            "2 labels  evenly spread",
            "truncated at 128: 3 rows (8.3 %) lose 40 tokens",
            "1,234 parameters",
            "unknown until the first steps",
        ):
            assert text in screen, text
        await go_to(pilot, "data.label")
        await pilot.press("space")  # the columns of the file, one after the other
        await seen(pilot, "note  → label  as you chose")
        await pilot.press("space")
        await seen(pilot, "kind  → label  as you chose")
        await write(pilot, "data.text", "nowhere")
        await seen(pilot, 'has no column "nowhere"')
        assert "In the way of a run" in picture(pilot)


async def test_on_a_narrow_screen_the_preview_has_a_key(project: Path, shown: Shown) -> None:
    async with shown(None, (80, 24)) as pilot:
        await pilot.press("n")
        await seen(pilot, "2 to be given")
        await fill(pilot)
        await pilot.press("v")
        await seen(pilot, "First rows")
        assert "learning_rate" not in picture(pilot)
        await pilot.press("down", "end")
        await seen(pilot, "lines above ↑")
        await pilot.press("escape")
        await seen(pilot, "learning_rate")
        await pilot.resize_terminal(160, 40)
        await seen(pilot, "Token lengths")
        await pilot.press("v", "end", "v")
        await pilot.resize_terminal(60, 20)
        await seen(pilot, "ftev needs 80 × 24")


async def test_bad_rows_are_told_with_file_and_line(project: Path, shown: Shown) -> None:
    with (project / "train.csv").open("a") as file:
        file.write(",good\nno label,\n")
    async with shown(None, (160, 40)) as pilot:
        await pilot.press("n")
        await seen(pilot, "2 to be given")
        await write(pilot, "data.train", "train.csv")
        await seen(pilot, "In the way of a run")
        screen = picture(pilot)
        assert "train.csv:42" in screen
        assert "train.csv:43" in screen
        assert "✗ line 42" in screen
        assert "! must be given" in screen  # the settings are told at the same time


async def test_a_run_is_started_from_the_form(
    project: Path, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Any] = []

    class Worker:
        def wait(self) -> int:
            return 0

    monkeypatch.setattr(launch, "start_worker", lambda run: started.append(run) or Worker())
    async with shown(None, (120, 40)) as pilot:
        await pilot.press("n")
        await seen(pilot, "2 to be given")
        await fill(pilot)
        (project / "train.csv").write_text("note,kind\n")  # gone bad since it was looked at
        await pilot.press("S")
        await seen(pilot, "the data cannot be used")
        rows = [f"a fine cup of tea number {i},{'good' if i % 2 else 'bad'}" for i in range(40)]
        (project / "train.csv").write_text("\n".join(["note,kind", *rows]) + "\n")
        await write(pilot, "train.max_steps", "4")
        await seen(pilot, "ready: S starts")
        await pilot.press("f5")
        await until(pilot, lambda: isinstance(pilot.app.screen, RunScreen), "run screen")
        (run,) = started
        config = run.config()
        assert (config.model.base, config.train.max_steps) == ("models/tiny", 4)
        assert config.folder == str(project)
        estimate = read_estimate(run)
        assert estimate is not None
        assert estimate.steps == 4
        assert pilot.app.kept_draft is None  # type: ignore[attr-defined]


async def test_a_form_is_written_and_loaded(project: Path, shown: Shown) -> None:
    async with shown(None, (80, 24)) as pilot:
        await pilot.press("n")
        await seen(pilot, "2 to be given")
        await fill(pilot)
        await pilot.press("W")
        await seen(pilot, "Write this form to")
        await pilot.press("enter")
        await seen(pilot, "written: run.toml")
        assert load_config(project / "run.toml").data.train == "train.csv"
        await write(pilot, "train.max_steps", "9")
        await pilot.press("W")
        await type_in(pilot, "run.toml")
        await pilot.press("enter")
        await seen(pilot, "Write over this file?")
        await pilot.press("enter")  # No
        await pilot.pause()
        assert load_config(project / "run.toml").train.max_steps is None
        await pilot.press("W")
        await type_in(pilot, "run.to")
        await pilot.press("tab", "enter")
        await seen(pilot, "Write over this file?")
        await pilot.press("y")
        await seen(pilot, "written: run.toml")
        assert load_config(project / "run.toml").train.max_steps == 9
        (project / "other.toml").write_text('task = "generation"\nlr = 3\n')
        await pilot.press("L")
        await type_in(pilot, "other.toml")
        await pilot.press("enter")
        await seen(pilot, "left out, no settings: lr")
        assert given_in(pilot) == {"task": "generation"}
        await pilot.press("L")
        await type_in(pilot, "nothing.toml")
        await pilot.press("enter")
        await seen(pilot, "there is no such file")
        await pilot.press("L", "escape", "escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, HomeScreen), "home")


async def test_a_form_begins_like_a_run_or_as_it_was_left(
    tmp_path: Path, project: Path, shown: Shown
) -> None:
    run = make_run(tmp_path)
    write_events(run, story())
    async with shown(None, (80, 24), "1 run") as pilot:
        await pilot.press("n")
        await seen(pilot, "like 2026-11-20_14-05-00_reviews")
        await pilot.press("escape", "n", "l")
        await until(pilot, lambda: isinstance(pilot.app.screen, NewRunScreen), "form")
        await seen(pilot, "ftev/tiny-encoder")
        await write(pilot, "train.max_steps", "7")
        await pilot.press("escape")
        await seen(pilot, "1 run")
        await pilot.press("n")
        await seen(pilot, "as you left it")
        await pilot.press("enter")
        await seen(pilot, "max_steps      7")
        await pilot.press("escape")
        await seen(pilot, "1 run")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, RunScreen), "run screen")
        await pilot.press("n")
        await seen(pilot, "an empty form")
        await pilot.press("n")
        await seen(pilot, "2 to be given")
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, RunScreen), "run screen")


async def test_hostile_data_are_shown_and_not_obeyed(project: Path, shown: Shown) -> None:
    hostile = HOSTILE.replace("\ud800", "?").replace("\x00", "").replace('"', "'")
    lines = [f'"{hostile} {i}","{"[/]" if i % 2 else "[bold red]x"}"' for i in range(40)]
    (project / "bad\x1b[2J.csv").write_text("\n".join(['"te\x1b]0;xt",kind', *lines]) + "\n")
    async with shown(None, (160, 50)) as pilot:
        await pilot.press("n")
        await seen(pilot, "2 to be given")
        await go_to(pilot, "data.train")
        await pilot.press("enter", *"bad", "tab")
        await pilot.pause()
        assert not DANGEROUS.search(picture(pilot).replace("\n", "").replace("\x1b", ""))
        await pilot.press("enter")
        await seen(pilot, "First rows")
        await pilot.pause()
        assert not DANGEROUS.search(picture(pilot).replace("\n", ""))
        assert "␛" in picture(pilot)
        assert pilot.app.is_running


async def test_a_model_that_cannot_be_used_is_a_fault_of_its_field(
    project: Path, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise ModelError("models/tiny: no such model")

    monkeypatch.setattr(launch, "ask_engine", refuse)
    async with shown(None, (120, 30)) as pilot:
        await pilot.press("n")
        await seen(pilot, "2 to be given")
        await write(pilot, "model.base", "models/tiny")
        await write(pilot, "data.train", "train.csv")
        await seen(pilot, "models/tiny  ✗ no such model")


def test_a_change_ends_the_engine_that_looks_at_an_older_draft(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    killed = threading.Event()

    class Engine:
        def poll(self) -> int | None:
            return -9 if killed.is_set() else None

        def kill(self) -> None:
            killed.set()

    def ask(_: str, question: dict[str, Any], tell: Any, started: Any) -> dict[str, Any]:
        asked.append(question["config"]["model"]["base"])
        if len(asked) == 1:
            started(Engine())
            assert killed.wait(patience(30))
            raise ModelError("the engine was ended")
        return TOLD_BY_ENGINE

    monkeypatch.setattr(launch, "ask_engine", ask)
    posted: list[Any] = []
    previewer = Previewer(tmp_path, posted.append)
    previewer.start()
    least = {"task": "classification", "data.train": "train.csv"}
    previewer.ask(Draft(least | {"model.base": "one"}, str(project)))
    wait_for(lambda: len(asked) == 1, "a question")
    number = previewer.ask(Draft(least | {"model.base": "two"}, str(project)))
    wait_for(lambda: Working(number, "") in posted, "its end")
    previewer.stop()
    previewer.join(patience(30))
    assert asked == ["one", "two"]
    lines = [m for m in posted if isinstance(m, starting.ModelSeen)]
    assert [(m.number, m.faults) for m in lines] == [(number, ())]


def test_no_key_of_the_form_is_one_that_terminals_keep() -> None:
    names = [name for key in NEW_RUN_KEYS for name in key.keys.split(",")]
    assert len(names) == len(set(names))
    assert not {f"ctrl+{letter}" for letter in "baszmihw"} & set(names)


async def test_a_finished_run_tells_its_estimate(tmp_path: Path, shown: Shown) -> None:
    run = make_run(tmp_path)
    write_events(run, story())
    write_estimate(run, Estimate(steps=140, tokens=190_000, tokens_per_second=10_000.0))
    async with shown(run, (160, 45)) as pilot:
        await seen(pilot, "13.9 s of 19.0 s estimated")
