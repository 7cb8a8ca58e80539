"""`status` and the headline of a run under way: true figures, each of one moment."""

from __future__ import annotations

from dataclasses import replace as replaced
from pathlib import Path
from typing import Any

import pytest
import story
from ftev.core.catalog.summary import describe_status, last_figures, live_headline
from ftev.core.judgement.live import live_figure, majority_evaluation
from ftev.core.report.report import build_report
from ftev.core.report.sections.verdict import describe_run
from ftev.core.run.events import (
    AnyEvent,
    Evaluated,
    ModelLoaded,
    Paused,
    RunFinished,
    TrainingEnded,
)
from ftev.core.run.history import History, fold
from ftev.core.run.runs import Run
from ftev.tui.commands.steer import status_rows
from ftev.tui.drawing.lines import text_of
from ftev.tui.screens.run.metrics import headline_lines
from ftev.tui.screens.run.status import pace
from msgspec.structs import replace

CELLS = [(0, 0, 9), (0, 1, 1), (1, 0, 3), (1, 1, 7)]  # of 20 rows 16 right


def under_way(*more: AnyEvent, new_head: bool = True) -> History:
    """One epoch in, with the confusion cells that a worker writes."""
    events = [*story.beginning(), *story.epoch(1), *more]
    for i, e in enumerate(events):
        if isinstance(e, ModelLoaded):
            events[i] = replace(e, new_head=new_head)
        if isinstance(e, Evaluated) and e.step:
            events[i] = replace(e, confusion=CELLS, correct=16)
    return fold(events)


def status_of(tmp_path: Path, events: list[AnyEvent], **standing: Any) -> dict[str, Any]:
    run = story.write_story(tmp_path / "run", events)
    return describe_status(run) | standing


def test_the_running_headline_is_the_declared_metric_against_the_majority() -> None:
    found = live_headline(under_way(), "macro_f1")
    assert found is not None
    assert found.reference_model == "majority"
    assert found.reference == pytest.approx(1 / 3)  # 10 of 20 rows, one label of two
    assert found.value == pytest.approx((2 * 9 / 22 + 2 * 7 / 18) / 2)
    assert found.text == "macro F1 majority 33.3 % → 79.8 % (validation, step 4)"
    recall = live_headline(under_way(), "recall")
    assert recall is not None
    assert recall.text.startswith('recall of "positive" majority ')


def test_a_metric_that_is_not_measured_in_training_gives_way_to_one_that_is() -> None:
    found = live_figure(under_way(), "roc_auc")
    assert found is not None
    assert found.metric == "accuracy"
    assert live_figure(History(), "macro_f1") is None


def test_a_base_that_has_its_own_head_is_the_reference() -> None:
    found = live_figure(under_way(new_head=False), "accuracy")
    assert found is not None
    assert (found.reference_model, found.reference, found.value) == ("base", 0.5, 0.8)


def test_the_majority_answers_the_commonest_label_of_train() -> None:
    history = under_way()
    splits = history.splits
    splits["train"] = replace(splits["train"], labels={"negative": 30, "positive": 130})
    splits["validation"] = replace(splits["validation"], labels={"negative": 12, "positive": 8})
    e = majority_evaluation(history)
    assert e is not None
    assert (e.correct, e.count, e.confusion) == (8, 20, [(0, 1, 12), (1, 1, 8)])


def test_the_pane_shows_the_headline_of_status() -> None:
    history = under_way()
    found = live_headline(history, "macro_f1")
    assert found is not None
    assert next(text_of(line) for line in headline_lines(history, "macro_f1", 80)) == found.text


def test_each_figure_has_its_step_and_a_split_has_one() -> None:
    later = fold([*story.beginning(), *story.epoch(1), story.step(5), story.step(6)])
    steps = {f.name: f.step for f in last_figures(later)}
    assert steps["train/loss"] == 6
    assert {s for name, s in steps.items() if name.startswith("validation/")} == {4}
    whole = fold(story.whole())
    steps = {f.name: f.step for f in last_figures(whole)}
    assert steps["train/loss"] == 12
    assert {s for name, s in steps.items() if name.startswith("test/")} == {whole.best_step}


def test_status_names_the_step_of_each_figure(tmp_path: Path) -> None:
    status = status_of(tmp_path, [*story.beginning(), *story.epoch(1), story.step(5)])
    rows = dict(status_rows(status))
    assert rows["train loss"].endswith("(step 5)")
    assert rows["validation accuracy"] == "75.0 % (step 4)"
    assert set(status["metrics"]) == set(status["metric_steps"])


def test_only_a_run_that_trains_has_a_speed(tmp_path: Path) -> None:
    events = [*story.beginning(), *story.epoch(1)]
    died = status_of(tmp_path, events)  # nobody is there to train
    assert died["status"] == "died"
    assert died["tokens_per_second"] is died["eta_seconds"] is None
    history = fold([*events, Paused(step=4)])
    assert "tokens/s" in text_of(pace(fold(events), "running", 120))
    paused = text_of(pace(history, "paused", 120))
    assert "tokens/s" not in paused
    assert "left" not in paused


def test_steps_took_the_time_of_training() -> None:
    history = fold(story.whole())
    assert history.training_seconds == pytest.approx(12 * 0.5)
    assert text_of(pace(history, "finished", 120)).startswith("12 steps in 6.00 s")


def test_a_run_stopped_before_its_first_step_says_true_things(tmp_path: Path) -> None:
    status = status_of(tmp_path, [*story.beginning()[:4], RunFinished(status="stopped")])
    rows = dict(status_rows(status))
    assert status["status"] == "stopped"
    assert "step" not in rows
    assert rows["ended while"] == "loading the base model"
    assert "now" not in rows


@pytest.mark.parametrize(
    ("status", "said"),
    [("stopped", "the run was stopped"), ("failed", "the run failed")],
)
def test_a_run_that_ended_before_its_evaluation_is_not_called_completed(
    tmp_path: Path, status: str, said: str
) -> None:
    steps = [*story.epoch(1), *story.epoch(2), *story.epoch(3)]
    ended = TrainingEnded(reason="completed", step=12, best_step=8)
    events = [*story.beginning(), *steps, ended, RunFinished(status=status)]
    run = story.write_story(tmp_path / "run", events)
    found = describe_run(build_report(run)["run"])
    assert "completed" not in found
    assert (
        f"12 of 12 steps in 6.0 s of training; {said} after training, before its evaluation ended"
        in found
    )
    assert "the model of step 8 was kept" in found


def test_a_headline_of_results_has_no_step(tmp_path: Path) -> None:
    run: Run = story.write_story(tmp_path / "run")
    report = build_report(run)
    assert "step" not in report["headline"]
    found = live_headline(under_way(), "accuracy")
    assert found is not None
    assert replaced(found, step=None).to_dict().keys() == report["headline"].keys()
