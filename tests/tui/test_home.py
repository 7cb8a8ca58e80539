"""The home screen: its list, filter, notes, marks, trash, and what it remembers."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from conftest import Shown, picture, seen
from ftev.core.catalog import run_facts as scan
from ftev.core.catalog.filter import MEMORY_FILE, FilterError, arrange, read_filter, read_memory
from ftev.core.catalog.listed import stamp_of
from ftev.core.catalog.notes import (
    RunNotes,
    move_to_trash,
    notes_path,
    read_notes,
    read_tags,
    write_notes,
)
from ftev.core.catalog.run_facts import (
    CACHE_FILE,
    RunEntry,
    RunFacts,
    glance,
    read_cache,
    read_facts,
    status_of,
    write_cache,
)
from ftev.core.run.event_lines import PARTS, LossCourse, read_course
from ftev.core.run.runs import Run, list_runs
from ftev.tui.screens.home.home import HomeScreen, with_note
from ftev.tui.screens.home.run_lines import difference_of, fit_columns, spark
from ftev.tui.screens.run.run import RunScreen
from made_runs import live_worker, make_run, story, until_step, write_events
from msgspec import structs
from textual.pilot import Pilot


def several(folder: Path) -> list[Run]:
    runs = [make_run(folder, name=f"run-{n}", number=n) for n in range(4)]
    write_events(runs[0], story())
    write_events(runs[1], story("generation"))
    write_events(runs[2], until_step(story(), 93))
    write_events(runs[3], until_step(story(), 30))
    live_worker(runs[3])
    return runs


async def test_runs_stand_newest_first_with_status_and_headline(
    tmp_path: Path, shown: Shown
) -> None:
    several(tmp_path)
    async with shown(None, (120, 30), "4 runs") as pilot:
        lines = [line for line in picture(pilot).split("\n") if "reviews" in line]
        assert [("running" in n, "died" in n, "finished" in n) for n in lines] == [
            (True, False, False),
            (False, True, False),
            (False, False, True),
            (False, False, True),
        ]
        assert "running 21 %" in lines[0]
        assert "step 30 of 140" in picture(pilot)
        assert "loss 5.080 → 3.110 (test)" in lines[2]
        assert "macro F1 probe 71.4 % → 89.5 % (test)" in lines[3]
        assert any(0x2800 < ord(character) < 0x2900 for character in lines[0])


async def test_enter_opens_and_escape_comes_back(tmp_path: Path, shown: Shown) -> None:
    several(tmp_path)
    async with shown(None, (120, 40), "4 runs") as pilot:
        await pilot.press("down", "down", "enter")
        await seen(pilot, "asked by the run")
        assert isinstance(pilot.app.screen, RunScreen)
        await pilot.press("escape")
        await seen(pilot, "4 runs")
        assert isinstance(pilot.app.screen, HomeScreen)
        await pilot.press("escape")
        await seen(pilot, "asked by the run")


async def test_the_cursor_stays_on_its_run_when_a_new_one_appears(
    tmp_path: Path, shown: Shown
) -> None:
    several(tmp_path)
    async with shown(None, (120, 40), "4 runs") as pilot:
        await pilot.press("end", "up")
        screen = pilot.app.screen
        assert isinstance(screen, HomeScreen)
        assert screen.chosen is not None
        before = screen.chosen.run.id
        write_events(make_run(tmp_path, name="newest", number=9), story())
        await seen(pilot, "5 runs")
        assert screen.chosen.run.id == before


async def test_an_empty_folder_says_how_to_begin(tmp_path: Path, shown: Shown) -> None:
    async with shown(None, (80, 24), "ftev-tui demo") as pilot:
        assert "No runs here yet." in picture(pilot)
        await pilot.press("enter", "e", "up", "end")
        await pilot.press("question_mark")
        await seen(pilot, "a new run, empty or like the chosen one")
        await pilot.press("escape", "n")
        await seen(pilot, "2 to be given")


async def test_the_report_of_the_chosen_run(tmp_path: Path, shown: Shown) -> None:
    runs = several(tmp_path)
    async with shown(None, (120, 40), "4 runs") as pilot:
        await pilot.press("end", "e")
        await seen(pilot, "written: ")
        assert (runs[0].path / "report.md").exists()


async def test_a_list_longer_than_the_screen_scrolls(tmp_path: Path, shown: Shown) -> None:
    for number in range(40):
        make_run(tmp_path, name=f"run-{number}", number=number)
    async with shown(None, (80, 24), "40 runs") as pilot:
        await pilot.press("end")
        await seen(pilot, "▸  run-0 ")
        await pilot.press("home")
        await seen(pilot, "▸  run-39 ")


def test_a_long_file_is_summed_up_from_both_ends(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    events = story()
    write_events(run, events)
    whole = scan.read_edges(run.events_path)
    size = scan.EDGE_BYTES
    try:
        scan.EDGE_BYTES = 6_000
        edges = scan.read_edges(run.events_path)
    finally:
        scan.EDGE_BYTES = size
    assert len(edges.steps) < len(whole.steps)
    assert (edges.step, edges.max_steps, edges.task) == (140, 140, "classification")
    assert edges.results == whole.results


HOSTILE = "\x1b]52;c;aGk=\x07[/]\x1b[31m日本"


def kinds_of_runs(folder: Path) -> list[Run]:
    runs = [make_run(folder, name=f"run-{n}", number=n) for n in range(4)]
    write_events(runs[0], story(name="first"))
    write_events(runs[1], story("generation", "verse"))
    write_events(runs[2], until_step(story(name="third"), 93))
    write_events(runs[3], until_step(story(name="live"), 30))
    live_worker(runs[3])
    return runs


def home(pilot: Pilot[int]) -> HomeScreen:
    screen = pilot.app.screen_stack[0]
    assert isinstance(screen, HomeScreen)
    return screen


def names(pilot: Pilot[int]) -> list[str]:
    return [entry.facts.name for entry in home(pilot).runs.entries]


async def test_filter_order_and_groups(tmp_path: Path, shown: Shown) -> None:
    kinds_of_runs(tmp_path)
    async with shown(None, (80, 24), "4 runs") as pilot:
        assert names(pilot) == ["live", "third", "verse", "first"]
        assert "✓ ship" in picture(pilot)
        await pilot.press("slash")
        await seen(pilot, "filter: words")
        await pilot.press(*"task=generation")
        await seen(pilot, "1 of 4 runs")
        await pilot.press("enter")
        assert names(pilot) == ["verse"]
        assert read_memory(tmp_path).filter == "task=generation"
        await pilot.press("escape")
        assert len(names(pilot)) == 4
        await pilot.press("slash", *"train.learning_rat>1")
        await seen(pilot, "did you mean train.learning_rate?")
        assert len(names(pilot)) == 4  # a wrong filter hides nothing
        await pilot.press("enter")  # and cannot be kept
        assert home(pilot)._box is not None
        await pilot.press("escape", "slash", *"zzz", "enter")
        await seen(pilot, "No run matches this filter.")
        await pilot.press("escape", "o")
        assert names(pilot) == ["first", "live", "third", "verse"]
        await pilot.press("o")
        assert names(pilot) == ["live", "third", "verse", "first"]
        await pilot.press("o", "g")
        await seen(pilot, "classification  task, 3 runs")
        await pilot.press("end", "home", "g", "g", "g")
        await seen(pilot, "no tag  tag, 4 runs")
        await pilot.press("g", "o", "o")
        assert read_memory(tmp_path).sort == "newest"


async def test_what_is_noted_is_kept_beside_the_run(tmp_path: Path, shown: Shown) -> None:
    first = kinds_of_runs(tmp_path)[0]
    async with shown(None, (120, 40), "4 runs") as pilot:
        await pilot.press("end", "r", *["backspace"] * 5, *"best one", "enter")
        await seen(pilot, "▸  best one")
        await pilot.press("a", *"good #ship", "enter")
        await seen(pilot, "#good #ship")
        await pilot.press("N", *"q: keep", "enter")
        await seen(pilot, "¶ q: keep")
        notes = RunNotes("best one", ("good", "ship"), "q: keep")
        assert read_notes(first) == notes
        await pilot.press("r", *"xyz", "escape")  # nothing comes of it
        assert read_notes(first) == notes
        await pilot.press("slash", *"tag=good", "enter")
        await seen(pilot, "1 of 4 runs")
        await pilot.press("N", *["backspace"] * 7, "enter")
        await pilot.press("a", *["backspace"] * 9, "enter")
        await pilot.press("escape", "end", "r", *["backspace"] * 8, "enter")
        await seen(pilot, "▸  first")
    assert not notes_path(first).exists()
    assert (first.path / "run.toml").exists()


async def test_baseline_marks_and_trash(tmp_path: Path, shown: Shown) -> None:
    runs = kinds_of_runs(tmp_path)
    other = make_run(tmp_path, name="other", number=7)
    write_events(other, story(name="other", seed=2))
    async with shown(None, (120, 40), "5 runs") as pilot:
        await pilot.press("end", "b", "home")
        await seen(pilot, "0.0 pts")
        assert "macro F1 0.0 pts from first: c compares them row by row" in picture(pilot)
        await pilot.press("space", "space")
        await seen(pilot, "2 marked")
        await pilot.press("escape")
        assert not home(pilot).marked
        await pilot.press("home", "down", "D")
        await seen(pilot, "Its worker is alive")
        await pilot.press("up", "D", "enter")  # the answer is No
        assert other.path.exists()
        await pilot.press("D", "y")
        await seen(pilot, "To restore it: mv ")
        await seen(pilot, "4 runs")
        assert not other.path.exists()
        assert (tmp_path / ".trash" / other.id / "run.toml").exists()
        assert len(list_runs(tmp_path)) == 4
        await pilot.press("end", "b")
        assert read_memory(tmp_path).baseline == ""
        await pilot.press("c")
        await seen(pilot, "Mark two or more runs")
        await pilot.click("#runs", offset=(5, 3))
        assert home(pilot).runs.cursor == 2
    assert runs[0].path.exists()


async def test_hostile_names_tags_and_notes_stay_plain_text(tmp_path: Path, shown: Shown) -> None:
    run = make_run(tmp_path, name="x", number=1)
    write_events(run, story(name=HOSTILE))
    write_notes(run, RunNotes(HOSTILE, (HOSTILE.replace(" ", ""),), HOSTILE))
    for size in ((80, 24), (160, 40)):
        async with shown(None, size, "1 run") as pilot:
            await pilot.press("g", "g", "g", "g")
            screen = picture(pilot)
            assert "\x1b" not in screen
            assert "␛]52;c;aGk=␇[/]" in screen


def test_a_filter_reads_facts_metrics_and_settings(tmp_path: Path) -> None:
    facts = RunFacts(
        name="sms",
        task="classification",
        created=100.0,
        last_time=1000.0,
        metrics={"macro_f1": 0.9},
        settings={
            "train.learning_rate": 5e-5,
            "model.base": "distil",
            "data.near_duplicates": True,
        },
    )
    entry = RunEntry(Run(tmp_path / "a"), facts, "finished", RunNotes(tags=("good",)))
    for text in (
        "",
        "sms finished good",
        "-other",
        "train.learning_rate>1e-5",
        "config.train.learning_rate=5e-5",
        "learning_rate<=0.00005",
        "macro_f1>=90%",
        "tag=good",
        "tag!=bad",
        "model.base=dis*",
        "duration>10m",
        "data.near_duplicates=true",
        'name="sms"',
    ):
        assert read_filter(text)(entry), text
    for text in ("nothing", "-sms", "macro_f1>0.9", "tag=bad", "train.epochs>1", "accuracy>0"):
        assert not read_filter(text)(entry), text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("epochs>many", "epochs is compared with a number, and 'many' is none"),
        ("task>3", "task has no order: write task=3 or task!=3"),
        ("seed=", "seed= needs a value after it"),
        ('"open', 'a quotation mark " is not closed'),
        ("train.epoch>1", "nothing is called 'train.epoch': did you mean train.epochs?"),
        ("batch_tokens>1", "batch_tokens is more than one setting"),
    ],
)
def test_a_wrong_filter_says_what_is_wrong_in_one_line(text: str, expected: str) -> None:
    with pytest.raises(FilterError) as fault:
        read_filter(text)
    assert expected in str(fault.value)
    assert "\n" not in str(fault.value)


def test_the_best_of_each_metric_comes_first(tmp_path: Path) -> None:
    def entry(name: str, metric: str, value: float | None) -> RunEntry:
        return RunEntry(Run(tmp_path / name), RunFacts(name=name, metric=metric, value=value), "")

    runs = [entry("a", "loss", 2.0), entry("b", "", None), entry("c", "loss", 1.0)]
    runs += [entry("d", "accuracy", 0.5), entry("e", "accuracy", 0.9)]
    assert "".join(e.name for e in arrange(runs, "metric", "")[0].entries) == "edcab"


def test_a_difference_is_of_one_metric_and_tells_other_rows(tmp_path: Path) -> None:
    def entry(name: str, value: float, rows: str) -> RunEntry:
        facts = RunFacts(
            name=name, metric="f1", split="test", value=value, metrics={"f1": value}, rows=rows
        )
        return RunEntry(Run(tmp_path / name), facts, "finished")

    before = entry("a", 0.5, "x")
    assert difference_of(entry("b", 0.532, "x"), before) == "+3.2 pts"
    assert difference_of(entry("b", 0.4, "y"), before) == "≠ −10.0 pts"
    assert difference_of(before, before) == "baseline"
    text = replace(before, run=Run(tmp_path / "t"), facts=structs.replace(before.facts, task="x"))
    assert difference_of(text, before) == "–"
    lost = RunEntry(Run(tmp_path / "c"), RunFacts(name="c", split="test"), "died")
    assert difference_of(lost, before) == "–"


def test_columns_fit_every_width(tmp_path: Path) -> None:
    facts = RunFacts(name="n" * 60, headline="accuracy 80.0 % → 90.0 % (test)")
    entry = RunEntry(Run(tmp_path / "a"), facts, "finished")
    for width in (78, 98, 118, 198, 298):
        columns = fit_columns([entry], width, difference=True)
        assert columns.name >= 12
        assert columns.headline >= 18
    assert fit_columns([entry], 78, difference=False).status == 0


def test_a_spike_of_one_step_is_seen_in_the_course(tmp_path: Path) -> None:
    course = LossCourse()
    course.extend(9.0 if step == 70_001 else 1.0 for step in range(100_000))
    assert max(high for _, high in course.parts()) == 9.0
    assert PARTS // 2 <= len(course.parts()) <= PARTS
    assert any(ord(c) & 0x09 for c in spark(course.parts(), 12) if c != " ")  # a dot at the top
    run = make_run(tmp_path)
    write_events(run, story())
    from_file = read_course(run.events_path, LossCourse())
    assert from_file.parts() == pytest.approx(read_facts(run).course)
    assert from_file.offset == run.events_path.stat().st_size
    assert spark([], 4) == "    "


def test_facts_are_kept_and_a_damaged_cache_is_passed_over(tmp_path: Path) -> None:
    run = kinds_of_runs(tmp_path)[0]
    facts = read_facts(run)
    assert (facts.decision, facts.metric, facts.ended) == ("ship", "macro_f1", "finished")
    assert (glance(run).name, glance(run).ended) == (facts.name, facts.ended)
    write_cache(tmp_path, {run.id: (stamp_of(run), facts)})
    assert read_cache(tmp_path) == {run.id: (stamp_of(run), facts)}
    (tmp_path / CACHE_FILE).write_bytes(b"\x93" + os.urandom(40))
    assert read_cache(tmp_path) == {}


async def test_a_saved_view_of_another_version_does_not_stop_the_screen(
    tmp_path: Path, shown: Shown
) -> None:
    kinds_of_runs(tmp_path)
    (tmp_path / MEMORY_FILE).write_text('{"sort":"beauty","filter":"a>","baseline":"gone"}')
    async with shown(None, (80, 24), "4 runs") as pilot:
        assert home(pilot).kept.sort == "newest"
    (tmp_path / MEMORY_FILE).write_text('{"filter":"nothing>x","chosen":"gone"}')
    async with shown(None, (80, 24), "4 of 4 runs") as pilot:
        assert len(names(pilot)) == 4


def test_notes_are_whole_or_nothing(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    assert read_tags("a, #b  a") == ("a", "b")
    notes_path(run).write_bytes(b'{"name": "ha')
    assert read_notes(run) == RunNotes()
    write_notes(run, RunNotes(name="x"))
    assert json.loads(notes_path(run).read_text()) == {"name": "x"}
    assert [p.name for p in run.path.iterdir() if p.name.startswith(".")] == []


def test_a_note_keeps_what_another_screen_has_written_since(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    listed = RunEntry(run, RunFacts(name="tea"), "finished")
    write_notes(run, RunNotes(tags=("good",)))
    assert with_note(listed, "note", "ship it") == RunNotes(tags=("good",), note="ship it")


def test_a_run_whose_worker_is_alive_is_not_thrown_away(tmp_path: Path) -> None:
    run = kinds_of_runs(tmp_path)[3]
    assert status_of(run, read_facts(run)) == "running"
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b"[]", type=RunNotes)
    with pytest.raises(Exception, match="worker is alive"):
        move_to_trash(run)
    assert run.path.exists()
