"""What a run is judged by: its split, reference and comparison; and what stands live beside it."""

from __future__ import annotations

from typing import Any

import pytest
import records
import story
from ftev.core.judgement.findings import find
from ftev.core.judgement.findings.case import Case
from ftev.core.judgement.live import activity, live_figure, majority_evaluation, values_given
from ftev.core.judgement.objective import against_margin, against_target
from ftev.core.judgement.observations import describe_kept
from ftev.core.judgement.selection import (
    clean_if_compared,
    describe_leaked,
    find_comparison,
    first_reference,
    higher_is_better,
    judged_analysis,
    judged_split,
    metric_value,
    place,
    read_difference,
    was_compared,
)
from ftev.core.metrics.analyses import Guardrails, Thresholds
from ftev.core.metrics.results import Comparison, Estimate, ModelResult
from ftev.core.run.events import (
    CheckpointSaved,
    DeviceFound,
    Evaluated,
    ModelLoaded,
    SplitPrepared,
    TrainingEnded,
)
from ftev.core.run.history import History, Stage, fold
from ftev.core.tasks import TASKS
from msgspec.structs import replace


@pytest.mark.parametrize(
    ("models", "zero_shot", "expected"),
    [
        (["majority", "probe", "base"], False, "base"),
        (["majority", "probe", "base"], True, "probe"),
        (["majority", "base"], True, "base"),
        (["majority", "probe"], False, "probe"),
        (["majority", "tuned"], False, "majority"),
        (["tuned"], True, None),
    ],
)
def test_the_reference_is_the_base_and_the_probe_before_one_that_answers_untaught(
    models: list[str], zero_shot: bool, expected: str | None
) -> None:
    assert first_reference(models, zero_shot=zero_shot) == expected


def compared(
    metric: str, difference: float, low: float, high: float, p: float, holm: float | None = None
) -> Comparison:
    plain: dict[str, Any] = {"metric": metric, "difference": difference, "low": low, "high": high}
    return records.record(Comparison, plain | {"p": p} | ({"p_holm": holm} if holm else {}))


NAN = float("nan")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (compared("accuracy", 0.1, 0.05, 0.15, 0.05), "better"),
        (compared("accuracy", 0.1, 0.05, 0.15, 0.051), "cannot tell"),
        (compared("accuracy", 0.1, 0.0, 0.15, 0.01), "cannot tell"),
        (compared("accuracy", -0.1, -0.15, 0.0, 0.01), "cannot tell"),
        (compared("accuracy", -0.1, -0.15, -0.05, 0.01), "worse"),
        (compared("loss", -0.1, -0.15, -0.05, 0.01), "better"),
        (compared("loss", 0.1, 0.05, 0.15, 0.01), "worse"),
        (compared("accuracy", 0.1, 0.05, 0.15, 0.01, holm=0.06), "cannot tell"),
        (compared("accuracy", 0.0, NAN, NAN, 1.0), "the same"),
        (compared("accuracy", 0.0, NAN, NAN, 0.9), "cannot tell"),
        (compared("accuracy", 0.0, -0.1, 0.00001, 1.0), "cannot tell"),
        (compared("accuracy", 0.0, -0.00001, 0.1, 1.0), "cannot tell"),
    ],
)
def test_S2b_a_difference_is_shown_by_its_interval_and_its_p(
    found: Comparison, expected: str
) -> None:
    assert read_difference(found) == expected


def test_a_metric_nobody_knows_has_the_direction_of_its_name() -> None:
    assert higher_is_better("accuracy")
    assert not higher_is_better("loss")
    assert higher_is_better("delight")
    assert not higher_is_better("their_loss")
    assert not higher_is_better("cost")


def test_places_of_unknown_names_come_last() -> None:
    assert [place(("a", "b"), name) for name in ("a", "b", "c")] == [0, 1, 2]


@pytest.mark.parametrize(
    ("leaked", "groups", "expected"),
    [
        ({}, None, ""),
        ({"test": 0}, None, ""),
        ({"test": 1}, None, "1 test row repeats a row of an earlier split"),
        ({"test": 2}, None, "2 test rows repeat a row of an earlier split"),
        (
            {"validation": 1, "test": 60},
            None,
            "60 test rows and 1 validation row repeat a row of an earlier split",
        ),
        (
            {"validation": 1, "test": 1},
            {},
            "1 test row and 1 validation row repeat a row of an earlier split",
        ),
        (
            {"test": 1},
            {"test": 1},
            "1 test row repeats a row of an earlier split, or shares a group with one",
        ),
    ],
)
def test_what_is_said_of_leaked_rows(
    leaked: dict[str, int], groups: dict[str, int] | None, expected: str
) -> None:
    assert describe_leaked(leaked, groups) == expected


def test_one_split_alone_was_compared_with_none() -> None:
    assert [was_compared(s) for s in ([], ["train"], ["train", "test"])] == [True, False, True]


def test_test_is_judged_before_validation_and_clean_rows_before_all() -> None:
    validation = records.results("validation", "tuned", story.RESULTS["tuned"])
    base = [records.results("test", m, story.RESULTS[m]) for m in ("probe", "tuned")]
    assert judged_split(fold([validation])) == "validation"
    assert judged_split(fold([validation, *base])) == "test"
    assert judged_split(fold([base[0]])) is None
    clean = [records.results("test_clean", m, story.RESULTS[m]) for m in ("probe", "tuned")]
    both = [story.COMPARISONS[0], {**story.COMPARISONS[0], "split": "test_clean"}]
    history = fold([*base, *clean, records.comparisons(both)])
    assert clean_if_compared(history, "test", "accuracy") == "test_clean"
    assert clean_if_compared(history, "test", "macro_f1") == "test"
    found = find_comparison(history, "test", "accuracy")
    assert found is not None
    assert (found.split, found.metric) == ("test", "accuracy")
    assert find_comparison(history, "test", "accuracy", "base") is None
    assert find_comparison(history, "validation", "accuracy") is None


def test_an_analysis_is_that_of_test_else_of_validation() -> None:
    plain = {"positive": "positive", "aim": {"kind": "f1"}, "in_use": False}
    validation = records.analysis("thresholds", plain, "validation", "tuned")
    test = records.analysis("thresholds", plain, "test", "probe")
    split, models = judged_analysis(fold([validation]).analyses, Thresholds)
    assert (split, list(models)) == ("validation", ["tuned"])
    split, models = judged_analysis(fold([validation, test]).analyses, Thresholds)
    assert (split, list(models)) == ("test", ["probe"])
    assert judged_analysis(fold([validation, test]).analyses, Guardrails) == ("", {})


def test_the_loss_of_a_result_is_a_metric_of_it() -> None:
    found = records.record(ModelResult, story.RESULTS["tuned"])
    assert metric_value(found, "accuracy") == 0.9
    assert metric_value(found, "loss") == 0.4
    assert metric_value(found, "bleu") is None
    assert metric_value(None, "loss") is None


# Live

TRAIN = SplitPrepared(split="train", rows=5, columns=2, labels={"negative": 2, "positive": 3})
VALIDATION = SplitPrepared(
    split="validation", rows=10, columns=2, labels={"negative": 8, "positive": 2}
)


def evaluated(step: int, correct: int, model: str = "tuned", **more: Any) -> Evaluated:
    return Evaluated(
        split="validation", model=model, step=step, epoch=0.0, rows=10, loss_sum=5.0,
        loss_count=10, correct=correct, count=10, **more,
    )  # fmt: skip


def begun(*events: Any, new_head: bool = True) -> History:
    started, labels = story.beginning()[:2]
    loaded = ModelLoaded(
        name="tiny", architecture="T", parameters=1, trainable=1, layers=1, vocab_size=2,
        max_length=8, new_head=new_head,
    )  # fmt: skip
    return fold([started, labels, loaded, *events])


def test_the_commonest_label_of_train_is_answered_on_validation() -> None:
    found = majority_evaluation(begun(TRAIN, VALIDATION))
    assert found is not None
    assert (found.correct, found.count, found.rows) == (2, 10, 10)
    assert found.confusion == [(0, 1, 8), (1, 1, 2)]
    assert (found.step, found.loss_sum, found.loss_count) == (0, 0.0, 0)
    assert majority_evaluation(begun(TRAIN)) is None
    assert majority_evaluation(begun(VALIDATION)) is None


def test_a_new_head_stands_beside_the_majority_and_another_beside_the_base() -> None:
    events = [TRAIN, VALIDATION, evaluated(0, 3), evaluated(4, 9)]
    figure = live_figure(begun(*events), "accuracy")
    assert figure is not None
    assert (figure.metric, figure.step, figure.value) == ("accuracy", 4, 0.9)
    assert (figure.reference, figure.reference_model) == (0.2, "majority")
    for more, reference in (([], 0.3), ([evaluated(0, 1, "base")], 0.1)):
        figure = live_figure(begun(*events, *more, new_head=False), "accuracy")
        assert figure is not None
        assert (figure.reference, figure.reference_model) == (reference, "base")
    first = live_figure(begun(*events[:3], new_head=False), "accuracy")
    assert first is not None
    assert (first.value, first.reference) == (0.3, None), "step 0 is not set against itself"
    assert live_figure(begun(TRAIN), "accuracy") is None
    fallback = live_figure(begun(*events), "roc_auc")
    assert fallback is not None
    assert fallback.metric == "accuracy"


def test_sums_and_cells_give_the_metrics_of_an_evaluation() -> None:
    """2 of 3 negative and 4 of 7 positive are right: precision 4/5, recall 4/7."""
    cells = [(0, 0, 2), (0, 1, 1), (1, 0, 3), (1, 1, 4)]
    task = TASKS["classification"]
    found = values_given(evaluated(4, 6, confusion=cells), task, story.LABELS, "positive")
    assert (found["loss"], found["accuracy"]) == (0.5, 0.6)
    assert (found["precision"], found["recall"]) == (pytest.approx(0.8), pytest.approx(4 / 7))
    other = values_given(evaluated(4, 6, confusion=cells), task, story.LABELS, "negative")
    assert (other["precision"], other["recall"]) == (pytest.approx(2 / 5), pytest.approx(2 / 3))
    assert set(values_given(evaluated(4, 6), task, story.LABELS, None)) == {"loss", "accuracy"}
    assert "recall" not in values_given(evaluated(4, 6, confusion=cells), task, story.LABELS, None)


def test_a_run_that_trains_nothing_loads_its_tuned_model_third() -> None:
    history = begun()
    assert activity(history, Stage(1, "x")) == "loading the base model"
    assert activity(history, Stage(3, "x")) == "fine-tuning"
    assert activity(history, Stage(5, "x")) == "evaluating"


def test_a_run_of_two_given_models_loads_the_tuned_one_third() -> None:
    device = DeviceFound(device="cpu", name="a CPU", precision="float32", packages={}, trains=False)
    history = begun(device)
    assert activity(history, Stage(3, "x")) == "loading the tuned model"
    assert activity(history, Stage(2, "x")) == "preparing the training data"


# What an objective asks, at its bounds


@pytest.mark.parametrize(
    ("ends", "at_least", "vote"),
    [
        ((0.8, 0.9), True, 1),
        ((0.7, 0.8), True, 0),
        ((0.7, 0.799), True, -1),
        ((0.7, 0.8), False, 1),
        ((0.8, 0.9), False, 0),
        ((0.801, 0.9), False, -1),
        ((NAN, 0.9), True, 0),
        ((0.9, NAN), True, 0),
    ],
)
def test_a_target_that_an_end_of_the_interval_reaches(
    ends: tuple[float, float], at_least: bool, vote: int
) -> None:
    found, why = against_target(Estimate(0.8, *ends, "x"), 100, 0.8, at_least=at_least)
    assert found == vote
    assert ("no interval" in why) == any(end != end for end in ends)


@pytest.mark.parametrize(
    ("ends", "better_by", "no_worse_by", "vote"),
    [
        ((0.03, 0.08), 0.02, 0.0, 1),
        ((0.02, 0.08), 0.02, 0.0, 0),
        ((0.001, 0.02), 0.02, 0.0, 0),
        ((0.001, 0.01), 0.02, 0.0, -1),
        ((-0.01, 0.05), None, 0.02, 1),
        ((-0.02, 0.05), None, 0.02, 0),
        ((-0.09, -0.02), None, 0.02, 0),
        ((-0.09, -0.03), None, 0.02, -1),
        ((NAN, 0.05), None, 0.02, 0),
        ((0.01, NAN), 0.02, 0.0, 0),
    ],
)
def test_a_margin_that_an_end_of_the_interval_reaches(
    ends: tuple[float, float], better_by: float | None, no_worse_by: float, vote: int
) -> None:
    c = compared("accuracy", 0.05 if (ends[0] > 0) else -0.05, *ends, 0.01)
    assert against_margin(c, 200, better_by=better_by, no_worse_by=no_worse_by)[0] == vote
    flipped = compared("loss", -c.difference, -ends[1], -ends[0], 0.01)
    assert against_margin(flipped, 200, better_by=better_by, no_worse_by=no_worse_by)[0] == vote


def test_fewer_than_six_rows_show_nothing_whatever_the_interval() -> None:
    c = compared("accuracy", 0.5, 0.3, 0.7, 0.01)
    assert [against_margin(c, rows, better_by=0.1)[0] for rows in (5, 6)] == [0, 1]


# What findings rest on


def test_a_run_is_known_to_train_an_adapter_by_its_config_or_by_its_parameters() -> None:
    part = ModelLoaded(
        name="m", architecture="T", parameters=9, trainable=8, layers=1, vocab_size=2, max_length=8
    )
    history = fold([part])
    assert Case(history).adapter
    assert not Case(fold([replace(part, trainable=9)])).adapter
    assert not Case(fold([])).adapter
    assert Case(history, story.config()).adapter == (story.config().model.adapter != "none")


@pytest.mark.parametrize(
    ("split", "words"),
    [("train", "the model never sees where to stop"), ("validation", "their ends are not scored")],
)
def test_what_truncated_completions_mean_on_each_split(split: str, words: str) -> None:
    told = SplitPrepared(
        split=split, rows=10, columns=2, truncated_rows=5, truncated_tokens=9,
        truncated_completions=5, tokens=100,
    )  # fmt: skip
    found = [
        f.message for f in find(fold([story.beginning()[0], told])) if "completion" in f.message
    ]
    assert found
    assert any(words in message for message in found)


def test_cells_have_the_labels_in_the_order_of_the_scored_model() -> None:
    plain = {**story.RESULTS["tuned"], "confusion": {"labels": ["positive", "negative"],
             "counts": [[90, 10], [5, 95]]}}  # fmt: skip
    cells = [(0, 0, 3), (0, 1, 1), (1, 1, 6)]  # the scored model's code 0 is "positive"
    first, second = evaluated(4, 9, confusion=cells), evaluated(8, 9, confusion=cells)
    saved = CheckpointSaved(step=8, path="checkpoints/step_000008", seconds=0.1, best=True)
    ended = TrainingEnded(reason="completed", step=8, best_step=8)
    settings = story.config(metric="recall")
    for results, recall in (([records.results("test", "tuned", plain)], 3 / 4), ([], 1.0)):
        kept = describe_kept(begun(first, second, saved, ended, *results), settings)
        assert kept is not None
        assert (kept["step"], kept["metric"]) == (8, "recall")
        assert kept["value"] == pytest.approx(recall)
        assert kept["loss"] == 0.5
