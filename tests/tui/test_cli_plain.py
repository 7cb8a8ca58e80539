"""A run in plain lines: what is told, how often, and nothing that a terminal would obey."""

from __future__ import annotations

import pytest
import story
from ftev.core.run.events import AnyEvent, Evaluated, Note, Progress, RunFinished
from ftev.core.run.history import History
from ftev.tui.commands.follow import ProgressLines
from msgspec.structs import replace


def told(events: list[AnyEvent], seconds: float = 0.5, every: float = 5.0) -> list[str]:
    """The lines about events that are so many seconds apart."""
    history, teller, lines = History(), ProgressLines(every), []
    for i, event in enumerate(events):
        stamped = replace(event, time=story.T0 + i * seconds)
        history.add(stamped)
        lines += teller.lines(stamped, history)
    return lines


def test_an_epoch_is_one_line_with_its_observation() -> None:
    lines = told([*story.beginning(), *story.epoch(1)])
    assert (
        "epoch 1: training loss 0.625, validation loss 0.500, accuracy 75.0 % (+25.0 points "
        "since step 0), 2.0 s: validation loss fell by 0.20 in the first epoch, accuracy "
        "+25.0 points"
    ) in lines


@pytest.mark.parametrize(("seconds", "count"), [(0.01, 1), (1.0, 20), (5.0, 100), (60.0, 100)])
def test_steps_are_told_every_few_seconds_at_most(seconds: float, count: int) -> None:
    steps: list[AnyEvent] = [story.step(n) for n in range(1, 101)]
    assert len(told(steps, seconds)) == count


def test_progress_and_steps_share_the_pause_between_lines() -> None:
    events: list[AnyEvent] = [Progress(what="scoring", done=n, total=50) for n in range(50)]
    assert told(events, seconds=0.1) == ["  scoring: 0 of 50"]


def test_evaluations_epochs_and_the_end_are_never_left_out() -> None:
    lines = told(story.whole(), seconds=0.001)
    assert sum(line.startswith("  tuned on validation") for line in lines) == 4
    assert sum(line.startswith("epoch ") for line in lines) == 3
    assert "training ended at step 12: completed; the model of step 8 is kept" in lines
    assert lines[-1] == "run finished"


def test_final_scores_are_left_to_the_table() -> None:
    final = Evaluated(
        split="test",
        model="tuned",
        step=12,
        epoch=-1.0,
        rows=1,
        loss_sum=1.0,
        loss_count=1,
        correct=1,
        count=1,
    )
    assert told([final]) == []


def test_a_failure_and_notes_are_told_on_one_line_each() -> None:
    events: list[AnyEvent] = [
        Note(level="warning", text="a\x1b[31mb\nc"),
        RunFinished(status="failed", error="out of memory"),
    ]
    assert told(events) == ["warning: a␛[31mb↵c", "run failed: out of memory"]


def test_an_epoch_without_validation_says_what_it_knows() -> None:
    events = [e for e in [*story.beginning(), *story.epoch(1)] if not isinstance(e, Evaluated)]
    [line] = [line for line in told(events) if line.startswith("epoch")]
    assert line.startswith("epoch 1: training loss 0.625, 2.0 s: nothing to judge it by")
