"""Events folded into a view: what a resume forgets, what an epoch's loss is, how a run stands."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import msgspec
import pytest
import records
import story
from ftev.core.errors import RunError
from ftev.core.judgement.observations import describe_kept, observe_epoch, reason_kept
from ftev.core.report.parts import describe_references
from ftev.core.run.event_lines import LossCourse, read_course
from ftev.core.run.events import (
    AnyEvent,
    CheckpointChosen,
    CheckpointSaved,
    EpochDone,
    Evaluated,
    EventReader,
    EventWriter,
    LabelsFixed,
    ModelLoaded,
    Note,
    Paused,
    PromptAnswered,
    Resumed,
    RunFinished,
    RunStarted,
    StageDone,
    StageStarted,
    SystemSampled,
    TextScored,
    TrainingEnded,
    TrainingPlanned,
)
from ftev.core.run.history import RATE_WINDOW, Change, History, fold, read_history
from ftev.core.run.runs import Run
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace


def chosen(at: int, step: int, top: int, p: float | None = None) -> CheckpointChosen:
    return CheckpointChosen(
        at=at,
        metric="accuracy",
        step=step,
        value=0.91,
        loss=0.241,
        top_step=top,
        top_value=0.92 if step != top else 0.91,
        top_loss=0.382,
        p=p,
    )


def resumed(step: int) -> RunStarted:
    return RunStarted(
        run="story",
        name="story",
        task="classification",
        pid=2,
        host="here",
        ftev_version="0.1.0",
        resumed_from_step=step,
    )


def planned(max_steps: int) -> TrainingPlanned:
    return TrainingPlanned(
        max_steps=max_steps,
        steps_per_epoch=4,
        epochs=1,
        warmup_steps=0,
        rows_per_step=1,
        padding=1,
    )


def test_a_whole_story_is_told() -> None:
    history = fold(story.whole())
    assert history.status(alive=False) == "finished"
    assert (history.step, history.max_steps, history.best_step) == (12, 12, 8)
    assert [e.epoch for e in history.epochs] == [1, 2, 3]
    assert [round(e.validation_accuracy, 2) for e in history.epochs] == [0.75, 0.9, 0.85]
    assert history.epochs[-1].accuracy_change == pytest.approx(0.35)
    assert history.random_loss == pytest.approx(math.log(2))
    assert set(history.results["test"]) == {"majority", "probe", "tuned"}


def test_each_epoch_is_observed_with_its_losses_and_its_accuracy() -> None:
    history = fold(story.whole())
    assert [observe_epoch(history, epoch) for epoch in history.epochs] == [
        "validation loss fell by 0.20 in the first epoch, accuracy +25.0 points",
        "validation loss fell by 0.10, accuracy +15.0 points: still learning",
        "validation loss rose by 0.05 while training loss fell: overfitting begins",
    ]


def test_live_and_at_once_give_the_same(tmp_path: Path) -> None:
    run = story.write_story(tmp_path / "run")
    reader, live = EventReader(run.events_path, chunk=100), History()
    while live.read(reader) or reader.offset < run.events_path.stat().st_size:
        pass
    whole = read_history(run)
    assert live.version == whole.version == len(story.whole())
    assert live.epochs == whole.epochs
    assert live.steps == whole.steps


def test_an_epochs_loss_is_one_division_of_sums() -> None:
    steps = [story.step(1, loss=1.0, count=10), story.step(2, loss=4.0, count=1)]
    steps += [story.step(3, loss=2.0, count=5), story.step(4, loss=0.0, count=4)]
    history = fold([*story.beginning(), *steps, EpochDone(epoch=1, step=4, seconds=1.0)])
    assert history.epochs[0].train_loss == pytest.approx((10 + 4 + 10 + 0) / 20)


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(1, 1000)), min_size=4, max_size=40))
def test_means_over_epochs_do_not_depend_on_the_cut(expected: list[tuple[float, int]]) -> None:
    history = fold([story.step(i + 1, loss, count) for i, (loss, count) in enumerate(expected)])
    total = sum(loss * count for loss, count in expected) / sum(count for _, count in expected)
    assert history.steps.mean_loss(0, 1e9) == pytest.approx(total)


def test_a_step_without_scored_tokens_has_no_loss() -> None:
    history = fold([story.step(1, loss=0.0, count=0)])
    assert math.isnan(history.steps.loss[0])
    assert math.isnan(history.steps.mean_loss(0, 1))


def test_resume_forgets_what_will_be_made_again() -> None:
    before = [*story.beginning(), *story.epoch(1), *story.epoch(2), story.step(9), story.step(10)]
    history = fold([*before, RunFinished(status="stopped"), resumed(8)])
    assert history.step == 8
    assert len(history.steps) == len(history.steps.grad_norm) == len(history.steps.epoch) == 8
    assert [e.epoch for e in history.epochs] == [1, 2]
    assert history.finished is None
    for event in story.epoch(3):
        history.add(event)
    assert list(history.steps.step) == list(range(1, 13))
    assert [e.step for e in history.validation_series()] == [0, 4, 8, 12]


def test_resume_from_an_earlier_checkpoint_forgets_epochs_and_results() -> None:
    history = fold([*story.whole(), resumed(4)])
    assert [e.epoch for e in history.epochs] == [1]
    assert [c.step for c in history.checkpoints] == [4]
    assert not history.results
    assert not history.comparisons
    assert history.evaluation("test", "tuned") is None


@pytest.mark.parametrize(
    ("events", "alive", "status"),
    [
        ([], False, "starting"),
        (story.beginning(), True, "running"),
        (story.beginning(), False, "died"),
        ([*story.beginning(), Paused(step=3)], True, "paused"),
        ([*story.beginning(), Paused(step=3), Resumed(step=3)], True, "running"),
        ([*story.beginning(), Paused(step=3)], False, "died"),
        ([*story.beginning(), RunFinished(status="stopped")], True, "stopped"),
        ([*story.beginning(), RunFinished(status="stopped"), resumed(0)], True, "running"),
        ([*story.beginning(), RunFinished(status="failed", error="x")], False, "failed"),
    ],
)
def test_how_a_run_stands(events: list[AnyEvent], alive: bool, status: str) -> None:
    assert fold(events).status(alive) == status


def test_eta_is_the_pace_of_the_last_steps_times_what_is_left() -> None:
    history = fold([planned(100)])
    assert history.eta_seconds() is None
    for number in range(1, 61):
        slow = number <= 60 - RATE_WINDOW
        history.add(replace(story.step(number), seconds=9.0 if slow else 0.5))
    assert history.eta_seconds() == pytest.approx(20.0)
    assert history.tokens_per_second() == pytest.approx(1600.0)
    history.add(TrainingEnded(reason="completed", step=60, best_step=60))
    assert history.eta_seconds() is None


def test_comparisons_of_every_split_stay() -> None:
    lines = [records.comparisons([COMPARED | {"split": split}]) for split in ("validation", "test")]
    assert [c.split for c in fold(lines).comparisons] == ["validation", "test"]


def test_a_result_replaces_the_one_before() -> None:
    lines = [records.results("test", "tuned", RESULT | {"n": n}) for n in (1, 2)]
    assert fold(lines).results["test"]["tuned"].n == 2


def test_the_last_score_of_a_text_counts() -> None:
    def scored(value: float) -> TextScored:
        return TextScored(
            source="held_out:0",
            model="base",
            tokens=1,
            bytes=4,
            log_likelihood=value,
            prefix="<s>",
            window=4,
            stride=4,
        )

    assert [t.log_likelihood for t in fold([scored(-1.0), scored(-2.0)]).texts] == [-2.0]


def test_skipped_steps_are_counted_and_told() -> None:
    events = [replace(story.step(n), skipped=True) for n in (1, 2)]
    history = fold([*story.beginning(), *events, EpochDone(epoch=1, step=2, seconds=1.0)])
    assert history.steps.skipped == 2
    assert "2 steps skipped" in observe_epoch(history, history.epochs[0])


Trained = list[tuple[float, float]]  # training and validation loss of each epoch
NONE = math.nan


def observed(epochs: Trained, error: float = 0.01, start: float = 0.7) -> str:
    """The line of the last epoch; each change of the validation loss has the same error."""
    losses, events = [start, *(v for _, v in epochs)], story.beginning()[:-1]
    for i, (train, validation) in enumerate([(0.0, start), *epochs]):
        if i:
            steps = [story.step((i - 1) * 4 + k, train + 0.001 * (k % 2)) for k in (1, 2, 3, 4)]
            events += steps
        if not math.isnan(validation):
            changes = [(4 * j, validation - losses[j], error) for j in range(i)] if error else []
            known = [c for c in changes if not math.isnan(c[1])]
            sums = {"loss_sum": validation * 20, "changes": known}
            events.append(replace(story.validated(0), step=4 * i, epoch=float(i), **sums))
        if i:
            events.append(EpochDone(epoch=i, step=4 * i, seconds=1.0))
    history = fold(events)
    return observe_epoch(history, history.epochs[-1])


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [
        ([(0.6, 0.5)], "validation loss fell by 0.20 in the first epoch"),
        ([(0.6, 0.69)], "validation loss is level (-0.010): little learnt yet"),
        ([(0.6, 0.8)], "validation loss rose by 0.10 in the first epoch"),
        ([(0.6, NONE)], "nothing to judge it by: there is no validation split"),
        ([(NONE, 0.5)], "training loss is not finite: lower the learning rate"),
        ([(0.6, 0.5), (0.4, 0.4)], "validation loss fell by 0.10: still learning"),
        ([(0.6, 0.5), (0.4, 0.485)], "validation loss is level (-0.015)"),
        (
            [(0.6, 0.5), (0.4, 0.54)],
            "validation loss rose by 0.04 while training loss fell: overfitting begins",
        ),
        (
            [(0.6, 0.4), (0.4, 0.5), (0.3, 0.6)],
            "validation loss rose by 0.10 while training loss fell: overfitting since epoch 2",
        ),
        (
            [(0.6, 0.4), (0.4, 0.35), (0.4, 0.39)],
            "validation loss rose by 0.04",  # the training loss is level
        ),
        (
            [(0.6, 0.5), (0.9, 0.7)],
            "both losses rose (validation by 0.20): training is unstable",
        ),
        ([(0.6, 0.5), (0.5, 0.501)], "validation loss is level (+0.001)"),
        (
            [(0.6, NONE), (0.5, 0.4), (0.4, 0.5)],
            "validation loss rose by 0.10 while training loss fell: overfitting begins",
        ),
        ([(0.6, NONE), (0.4, NONE)], "training loss fell (0.600 → 0.400)"),
    ],
)
def test_V10_observations_come_from_the_one_rule_of_noise(epochs: Trained, expected: str) -> None:
    assert observed(epochs).replace("0.601", "0.600").replace("0.401", "0.400") == expected


def test_V10_the_noise_of_the_rows_decides_and_not_the_size_of_the_change() -> None:
    """100 rows, 0.245 → 0.241: level."""
    course = [(0.3, 0.245), (0.2, 0.241)]
    assert observed(course, error=0.008) == "validation loss is level (-0.004)"
    assert observed(course, error=0.001) == "validation loss fell by 0.004: still learning"
    assert observed(course, error=0.0) == "validation loss went 0.245 → 0.241"  # an older run


def test_events_of_the_future_do_not_stop_a_reader(tmp_path: Path) -> None:
    run = story.write_story(tmp_path / "run", story.beginning())
    with run.events_path.open("ab") as file:
        file.write(b'{"kind":"FromTheFuture"}\nnot json\n{"kind":"StepDone"')
    history = read_history(run)
    assert history.unreadable_lines == 2
    assert history.status(alive=False) == "died"


def test_a_run_without_events_has_an_empty_history(tmp_path: Path) -> None:
    history = read_history(Run(tmp_path))
    assert history.status(alive=False) == "starting"
    assert history.step == 0
    assert history.tokens_per_second() == 0.0


@given(st.randoms(use_true_random=False))
def test_no_order_of_events_breaks_the_fold(shuffle: random.Random) -> None:
    events: list[AnyEvent] = [*story.whole(), resumed(4), Paused(step=1)]
    shuffle.shuffle(events)
    history = fold(events)
    history.eta_seconds()
    history.validation_series()
    assert history.version == len(events)


def test_checkpoints_say_which_is_best() -> None:
    lines = [
        CheckpointSaved(step=4, path="a", seconds=0.1, best=True),
        CheckpointSaved(step=8, path="b", seconds=0.1),
    ]
    assert fold(lines).best_step == 4


def test_final_scores_do_not_disturb_the_validation_series() -> None:
    final = Evaluated(
        split="validation",
        model="tuned",
        step=12,
        epoch=-1.0,
        rows=20,
        loss_sum=2.0,
        loss_count=20,
        correct=20,
        count=20,
    )
    series = fold([*story.whole(), final]).validation_series()
    assert series[-1].loss_sum == pytest.approx(9.0)


@pytest.mark.parametrize(("vocabulary", "guess"), [(50_257, 10.82), (512, 6.24)])
def test_L7_guessing_costs_the_logarithm_of_the_vocabulary(vocabulary: int, guess: float) -> None:
    started = replace(story.beginning()[0], task="generation")
    model = next(e for e in story.beginning() if isinstance(e, ModelLoaded))
    history = fold([started, replace(model, vocab_size=vocabulary)])
    assert history.random_loss == pytest.approx(guess, abs=5e-3)


def test_L7_guessing_among_labels_costs_the_logarithm_of_their_number() -> None:
    assert fold(story.beginning()).random_loss == pytest.approx(math.log(2))
    assert fold([]).random_loss is None


def test_L7_the_loss_before_the_first_step_stands_beside(tmp_path: Path) -> None:
    references = describe_references(fold(story.whole()))
    assert references["start_loss"] == pytest.approx(story.VALIDATION[0][0])
    assert references["start_accuracy"] == story.VALIDATION[0][1] / 20


def test_L1_the_loss_of_an_epoch_is_one_division_of_sums() -> None:
    """A step of 10 tokens at 1 nat and one of 90 at 3: 2.8, not 2."""
    plan = next(e for e in story.beginning() if isinstance(e, TrainingPlanned))
    steps = [story.step(1, loss=1.0, count=10), story.step(2, loss=3.0, count=90)]
    history = fold([plan, *steps, EpochDone(epoch=1, step=2, seconds=1.0)])
    assert history.epochs[0].train_loss == pytest.approx(2.8)


ACCURACY = {"value": 0.5, "low": 0.1, "high": 0.9, "method": "Wilson 95 %"}
RESULT = {"n": 1, "metrics": {"accuracy": ACCURACY}}
COMPARED = {
    "split": "test",
    "metric": "accuracy",
    "from": "base",
    "to": "tuned",
    "difference": 0.1,
    "low": -0.1,
    "high": 0.3,
    "p": 0.3,
    "method": "exact McNemar p",
}


def scored(result: object, split: str = "test") -> dict[str, object]:
    return {"kind": "ResultsComputed", "split": split, "model": "tuned", "result": result}


def analysed(name: str, result: object) -> dict[str, object]:
    return {"kind": "AnalysisComputed", "split": "test", "name": name, "result": result}


@pytest.mark.parametrize(
    "event",
    [
        StageStarted(stage=99, name="x"),
        StageStarted(stage=-1, name="x"),
        StageDone(stage=0, name="x", seconds=1.0),
        Note(level="info", text="x", time=math.nan),
        Note(level="info", text="x", time=math.inf),
        Note(level="info", text="x", time=1e300),
        scored({}),
        scored({"n": 1}),
        scored({"metrics": {}}),
        scored("a word"),
        scored(RESULT | {"n": 0.5}),
        scored(RESULT | {"metrics": {"x": 0.5}}),
        scored(RESULT | {"metrics": {"x": {"value": 0.5}}}),
        scored(RESULT, split="../test"),
        *(
            {
                "kind": "ComparisonsComputed",
                "comparisons": [{k: v for k, v in COMPARED.items() if k != name}],
            }
            for name in COMPARED
        ),
        analysed("of a later version", {}),
        analysed("short_answers", {"rows": 1, "answers": 1, "references": 1}),
        analysed("short_answers", [1]),
        LabelsFixed(labels=[]),
    ],
)
def test_what_no_run_can_have_written_is_counted_and_left_out(
    event: AnyEvent | dict[str, object], tmp_path: Path
) -> None:
    run = story.write_story(tmp_path / "r", story.beginning())
    writer = EventWriter(run.events_path)
    writer.append(
        json.dumps(event).encode() + b"\n" if isinstance(event, dict) else writer.lines(event)
    )
    writer.close()
    history, clean = read_history(run), fold(story.beginning())
    assert history.unreadable_lines == 1
    assert history.stages[0].state == clean.stages[0].state
    assert (history.results, history.comparisons, history.notes) == ({}, [], [])
    assert history.labels == clean.labels


def test_what_a_run_can_have_told_is_kept() -> None:
    history = fold(
        [
            records.results("test", "tuned", RESULT),
            records.comparisons([COMPARED]),
        ]
    )
    assert history.unreadable_lines == 0
    assert msgspec.to_builtins(history.results["test"]["tuned"]) == RESULT
    assert msgspec.to_builtins(history.comparisons) == [COMPARED]


def test_events_that_cannot_be_read_are_one_error(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.events_path.mkdir()  # as one without permission, which root would read
    with pytest.raises(RunError, match=r"events\.jsonl: cannot be read: Is a directory"):
        read_history(run)


def test_V10_a_change_within_two_standard_errors_is_level() -> None:
    """100 rows, losses 0.245 and 0.241, whose rows differ by 0.03 or so: level."""
    later = replace(story.validated(1), changes=[(0, -0.004, 0.003), (2, 0.2, 0.05)])
    history = fold([story.validated(0), later])
    change = history.change(0, 4)
    assert change == Change(-0.004, 0.003)
    assert change.level
    risen = history.change(2, 4)
    assert risen is not None
    assert not risen.level
    assert history.change(0, 8) is None
    assert history.change(4, 0) is None


def test_V11_one_sentence_says_which_checkpoint_is_kept_and_why() -> None:
    tied = fold([*story.beginning(), *story.epoch(1), *story.epoch(2), chosen(8, 8, 4, 1.0)])
    found = reason_kept(tied)
    assert found == (
        "Step 8 was kept: accuracy on validation, 91.0 %, is indistinguishable from the "
        "92.0 % of step 4 (p = 1.00), and its loss is lower, 0.241 against 0.382."
    )
    kept = describe_kept(tied, story.config())
    assert kept is not None
    assert (kept["step"], kept["reason"]) == (8, found)
    alone = fold([*story.beginning(), *story.epoch(1), *story.epoch(2), chosen(8, 8, 8)])
    assert reason_kept(alone) == (
        "Step 8 was kept: its accuracy on validation, 91.0 %, is the best of 2 evaluations."
    )
    assert reason_kept(fold(story.whole())) == ""


def test_a_resumed_worker_replaces_what_a_killed_one_wrote() -> None:
    """Killed between an evaluation and its checkpoint, or in its last stage: by key, each once."""
    probe = PromptAnswered(prompt="good?", step=8, probe=True)
    asked = PromptAnswered(prompt="mine", step=7)
    final = replace(story.validated(2), epoch=-1.0)
    note = Note(level="warning", text="3 rows left out", time=1.0)
    first = [*story.beginning(), note, *story.epoch(1), chosen(4, 4, 4)]
    second = [*story.epoch(2)[:-1], probe, asked, chosen(8, 8, 8), final]
    again = [*first[1:], *second]
    whole = fold([*first, *second])
    for cut in (4, 8):
        later = [resumed(cut), note, *(second if cut == 4 else [final])]
        found = fold([*first, *second, *later])
        assert found.evaluations == whole.evaluations
        assert found.epochs == whole.epochs
        assert found.choices == whole.choices
        assert found.best_step == whole.best_step == 8
        assert found.notes == whole.notes == [note]
        assert [p for p in found.prompts if p.probe] == [probe]
        assert asked in found.prompts
        assert found.steps == whole.steps
    anew = fold([*first, *second, resumed(0)])
    assert (anew.evaluations, anew.choices, anew.best_step, anew.notes) == ([], [], None, [])
    assert anew.prompts == [asked]
    for event in again:
        anew.add(event)
    assert anew.evaluations == whole.evaluations
    assert anew.steps == whole.steps


def test_samples_and_notes_after_the_cut_belong_to_steps_that_are_taken_again() -> None:
    def sampled(time: float) -> SystemSampled:
        return SystemSampled(memory=1, cpu=1.0, time=time)

    steps = [replace(story.step(n), time=10.0 * n) for n in range(1, 6)]
    late = Note(level="info", text="late", time=45.0)
    events = [*(e for n, s in enumerate(steps, 1) for e in (s, sampled(10.0 * n))), late]
    history = fold([*events, resumed(3)])
    assert list(history.samples.time) == [10.0, 20.0, 30.0]
    assert history.notes == []


def test_a_checkpoint_told_of_again_is_one() -> None:
    saved = CheckpointSaved(step=4, path="a", seconds=0.5, best=True)
    assert fold([saved, replace(saved, seconds=0.0)]).checkpoints == [saved]


def test_a_run_that_takes_no_steps_has_no_speed() -> None:
    steps = [*story.beginning(), *story.epoch(1)]
    assert fold(steps).tokens_per_second() > 0
    for last in (Paused(step=4), RunFinished(status="stopped")):
        history = fold([*steps, last])
        assert history.tokens_per_second() == 0.0
        assert history.eta_seconds() is None
    going_on = fold([*steps, Paused(step=4), Resumed(step=4)])
    assert going_on.tokens_per_second() > 0
    assert going_on.training_seconds == pytest.approx(2.0)


def test_the_course_of_losses_forgets_what_a_resumed_worker_takes_again(tmp_path: Path) -> None:
    steps = [story.step(n, loss=float(n)) for n in range(1, 201)]
    killed, again = [*steps[:150]], steps[100:]
    run = story.write_story(tmp_path / "a", [*killed, resumed(100), *again])
    whole = story.write_story(tmp_path / "b", list(steps))
    found = read_course(run.events_path, LossCourse()).parts()
    assert found == read_course(whole.events_path, LossCourse()).parts()
    anew = story.write_story(tmp_path / "c", [*killed, resumed(0), *steps])
    assert read_course(anew.events_path, LossCourse()).parts() == found
