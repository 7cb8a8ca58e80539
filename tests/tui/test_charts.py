"""Charts of any metric: their series, what is marked, their files, and time travel."""

from __future__ import annotations

import csv
import math
import random
import threading
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from conftest import Shown, picture, seen
from ftev.core.config.config import EarlyStopping
from ftev.core.judgement.live import evaluation_values
from ftev.core.metrics.counts import classification_metrics
from ftev.core.metrics.rows import text_metrics
from ftev.core.run.control import AskPrompt
from ftev.core.run.events import Evaluated, Event, LabelsFixed, RunStarted, StepDone, SystemSampled
from ftev.core.run.history import History, fold
from ftev.core.run.runs import Run
from ftev.tui.drawing.lines import text_of
from ftev.tui.drawing.series import SMOOTHINGS, Average, Pyramid
from ftev.tui.screens.charts import chart
from ftev.tui.screens.charts.chart import make_ahead
from ftev.tui.screens.charts.data import ChartData
from ftev.tui.screens.charts.export import svg_of, table_rows, write_chart
from ftev.tui.screens.charts.plot import (
    View,
    chart_lines,
    cursor_line,
    legend,
    plot_lines,
    small_charts,
    waited,
)
from ftev.tui.screens.run.moment import confusion_lines, history_at, is_kept, nearest_moment
from ftev.tui.screens.run.run import RunScreen
from ftev.tui.widgets.plot_pane import AXES
from hypothesis import given, settings
from hypothesis import strategies as st
from made_runs import make_run, story, until_step, write_events
from textual.pilot import Pilot


def counted(events: list[Event]) -> list[Event]:
    """The story with confusion matrices, as a worker writes them."""

    def cells(e: Evaluated) -> list[tuple[int, int, int]]:
        wrong = e.count - e.correct
        half = wrong // 2
        return [(0, 0, 50 - half), (0, 1, half), (1, 0, wrong - half), (1, 1, 50 - wrong + half)]

    return [
        msgspec.structs.replace(e, confusion=cells(e)) if isinstance(e, Evaluated) else e
        for e in events
    ]


def data_of(events: list[Event]) -> ChartData:
    data = ChartData()
    data.update(fold(events))  # type: ignore[arg-type]
    return data


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 30), min_size=3, max_size=3), min_size=3, max_size=3))
def test_metrics_of_an_evaluation_are_those_of_the_report(counts: list[list[int]]) -> None:
    cells = [(t, p, n) for t, row in enumerate(counts) for p, n in enumerate(row) if n]
    rows, right = sum(map(sum, counts)), sum(counts[k][k] for k in range(3))
    e = Evaluated(
        split="validation", model="tuned", step=1, epoch=1.0, rows=rows, loss_sum=1.0,
        loss_count=rows, correct=right, count=rows, confusion=cells,
    )  # fmt: skip
    started = RunStarted(
        run="r", name="r", task="classification", pid=1, host="h", ftev_version="0.1.0"
    )
    found = evaluation_values(e, fold([started, LabelsFixed(labels=["a", "b", "c"])]))
    expected = classification_metrics(np.array(counts), ["a", "b", "c"], None)
    for name in found.keys() - {"loss"}:
        assert found[name] == pytest.approx(expected[name], abs=1e-12), name
    assert len(found) == (8 if rows else 0)


def test_a_binary_task_has_the_metrics_of_its_positive_label() -> None:
    history = fold(counted(story()))  # type: ignore[arg-type]
    e = history.validation_series()[-1]
    counts = np.zeros((2, 2), dtype=int)
    for truth, prediction, n in e.confusion:
        counts[truth, prediction] = n
    expected = classification_metrics(counts, history.labels, "positive")
    found = evaluation_values(e, history)
    for name in ("precision", "recall", "f1", "mcc", "weighted_f1"):
        assert found[name] == pytest.approx(expected[name])


def test_a_generation_task_has_the_metrics_of_its_text() -> None:
    history = fold(story("generation", "verse"))
    e = msgspec.structs.replace(history.validation_series()[-1], bytes=20_000)
    found = evaluation_values(e, history)
    expected = text_metrics(*(np.array([n]) for n in (e.loss_sum, e.count, e.correct, e.bytes)))
    assert found == {name: pytest.approx(expected[name]) for name in found}
    assert found.keys() == expected.keys()


def test_series_are_the_same_read_at_once_or_as_they_grow() -> None:
    events = counted(story())
    whole, grown, history = data_of(events), ChartData(), History()
    for event in events:
        history.add(event)  # type: ignore[arg-type]
        grown.update(history)
        grown.make_all()
        for axis in AXES:
            assert len(grown.xs(axis)) >= len(grown)
    assert grown.names == whole.names
    assert whole.names[:3] == ["loss", "accuracy", "macro_f1"]
    assert whole.names[-5:] == [
        "learning_rate", "grad_norm", "tokens_per_second", "memory", "cpu",
    ]  # fmt: skip
    for name in whole.names:
        for a, b in zip(grown.chart(name).series, whole.chart(name).series, strict=True):
            assert list(a.values.values) == list(b.values.values), name
            assert [list(a.xs(x)) for x in AXES] == [list(b.xs(x)) for x in AXES], name
            assert a.smoothed(0.9).span(0, len(a)) == b.smoothed(0.9).span(0, len(b))


def test_a_long_average_runs_on_as_it_began() -> None:
    dice = random.Random(3)
    values = [dice.random() for _ in range(6_000)]
    values[5_000] = math.nan
    source, expected = Pyramid(), []
    average = weight = 0.0
    for value in values:
        if math.isfinite(value):
            average = 0.9 * average + (1 - 0.9) * value
            weight = 0.9 * weight + (1 - 0.9)
        expected.append(average / weight)
    grown = Average(0.9, source)
    for start in range(0, 6_000, 700):
        source.extend(values[start : start + 700])
        grown.catch_up()
    assert list(grown.series.values) == expected
    assert list(Average(0.9, source).catch_up().values) == expected


def test_a_resumed_run_has_no_point_twice() -> None:
    events = until_step(counted(story()), 93)
    history = fold(events)  # type: ignore[arg-type]
    data = ChartData()
    data.update(history)
    data.make_all()
    started = msgspec.structs.replace(events[0], resumed_from_step=56)  # type: ignore[call-arg]
    history.add(started)  # type: ignore[arg-type]
    assert data.is_stale
    data.update(history)
    assert len(data) == 56
    assert data.validation[-1].step == 56
    assert len(data.chart("accuracy").series[0]) == len(data.validation)


def test_charts_stand_beneath_each_other_with_one_cursor() -> None:
    data = data_of(counted(story()))
    view = View(cursor=60)
    assert small_charts(data, view, 12) == []
    assert small_charts(data, view, 20) == ["accuracy", "grad_norm"]
    lines = [text_of(line) for line in chart_lines(data, view, [], 80, 30)]
    assert len(lines) == 30
    assert {len(line) for line in lines if "━" not in line and "●" not in line} <= {0, 80}
    assert any("gradient norm" in line for line in lines)
    plots = [line for line in lines if line[7:8] in "│┤"]
    columns = {line.index("│", 8) for line in plots if "│" in line[8:]}
    assert len(columns) == 1


def test_every_chart_is_drawn_on_every_axis_and_told_under_the_cursor() -> None:
    data = data_of(counted(story()))
    for name in data.names:
        for axis in AXES:
            for log in (False, True):
                view = View(name=name, axis=axis, cursor=83, log=log, smoothing=0.9)
                assert len(plot_lines(data, view, 60, 12)) == 12
        text = text_of(cursor_line(data, View(name=name, cursor=83), 120))
        assert text.startswith("     at step 84   "), name
    assert "● 86.0 %" in text_of(cursor_line(data, View(name="accuracy", cursor=83), 120))
    assert "812 MiB" in text_of(cursor_line(data, View(name="memory", cursor=83), 120))


def test_skipped_and_lost_steps_are_marked_and_counted() -> None:
    def lost(step: int, loss: float) -> StepDone:
        return StepDone(
            step=step, epoch=step / 28, loss_sum=loss, loss_count=1, learning_rate=0.0,
            grad_norm=math.inf, tokens=0, seconds=0.0, skipped=True,
        )  # fmt: skip

    data = data_of([*until_step(story(), 93), lost(94, math.nan), lost(110, 0.5)])
    axis = text_of(plot_lines(data, View(), 60, 12)[-2])
    assert (axis.count("×"), axis.count("!")) == (1, 1)  # NaN says more than skipped
    text = text_of(legend(data, View(), 120))
    assert "× 1 not finite   ! 2 skipped" in text


def test_early_stopping_says_what_has_to_be_beaten() -> None:
    data = data_of(until_step(story(), 138))
    data.early_stopping = EarlyStopping(patience=6)
    text = text_of(legend(data, View(), 160))
    assert "╌ to beat 0.3528: 3 of 6 evaluations left" in text
    assert waited([], 0.0, lower_is_better=True) == (None, 0)
    assert waited([math.nan, 0.5, 0.6, math.nan], 0.0, lower_is_better=False) == (0.6, 1)
    assert waited([0.5, 0.49, 0.3], 0.1, lower_is_better=True) == (0.3, 0)


def test_the_table_holds_every_point_in_sight() -> None:
    data = data_of(counted(story()))
    names = ["loss", "accuracy", "memory"]
    head, *rows = table_rows(data, View(), [data.chart(name) for name in names])
    assert head == [
        *AXES, "train/loss", "validation/loss", "validation/accuracy", "machine/memory",
    ]  # fmt: skip
    assert rows[0][0] == "0"
    assert rows[0][6] == "0.49"
    assert sum(bool(row[4]) for row in rows) == 140
    assert sum(bool(row[6]) for row in rows) == len(data.validation)
    assert {row[7] for row in rows if row[7]} == {str(812 << 20)}
    zoomed = list(table_rows(data, View(window=(10, 20)), [data.chart("loss")]))[1:]
    assert [int(row[0]) for row in zoomed] == list(range(10, 21))
    assert float(zoomed[0][4]) == data.history.steps.loss[9]


def test_the_drawing_is_a_picture_by_itself_and_keeps_spikes(tmp_path: Path) -> None:
    steps = [
        StepDone(
            step=n, epoch=n / 1000, loss_sum=9.0 if n == 7777 else 1.0, loss_count=1,
            learning_rate=0.1, grad_norm=1.0, tokens=1, seconds=1.0,
        )
        for n in range(1, 20_001)
    ]  # fmt: skip
    svg = svg_of(data_of([*story()[:5], *steps]), View(), data_of(steps).chart("loss"))
    root = ET.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "prefers-color-scheme: dark" in svg
    assert "var(" not in svg
    assert len(svg) < 60_000
    assert any(t.text == "8" or t.text == "9" for t in root.iter() if t.tag.endswith("text"))
    run = make_run(tmp_path)
    data = data_of(story())
    table, drawing = write_chart(run, data, View(axis="epoch"), ["loss"])
    assert table == run.path / "exports" / "loss-by-epoch.csv"
    assert len(list(csv.reader(table.read_text().splitlines()))) > 140
    assert ET.parse(drawing)


def test_a_run_that_cannot_be_written_is_written_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path)
    (run.path / "exports").write_text("a file")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    table, _ = write_chart(run, data_of(story()), View(), ["loss"])
    assert table.parent == tmp_path / "here"


def test_a_moment_knows_nothing_of_what_came_later(tmp_path: Path) -> None:
    run, history = make_run(tmp_path), fold(counted(story()))  # type: ignore[arg-type]
    moment = nearest_moment(run, history, 61)
    assert moment is not None
    assert (moment.step, moment.kept) == (56, False)
    then = history_at(history, 56)
    assert then.validation_series()[-1].step == 56
    assert not then.results
    assert history.results
    (run.checkpoints / "step_000056").mkdir(parents=True)
    assert is_kept(run, history, 56)
    assert nearest_moment(run, replace(history, evaluations=[]), 3) is None


def test_a_confusion_matrix_shows_hostile_labels_as_text() -> None:
    e = fold(counted(story())).validation_series()[-1]  # type: ignore[arg-type]
    lines = confusion_lines(e, ["\x1b]52;c;AA\x07", "標籤\u202e"], 60, 20)
    text = "\n".join(text_of(line) for line in lines)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "truth down, prediction across" in text
    wide = msgspec.structs.replace(e, confusion=[(0, 1, 7), (2, 2, 9), (40, 3, 2), (99, 0, 1)])
    lines = confusion_lines(wide, [f"label {n}" for n in range(50)], 60, 20)
    assert [text_of(line).rstrip() for line in lines[:2]] == [
        "confused most often",
        "7 × label 0 predicted as label 1",
    ]
    assert len(lines) == 3


def test_machine_series_are_folded_and_absent_devices_have_no_chart() -> None:
    samples = [
        SystemSampled(time=n, memory=n << 30, cpu=1.0, device_memory=-1) for n in range(1, 4)
    ]
    data = data_of([*until_step(story(), 5), *samples])
    assert "memory" in data.names
    assert "device_memory" not in data.names
    data = data_of(
        [*until_step(story(), 5), SystemSampled(memory=1, cpu=1.0, device_memory=5, device_use=0.5)]
    )
    assert data.names[-2:] == ["device_memory", "device_use"]


# The screen


def screen_of(pilot: Pilot[int]) -> RunScreen:
    screen = pilot.app.screen_stack[0]
    assert isinstance(screen, RunScreen)
    return screen


@pytest.fixture
def measured(tmp_path: Path) -> Run:
    run = make_run(tmp_path, number=7)
    write_events(run, counted(story()))
    (run.checkpoints / "step_000056").mkdir(parents=True)
    return run


async def test_brackets_turn_and_w_writes(measured: Run, shown: Shown) -> None:
    async with shown(measured, (120, 40)) as pilot:
        chart = screen_of(pilot).chart
        await pilot.press("4", "right_square_bracket")
        await seen(pilot, "macro F1, 2 of")
        assert "● macro F1" in picture(pilot)
        await pilot.press("left_square_bracket", "left_square_bracket")
        await seen(pilot, "processor cores in use")
        await pilot.press("0")
        assert chart.view.name == "loss"
        await pilot.press("enter", "left", "w")
        await seen(pilot, "written: loss-by-step.csv, loss-by-step.svg in exports/ of the run")
        head = (measured.path / "exports" / "loss-by-step.csv").read_text().split("\n")[0]
        assert head.startswith("step,epoch,time,tokens,train/loss,validation/loss")
        assert "train/grad_norm" in head  # a small chart stood beneath


async def test_enter_at_the_cursor_travels_and_escape_returns(
    measured: Run, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[AskPrompt] = []
    monkeypatch.setattr(
        "ftev.tui.screens.prompt.prompt.ask_prompt", lambda r, e, q, p: asked.append(q)
    )
    async with shown(measured, (160, 45), "SHIP") as pilot:
        screen = screen_of(pilot)
        await pilot.press("4", "left")
        screen.chart.put_cursor(60)
        await pilot.press("enter")
        await seen(pilot, "at step 56, epoch 2.00   esc returns to now")
        found = picture(pilot)
        assert "Metrics and prompt are as of step 56" in found
        assert "Its checkpoint is kept" in found
        assert "truth down, prediction across" in found
        assert "macro F1" in found
        assert "SHIP" not in found
        assert screen.chart.cursor_step == 56
        measured.model_path.mkdir()
        await pilot.press("p", *"hi", "enter")
        assert [q.checkpoint for q in asked] == [56]
        await pilot.press("escape", "3", "down", "enter")
        await seen(pilot, "at step 56")
        await seen(pilot, "Receipt: loss")
        await pilot.press("escape", "4", "end")
        screen.chart.put_cursor(100)
        await pilot.press("enter")
        await seen(pilot, "was not kept")
        await pilot.press("p")
        await seen(pilot, "The checkpoint of step 98 was not kept")
        await pilot.press("enter", "escape")
        await seen(pilot, "SHIP")
        assert screen.chart.cursor_step == 98
        await pilot.press("escape")
        assert screen.chart.cursor_step is None


async def test_the_prompt_shows_what_was_answered_then(
    generated: Run, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with shown(generated, (200, 50), "SHIP") as pilot:
        screen = screen_of(pilot)
        await pilot.press("4", "left")
        screen.chart.put_cursor(41)
        await pilot.press("enter")
        await seen(pilot, "asked by the run at step 42")
        assert "token accuracy" in picture(pilot)
        await pilot.press("escape")
        await seen(pilot, "asked by the run at step 140")


def long_data(steps: int) -> ChartData:
    def loss(n: int) -> float:
        return float("nan") if n % 97 == 5 else 1 + (n * 7919 % 100) / 100

    events = [
        StepDone(
            step=n,
            epoch=n / 100,
            loss_sum=loss(n),
            loss_count=1,
            learning_rate=1e-4,
            grad_norm=loss(n + 1),
            tokens=10 + n % 3,
            seconds=0.1,
            time=1e9 + n,
        )
        for n in range(1, steps + 1)
    ]
    data = ChartData()
    data.update(fold(events))
    return data


def test_blocks_make_the_same_averages_and_axes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chart, "LONG", 100)
    monkeypatch.setattr(chart, "BLOCK", 64)
    ahead, at_once = long_data(1000), long_data(1000)
    make_ahead(ahead, threading.RLock(), lambda: True)
    for axis in ("time", "tokens"):
        assert len(ahead._seconds) == len(ahead._tokens) == 1000
        assert list(ahead.xs(axis)) == list(at_once.xs(axis))
    for name in ("loss", "grad_norm", "tokens_per_second"):
        made, wanted = ahead.chart(name).series[0], at_once.chart(name).series[0]
        for share in SMOOTHINGS[1:]:
            assert len(made.average(share).series) == 1000
            lines = [
                (float(v).hex(), float(w).hex())
                for v, w in zip(
                    made.smoothed(share).values, wanted.smoothed(share).values, strict=True
                )
            ]
            assert all(v == w for v, w in lines)


def test_a_short_run_and_a_closed_screen_make_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    data = long_data(1000)
    make_ahead(data, threading.RLock(), lambda: True)
    assert not len(data._seconds)
    monkeypatch.setattr(chart, "LONG", 100)
    make_ahead(data, threading.RLock(), lambda: False)
    assert not len(data._seconds)


def test_steps_taken_back_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chart, "LONG", 100)
    monkeypatch.setattr(chart, "BLOCK", 64)
    data = long_data(1000)
    rounds = iter(range(10_000))

    def wanted() -> bool:
        if next(rounds) == 5:  # a resumed run: fewer steps than were drawn
            for name in ("loss", "time", "tokens"):
                del getattr(data.history.steps, name)[200:]
        return True

    make_ahead(data, threading.RLock(), wanted)
    assert next(rounds) < 1000
