"""What other training loops log: its names, its fold, and where it is shown."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest
import story
from ftev.core.catalog.run_facts import RunEntry, read_facts
from ftev.core.catalog.summary import describe_status
from ftev.core.report.formats.csv import logged_frame
from ftev.core.report.report import build_report, write_report
from ftev.core.report.sections.verdict import describe_run
from ftev.core.run.event_lines import LossCourse, read_course
from ftev.core.run.events import (
    AnyEvent,
    EventWriter,
    Note,
    RunStarted,
    ScalarsLogged,
    StageStarted,
    StepDone,
    TrainingPlanned,
    decode_event,
    encode_event,
)
from ftev.core.run.history import AS_LOGGED, NOT_LOGGED, fold, read_history
from ftev.core.run.logged import MOST_NAMES, canonical_name
from ftev.core.run.runs import Run
from ftev.tui.drawing.lines import text_of
from ftev.tui.screens.charts.data import ChartData
from ftev.tui.screens.charts.export import table_rows
from ftev.tui.screens.charts.plot import View, chart_lines, cursor_line, legend
from ftev.tui.screens.home.run_lines import detail_lines
from ftev.tui.screens.run.metrics import logged_lines
from ftev.tui.screens.run.pipeline import pipeline_lines
from ftev.tui.screens.run.status import pace

START = 1_790_000_000.0


def started(resumed: int = 0, origin: str = "transformers") -> RunStarted:
    return RunStarted(
        time=START,
        run="grpo",
        name="grpo",
        task="generation",
        pid=1,
        host="here",
        ftev_version="0.1.0",
        resumed_from_step=resumed,
        origin=origin,
    )


def logged(step: int, epoch: float = -1.0, **values: float) -> ScalarsLogged:
    named = {canonical_name(name): value for name, value in values.items()}
    return ScalarsLogged(time=START + step, step=step, values=named, epoch=epoch)


def run_of_another() -> list[AnyEvent]:
    """A Trainer that logs every 10 of 100 planned steps, and evaluates at 25 and 50."""
    plan = TrainingPlanned(
        time=START,
        max_steps=100,
        steps_per_epoch=50,
        epochs=2,
        warmup_steps=0,
        rows_per_step=8,
        padding=1,
    )
    events: list[AnyEvent] = [started(), StageStarted(time=START, stage=3, name="fine-tuned"), plan]
    for step in range(10, 51, 10):
        figures = {"loss": 2.0 - step / 100, "reward": step / 50, "kl": 0.01, "grad_norm": 1.0}
        rates = {"learning_rate": 1e-4, "num_tokens": step * 100.0}
        events.append(logged(step, step / 50, **figures, **rates))
        if step in (20, 50):
            events.append(logged(step + 5 * (step == 20), step / 50, eval_loss=1.9 - step / 100))
    return events


def test_names_of_trackers_are_the_names_of_ftev() -> None:
    same = {
        "loss": "train/loss",
        "train_loss": "train/loss",
        "train/loss": "train/loss",
        "lr": "train/learning_rate",
        "eval_loss": "validation/loss",
        "eval/loss": "validation/loss",
        "val/loss": "validation/loss",
        "val_loss": "validation/loss",
        "eval_rewards/margins": "validation/rewards/margins",
        "test_accuracy": "test/accuracy",
        "rewards/margins": "rewards/margins",
        "reward": "train/reward",
        "num_input_tokens_seen": "train/num_tokens",
        "rollout/ep_rew_mean": "rollout/ep_rew_mean",
        "train_runtime": "train/train_runtime",
        "eval_": "train/eval_",
    }
    assert {name: canonical_name(name) for name in same} == same
    assert {canonical_name(name) for name in same.values()} == set(same.values())


def test_a_loss_as_logged_is_never_summed() -> None:
    history = fold(run_of_another())
    steps = history.steps
    assert history.origin == "transformers"
    assert steps.as_logged
    assert list(steps.step) == [10, 20, 30, 40, 50]
    assert set(steps.loss_count) == {AS_LOGGED}
    assert all(map(math.isnan, steps.loss_sum))
    assert math.isnan(steps.mean_loss(0, 1))
    assert steps.loss[-1] == pytest.approx(1.5)
    assert history.step == 50
    assert history.epoch == 1.0
    assert history.eta_seconds() == pytest.approx(50.0)  # a second a step, of those that were taken
    assert history.tokens_per_second() == pytest.approx(100.0)
    assert list(history.scalars.series["validation/loss"].step) == [25, 50]
    own = fold([*story.whole()])
    assert not own.steps.as_logged
    assert not own.scalars.series
    assert own.origin == "ftev"


def test_events_survive_their_line_with_what_is_not_finite() -> None:
    for value in (1.5, math.inf):
        event = logged(3, reward=value)
        assert decode_event(encode_event(event)) == event
    back = decode_event(encode_event(logged(3, loss=math.nan)))
    assert isinstance(back, ScalarsLogged)
    assert math.isnan(back.values["train/loss"])
    old = b'{"kind":"RunStarted","time":1.0,"run":"a","name":"a","task":"generation","pid":1,'
    event = decode_event(old + b'"host":"h","ftev_version":"0"}')
    assert isinstance(event, RunStarted)
    assert event.origin == "ftev"


def test_a_step_without_a_loss_is_no_lost_one() -> None:
    history = fold([started(), logged(1, reward=0.5), logged(2, loss=math.nan), logged(3, loss=1)])
    assert list(history.steps.loss_count) == [NOT_LOGGED, AS_LOGGED, AS_LOGGED]
    assert history.steps.lost() == [2]
    data = ChartData()
    data.update(history)
    assert "× 1 not finite" in text_of(legend(data, View(), 100))


def test_what_belongs_to_a_step_may_come_in_parts() -> None:
    history = fold([started(), logged(10, reward=0.5)])
    data = ChartData()
    data.update(history)
    history.add(logged(10, loss=1.25))
    assert list(history.steps.step) == [10]
    assert list(history.steps.loss) == [1.25]
    assert history.steps.loss_count[0] == AS_LOGGED
    assert data.is_stale
    data.update(history)
    assert not data.is_stale
    assert not data.loss.not_finite


def test_a_loop_that_goes_back_is_cut_where_it_resumed() -> None:
    history = fold([*run_of_another(), started(resumed=30)])
    assert list(history.steps.step) == [10, 20, 30]
    assert list(history.scalars.series["train/reward"].step) == [10, 20, 30]
    assert list(history.scalars.series["validation/loss"].step) == [25]
    history.add(logged(40, loss=1.0, num_tokens=4_000, reward=0.1))
    assert history.steps.tokens[-1] == 1_000
    history.add(logged(20, reward=9.0))  # of the past, with no word of a resume
    assert history.scalars.left_out == 1
    assert history.step == 40
    assert fold([*run_of_another(), started()]).step == 0


def test_names_without_end_do_not_fill_the_memory() -> None:
    history = fold([started(), *(logged(i, **{f"n{i}": 1.0}) for i in range(MOST_NAMES + 5))])
    assert len(history.scalars.series) == MOST_NAMES
    assert history.scalars.left_out == 5
    impossible = [ScalarsLogged(step=-1, values={"a": 1.0}), ScalarsLogged(step=2**60, values={})]
    assert fold([started(), *impossible]).unreadable_lines == 2


def test_every_figure_has_a_chart() -> None:
    history = fold(run_of_another())
    data = ChartData()
    data.update(history)
    expected = ["loss", "train/reward", "train/kl", "learning_rate", "grad_norm"]
    assert data.names == [*expected, "tokens_per_second"]
    assert [s.name for s in data.chart("loss").series] == ["training", "validation"]
    view = View(name="train/reward")
    view.put_cursor(data, 2)
    assert "0.6" in text_of(cursor_line(data, view, 100))
    drawn = "\n".join(map(text_of, chart_lines(data, view, legend(data, view, 80), 80, 30)))
    assert "reward" in drawn
    assert "kl" in drawn
    history.add_all([logged(60, loss=1.4, reward=7.25)])
    data.update(history)
    assert data.chart("train/reward").series[0].values.values[-1] == 7.25
    view = View(name="loss")
    view.put_cursor(data, 2)
    assert "at 25" in text_of(cursor_line(data, view, 100))
    for axis in ("step", "epoch", "time", "tokens"):
        table = list(table_rows(data, View(axis=axis), [data.chart(n) for n in data.names[:2]]))
        head = table[0]
        assert {"train/loss", "validation/loss", "train/reward"} <= set(head)
        assert sum(bool(row[head.index("validation/loss")]) for row in table[1:]) == 2


def test_a_validation_loss_that_comes_late_joins_the_chart() -> None:
    history = fold([started(), logged(1, loss=2), logged(2, loss=1)])
    data = ChartData()
    data.update(history)
    assert [len(s) for s in data.chart("loss").series] == [2, 0]
    history.add(logged(2, eval_loss=1.5))
    data.update(history)
    assert [(s.name, len(s)) for s in data.chart("loss").series] == [
        ("training", 2),
        ("validation", 1),
    ]


def written(folder: Path, events: list[AnyEvent]) -> Run:
    folder.mkdir()
    writer = EventWriter(folder / "events.jsonl")
    writer.write(*events)
    writer.close()
    return Run(folder)


def test_status_screen_and_report_show_them(tmp_path: Path) -> None:
    run = written(tmp_path / "run", run_of_another())
    status = describe_status(run)
    assert status["origin"] == "transformers"
    assert status["metrics"]["train/loss"] == pytest.approx(1.5)
    assert status["metrics"]["train/reward"] == 1.0
    assert status["metric_steps"]["validation/loss"] == 50
    shown = "\n".join(map(text_of, logged_lines(read_history(run), 80)))
    assert "by transformers" in shown
    assert "reward" in shown
    assert "1.000" in shown
    report = build_report(run)
    assert report["run"]["origin"] == "transformers"
    assert report["series"]["train/reward"]["value"][-1] == 1.0
    write_report(run, ("md", "csv", "json"))
    page = (run.path / "report.md").read_text(encoding="utf-8")
    assert "transformers logged" in page
    assert "train/kl" in page
    with (run.path / "logged.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {"name": "train/reward", "step": "20", "value": "0.4"} in rows
    assert len(rows) == len(logged_frame(read_history(run)))
    assert "origin" in json.loads((run.path / "report.json").read_text(encoding="utf-8"))["run"]
    own = story.write_story(tmp_path / "own")
    assert "origin" not in build_report(own)["run"]
    assert not logged_lines(read_history(own), 80)


def test_the_course_of_a_list_reads_them(tmp_path: Path) -> None:
    run = written(tmp_path / "run", run_of_another())
    found = read_course(run.events_path, LossCourse()).parts()
    assert [low for low, _ in found] == [pytest.approx(2.0 - s / 100) for s in range(10, 51, 10)]


def test_a_batch_of_own_steps_and_logged_ones_folds() -> None:
    own = StepDone(
        time=START,
        step=1,
        epoch=0.1,
        loss_sum=2.0,
        loss_count=1,
        learning_rate=1e-4,
        grad_norm=1.0,
        tokens=5,
        seconds=1.0,
    )
    assert list(fold([started(), own, logged(2, loss=1.0)]).steps.loss_count) == [1, AS_LOGGED]


def test_a_training_of_another_has_no_stages_and_promises_no_verdict(tmp_path: Path) -> None:
    run = Run(tmp_path / "grpo")
    run.path.mkdir()
    settings = Note(time=START, level="info", text="learning_rate = 0.5")
    events = EventWriter(run.events_path)
    events.write(started(origin="trackio"), logged(7, loss=1.0), settings)
    events.close()
    history = read_history(run)
    told = "\n".join(map(text_of, pipeline_lines(history, "running", 60, 20)))
    assert "logged by trackio" in told
    assert "learning_rate = 0.5" in told
    assert "base model loaded" not in told
    assert text_of(pace(history, "running", 80, run.id)) == "logged by trackio   step 7"
    report = build_report(run, history)
    assert describe_run(report["run"]).startswith("Run grpo, generation, ")
    facts = read_facts(run)
    entry = RunEntry(run, facts, "running")
    shown = "\n".join(map(text_of, detail_lines(entry, None, 80, 4)))
    assert "step 7" in shown
    assert "of 0" not in shown
    assert "verdict comes" not in shown
