"""Words where there is little room, and where there is nothing to tell."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from conftest import Shown, picture
from ftev.core.catalog.run_facts import RunEntry, RunFacts
from ftev.core.run.events import DeviceFound, RunFinished, StageDone, StageStarted
from ftev.core.run.history import STAGES, fold
from ftev.core.run.runs import Run
from ftev.tui.drawing.format import short_model_name, with_dots
from ftev.tui.drawing.lines import Line, describe_hidden, text_of, width_of
from ftev.tui.screens.home.run_lines import detail_lines
from ftev.tui.screens.run.metrics import Judgement, judgement_lines
from ftev.tui.screens.run.pipeline import pipeline_lines
from ftev.tui.screens.run.status import pace
from made_runs import make_run, story, until_step, write_events

REASON = (
    "accuracy on test changes by +0.41 points against the linear probe, fixed 93, broke 81 rows"
)


def texts(lines: list[Line]) -> list[str]:
    return [text_of(line).rstrip() for line in lines]


def test_what_is_left_is_of_the_steps_and_not_of_the_evaluations() -> None:
    history = fold(until_step(story(), 93))
    assert text_of(pace(history, "running", 80)).endswith(" tokens/s")
    assert text_of(pace(history, "running", 58)).endswith(" of steps left")  # no half of a speed


def test_a_verdict_that_has_no_room_ends_with_dots() -> None:
    facts = RunFacts(name="a", decision="ship", reason=REASON)
    entry = RunEntry(Run(Path("/runs/a")), facts, "finished")
    whole = texts(detail_lines(entry, None, 40, 9))
    cut = texts(detail_lines(entry, None, 40, 4))
    assert whole[-1].endswith("broke 81 rows")
    assert cut[-1].endswith(" …")
    assert whole[3].startswith(cut[-1].removesuffix(" …"))  # by whole words
    assert max(width_of(line) for line in detail_lines(entry, None, 40, 4)) <= 40


@pytest.mark.parametrize("height", [12, 18])
@pytest.mark.parametrize("width", [40, 56, 76])
def test_reasons_wrap_or_end_at_a_word(width: int, height: int) -> None:
    judgement = Judgement("ship", "accuracy at least 80 %", (REASON,))
    lines = judgement_lines(judgement, width, height)
    found = " ".join(text.strip() for text in texts(lines)[1:]).strip()
    assert REASON.startswith(found.removesuffix(" …"))
    assert REASON[len(found.removesuffix(" …")) :][:1] in ("", " ", ",")
    assert max(map(width_of, lines)) <= width


def test_with_dots_keeps_what_fits() -> None:
    assert with_dots("one two three", 20) == "one two three …"
    assert with_dots("one two three", 12) == "one two …"


def test_counts_of_steps_are_told_whole_beside_a_shorter_bar() -> None:
    events = [
        msgspec.structs.replace(e, max_steps=4_000) if hasattr(e, "max_steps") else e
        for e in until_step(story(), 93)
    ]
    (line,) = (t for t in texts(pipeline_lines(fold(events), "running", 70, 6)) if "step" in t)
    assert line.endswith("step 93 of 4,000")
    assert "─" in line


def test_one_line_is_one() -> None:
    assert describe_hidden(1, 2) == "1 line above ↑  2 lines below ↓"


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("org/tiny", "tiny"),
        ("/m/tiny/", "tiny"),
        ("/runs/2026_gsm8k/model", "2026_gsm8k"),
        ("model", "model"),
        ("", ""),
    ],
)
def test_a_folder_named_model_has_the_name_of_its_parent(name: str, short: str) -> None:
    assert short_model_name(name) == short


async def test_a_run_that_only_evaluates_tells_of_no_training(tmp_path: Path, shown: Shown) -> None:
    run = make_run(tmp_path, number=6)
    began = until_step(story(), 1)[:2]
    device = began[1]
    assert isinstance(device, DeviceFound)
    loaded = [
        StageStarted(stage=3, name=STAGES[2]),
        StageDone(stage=3, name=STAGES[2], seconds=0.11),
        RunFinished(status="finished"),
    ]
    write_events(run, [began[0], msgspec.structs.replace(device, trains=False), *loaded])
    async with shown(run, (80, 24), "✓ finished") as pilot:
        await pilot.press("4")
        await pilot.pause()
        screen = picture(pilot)
        assert "tuned model loaded" in screen
        assert "fine-tuned" not in screen
        assert "there is no training to plot" in screen
        assert "0 steps" not in screen
        assert "evaluated in" in screen
