"""Each pitfall: a history that shows it, and one like it that does not."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Callable, Iterable
from dataclasses import replace as replace_config
from pathlib import Path
from typing import Any

import msgspec
import pytest
import records
import story
from ftev.core.config.config import ModelConfig, RunConfig
from ftev.core.judgement.findings import LOOKS, PITFALLS, Finding, find
from ftev.core.judgement.findings.scores import right_by_chance
from ftev.core.judgement.verdict import judge
from ftev.core.metrics.statistics import wilson
from ftev.core.run.events import (
    AnyEvent,
    ColumnsFound,
    ComparisonsComputed,
    Evaluated,
    LabelsFixed,
    LeakageFound,
    ModelLoaded,
    ModelsCompared,
    RunStarted,
    SplitPrepared,
    TextScored,
    TrainingEnded,
)
from ftev.core.run.history import fold
from msgspec.structs import replace

STARTED = RunStarted(run="r", name="r", task="classification", pid=1, host="h", ftev_version="0")
WRITES = replace(STARTED, task="generation")
LABELS = LabelsFixed(labels=story.LABELS, positive="positive")
ACCURACY = story.config(metric="accuracy")
ENDED = TrainingEnded(reason="completed", step=100, best_step=100)


def found(events: Iterable[AnyEvent], code: str, config: RunConfig | None = None) -> Finding | None:
    codes = [f for f in find(fold(events), config) if f.code == code]
    return codes[0] if codes else None


def shown(events: Iterable[AnyEvent], code: str, config: RunConfig | None = None) -> Finding:
    finding = found(events, code, config)
    assert finding is not None, code
    assert finding.message
    assert finding.evidence
    assert finding.remedy or finding.severity == "info", f"{code} has no remedy"
    return finding


def scored(result: dict[str, Any], split: str = "test", **others: dict[str, Any]) -> list[AnyEvent]:
    models = {**others, "tuned": result}
    return [records.results(split, m, r) for m, r in models.items()]


def analysed(name: str, result: dict[str, Any], split: str = "test", model: str = "") -> AnyEvent:
    return records.analysis(name, result, split, model)


# Scores


FRAUD = story.result((990, 12), rows=(1000, 100))  # accuracy 91.1 %; a constant has 90.9 %


def test_C7_F_the_accuracy_paradox_takes_an_accuracy_that_a_constant_has_not() -> None:
    finding = shown([STARTED, LABELS, *scored(FRAUD)], "accuracy_paradox")
    assert 'only 12.0 % of the rows that are "positive" are found (12 of 100)' in finding.message
    assert finding.message.endswith("the accuracy comes from the larger label")
    assert finding.evidence["found"] == 12
    even = [STARTED, LABELS, *scored(story.result((88, 92)))]
    assert found(even, "accuracy_paradox") is None
    below = [STARTED, LABELS, *scored(story.result((970, 12), rows=(1000, 100)))]
    assert found(below, "accuracy_paradox") is None
    missed = shown(below, "label_missed")
    assert missed.severity == "error"
    assert "larger label" not in missed.message
    assert 'always answering "negative" has 90.9 %' in missed.message
    assert found([STARTED, LABELS, *scored(FRAUD)], "label_missed") is None


def test_a_label_of_few_rows_is_not_shown_to_be_missed() -> None:
    few = [STARTED, LABELS, *scored(story.result((297, 1), rows=(297, 3)))]
    assert found(few, "accuracy_paradox") is None  # 1 of 3: the interval reaches 79 %


def test_C7_the_label_that_fails_need_not_be_the_positive_one() -> None:
    result = story.result((12, 990), rows=(100, 1000))
    assert shown([STARTED, *scored(result)], "accuracy_paradox").evidence["label"] == "negative"


def test_a_threshold_in_use_can_find_what_one_half_misses() -> None:
    fraud = [STARTED, LABELS, *scored(FRAUD)]
    recall = {"value": 0.9, "low": 0.8, "high": 0.95}
    chosen = {
        "positive": "positive",
        "in_use": True,
        "at_threshold": {"threshold": 0.1, "metrics": {"recall": recall}},
    }
    assert not found([*fraud, analysed("thresholds", chosen, model="tuned")], "accuracy_paradox")
    unused = {**chosen, "in_use": False}
    assert found([*fraud, analysed("thresholds", unused, model="tuned")], "accuracy_paradox")


def test_F_labels_that_look_swapped() -> None:
    finding = shown([STARTED, LABELS, *scored(story.result((12, 8)))], "labels_swapped")
    assert finding.severity == "error"
    assert "right on 20 of 200 rows of test" in finding.message
    assert "would be on 100: below chance" in finding.message
    assert '"positive" is answered "negative" 92 times' in finding.message
    chance = [STARTED, LABELS, *scored(story.result((45, 45), rows=(150, 50)))]
    shuffled = [STARTED, LABELS, *scored(story.result((70, 65), rows=(150, 150)))]  # 45.0 %, p 0.1
    good = [STARTED, LABELS, *scored(story.result((88, 92)))]
    few = [STARTED, LABELS, *scored(story.result((0, 0), rows=(2, 2)))]  # 4 rows show nothing
    for events in (chance, shuffled, good, few):
        assert found(events, "labels_swapped") is None


def test_chance_is_what_a_permutation_gives() -> None:
    import random

    truth, answers = [0] * 30 + [1] * 15 + [2] * 5, [0] * 20 + [1] * 20 + [2] * 10
    counts = [[0] * 3 for _ in range(3)]
    rng, right = random.Random(0), []
    for _ in range(4000):
        rng.shuffle(answers)
        right.append(sum(t == a for t, a in zip(truth, answers, strict=True)))
    for t, a in zip(truth, answers, strict=True):
        counts[t][a] += 1
    mean, error = right_by_chance(counts)
    assert mean == pytest.approx(statistics.fmean(right), rel=0.01)
    assert error == pytest.approx(statistics.pstdev(right), rel=0.04)


def test_F_every_label_that_is_never_predicted_is_named() -> None:
    result = story.result((5, 0), rows=(5, 4))
    result["confusion"] = {
        "labels": ["a", "b", "c", "d"],
        "counts": [[5, 0, 0, 0], [4, 0, 0, 0], [0, 0, 3, 0], [1, 0, 0, 0]],
    }
    finding = shown([STARTED, *scored(result)], "labels_never_predicted")
    assert 'never predicts 2 labels that test has: "b" (4 rows), "d" (1 row)' in finding.message
    assert finding.severity == "warning"
    result["confusion"]["counts"][1] = [3, 1, 0, 0]
    assert shown([STARTED, *scored(result)], "labels_never_predicted").severity == "info"
    result["confusion"]["counts"][3] = [0, 0, 0, 0]  # no row has it
    assert found([STARTED, *scored(result)], "labels_never_predicted") is None


def test_V5_rows_without_a_prediction_are_an_error() -> None:
    result = story.result((88, 92)) | {"no_prediction": [3, 5]}
    finding = shown([STARTED, *scored(result)], "no_prediction")
    assert finding.severity == "error"
    assert "no prediction for 2 of 200 rows of test" in finding.message
    assert finding.rows == [("test", 3), ("test", 5)]
    broken = records.results("validation", "tuned", result)
    elsewhere = shown([STARTED, *scored(story.result((88, 92))), broken], "no_prediction")
    assert elsewhere.rows == [("validation", 3), ("validation", 5)]
    assert found([STARTED, *scored(story.result((88, 92)))], "no_prediction") is None


def test_F_a_probe_that_beats_the_tuned_model() -> None:
    events = [STARTED, LABELS, *scored(story.result((70, 70)), probe=story.result((90, 90)))]
    config = story.config(metric="accuracy")
    steps = trained(falling)
    finding = shown(
        [*events, *steps, compared("accuracy", -0.2, 0.06, "probe")], "probe_beats_tuned", config
    )
    assert finding.severity == "error"
    allowed = story.config(metric="accuracy", no_worse_by=0.3)
    worse = compared("accuracy", -0.2, 0.06, "probe")
    assert shown([*events, *steps, worse], "probe_beats_tuned", allowed).severity == "warning"
    assert "accuracy 90.0 % against 70.0 % (-20.0 points, paired 95 %: -26.0" in finding.message
    assert finding.remedy.startswith("Raise train.learning_rate (it was 0.001 at its peak) or")
    unsure = {**story.comparison("accuracy", -0.2, 0.06), "p": 0.06}
    better = story.comparison("accuracy", 0.2, 0.06)
    wide = story.comparison("accuracy", -0.05, 0.06)
    for c in (unsure, better, wide):
        lines = [*events, records.comparisons([c])]
        assert found(lines, "probe_beats_tuned", config) is None


def test_V13_a_probe_that_finds_more_at_a_threshold_of_its_own_is_no_better_by_that() -> None:
    events = [STARTED, LABELS, *scored(story.result((70, 70)), probe=story.result((90, 90)))]
    events.append(compared("recall", -0.2, 0.06, "probe"))
    assert found(events, "probe_beats_tuned", story.config(recall_at_least=0.5)) is None
    assert found(events, "probe_beats_tuned", story.config(metric="recall")) is not None


# Remedies


LORA = RunConfig(task="classification", model=ModelConfig(base="tiny", adapter="lora"))
EVAL = RunConfig(task="classification", model=ModelConfig(base="tiny", tuned="other"))


def test_no_adapter_is_advised_to_a_run_that_has_one() -> None:
    config = replace_config(LORA, task="generation")
    shown_by = analysed("forgetting", {"low": 0.3, "high": 0.7, "windows": 16}, "general_text")
    events = [*neutral(-2.0, -2.5), shown_by]
    assert "adapter" not in shown(events, "forgetting", config).remedy
    full = replace_config(config, model=ModelConfig(base="tiny"))
    assert "adapter" in shown(events, "forgetting", full).remedy
    given = replace_config(config, model=ModelConfig(base="tiny", tuned="other"))
    assert "train" not in shown(events, "forgetting", given).remedy


def test_more_rows_are_not_asked_of_a_head_that_has_barely_trained() -> None:
    fraud = [STARTED, LABELS, *scored(FRAUD)]
    few = shown([*fraud, *trained(falling, 10)], "accuracy_paradox").remedy
    assert "more rows" not in few
    assert "raise train.learning_rate (it was 0.001 at its peak) or train.epochs first" in few
    assert "more rows of train" in shown([*fraud, *trained(falling)], "accuracy_paradox").remedy
    level = shown([*fraud, *trained(lambda i: 0.693 + noise(i))], "accuracy_paradox").remedy
    assert "more rows" not in level


def test_a_diverged_run_is_told_to_slow_down_and_an_evaluation_nothing_of_training() -> None:
    fraud = [STARTED, LABELS, *scored(FRAUD)]
    gone = shown([*fraud, *trained(lambda i: 0.7 if i < 40 else 3.0 + i)], "accuracy_paradox")
    assert "lower train.learning_rate" in gone.remedy
    assert "epochs" not in gone.remedy
    given = shown(fraud, "accuracy_paradox", EVAL)
    assert "train" not in given.remedy.replace("trained", "")


def test_accuracy_is_the_wrong_metric_where_one_label_rules() -> None:
    uneven = [STARTED, LABELS, *scored(story.result((780, 60), rows=(800, 200)))]
    finding = shown(uneven, "wrong_metric", story.config(metric="accuracy"))
    assert 'always answering "negative" has 80.0 % of test' in finding.message
    assert found(uneven, "wrong_metric", story.config(metric="macro_f1")) is None
    even = [STARTED, LABELS, *scored(story.result((88, 92)))]
    assert found(even, "wrong_metric", story.config(metric="accuracy")) is None
    before = [STARTED, SplitPrepared(split="train", rows=10, columns=2, labels={"a": 9, "b": 1})]
    assert (
        "90.0 % of train" in shown(before, "wrong_metric", story.config(metric="accuracy")).message
    )


def test_a_metric_of_two_labels_is_wrong_for_many() -> None:
    many = [STARTED, LabelsFixed(labels=["a", "b", "c"])]
    finding = shown(many, "wrong_metric", story.config(metric="recall"))
    assert "has 3 labels: it is not computed" in finding.message
    assert "macro_recall" in finding.remedy
    assert found([STARTED, LABELS], "wrong_metric", story.config(metric="recall")) is None


def test_a_metric_of_the_other_task_is_wrong() -> None:
    assert shown([STARTED], "wrong_metric", story.config(metric="bleu")).severity == "error"
    assert found([STARTED], "wrong_metric", story.config(metric="loss")) is None
    assert found([WRITES], "wrong_metric", story.config(metric="bleu")) is None


DIFFERENT = ModelsCompared(
    same_vocabulary=False,
    same_template=True,
    base_tokens=512,
    tuned_tokens=600,
    differing=88,
    examples=["tea"],
)
SAME = ModelsCompared(same_vocabulary=True, same_template=True, base_tokens=512, tuned_tokens=512)


def test_K4_figures_per_token_are_wrong_across_tokenizers() -> None:
    config = story.config(metric="perplexity")
    assert "bits_per_byte" in shown([WRITES, DIFFERENT], "wrong_metric", config).remedy
    assert found([WRITES, SAME], "wrong_metric", config) is None
    by_byte = story.config(metric="bits_per_byte")
    assert found([WRITES, DIFFERENT], "wrong_metric", by_byte) is None


def test_a_target_that_the_reference_meets_is_told() -> None:
    events = [STARTED, *scored(story.result((95, 95)), probe=story.result((90, 90)))]
    finding = shown(events, "target_already_met", story.config(metric="accuracy", at_least=0.8))
    assert "the linear probe already meets the target on test" in finding.message
    higher = story.config(metric="accuracy", at_least=0.88)
    assert found(events, "target_already_met", higher) is None
    low = story.config(metric="loss", at_most=1.0)
    base = {"n": 50, "loss": 0.9, "metrics": {"loss": story.estimate(0.9, 0.85, 0.95)}}
    events = [WRITES, *scored(base, base=base)]
    assert "the base already meets" in shown(events, "target_already_met", low).message
    assert found(events, "target_already_met", story.config(metric="loss", at_most=0.9)) is None


# Evidence


def compared(metric: str, difference: float, half: float, before: str) -> AnyEvent:
    return records.comparisons([story.comparison(metric, difference, half, before)])


def test_S7_a_test_set_too_small_for_the_claim() -> None:
    events = [
        STARTED,
        *scored(story.result((88, 92)), probe=story.result((86, 90))),
        compared("accuracy", 0.02, 0.05, "probe"),
    ]
    claim = story.config(metric="accuracy", at_least=0.91)  # the probe has 88 %: 3 points more
    finding = shown(events, "test_too_small", claim)
    assert "differences in accuracy below 6.0 points cannot be shown reliably" in finding.message
    assert finding.severity == "warning"
    assert "the target asks for 3.0 points more than the linear probe has" in finding.message
    assert "about 800 for this target" in finding.remedy  # 200 × (6 ÷ 3)²
    plain = [*events[:-1], compared("accuracy", 0.2, 0.05, "probe")]
    assert found(plain, "test_too_small", claim) is None


def test_D2_the_rows_are_those_that_the_verdict_rests_on() -> None:
    every, few = story.result((440, 460), rows=(500, 500)), story.result((20, 19), rows=(22, 22))
    plain = compared("accuracy", 0.2, 0.02, "probe")
    whole = [STARTED, *scored(every, probe=every), plain]
    assert found(whole, "test_too_small", ACCURACY) is None
    assert isinstance(plain, ComparisonsComputed)
    clean = [msgspec.structs.replace(c, split="test_clean") for c in plain.comparisons]
    leaked = [*scored(few, "test_clean", probe=few), records.comparisons(clean)]
    finding = shown([*whole, *leaked], "test_too_small", ACCURACY)
    assert finding.message.startswith("test has 44 rows that repeat nothing of an earlier split:")
    assert finding.evidence["rows"] == 44


def test_S2b_few_rows_that_can_never_show_anything_are_named_so() -> None:
    def of(rows: int, p: float, least: float | None, **more: Any) -> Finding | None:
        c = story.comparison("accuracy", 1.0, 0.0) | {"p": p, "smallest_detectable": least}
        result = story.result((rows - rows // 2, rows // 2), rows=(rows - rows // 2, rows // 2))
        events = [STARTED, *scored(result | more, probe=result)]
        return found([*events, records.comparisons([c])], "test_too_small", ACCURACY)

    five = of(5, 0.0625, None)  # 0 broke, 5 fixed: the interval is [+100, +100]
    assert five is not None
    assert "5 rows: no difference between two models can be shown on so few" in five.message
    assert five.severity == "warning"
    assert five.evidence["smallest_detectable"] is None
    shown_on_60 = of(60, 0.0004, 0.2)
    assert shown_on_60 is not None
    assert "below 20.0 points cannot be shown reliably" in shown_on_60.message
    assert shown_on_60.severity == "info"  # a larger one was shown
    clustered = of(40, 0.0625, 0.2, clusters=5)
    assert clustered is not None
    assert "no difference between two models can be shown" in clustered.message
    assert of(400, 0.0004, 0.02) is None
    assert of(400, 1.0, None) is None  # two models that agree on every row are not too few rows


def test_T3_a_test_split_read_before_is_told() -> None:
    read = analysed("test_readings", {"runs": 7, "other_configs": 5, "ids": ["a"], "more": False})
    finding = shown([STARTED, read], "test_read_before")
    assert "has been scored by 7 earlier runs, 5 of them with other settings" in finding.message
    assert "makes its figure optimistic" in finding.message
    assert finding.severity == "warning"
    again = analysed("test_readings", {"runs": 1, "other_configs": 0, "ids": [], "more": False})
    assert shown([STARTED, again], "test_read_before").severity == "info"
    never = analysed("test_readings", {"runs": 0, "other_configs": 0})
    assert found([STARTED, never], "test_read_before") is None


def test_no_test_set() -> None:
    result = story.result((88, 92))
    events = [STARTED, *scored(result, split="validation")]
    assert found(events, "no_test_set") is not None
    assert found([*events, *scored(result)], "no_test_set") is None


def test_B1_probabilities_that_are_off() -> None:
    def calibration(ece: float, p: float) -> AnyEvent:
        values = {
            "n": 200,
            "ece": {"value": ece},
            "ece_null": {"value": 0.04, "p": p},
            "temperature": {"value": 1.8, "ece": {"before": ece, "after": 0.05}},
        }
        return analysed("calibration", values, model="tuned")

    results = [STARTED, *scored(story.result((88, 92)))]
    finding = shown([*results, calibration(0.15, 0.0001)], "poorly_calibrated")
    assert "off by 15.0 % on average" in finding.message
    assert "would show 4.0 % on 200 rows" in finding.message
    assert "over-confident: a temperature of 1.80" in finding.message
    assert found([*results, calibration(0.045, 0.3)], "poorly_calibrated") is None
    assert found(results, "poorly_calibrated") is None


# Data


def test_D2_leakage_tells_the_score_on_clean_rows() -> None:
    leak = LeakageFound(
        exact=40, near=0, ngram=0, leaked={"test": 40}, pairs=[("train", 3, "test", 7, "exact", 1)]
    )
    events = [STARTED, leak, *scored(story.result((88, 92)))]
    assert "clean" not in shown(events, "leakage").message
    events += scored(story.result((60, 60)), split="test_clean")
    finding = shown(events, "leakage")
    assert "Macro F1 on all 200 rows of test is 90.0 % [85.0, 95.0]" in finding.message
    assert "on the 200 clean ones, it is 60.0 % [55.0, 65.0]" in finding.message
    assert finding.evidence["clean_rows"] == pytest.approx(0.6)
    assert finding.rows == [("test", 7)]
    assert found([STARTED, LeakageFound(exact=0, near=0, ngram=0)], "leakage") is None


def test_F_leakage_that_leaves_nothing_to_judge_by_is_an_error() -> None:
    test = SplitPrepared(split="test", rows=200, columns=2)
    for layer in ({"exact": 200}, {"near": 200}, {"ngram": 200}):
        counts = {"exact": 0, "near": 0, "ngram": 0} | layer
        leak = LeakageFound(**counts, leaked={"test": 200})
        assert shown([STARTED, test, leak], "leakage").severity == "error"
        judged = [STARTED, test, leak, *scored(story.result((88, 92)))]
        assert shown(judged, "leakage").severity == "error"
    some = LeakageFound(exact=40, near=0, ngram=0, leaked={"test": 40})
    clean = scored(story.result((70, 75), rows=(80, 80)), split="test_clean")
    assert shown([STARTED, test, some], "leakage").severity == "warning"
    judged = [STARTED, test, some, *scored(story.result((88, 92))), *clean]
    assert shown(judged, "leakage").severity == "warning"


def test_F_documents_that_repeat_in_part_count_by_that_part() -> None:
    """Their windows are many and the documents few: 1 of 500 would look like no leakage."""
    test = SplitPrepared(split="test", rows=500, columns=2)
    leak = LeakageFound(exact=1, near=0, ngram=0, leaked={"test": 1}, shares={"test": 0.5})
    events = [WRITES, test, leak, *scored({"n": 500, "metrics": {}})]
    assert shown(events, "leakage").severity == "error"
    events[2] = replace(leak, shares={"test": 0.001})
    assert shown(events, "leakage").severity == "warning"


def test_F_a_group_in_two_splits() -> None:
    test = SplitPrepared(split="test", rows=200, columns=2)
    leak = LeakageFound(
        exact=0, near=0, ngram=0, groups={"test": 3}, group_rows={"test": 60}, leaked={"test": 60}
    )
    finding = shown([STARTED, test, leak], "group_in_two_splits")
    assert "3 groups of test stand in an earlier split too, with 60 test rows" in finding.message
    assert finding.severity == "warning"
    every = replace(leak, group_rows={"test": 200}, leaked={"test": 200})
    assert shown([STARTED, test, every], "group_in_two_splits").severity == "error"
    none = LeakageFound(exact=0, near=0, ngram=0)
    assert found([STARTED, test, none], "group_in_two_splits") is None
    assert found([STARTED, test, leak], "leakage") is None, "no row repeats another"


def test_F_the_same_rows_in_two_splits() -> None:
    leak = LeakageFound(exact=9, near=0, ngram=0, same=[("train", "test")])
    test = SplitPrepared(split="test", rows=9, columns=2, source="a.csv")
    assert shown([STARTED, test, leak], "same_rows").severity == "error"
    other = replace(leak, same=[("train", "validation")])
    assert shown([STARTED, test, other], "same_rows").severity == "warning"
    assert found([STARTED, test, replace(leak, same=[])], "same_rows") is None


DRAWS = {
    "before": "train",
    "labels": {"p": 1e-4, "label": "a", "share_before": 0.5, "share": 0.3, "shown": True},
    "lengths": {"p": 1e-4, "median_before": 40.0, "median": 90.0, "shown": True},
    "wording": {"p": 1e-4, "auc": 0.9, "low": 0.85, "high": 0.95, "shown": True},
}


def test_F_train_and_test_drawn_differently() -> None:
    test = SplitPrepared(split="test", rows=200, columns=2)
    message = shown([STARTED, test, analysed("draws", DRAWS)], "drawn_differently").message
    assert '"a" is the label of 30.0 % of test and of 50.0 % of train' in message
    assert "longer than 90 characters, and half of those of train longer than 40" in message
    assert "AUC 0.90, 95 %: 0.85 to 0.95; 0.5 is chance" in message
    alike = {k: {**v, "shown": False} for k, v in DRAWS.items() if isinstance(v, dict)}
    assert not found([STARTED, test, analysed("draws", alike)], "drawn_differently")
    assert not found([STARTED, test], "drawn_differently")


def test_F_spellings_of_one_label() -> None:
    """28 of 48 rows are right as they are, and 43 with upper and lower case as one."""
    names = ["NO", "YES", "no", "yes"]
    counts = [[2, 0, 6, 1], [0, 3, 1, 5], [3, 0, 11, 1], [0, 1, 2, 12]]
    rows = dict(zip(names, map(sum, counts), strict=True))
    test = SplitPrepared(split="test", rows=48, columns=2, labels=rows)
    result = {"n": 48, "metrics": {}, "confusion": {"labels": names, "counts": counts}}
    events = [STARTED, LabelsFixed(labels=names), test]
    finding = shown(events, "label_variants")
    assert '"NO" (9 rows) and "no" (15 rows); "YES" (9 rows) and "yes" (15 rows)' in finding.message
    assert finding.severity == "error"
    message = shown([*events, *scored(result)], "label_variants").message
    assert "Of 48 test rows 28 are right (58.3 %); with spellings taken as one, 43 are" in message
    for same in (["1", "1.0"], ["a b", "a  b"], ["\ufb01ne", "FINE"]):
        assert found([STARTED, LabelsFixed(labels=same)], "label_variants")
    for other in (["1", "1.5", "10"], ["a", "b"], ["good", "very good"], ["v1.0", "v1"]):
        assert not found([STARTED, LabelsFixed(labels=other)], "label_variants")


def test_F_what_nothing_reads() -> None:
    columns = ColumnsFound(form="text_label", columns={"text": "t"}, unread=["id"])
    assert shown([STARTED, columns], "unread_columns").severity == "info"
    assert not found([STARTED, replace(columns, unread=[])], "unread_columns")


def test_copies_within_the_test_rows_are_told() -> None:
    test = SplitPrepared(split="test", rows=1115, columns=2, distinct_rows=1033)
    pairs = [("test", 3, "test", 7, "exact", 1.0), ("train", 3, "test", 8, "exact", 1.0)]
    leak = LeakageFound(exact=1, near=0, ngram=0, pairs=pairs)
    finding = shown([STARTED, test, leak], "repeated_test_rows")
    assert "82 of 1,115 test rows repeat an earlier one of test (1,033 distinct" in finding.message
    assert "1,033 distinct inputs" in finding.message
    assert finding.rows == [("test", 7)]
    few = replace(test, distinct_rows=1093)  # 22 copies: less than 2 %
    unknown = replace(test, distinct_rows=0)
    train = replace(test, split="train")
    for other in (few, unknown, train):
        assert found([STARTED, other, leak], "repeated_test_rows") is None


def test_D1_contradicting_labels_are_told_with_their_rows() -> None:
    leak = LeakageFound(
        exact=0,
        near=0,
        ngram=0,
        conflicting_labels=2,
        conflicts=[("train", 3, "test", 7), ("train", 1, "train", 2)],
    )
    finding = shown([STARTED, leak], "conflicting_labels")
    assert "2 rows repeat an input that has another label before" in finding.message
    text = "for instance test row 7 (counted from 0) and train row 3 (counted from 0); 1 of these"
    assert f"{text} pairs cross splits" in finding.message
    splits = [
        SplitPrepared(split=name, rows=9, columns=2, source=f"{name}.csv", line_offset=2)
        for name in ("train", "test")
    ]
    placed = shown([STARTED, *splits, leak], "conflicting_labels").message
    assert "for instance line 9 of test.csv and line 5 of train.csv; 1 of" in placed
    assert finding.rows == [("train", 3), ("test", 7), ("train", 1), ("train", 2)]
    assert found([STARTED, replace(leak, conflicting_labels=0)], "conflicting_labels") is None


def test_small_classes_are_told_before_and_after() -> None:
    few = SplitPrepared(split="test", rows=103, columns=2, labels={"negative": 100, "positive": 3})
    assert '"positive" (3)' in shown([STARTED, LABELS, few], "small_classes").message
    none = replace(few, labels={"negative": 100})
    assert '"positive" (0)' in shown([STARTED, LABELS, none], "small_classes").message
    even = replace(few, labels={"negative": 100, "positive": 100})
    assert found([STARTED, LABELS, even], "small_classes") is None


def test_V12_suspect_labels_are_told_graver_the_more_there_are() -> None:
    values = {
        "n": 200,
        "suspected": 36,
        "share": 0.19,
        "low": 0.12,
        "high": 0.26,
        "model": "probe",
        "estimated": 38.0,
        "cells": [{"label": "a", "suggested": "b", "rows": 25}],
        "rows": [{"row_id": 9}],
    }
    finding = shown([STARTED, analysed("label_errors", values)], "label_errors")
    assert "about 19.0 % of the labels in test are probably wrong" in finding.message
    assert "(95 %: 12.0 % to 26.0 %)" in finding.message
    assert "36 of 200 rows are suspect" in finding.message
    assert 'most often "a" that looks like "b" (25)' in finding.message
    assert finding.severity == "warning"
    assert finding.rows == [("test", 9)]
    few = analysed("label_errors", {**values, "share": 0.03, "low": 0.01})
    assert shown([STARTED, few], "label_errors").severity == "info"
    assert not found(
        [STARTED, analysed("label_errors", {**values, "suspected": 0})], "label_errors"
    )
    older = {name: value for name, value in values.items() if name != "share"}
    assert not found([STARTED, analysed("label_errors", older)], "label_errors")


def test_V12_a_diverged_model_gives_no_hint_of_labels() -> None:
    values = {"n": 200, "suspected": 36, "share": 0.2, "low": 0.1, "high": 0.3}
    gone = trained(lambda i: 0.7 if i < 40 else 3.0 + i)
    by_tuned = analysed("label_errors", {**values, "model": "tuned"})
    by_probe = analysed("label_errors", {**values, "model": "probe"})
    assert found([STARTED, *gone, by_tuned], "label_errors") is None
    assert found([STARTED, *gone, by_probe], "label_errors") is not None


# Training


def trained(loss: Callable[[int], float], steps: int = 100) -> list[AnyEvent]:
    """Steps 1 to `steps` in epochs of 25, with the loss of each."""
    return [
        replace(story.step(i + 1, loss(i)), epoch=(i + 1) / 25, learning_rate=1e-3)
        for i in range(steps)
    ]


def noise(i: int) -> float:
    """Between -0.02 and 0.02, the same always."""
    return 0.02 * math.sin(i * 12.9898)


def validated(*losses: float, error: float = 0.005) -> list[AnyEvent]:
    """An evaluation of 100 rows after each epoch, from step 0 on; `error` of each change (V10)."""
    return [
        Evaluated(
            split="validation",
            model="tuned",
            step=25 * i,
            epoch=float(i),
            rows=100,
            loss_sum=loss * 100,
            loss_count=100,
            correct=50,
            count=100,
            changes=[(25 * j, loss - earlier, error) for j, earlier in enumerate(losses[:i])]
            if error
            else [],
        )
        for i, loss in enumerate(losses)
    ]


def with_epochs(events: list[AnyEvent]) -> list[AnyEvent]:
    from ftev.core.run.events import EpochDone

    ends = [EpochDone(epoch=i, step=25 * i, seconds=1.0) for i in (1, 2, 3, 4)]
    return [STARTED, *events, *ends, ENDED]


def falling(i: int) -> float:
    return 0.7 * math.exp(-i / 30) + noise(i)


def test_overfitting_and_the_checkpoint_that_was_kept() -> None:
    events = [*trained(falling), *validated(0.7, 0.4, 0.35, 0.5, 0.8)]
    finding = shown(with_epochs(events), "overfitting")
    text = "since epoch 3: validation loss rose from 0.350 (epoch 2, step 50) to 0.800"
    assert text in finding.message
    assert "the checkpoint of step 100 was kept" in finding.message
    assert finding.severity == "warning"
    kept = [e for e in with_epochs(events) if e is not ENDED] + [replace(ENDED, best_step=50)]
    assert shown(kept, "overfitting").severity == "info"
    level = [*trained(falling), *validated(0.7, 0.4, 0.35, 0.352, 0.351)]
    assert found(with_epochs(level), "overfitting") is None
    unknown = [*trained(falling), *validated(0.7, 0.4, 0.35, 0.5, 0.8, error=0)]
    assert found(with_epochs(unknown), "overfitting") is None  # an older run: nobody knows
    noisy = [*trained(falling), *validated(0.7, 0.4, 0.35, 0.5, 0.8, error=0.3)]
    assert found(with_epochs(noisy), "overfitting") is None


def test_F_overfitting_is_measured_from_the_best_evaluation() -> None:
    """The training loss that must have fallen is that since the best one, not since step 0."""

    def halts(i: int) -> float:  # falls by step 50, level from there on
        return falling(min(i, 50)) + noise(i)

    events = [*trained(halts), *validated(0.7, 0.4, 0.35, 0.5, 0.8)]
    assert found(with_epochs(events), "overfitting") is None
    above_start = [*trained(falling), *validated(0.7, 0.4, 0.35, 0.5, 0.6)]
    assert shown(with_epochs(above_start), "overfitting").evidence["rise"] == pytest.approx(0.25)


def test_the_lowest_of_many_evaluations_needs_a_larger_rise() -> None:
    """2.5 standard errors are beyond noise between two, and chance for the lowest of five."""
    events = [*trained(falling), *validated(0.7, 0.4, 0.35, 0.36, 0.3625)]
    assert found(with_epochs(events), "overfitting") is None
    clear = [*trained(falling), *validated(0.7, 0.4, 0.35, 0.36, 0.3675)]
    assert found(with_epochs(clear), "overfitting") is not None


def test_underfitting_near_the_loss_of_knowing_nothing() -> None:
    labels = SplitPrepared(split="train", rows=100, columns=2, labels={"a": 50, "b": 50})

    def slow(i: int) -> float:  # falls, and ends at 0.66; ln 2 is 0.693
        return 0.66 + 0.2 * math.exp(-i / 20) + noise(i) / 4

    finding = shown([labels, *with_epochs(trained(slow))], "underfitting")
    assert "has 0.693: the model has learnt little" in finding.message
    assert finding.severity == "warning"
    events = [*trained(falling), *validated(0.7, 0.4, 0.35, 0.35, 0.35)]
    assert found([labels, *with_epochs(events)], "underfitting") is None


def test_underfitting_of_a_language_model_near_random_tokens() -> None:
    model = next(e for e in story.beginning() if isinstance(e, ModelLoaded))
    beginning = [WRITES, replace(model, vocab_size=64)]

    def written(loss: Callable[[int], float]) -> list[AnyEvent]:
        return [*beginning, *(e for e in with_epochs(trained(loss)) if e is not STARTED)]

    def slow(i: int) -> float:  # falls, and ends at 4.0; ln 64 is 4.159
        return 4.0 + 1.2 * math.exp(-i / 20) + noise(i) / 4

    finding = shown(written(slow), "underfitting")
    assert "guessing tokens at random (ln V) has 4.159: the model has learnt" in finding.message
    assert found(written(lambda i: slow(i) / 2), "underfitting") is None


def test_underfitting_while_both_losses_fall() -> None:
    events = [*trained(falling), *validated(0.7, 0.5, 0.4, 0.3, 0.2)]
    finding = shown(with_epochs(events), "underfitting")
    assert "both losses were still falling when training ended" in finding.message
    assert "validation loss from 0.300 to 0.200" in finding.message
    last = [sum(falling(i) for i in range(first, first + 25)) / 25 for first in (50, 75)]
    assert finding.evidence["train_fall"] == pytest.approx(last[0] - last[1])
    assert finding.evidence["validation_fall"] == pytest.approx(0.1)
    stopped = [e for e in with_epochs(events) if e is not ENDED]
    early = [*stopped, replace(ENDED, reason="early stopping")]
    assert found(early, "underfitting") is None
    noisy = [*trained(falling), *validated(0.7, 0.5, 0.4, 0.3, 0.2, error=0.06)]
    assert found(with_epochs(noisy), "underfitting") is None


def test_a_loss_that_never_fell() -> None:
    level = with_epochs(trained(lambda i: 0.693 + noise(i)))
    finding = shown(level, "loss_never_fell")
    assert "0.001 at its peak" in finding.remedy
    assert found(with_epochs(trained(falling)), "loss_never_fell") is None


def test_a_loss_that_never_fell_among_noisy_steps() -> None:
    """Few rows a step: means differ by 10 %, and validation moves by a millionth, surely."""

    def loud(i: int) -> float:
        return 0.8 + 0.3 * math.sin(i * 12.9898) + (0.08 if i > 90 else 0)

    still = [*trained(loud), *validated(0.8, 0.8, 0.8, 0.8, 0.799998, error=1e-7)]
    assert shown(with_epochs(still), "loss_never_fell").severity == "warning"
    moved = [*trained(loud), *validated(0.8, 0.79, 0.785, 0.78, 0.775, error=1e-3)]
    assert found(with_epochs(moved), "loss_never_fell") is None
    unsure = [*trained(loud), *validated(0.8, 0.8, 0.8, 0.8, 0.799998, error=0.03)]
    assert found(with_epochs(unsure), "loss_never_fell") is None
    below = [LABELS, *scored(story.result((12, 8)))]  # by chance: the head is as it was drawn
    assert found([*with_epochs(still), *below], "labels_swapped") is None
    assert found([*with_epochs(moved), *below], "labels_swapped") is not None


def test_a_loss_that_no_longer_improves() -> None:
    events = [*trained(falling), *validated(0.7, 0.4, 0.4, 0.401, 0.399)]
    finding = shown(with_epochs(events), "loss_plateau")
    assert "validation loss is level since epoch 1 (step 25): 0.400" in finding.message
    still = [*trained(falling), *validated(0.7, 0.4, 0.38, 0.36, 0.34)]
    assert found(with_epochs(still), "loss_plateau") is None
    noisy = [*trained(falling), *validated(0.7, 0.4, 0.38, 0.36, 0.34, error=0.05)]
    assert found(with_epochs(noisy), "loss_plateau") is not None
    never = [*trained(falling), *validated(0.7, 0.7, 0.701, 0.7, 0.699)]
    assert found(with_epochs(never), "loss_plateau") is None  # nothing was gained to be kept


def test_divergence() -> None:
    def diverging(i: int) -> float:
        return falling(i) if i < 60 else 0.1 + (i - 60) / 10 + noise(i)

    finding = shown(with_epochs(trained(diverging)), "loss_diverged")
    assert "training diverged; the checkpoint of step 100 was kept" in finding.message
    assert 40 < finding.evidence["step"] <= 70
    assert found(with_epochs(trained(falling)), "loss_diverged") is None
    noisy = with_epochs(trained(lambda i: 0.5 + 8 * noise(i)))
    assert found(noisy, "loss_diverged") is None


F_LABELS = SplitPrepared(split="train", rows=100, columns=2, labels={"a": 50, "b": 50})


def test_F_divergence_has_a_floor_of_its_own() -> None:
    def tiny(i: int) -> float:  # 0.000 → 0.001
        return 0.7 * math.exp(-i / 5) if i < 60 else 0.001

    assert found([F_LABELS, *with_epochs(trained(tiny))], "loss_diverged") is None

    def huge(i: int) -> float:  # 16 → 115, with noise of its own size
        return 16 + 100 * (i / 100) + 1000 * noise(i)

    finding = shown([F_LABELS, *with_epochs(trained(huge))], "loss_diverged")
    assert finding.evidence["floor"] == pytest.approx(math.log(2))
    assert found([F_LABELS, *with_epochs(trained(huge))], "underfitting") is None
    assert found([F_LABELS, *with_epochs(trained(lambda i: 16 + i, 8))], "loss_diverged")
    few = with_epochs(trained(lambda i: 0.7 + i / 10, 8))  # too few steps to know their noise
    assert found([F_LABELS, *few], "loss_diverged") is None


def test_a_learning_rate_too_high() -> None:
    def leaps(i: int) -> float:
        return 0.7 + min(i, 20) / 20 + noise(i)

    finding = shown(with_epochs(trained(leaps)), "learning_rate_too_high")
    assert "training loss rose at once" in finding.message
    assert finding.severity == "warning"

    def recovers(i: int) -> float:
        return leaps(i) if i < 30 else 0.2 + noise(i)

    assert shown(with_epochs(trained(recovers)), "learning_rate_too_high").severity == "info"
    assert found(with_epochs(trained(falling)), "learning_rate_too_high") is None


def test_a_long_training_is_looked_at_in_bounded_time() -> None:
    import time

    def diverging(i: int) -> float:
        return falling(i // 1000) if i < 60_000 else 0.1 + (i - 60_000) / 10_000 + noise(i)

    history = fold(with_epochs(trained(diverging, 100_000)))
    started = time.process_time()
    codes = {f.code for f in find(history)}
    assert time.process_time() - started < 5.0  # a quarter of a second where nobody else works
    assert "loss_diverged" in codes


def test_steps_that_were_skipped_and_losses_that_are_no_numbers() -> None:
    events = trained(falling, 30)
    assert isinstance(events[4], type(story.step(1)))
    broken = [*events[:4], replace(events[4], loss_sum=math.inf, skipped=True), *events[5:]]
    finding = shown([STARTED, *broken], "loss_not_finite")
    assert "from step 5 on (1 step)" in finding.message
    assert finding.severity == "warning"  # the losses after it are numbers
    gone = [*events[:4], *(replace(e, loss_sum=math.nan) for e in events[4:])]  # type: ignore[type-var]
    assert shown([STARTED, *gone], "loss_not_finite").severity == "error"
    kept = [STARTED, *gone, TrainingEnded(reason="stopped", step=30, best_step=3)]
    assert shown(kept, "loss_not_finite").severity == "warning"
    assert "1 of 30 steps made no update" in shown([STARTED, *broken], "steps_skipped").message
    for code in ("loss_not_finite", "steps_skipped"):
        assert found([STARTED, *events], code) is None


# Texts


SPLIT = SplitPrepared(split="train", rows=1000, columns=2)


def test_M4_truncation_tells_rows_tokens_and_completions() -> None:
    cut = replace(
        SPLIT,
        truncated_rows=3,
        truncated_tokens=50,
        truncated_completions=2,
        examples={"truncated_rows": [4, 5, 6], "truncated_completions": [5, 6]},
    )
    finding = shown([WRITES, cut], "truncation")
    assert "3 of 1,000 train rows were truncated, 50 tokens lost, 2 completions" in finding.message
    assert finding.rows == [("train", 5), ("train", 6)]
    few = replace(cut, truncated_completions=0)
    assert found([WRITES, few], "truncation") is None  # prompts lost their beginning, in few rows


def test_L6_rows_with_nothing_to_score() -> None:
    empty = replace(SPLIT, unscored_rows=2, examples={"unscored_rows": [7, 8]})
    assert shown([WRITES, empty], "nothing_to_score").rows == [("train", 7), ("train", 8)]
    assert found([WRITES, SPLIT], "nothing_to_score") is None


def test_M1_an_end_that_is_never_scored() -> None:
    endless = replace(SPLIT, rows_without_eos=1000)
    assert shown([WRITES, endless], "end_not_scored").severity == "error"
    some = replace(SPLIT, rows_without_eos=3, examples={"rows_without_eos": [1, 2, 3]})
    finding = shown([WRITES, some], "end_not_scored")
    assert finding.severity == "warning"
    assert finding.rows == [("train", 1), ("train", 2), ("train", 3)]
    assert found([WRITES, SPLIT], "end_not_scored") is None


def test_base_and_tuned_of_different_vocabularies_and_templates() -> None:
    finding = shown([WRITES, DIFFERENT], "vocabulary_mismatch")
    assert "512 and 600 tokens, 88 of them not the same" in finding.message
    outside = replace(SAME, outside="tuned")
    assert shown([WRITES, outside], "vocabulary_mismatch").severity == "error"
    other = replace(SAME, same_template=False, differing_parts=["chat template", "end token"])
    assert "chat template, end token" in shown([WRITES, other], "template_mismatch").message
    for code in ("vocabulary_mismatch", "template_mismatch"):
        assert found([WRITES, SAME], code) is None


def answered(differences: dict[str, float], looping: tuple[float, float]) -> list[AnyEvent]:
    """Base and tuned answered: differences of metrics, each ± 0.1, and the share that loops."""
    compared = [
        {"split": "test", "from": "base", "to": "tuned", "metric": m, "difference": d}
        | {"low": d - 0.1, "high": d + 0.1, "p": 0.001}
        for m, d in differences.items()
    ]
    shares = [
        analysed(
            "completions",
            {"looping": {"value": share, "low": share - 0.05, "high": share + 0.05}},
            model=model,
        )
        for model, share in zip(("base", "tuned"), looping, strict=True)
    ]
    result = {"n": 20, "loss": 1.0, "metrics": {}}
    return [
        WRITES,
        *scored(result, base=result),
        records.comparisons(compared),
        *shares,
    ]


def test_answers_that_got_worse_while_the_loss_fell() -> None:
    # the interval of bleu ends at -0.01: not to be seen with one decimal
    differences = {"loss": -0.5, "chrf": -9.0, "exact_match": 0.05, "bleu": -0.11}
    finding = shown(answered(differences, (0.15, 0.16)), "worse_answers")
    assert (
        "answers are worse than the base's: chrF -9.0 (-9.1 to -8.9); its loss" in finding.message
    )
    assert finding.evidence == {"chrf": -9.0}
    looping = shown(answered({"loss": 0.5, "chrf": 0.0}, (0.15, 0.9)), "worse_answers")
    assert "90.0 % of the answers loop (15.0 % of the base's)" in looping.message
    assert "its loss" not in looping.message
    assert found(answered({"loss": -0.5, "chrf": 9.0}, (0.15, 0.2)), "worse_answers") is None


def endings(ended: int, rows: int, **more: Any) -> list[AnyEvent]:
    """A better loss, and so many answers that ended of those that could have."""
    low, high = wilson(ended, rows)
    share = {"count": ended, "value": ended / rows, "low": low, "high": high}
    values = {"rows": rows, "limit": 65, "mean_reference_tokens": 34.6, "ended_by_eos": share}
    costs = {"end_token": {"value": 5.46}, "other_tokens": {"value": 0.239}}
    return [
        *answered({"loss": -2.0, "chrf": 9.0}, (0.1, 0.1)),
        analysed("completions", values | {"references_over_limit": 0} | more, model="tuned"),
        analysed("endings", costs | {"answers": {"rows": rows, "ended": share}}, model="tuned"),
    ]


def test_V7_a_model_that_never_stops_is_an_error_whatever_its_loss() -> None:
    finding = shown(endings(0, 80), "never_stops")
    assert finding.severity == "error"
    assert (
        "80 of 80 answers of the tuned model on test were truncated at the limit of 65 tokens, "
        "though their references end before it; references have 34.6 tokens on average. The end "
        "token costs 5.46 nats, the other tokens 0.239" in finding.message
    )
    assert finding.evidence["end_token"] == 5.46
    assert found(endings(45, 80), "never_stops") is None
    assert found(endings(36, 80), "never_stops") is None  # 45 %: not shown to be below one half
    assert found(endings(30, 80), "never_stops") is not None
    assert found(endings(0, 3), "never_stops") is None


def test_answers_that_do_not_end_are_the_one_advice_of_worse_ones() -> None:
    """Not "lower" and "raise" the learning rate side by side."""
    worse = records.comparisons([{"split": "test", "from": "base", "to": "tuned", "metric": "chrf"}
        | {"difference": -9.0, "low": -9.1, "high": -8.9, "p": 0.001}])  # fmt: skip
    endless, ending = (
        [worse if isinstance(e, ComparisonsComputed) else e for e in endings(n, 80)]
        for n in (0, 80)
    )
    remedy = shown(endless, "worse_answers").remedy
    assert remedy.endswith("the answers that do not end: what follows their end counts as wrong")
    assert "answers that do not end" not in shown(ending, "worse_answers").remedy


def test_V7_it_holds_what_a_better_loss_would_ship() -> None:
    config = RunConfig(task="generation", model=ModelConfig(base="tiny"))
    never, ends = (judge(fold(endings(n, 80)), config) for n in (0, 80))
    assert never.decision == "hold"
    assert "truncated at the limit of 65 tokens" in never.reasons[0]
    assert not any("truncated at the limit" in reason for reason in ends.reasons)


def test_V7_of_an_older_run_all_answers_must_have_been_able_to_end() -> None:
    *events, _ = endings(0, 80)
    assert shown(events, "never_stops").message.endswith("34.6 tokens on average")
    *events, _ = endings(0, 80, references_over_limit=1)
    assert found(events, "never_stops") is None


def test_bleu_of_short_answers_is_a_warning_where_it_decides() -> None:
    short = {"rows": 9, "answers": 9, "references": 8, "tokens": 4}
    events = [*answered({"bleu": 0.0}, (0.1, 0.1)), analysed("short_answers", short, model="tuned")]
    finding = shown(events, "bleu_of_short_answers")
    assert finding.severity == "info"
    assert "9 of 9 answers and 8 references are shorter" in finding.message
    by_bleu = story.config(metric="bleu")
    assert shown(events, "bleu_of_short_answers", by_bleu).severity == "warning"
    assert found(events[:-1], "bleu_of_short_answers") is None


def neutral(base: float, tuned: float, tokens: int = 1000) -> list[AnyEvent]:
    """Both models on a neutral text, by their mean log-likelihood a token."""
    text = TextScored(
        source="general_text",
        model="base",
        tokens=tokens,
        bytes=4000,
        log_likelihood=base * tokens,
        prefix="<s>",
        window=64,
        stride=64,
    )
    return [WRITES, text, replace(text, model="tuned", log_likelihood=tuned * tokens)]


def test_forgetting_on_neutral_text() -> None:
    interval = {"low": 0.3, "high": 0.7, "windows": 16}
    events = [*neutral(-2.0, -2.5), analysed("forgetting", interval, "general_text")]
    finding = shown(events, "forgetting")
    assert "by 0.500 nats per token (paired 95 %: +0.300 to +0.700, 16 windows)" in finding.message
    assert "bits per byte went from 0.721 to 0.902" in finding.message
    unsure = analysed("forgetting", {**interval, "low": -0.1}, "general_text")
    assert found([*neutral(-2.0, -2.5), unsure], "forgetting") is None
    assert found(neutral(-2.0, -1.9), "forgetting") is None
    assert found(neutral(-2.0, -2.5), "forgetting") is None  # one window: no interval


def test_every_look_is_silent_on_an_empty_history() -> None:
    assert find(fold([]), story.config(metric="accuracy")) == []
    assert len(LOOKS) == len(set(LOOKS)) >= 20


def test_every_finding_is_explained() -> None:
    folder = Path(__file__).parents[1] / "core" / "judgement" / "findings"
    source = "".join(p.read_text(encoding="utf-8") for p in folder.glob("*.py"))
    codes = set(re.findall(r'Finding\(\s*"(\w+)"', source))
    assert len(codes) >= 27
    # test_glossary reads the codes that an expression gives
    assert codes <= {code for code, known in PITFALLS.items() if known.meaning}
