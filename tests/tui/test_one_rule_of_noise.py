"""Pane, findings, quiz and report read one history and say the same of its losses (V10)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import story
from ftev.core.judgement.findings import find
from ftev.core.report.quiz import make_quiz
from ftev.core.report.quiz.questions import TEXTS
from ftev.core.report.report import build_report, render_markdown
from ftev.core.run.events import AnyEvent, Evaluated, StepDone
from ftev.core.run.history import read_history
from ftev.core.run.runs import Run
from ftev.tui.drawing.lines import text_of
from ftev.tui.screens.run.metric_rows import metric_tables
from ftev.tui.screens.run.metrics import change_role
from ftev.tui.screens.run.moment import history_at
from ftev.tui.screens.run.pipeline import trace_lines
from msgspec.structs import replace

TRAIN = (0.7, 0.5, 0.3)


@dataclass(frozen=True)
class Told:
    """What every place says of the losses of one run."""

    trace: str
    findings: set[str]
    quiz: str
    report: str
    live: str  # the colour of the loss since step 0


def run_of(folder: Path, losses: tuple[float, ...], error: float) -> Run:
    events: list[AnyEvent] = []
    for e in story.whole():
        if isinstance(e, Evaluated) and e.split == "validation":
            upto = losses[: e.step // story.STEPS_PER_EPOCH + 1]
            changes = [(step, d, error) for step, d, _ in story.changes(upto)] if error else []
            e = replace(e, loss_sum=upto[-1] * e.loss_count, changes=changes)
        elif isinstance(e, StepDone):
            train = TRAIN[(e.step - 1) // story.STEPS_PER_EPOCH] + 0.001 * (e.step % 2)
            e = replace(e, loss_sum=train * e.loss_count)
        events.append(e)
    return story.write_story(folder, events)


def told(folder: Path, losses: tuple[float, ...], error: float) -> Told:
    run = run_of(folder, losses, error)
    history = read_history(run)
    questions = [q for q in make_quiz(history, run.config()) if q.topic == "loss"]
    live = metric_tables(history_at(history, history.step))[0].rows
    return Told(
        trace=text_of(trace_lines(history, 160)[-1]),
        findings={f.code for f in find(history, run.config())},
        quiz=questions[0].choices[questions[0].right] if questions else "",
        report=render_markdown(build_report(run)),
        live=change_role(next(row for row in live if row.metric == "loss")),
    )


MOVED = {"overfitting", "underfitting"}


@pytest.mark.parametrize("last", [0.40, 0.45, 0.41, 0.39])
def test_V10_within_noise_every_place_says_level(tmp_path: Path, last: float) -> None:
    said = told(tmp_path / "run", (0.70, 0.42, 0.40, last), error=0.03)
    assert "validation loss is level" in said.trace
    assert not said.findings & MOVED
    assert said.quiz == TEXTS["level"]
    assert said.live == "good"  # since step 0 it fell by ten standard errors
    for word in ("overfitting", "still falling", "loss rose by 0.05"):
        assert word not in said.report.split("What the words mean")[0].lower()


def test_V10_beyond_noise_every_place_says_so(tmp_path: Path) -> None:
    said = told(tmp_path / "rises", (0.70, 0.42, 0.40, 0.45), error=0.01)
    assert "rose by 0.05 while training loss fell: overfitting begins" in said.trace.replace(
        "  ", " "
    )
    assert "overfitting" in said.findings
    assert "loss_plateau" not in said.findings
    assert said.quiz == TEXTS["overfits"]
    falls = told(tmp_path / "falls", (0.70, 0.60, 0.50, 0.40), error=0.01)
    assert "fell by 0.10" in falls.trace
    assert "underfitting" in falls.findings
    assert falls.quiz == TEXTS["learning"]


def test_V10_without_changes_nobody_says_anything(tmp_path: Path) -> None:
    said = told(tmp_path / "old", (0.70, 0.42, 0.40, 0.45), error=0.0)
    assert "went 0.400 → 0.450" in said.trace
    assert not said.findings & {*MOVED, "loss_plateau"}
    assert not said.quiz
    assert said.live == "muted"
