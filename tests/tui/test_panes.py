"""What the panes say, as lines of text."""

from __future__ import annotations

import math

from ftev.core.run.events import RunFinished, StepDone, TextScored
from ftev.core.run.history import History, fold
from ftev.tui.drawing.lines import Line, cut, join_fitting, justify, text_of
from ftev.tui.drawing.plot import ASCII
from ftev.tui.screens.charts.data import ChartData
from ftev.tui.screens.charts.plot import View, cursor_line, legend, plot_lines
from ftev.tui.screens.prompt.answers import Answer, Exchange
from ftev.tui.screens.prompt.talk import View as TalkView
from ftev.tui.screens.prompt.talk import block_of
from ftev.tui.screens.run.metric_rows import (
    Change,
    MetricRow,
    Value,
    metric_tables,
    newcombe,
    wilson,
)
from ftev.tui.screens.run.metrics import change_role, judgement_lines, table_lines, text_lines
from ftev.tui.screens.run.pipeline import log_lines, pipeline_lines, trace_lines
from ftev.tui.screens.run.status import machine, pace, title_left
from made_runs import STEPS_PER_EPOCH, story, until_step


def texts(lines: list[Line]) -> list[str]:
    return [text_of(line).rstrip() for line in lines]


def live(step: int = 93, task: str = "classification") -> History:
    return fold(until_step(story(task), step))


def test_the_pipeline_tells_state_time_shapes_and_notes() -> None:
    lines = texts(pipeline_lines(live(), "running", 110, 5))
    assert lines[1] == (
        "✓ 2 training data prepared   1.21 s  1,000 × 10 → 1,000 × 3     "
        "labels 51 % positive; longest row 74 tokens, none truncated"
    )
    assert lines[2].startswith("▶ 3 fine-tuned")
    assert lines[2].endswith("━━━━━━━━━━━─────   66 %  step 93 of 140")
    assert lines[4] == "· 5 evaluated"


def test_a_stage_that_was_running_when_the_worker_died_says_so() -> None:
    assert texts(pipeline_lines(live(), "died", 110, 5))[2].startswith("✗ 3 fine-tuned")
    assert texts(pipeline_lines(live(), "paused", 110, 5))[2].startswith("‖ 3 fine-tuned")


def test_with_room_the_notes_are_shown_in_full() -> None:
    lines = texts(pipeline_lines(live(), "running", 40, 30))
    assert "    labels 51 % positive; longest row 74" in lines
    assert "    tokens, none truncated" in lines


def test_the_trace_has_a_row_an_epoch_with_its_words() -> None:
    lines = texts(trace_lines(live(), 120))
    assert lines[0] == "epoch  train loss  val. loss  accuracy  change"
    assert lines[1].endswith("before training")
    assert lines[2] == (
        "    1       0.580      0.497    71.0 %   +22.0  "
        "validation loss fell by 0.20 in the first epoch, accuracy +22.0 points"
    )
    assert "▾" in lines[4]
    assert len(lines) == 5


def test_the_words_go_below_the_numbers_in_a_narrow_pane() -> None:
    lines = texts(trace_lines(live(), 60))
    assert lines[3].split()[0] == "1"
    assert lines[4] == "       validation loss fell by 0.20 in the first epoch,"


def test_a_trace_without_epochs_says_what_will_stand_there() -> None:
    assert texts(trace_lines(History(), 60)) == ["A row appears here at the end of each epoch."]


def test_live_metrics_compare_step_0_with_the_last_evaluation() -> None:
    (table,) = metric_tables(live())
    assert table.columns == ("step 0", "step 84")
    assert texts(table_lines(table, 70, None)) == [
        "validation  100 rows",
        "          step 0  step 84  change     95 % interval",
        "loss       0.700    0.353  −0.347  [−0.355, −0.339]",
        "accuracy  49.0 %   86.0 %   +37.0    [+24.4, +48.0]",
    ]


def test_final_metrics_stand_beside_each_other() -> None:
    (table,) = metric_tables(fold(story()), "macro_f1")
    lines = texts(table_lines(table, 90, None))
    assert lines[1].split() == ["majority", "probe", "tuned", "change", "95", "%", "interval"]
    assert lines[2] == "macro F1         33.6 %  71.4 %  89.5 %   +18.1    [+12.1, +24.1]"


def test_the_least_telling_columns_give_way_first() -> None:
    (table,) = metric_tables(fold(story()), "macro_f1")
    headers = [texts(table_lines(table, width, None))[1].split() for width in (90, 58, 48, 40)]
    assert headers == [
        ["majority", "probe", "tuned", "change", "95", "%", "interval"],
        ["probe", "tuned", "change", "95", "%", "interval"],
        ["tuned", "change", "95", "%", "interval"],
        ["tuned", "change"],
    ]


def test_wilson_and_newcombe_intervals() -> None:
    assert [round(end, 4) for end in wilson(90, 100)] == [0.8256, 0.9448]
    assert [round(end, 4) for end in wilson(0, 20)] == [0.0, 0.1611]
    # Newcombe 1998, table II, case (a) without continuity correction: 56/70 against 48/80
    a, b = (Value(k / n, *wilson(k, n)) for k, n in ((48, 80), (56, 70)))
    change = newcombe(a, b)
    assert [round(v, 4) for v in (change.difference, change.low, change.high)] == [
        0.2,
        0.0524,
        0.3339,
    ]


def test_a_change_is_good_or_bad_only_where_zero_is_left_out() -> None:
    def role(metric: str, difference: float, half: float = math.nan) -> str:
        change = Change(difference, difference - half, difference + half)
        return change_role(MetricRow(metric, {}, change))

    assert role("accuracy", 0.1, 0.05) == "good"
    assert role("accuracy", 0.1, 0.2) == "muted"
    assert role("accuracy", -0.1, 0.05) == "bad"
    assert role("loss", -0.1, 0.05) == "good"
    assert role("loss", 0.1, 0.05) == "bad"
    assert role("loss", 0.1) == "muted"  # nobody knows its noise


def test_held_out_texts_stand_with_their_difference() -> None:
    scored = [
        TextScored(
            source="held_out:0",
            model=model,
            tokens=132,
            bytes=240,
            log_likelihood=mean * 132,
            prefix="",
            window=8,
            stride=4,
        )
        for model, mean in (("base", -4.07), ("tuned", -2.66))
    ]
    assert texts(text_lines(scored, 60))[-1] == "held out 0        −4.070    −2.660   +1.410"


def test_no_verdict_no_lines() -> None:
    assert judgement_lines(None, 60, 10) == []


def chart(history: History, view: View, width: int = 40, height: int = 10) -> list[str]:
    data = ChartData()
    data.update(history)
    return [text_of(line) for line in plot_lines(data, view, width, height)]


def test_the_chart_spans_the_planned_steps_and_keeps_its_size() -> None:
    for step in (1, 30, 93, 140):
        lines = chart(live(step), View())
        assert len(lines) == 10
        assert {len(line) for line in lines} == {40}
        assert lines[-1].rstrip().endswith("step")
    assert "50" in chart(live(30), View())[-1]
    assert "100" in chart(live(30), View())[-1]


def test_old_columns_stay_where_they_are_while_the_run_goes_on() -> None:
    before, after = chart(live(88), View(), 60, 12), chart(live(93), View(), 60, 12)
    assert [line[:40] for line in before] == [line[:40] for line in after]


def test_the_chart_has_epoch_ticks_and_marks_what_is_not_finite() -> None:
    events = until_step(story(), 93)
    lost = StepDone(
        step=94,
        epoch=94 / STEPS_PER_EPOCH,
        loss_sum=math.nan,
        loss_count=32,
        learning_rate=1e-4,
        grad_norm=math.inf,
        tokens=1,
        seconds=0.1,
        skipped=True,
    )
    history = fold([*events, lost])
    axis = chart(history, View())[-2]
    assert axis.count("┴") == 5
    assert axis.count("×") == 1
    data = ChartData()
    data.update(history)
    assert "× 1 not finite" in text_of(legend(data, View(), 100))


def test_other_axes_end_where_their_data_or_plan_ends() -> None:
    assert chart(live(), View(axis="epoch"))[-1].split()[-2:] == ["4", "epoch"]
    assert chart(live(), View(axis="time"))[-1].split()[-1] == "time"
    assert chart(live(), View(axis="tokens"))[-1].split()[-1] == "tokens"


def test_a_resumed_run_is_drawn_anew() -> None:
    data = ChartData()
    data.update(live(93))
    assert len(data) == 93
    data.update(live(30))
    assert len(data) == 30


def test_cursor_and_legend_tell_exact_values() -> None:
    history, data = live(), ChartData()
    data.update(history)
    text = text_of(cursor_line(data, View(cursor=83), 120))
    assert text.startswith("     at step 84   ━ ")
    assert "● 0.353   epoch 3.00" in text
    text = text_of(legend(data, View(), 120))
    assert "◆ best at step 84" in text
    assert "chance ln 2 = 0.693" in text


def test_zoom_keeps_the_cursor_in_sight() -> None:
    data, view = ChartData(), View(cursor=50)
    data.update(live())
    view.zoom(data, 0.5)
    left, right = view.range(data)
    assert right - left == 70
    assert left <= 51 <= right
    view.put_cursor(data, 92)
    assert view.range(data)[0] <= 93 <= view.range(data)[1]
    view.zoom(data, 2.0)
    assert view.window is None


def test_every_view_of_the_chart_can_be_drawn() -> None:
    for task in ("classification", "generation"):
        for axis in ("step", "epoch", "time", "tokens"):
            for log in (False, True):
                view = View(axis=axis, log=log, smoothing=0.9, clip_outliers=True, marker=ASCII)
                assert len(chart(live(93, task), view, 60, 12)) == 12


def test_answers_of_a_classifier_show_what_changed() -> None:
    exchange = Exchange("not good at all")
    exchange.answers = {
        "base": Answer("probe", probabilities={"positive": 0.7, "negative": 0.3}, done=True),
        "tuned": Answer("tuned", probabilities={"positive": 0.1, "negative": 0.9}, done=True),
    }
    lines = texts(block_of(exchange, 60, TalkView()).lines)
    assert lines[0] == "› not good at all"
    assert lines[1] == "changed: positive → negative"
    assert lines[3].startswith("negative ███")
    assert lines[3].endswith("90.0 %  +60.0")


def test_long_answers_stand_beside_each_other_under_a_head_that_stays() -> None:
    exchange = Exchange("tell", {"base": Answer("base", "a " * 500), "tuned": Answer("tuned", "b")})
    block = block_of(exchange, 60, TalkView(), brief=True)
    lines = texts(block.lines)
    assert block.head == 2
    assert lines[1].split() == ["base", "…", "│", "tuned", "…"]
    assert lines[2].split("│")[1].split() == ["◆b"]
    assert sum(line.count("a") for line in lines[2:]) == 500


def test_the_log_ends_with_the_error() -> None:
    history = fold([*until_step(story(), 5), RunFinished(status="failed", error="out of memory")])
    assert texts(log_lines(history, ["Traceback"], 60))[-1] == "out of memory"


def test_the_line_of_pace_says_how_it_ended() -> None:
    assert text_of(pace(live(), "died", 100, "some-run", 84)) == (
        "the worker died at step 93   P or ftev-tui resume some-run goes on from step 84"
    )
    assert text_of(pace(live(), "died", 60, "some-run", 84)).endswith("ftev-tui resume some-run")
    assert text_of(pace(live(), "died", 50, "some-run", 84)).endswith("P goes on from step 84")
    assert "no checkpoint is here" in text_of(pace(live(), "died", 100))
    assert text_of(pace(fold(story()), "finished", 100)).startswith("140 steps in ")
    assert text_of(pace(History(), "starting", 100)) == "waiting for the worker"
    assert "step 93 of 140   epoch 3.32 of 5" in text_of(pace(live(), "running", 120))
    assert text_of(machine(live(), "running")) == "1.9 cores  812 MiB"


def test_lines_are_cut_and_joined_whole() -> None:
    line: Line = [("abc", ""), ("def", "muted")]
    assert text_of(cut(line, 6)) == "abcdef"
    assert text_of(cut(line, 5)) == "abcd…"
    assert text_of(cut(line, 3)) == "ab…"
    assert text_of(justify(line, [("z", "")], 10)) == "abcdef   z"
    assert text_of(justify(line, [("z", "")], 6)) == "abc… z"
    assert text_of(join_fitting([line, line], " ", 12)) == "abcdef"


def test_a_run_without_events_has_its_directory_for_a_name() -> None:
    from pathlib import Path

    from ftev.core.run.runs import Run

    assert text_of(title_left(Run(Path("/runs/2026_x")), History())).strip() == "ftev  2026_x"
