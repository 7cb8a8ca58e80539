"""The verdict: from intervals, each reason beside its evidence, and nothing ships unproven."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
import records
import story
from ftev.core.config.config import CostConfig, DataConfig, ModelConfig, ObjectiveConfig, RunConfig
from ftev.core.judgement.findings import Finding, by_effect, find
from ftev.core.judgement.objective import (
    Answer,
    against_margin,
    against_target,
    permutation_p,
    threshold_holds,
)
from ftev.core.judgement.selection import find_comparison, read_difference
from ftev.core.judgement.verdict import Verdict, _effect, _loses_to, judge
from ftev.core.metrics.comparisons import Comparison, adjust_secondary, compare
from ftev.core.metrics.evaluate import evaluate_classification
from ftev.core.metrics.results import Estimate
from ftev.core.report.report import build_report
from ftev.core.run.events import (
    AnyEvent,
    ComparisonsComputed,
    LabelsFixed,
    ModelLoaded,
    ResultsComputed,
    RunFinished,
    RunStarted,
)
from ftev.core.run.history import fold
from ftev.core.wording.names import name_decision
from scipy.stats import fisher_exact
from statsmodels.stats.multitest import multipletests

LABELS = ("fine", "fraud")
STARTED = RunStarted(
    run="r", name="r", task="classification", pid=1, host="h", ftev_version="0.1.0"
)


def config(**objective: Any) -> RunConfig:
    return RunConfig(
        task="classification",
        name="fraud",
        model=ModelConfig(base="m"),
        data=DataConfig(train="t.csv", test="e.csv"),
        objective=ObjectiveConfig(**objective),
    )


def predicted(fine: tuple[int, int], fraud: tuple[int, int]) -> pl.DataFrame:
    """Rows of either label, (named fine, named fraud) each."""
    truth = ["fine"] * sum(fine) + ["fraud"] * sum(fraud)
    answers = [name for counts in (fine, fraud) for name, n in zip(LABELS, counts, strict=True)
               for _ in range(n)]  # fmt: skip
    return pl.DataFrame({"row_id": range(len(truth)), "label": truth, "predicted": answers})


def evaluated(before: pl.DataFrame, after: pl.DataFrame, primary: str) -> list[AnyEvent]:
    """What a worker writes down of two models' predictions."""
    events: list[AnyEvent] = [STARTED, LabelsFixed(labels=list(LABELS), positive="fraud")]
    for model, frame in (("probe", before), ("tuned", after)):
        result = evaluate_classification(frame, LABELS, "fraud")
        plain = msgspec.to_builtins(result)
        events.append(records.results("test", model, plain))
    found = compare("test", "probe", before, "tuned", after, LABELS, "fraud")
    plain = msgspec.to_builtins(adjust_secondary(found, primary))
    return [*events, records.comparisons(plain), RunFinished(status="finished")]


def test_C7_98_percent_accuracy_with_12_percent_recall_is_held(tmp_path: Path) -> None:
    before = predicted((9600, 200), (200, 0))  # 96.0 %, finds none
    after = predicted((9776, 24), (176, 24))  # 98.0 %, finds 24 of 200
    events = evaluated(before, after, "accuracy")
    tuned = fold(events).results["test"]["tuned"].metrics
    assert tuned["accuracy"].value == pytest.approx(0.98)
    assert tuned["recall"].value == pytest.approx(0.12)
    verdict = judge(fold(events), config(metric="accuracy", at_least=0.95))
    assert verdict.decision == "hold"
    assert verdict.reasons[0] == (
        'accuracy on test is 98.0 %, yet only 12.0 % of the rows that are "fraud" are found '
        "(24 of 200): the accuracy comes from the larger label"
    )
    assert verdict.evidence[0]["code"] == "accuracy_paradox"
    assert verdict.evidence[0]["recall"] == pytest.approx(0.12)
    report = build_report(
        story.write_story(tmp_path / "run", events, config(metric="accuracy", at_least=0.95))
    )
    assert report["verdict"]["decision"] == "hold"
    assert report["verdict"]["evidence"] == verdict.evidence


def test_the_same_accuracy_with_good_recall_ships() -> None:
    before = predicted((9600, 200), (200, 0))
    after = predicted((9640, 160), (20, 180))
    verdict = judge(fold(evaluated(before, after, "recall")), config(metric="recall", at_least=0.8))
    assert verdict.decision == "ship"


def test_every_reason_has_its_evidence_and_it_is_there(tmp_path: Path) -> None:
    run = story.write_story(
        tmp_path / "run", settings=story.config(metric="accuracy", at_least=0.8)
    )
    report = build_report(run)
    reasons, evidence = (report["verdict"][k] for k in ("reasons", "evidence"))
    assert len(reasons) == len(evidence) == 2
    for found in evidence:
        there = msgspec.to_builtins(report)
        for key in found["at"]:
            there = there[key]
        for name in ("low", "high", "difference", "value"):
            if name in found:
                assert there[name] == found[name]


def test_the_case_that_proves_nothing_points_at_evidence_too() -> None:
    verdict = judge(fold([STARTED]), config())
    assert (verdict.decision, len(verdict.evidence)) == ("no evidence", len(verdict.reasons))


# Thresholds


def chosen(aim: dict[str, Any], recall: tuple[float, float], **more: Any) -> AnyEvent:
    estimate = {"value": sum(recall) / 2, "low": recall[0], "high": recall[1]}
    told = {
        "positive": "fraud",
        "aim": aim,
        "in_use": True,
        "at_threshold": {"threshold": 0.07, "metrics": {"recall": estimate}},
        **more,
    }
    return records.analysis("thresholds", told, "test", "tuned")


@cache
def better_on_test() -> list[AnyEvent]:
    return evaluated(
        predicted((8000, 1800), (100, 100)), predicted((9640, 160), (20, 180)), "macro_f1"
    )


@pytest.mark.parametrize(
    ("recall", "decision", "told"),
    [
        ((0.91, 0.97), "ship", "the whole interval meets it"),
        ((0.85, 0.95), "no evidence", "the interval contains the target"),
        ((0.70, 0.80), "hold", "the whole interval misses it"),
    ],
)
def test_B2_a_recall_asked_for_is_judged_at_the_frozen_threshold(
    recall: tuple[float, float], decision: str, told: str
) -> None:
    event = chosen({"kind": "recall_at_least", "target": 0.9}, recall)
    verdict = judge(fold([*better_on_test(), event]), config())
    assert verdict.decision == decision
    reason = next(r for r in verdict.reasons if "threshold" in r)
    assert reason.startswith('at the threshold 0.07 chosen on validation, recall of "fraud"')
    assert told in reason


def test_V13_a_target_is_judged_at_the_threshold_of_the_results() -> None:
    told = []
    for event in better_on_test():
        if isinstance(event, ResultsComputed) and event.model == "tuned":
            result = msgspec.structs.replace(event.result, threshold=0.07)
            event = msgspec.structs.replace(event, result=result)
        told.append(event)
    verdict = judge(fold(told), config(metric="recall", at_least=0.5))
    [reason] = [r for r in verdict.reasons if "target" in r]
    assert (
        'recall of "fraud" on test, at the threshold 0.07 chosen on validation, is 90.0' in reason
    )


def rival(metric: str, ends: tuple[float, float], p: float = 0.001, **more: Any) -> dict[str, Any]:
    low, high = ends
    return {"rule": 'calling every row "fraud"', "metric": metric, "value": 1.014, "other": 0.786,
            "difference": (low + high) / 2, "low": low, "high": high, "p": p, **more}  # fmt: skip


@pytest.mark.parametrize(
    ("against", "decision", "word"),
    [
        ([rival("cost", (-0.5, -0.1))], "ship", "better"),
        ([rival("cost", (0.1, 0.4))], "hold", "worse"),
        ([rival("cost", (-0.1, 0.1))], "no evidence", "no difference is shown"),
        ([rival("cost", (-0.5, 0.0))], "no evidence", "no difference is shown"),
        ([rival("cost", (0.0, 0.4))], "no evidence", "no difference is shown"),
        ([rival("cost", (-0.5, -0.1), p=0.05)], "ship", "better"),
        ([rival("cost", (-0.5, -0.1), p=0.2)], "no evidence", "no difference is shown"),
        ([rival("cost", (-0.5, -0.1)), rival("cost", (0.1, 0.4))], "hold", "worse"),
        ([rival("cost", (-0.5, -0.1)), rival("cost", (0.1, 0.4), also=True)], "hold", "worse"),
        ([rival("cost", (-0.5, -0.1)), rival("cost", (-0.1, 0.1), also=True)], "ship", "better"),
        ([], "no evidence", "no other rule was measured"),
    ],
)
def test_V6_a_threshold_is_shown_cheaper_than_constant_answers_and_the_reference(
    against: list[dict[str, Any]], decision: str, word: str
) -> None:
    event = chosen({"kind": "cost", "fp": 1.0, "fn": 20.0}, (0.9, 0.95), against=against)
    settings = config(cost=CostConfig(fp=1, fn=20))
    verdict = judge(fold([*better_on_test(), event]), settings)
    assert verdict.decision == decision
    assert word in verdict.reasons[0]


def test_V6_a_rule_dearer_than_calling_every_row_positive_is_held() -> None:
    event = chosen(
        {"kind": "cost", "fp": 1.0, "fn": 20.0}, (0.9, 0.95), against=[rival("cost", (0.1, 0.4))]
    )
    verdict = judge(fold([*better_on_test(), event]), config(cost=CostConfig(fp=1, fn=20)))
    assert verdict.reasons[0] == (
        "at the threshold 0.07 chosen on validation, the tuned model costs 1.01 per row on test, "
        'calling every row "fraud" 0.786 (paired 95 %: +0.1 to +0.4): worse'
    )


def test_a_threshold_that_was_asked_for_and_not_found_is_no_evidence() -> None:
    told = {"aim": {"kind": "precision_at_least", "target": 0.99}, "in_use": False,
            "why_not": "no threshold reaches a precision of 99.0% on validation"}  # fmt: skip
    event = records.analysis("thresholds", told, "test", "tuned")
    verdict = judge(fold([*better_on_test(), event]), config())
    assert verdict.decision == "no evidence"
    assert "no threshold is in use: no threshold reaches" in verdict.reasons[0]


def test_a_threshold_nobody_asked_for_has_no_say() -> None:
    event = chosen({"kind": "f1"}, (0.1, 0.2), in_use=False)
    assert judge(fold([*better_on_test(), event]), config()) == judge(
        fold(better_on_test()), config()
    )


def test_a_threshold_measured_with_leaked_rows_proves_nothing() -> None:
    from ftev.core.run.events import LeakageFound

    event = chosen({"kind": "recall_at_least", "target": 0.9}, (0.91, 0.97))
    leak = LeakageFound(exact=40, near=0, ngram=0, leaked={"test": 40})
    clean: list[AnyEvent] = []
    for told in better_on_test():
        if isinstance(told, ResultsComputed):
            clean.append(msgspec.structs.replace(told, split="test_clean"))
        if isinstance(told, ComparisonsComputed):
            rows = [msgspec.structs.replace(c, split="test_clean") for c in told.comparisons]
            clean.append(ComparisonsComputed(comparisons=rows))
    verdict = judge(fold([*better_on_test(), leak, event, *clean]), config())
    assert verdict.decision == "no evidence"
    assert "rows of test that repeat an earlier split" in verdict.reasons[0]
    assert judge(fold([*better_on_test(), leak, *clean]), config()).decision == "ship"


@pytest.mark.parametrize(
    ("value", "target", "told"),
    [
        # the side of the target: 1,000 x (0.04 / 0.03)^2 = 1,778, and 1,000 x (0.02 / 0.01)^2
        (0.90, 0.87, "about 1,800 at this value"),
        (0.90, 0.91, "about 4,000 at this value"),
        (0.90, 0.90, "no feasible number of rows"),
        (0.90, 0.9001, "no feasible number of rows"),
    ],
)
def test_about_how_many_rows_would_decide_a_target(value: float, target: float, told: str) -> None:
    estimate = Estimate(value, value - 0.04, value + 0.02, "bootstrap")
    vote, why = against_target(estimate, 1000, target, at_least=True)
    assert vote == 0
    assert told in why


# Holm


def test_S6_the_secondary_metrics_have_holms_p() -> None:
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 2, 300)
    frames = []
    for share in (0.7, 0.8):
        answers = np.where(rng.random(300) < share, truth, 1 - truth)
        names = [[LABELS[i] for i in codes] for codes in (truth, answers)]
        frames.append(
            pl.DataFrame({"row_id": range(300), "label": names[0], "predicted": names[1]})
        )
    found = adjust_secondary(
        compare("test", "probe", frames[0], "tuned", frames[1], LABELS, "fraud"), "recall"
    )
    secondary = [c for c in found if c.metric != "recall"]
    assert len(secondary) > 5
    expected = multipletests([c.p for c in secondary], method="holm")[1]
    assert [c.p_holm for c in secondary] == pytest.approx(list(expected))
    [primary] = [c for c in found if c.metric == "recall"]
    assert primary.p_holm is None
    assert "p_holm" not in msgspec.to_builtins(primary)


@pytest.mark.parametrize("primary", ["token_accuracy", "loss", "perplexity", "bits_per_byte"])
def test_S6_functions_of_the_loss_are_one_test(primary: str) -> None:
    p = {"loss": 0.01, "perplexity": 0.01, "average_log_likelihood": 0.01}
    same = list(p)
    p |= {"token_accuracy": 0.02, "bits_per_byte": 0.03, "exact_match": 0.2}
    rows = [
        Comparison(split="test", metric=m, from_model="a", to_model="b", difference=0.1,
                   low=0.0, high=0.2, p=x, method="") for m, x in p.items()
    ]  # fmt: skip
    adjusted = {c.metric: c.p_holm for c in adjust_secondary(rows, primary)}
    tests = ["loss", "token_accuracy", "bits_per_byte", "exact_match"]
    family = [m for m in tests if m != ("loss" if primary in same else primary)]
    expected = dict(
        zip(family, multipletests([p[m] for m in family], method="holm")[1], strict=True)
    )
    for m in p:
        want = expected.get("loss" if m in same else m)
        assert adjusted[m] == (None if want is None else pytest.approx(want)), m


def test_S6_a_metric_equal_to_the_primary_is_the_primary() -> None:
    def comparison(metric: str, p: float) -> Comparison:
        return Comparison(split="test", metric=metric, from_model="a", to_model="b", difference=0.1,
                          low=0.0, high=0.2, p=p, method="")  # fmt: skip

    rows = [comparison("accuracy", 0.03), comparison("mcc", 0.02), comparison("macro_f1", 0.04)]
    adjusted = {c.metric: c.p_holm for c in adjust_secondary(rows, "micro_f1")}
    assert adjusted == {"accuracy": None, "mcc": 0.04, "macro_f1": 0.04}


# V1: better than guessing


def judged(before: pl.DataFrame, after: pl.DataFrame, **objective: Any) -> Verdict:
    metric = objective.get("metric", "macro_f1")
    return judge(fold(evaluated(before, after, metric)), config(**objective))


def test_V1_better_than_a_reference_and_not_than_guessing_is_no_evidence() -> None:
    """45.0 % of 300 rows, MCC -0.111, against a probe that answers one label."""
    before = predicted((150, 0), (150, 0))
    after = predicted((60, 90), (75, 75))
    history = fold(evaluated(before, after, "macro_f1"))
    tuned = history.results["test"]["tuned"].metrics
    assert tuned["accuracy"].value == pytest.approx(0.45)
    assert (tuned["mcc"].value, tuned["mcc"].high > 0) == (pytest.approx(-0.101, abs=0.02), 1)
    assert read_difference(find_comparison(history, "test", "macro_f1", "probe")) == "better"
    verdict = judge(history, config())
    assert verdict.decision == "no evidence"
    assert verdict.reasons[0].startswith("balanced accuracy on test is 45.0 % (95 %: ")
    assert verdict.reasons[0].endswith("guessing has 50.0 %: not shown better than guessing")
    met = judge(history, config(metric="recall", at_least=0.4))
    assert met.decision == "no evidence"


def test_V1_worse_than_guessing_is_held() -> None:
    verdict = judged(predicted((150, 0), (150, 0)), predicted((40, 110), (110, 40)))
    assert verdict.decision == "hold"
    assert any(reason.endswith("worse than guessing") for reason in verdict.reasons)


def test_V1_a_reference_that_guesses_is_named_and_beating_it_ships_nothing() -> None:
    before, after = predicted((150, 0), (150, 0)), predicted((130, 20), (20, 130))
    verdict = judged(before, after)
    assert verdict.decision == "no evidence"
    assert verdict.reasons[0].startswith("no reference on test is better than guessing")
    assert verdict.reasons[-1].startswith("balanced accuracy of the linear probe on test is 50.0 %")
    assert verdict.reasons[-1].endswith("so beating it is no reason to ship")
    assert judged(before, after, metric="macro_f1", at_least=0.8).decision == "ship"
    assert judged(after, before, metric="macro_f1").decision == "hold"


def test_V1_after_a_reference_that_guesses_comes_the_next() -> None:
    before, after = predicted((150, 0), (150, 0)), predicted((130, 20), (20, 130))
    events = evaluated(before, after, "macro_f1")
    result = msgspec.to_builtins(evaluate_classification(before, LABELS, "fraud"))
    events.insert(2, records.results("test", "majority", result))
    found = compare("test", "majority", before, "tuned", after, LABELS, "fraud")
    plain = msgspec.to_builtins(adjust_secondary(found, "macro_f1"))
    events.insert(-1, records.comparisons(plain))
    assert judge(fold(events), config()).decision == "ship"


def with_reference(
    events: list[AnyEvent], model: str, before: pl.DataFrame, after: pl.DataFrame, metric: str
) -> list[AnyEvent]:
    """The same with another reference, scored and compared."""
    result = msgspec.to_builtins(evaluate_classification(before, LABELS, "fraud"))
    found = compare("test", model, before, "tuned", after, LABELS, "fraud")
    plain = msgspec.to_builtins(adjust_secondary(found, metric))
    results = records.results("test", model, result)
    return [*events[:-1], results, records.comparisons(plain), events[-1]]


def test_V1_a_reference_not_shown_to_guess_must_be_beaten_too() -> None:
    """Of two models of one skill, chance shows one better than guessing, and the other not."""
    before, after = predicted((105, 95), (90, 110)), predicted((112, 88), (80, 120))
    other_rows = pl.concat([after[:200].reverse(), after[200:].reverse()])
    after = other_rows.with_columns(row_id=before["row_id"])
    majority = predicted((200, 0), (200, 0))
    events = with_reference(
        evaluated(before, after, "accuracy"), "majority", majority, after, "accuracy"
    )
    assert (
        read_difference(find_comparison(fold(events), "test", "accuracy", "majority")) == "better"
    )
    verdict = judge(fold(events), config(metric="accuracy"))
    assert verdict.decision == "no evidence"
    assert "against the linear probe" in verdict.reasons[0]
    assert verdict.reasons[-1].endswith(
        "it is not shown to be better than guessing, so beating it is no reason to ship"
    )


@pytest.mark.parametrize("better", ["base", "majority"])
def test_a_reference_that_was_not_asked_and_is_better_is_held(better: str) -> None:
    """A base that labels by itself stands behind the probe; so does a constant answer."""
    before, after = predicted((900, 100), (60, 40)), predicted((930, 70), (30, 70))
    other = (
        predicted((1000, 0), (100, 0)) if better == "majority" else predicted((990, 10), (5, 95))
    )
    if better == "majority":
        before, after = predicted((800, 200), (40, 60)), predicted((860, 140), (35, 65))
    else:
        other = other.with_columns(method=pl.lit("zero-shot"))
    events = evaluated(before, after, "accuracy")
    assert judge(fold(events), config(metric="accuracy")).decision == "ship"
    events = with_reference(events, better, other, after, "accuracy")
    verdict = judge(fold(events), config(metric="accuracy"))
    assert verdict.decision == "hold"
    assert f"against the {better}" in verdict.reasons[0]


def test_V5_a_reference_without_predictions_is_no_reason_to_ship() -> None:
    after = predicted((180, 20), (20, 180))
    lost = pl.when(pl.col("row_id") % 3 == 0).then(None).otherwise("predicted")
    verdict = judged(after.with_columns(predicted=lost), after)
    assert verdict.decision == "no evidence"
    assert verdict.reasons[0].startswith(
        "the linear probe has no prediction for 134 test rows: it is broken"
    )


@pytest.mark.parametrize("rows", [300, 1200])
def test_V1_rows_of_one_label_show_nothing(rows: int) -> None:
    """Whoever answers the one label is always right: that is not the 100 % of guessing."""
    before, after = (
        predicted((0, 0), (rows // 5, rows - rows // 5)),
        predicted((0, 0), (9, rows - 9)),
    )
    verdict = judged(before, after, metric="accuracy")
    assert verdict.decision == "no evidence"
    assert not any("guessing has" in reason for reason in verdict.reasons)


@pytest.mark.parametrize(
    ("base", "tuned", "decision"),
    [
        ((11.7, 11.6, 11.8), (8.1, 8.05, 8.15), "hold"),  # `worse_than_guessing` is an error
        ((11.7, 11.6, 11.8), (7.95, 7.8, 8.1), "no evidence"),
        ((11.7, 11.6, 11.8), (6.0, 5.9, 6.1), "no evidence"),
        ((7.0, 6.9, 7.1), (6.0, 5.9, 6.1), "ship"),
    ],
)
def test_V1_a_language_model_is_below_ln_V(
    base: tuple[float, float, float], tuned: tuple[float, float, float], decision: str
) -> None:
    def loss(figures: tuple[float, float, float]) -> dict[str, Any]:
        value, low, high = figures
        estimate = {"value": value, "low": low, "high": high, "method": "bootstrap"}
        return {"n": 300, "loss": value, "metrics": {"loss": estimate}}

    change = tuned[0] - base[0]
    compared = {"split": "test", "metric": "loss", "from": "base", "to": "tuned", "p": 0.0001,
                "difference": change, "low": change - 0.1, "high": change + 0.1,
                "method": ""}  # fmt: skip
    events: list[AnyEvent] = [
        msgspec.structs.replace(STARTED, task="generation"),
        ModelLoaded(name="m", architecture="A", parameters=1, trainable=1, layers=1,
                    vocab_size=2981, max_length=64),
        records.results("test", "base", loss(base)),
        records.results("test", "tuned", loss(tuned)),
        records.comparisons([compared]),
        RunFinished(status="finished"),
    ]  # fmt: skip
    terms = replace(config(), task="generation")
    verdict = judge(fold(events), terms)
    assert verdict.decision == decision
    if base[0] > 8:
        told = "it is no better than guessing, so beating it is no reason to ship"
        assert any(told in reason and "guessing has 8.000 (ln V)" in reason
                   for reason in verdict.reasons)  # fmt: skip
    met = judge(fold(events), replace(terms, objective=ObjectiveConfig(metric="loss", at_most=6.5)))
    assert met.decision == ("ship" if tuned[0] == 6.0 else "hold")


def test_V1_few_rows_are_tested_exactly() -> None:
    """Of 5 rows all right the interval may be narrow; Fisher's p is 0.2."""
    events = evaluated(predicted((3, 0), (2, 0)), predicted((3, 0), (0, 2)), "macro_f1")
    narrow = Estimate(1.0, 0.8, 1.0, "bootstrap")
    for e in events:
        if isinstance(e, ResultsComputed) and e.model == "tuned":
            e.result.metrics.update(balanced_accuracy=narrow, macro_f1=narrow)
            e.result.metrics.pop("mcc")
    verdict = judge(fold(events), config(metric="macro_f1", at_least=0.7))
    assert verdict.decision == "no evidence"
    assert verdict.reasons[0].endswith("not shown better than guessing")
    assert permutation_p([[3, 0], [0, 2]]) == pytest.approx(0.2)
    table = [[7, 2], [1, 9]]
    one_sided = fisher_exact(table, alternative="greater").pvalue
    assert permutation_p(table) == pytest.approx(2 * one_sided)
    assert permutation_p([[5, 0], [5, 0]]) == 1.0
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 60)
    answers = np.where(rng.random(60) < 0.25, truth, rng.integers(0, 4, 60))
    counts = np.zeros((4, 5), int)
    np.add.at(counts, (truth, answers), 1)

    def balanced(named: Any) -> float:
        return float(np.mean([(named[truth == k] == k).mean() for k in range(4)]))

    drawn = np.array([balanced(rng.permutation(answers)) for _ in range(10_000)])
    middle = drawn.mean()
    expected = np.mean(np.abs(drawn - middle) >= abs(balanced(answers) - middle))
    assert permutation_p(counts.tolist()) == pytest.approx(expected, abs=0.002)


# V5, V3, V8, V15


@cache
def good() -> list[AnyEvent]:
    return evaluated(predicted((120, 30), (60, 90)), predicted((140, 10), (10, 140)), "macro_f1")


def with_tuned(events: list[AnyEvent], **more: Any) -> list[AnyEvent]:
    return [
        msgspec.structs.replace(e, result=msgspec.structs.replace(e.result, **more))
        if isinstance(e, ResultsComputed) and e.model == "tuned"
        else e
        for e in events
    ]


def test_V5_a_model_with_rows_without_a_prediction_never_ships() -> None:
    assert judge(fold(good()), config()).decision == "ship"
    verdict = judge(fold(with_tuned(good(), no_prediction=[3, 17, 40])), config())
    assert verdict.decision == "hold"
    assert verdict.reasons[0].startswith("the tuned model has no prediction for 3 of 300 rows")
    assert verdict.evidence[0]["rows"] == 3
    assert sum("no prediction" in reason for reason in verdict.reasons) == 1
    verdict = judge(fold(with_tuned(good(), loss=math.nan)), config())
    assert (verdict.decision, verdict.reasons[0]) == (
        "hold", "the tuned model's loss on test is NaN: it is not finite")  # fmt: skip


def parity(**more: Any) -> AnyEvent:
    told = {"rows": 32, "passed": False, "largest_loss_drift": 0.61, "tolerance": 0.0001,
            "changed_predictions": 2, "skipped": [], **more}  # fmt: skip
    return records.analysis("parity", told, "test", "tuned")


def self_test() -> AnyEvent:
    plain = {"rows": 32, "passed": False, "largest_loss_drift": 0.61, "tolerance": 0.0001}
    return records.analysis("self_test", plain, "test", "tuned")


def test_V3_saved_weights_that_do_not_agree_never_ship() -> None:
    verdict = judge(fold([*good(), parity()]), config())
    assert verdict.decision == "hold"
    assert verdict.reasons[0] == (
        "the saved weights do not give the scores of 32 test rows: a row's loss drifts by 0.61, "
        "1.0e-04 is allowed; 2 predictions changed"
    )
    failed = {"weights": "read back from model/", "reason": "no such file", "failed": True}
    event = parity(largest_loss_drift=0.0, changed_predictions=0, skipped=[failed])
    verdict = judge(fold([*good(), event]), config())
    assert verdict.decision == "hold"
    assert verdict.reasons[0].endswith("test rows; read back from model/: no such file")
    assert judge(fold([*good(), parity(passed=True)]), config()).decision == "ship"


def test_V3_saved_weights_that_could_not_be_read_back_are_told() -> None:
    late = {"weights": "read back from model/", "reason": "it took longer than 180 s"}
    [told] = [f for f in find(fold([*good(), parity(passed=True, skipped=[late])]), config())
              if f.code == "parity_not_tested"]  # fmt: skip
    assert told.severity == "warning"
    assert told.message.endswith("not shown to give these scores: it took longer than 180 s")
    merged = late | {"weights": "adapter merged"}
    found = find(fold([*good(), parity(passed=True, skipped=[merged])]), config())
    assert "parity_not_tested" not in [f.code for f in found]


def test_V3_a_self_test_that_does_not_agree_never_ships() -> None:
    event = self_test()
    verdict = judge(fold([*good(), event]), config())
    assert verdict.decision == "hold"
    assert "scores 32 test rows differently in other batches" in verdict.reasons[0]


def test_V8_every_error_finding_is_named_and_errors_come_first() -> None:
    history = fold([*good(), parity(), self_test()])
    found = find(history, config())
    errors = [f.code for f in found if f.severity == "error"]
    assert errors == [f.code for f in found][: len(errors)] == ["deploy_parity", "self_test"]
    verdict = judge(history, config())
    assert [e.get("code") for e in verdict.evidence[:2]] == errors
    assert verdict.decision == "hold"


def test_V8_warnings_on_the_evidence_come_before_the_others() -> None:
    def finding(code: str, severity: Any) -> Finding:
        return Finding(code, severity, "")

    found = [finding("overfitting", "warning"), finding("small_classes", "info"),
             finding("no_test_set", "warning"), finding("worse_answers", "error")]  # fmt: skip
    ordered = [f.code for f in sorted(found, key=by_effect)]
    assert ordered == ["worse_answers", "no_test_set", "overfitting", "small_classes"]


def test_V15_fixed_and_broke_stand_beside_accuracy_alone() -> None:
    older = [  # runs of earlier versions have the counts beside every metric
        ComparisonsComputed(
            comparisons=[msgspec.structs.replace(c, fixed=80, broke=0) for c in e.comparisons]
        )
        if isinstance(e, ComparisonsComputed)
        else e
        for e in good()
    ]
    assert "fixed" not in " ".join(judge(fold(older), config()).reasons)
    assert ", fixed 80, broke 0" in " ".join(judge(fold(older), config(metric="accuracy")).reasons)
    assert "fixed" not in " ".join(judge(fold(good()), config()).reasons)
    [reason] = [r for r in judge(fold(good()), config(metric="accuracy")).reasons if "changes" in r]
    assert ", fixed 70, broke 0" in reason or ", fixed 7" in reason


def test_V15_a_loss_in_accuracy_is_named_where_another_metric_won() -> None:
    before = predicted((9780, 20), (160, 40))
    after = predicted((9400, 400), (20, 180))
    verdict = judged(before, after, metric="balanced_accuracy")
    assert verdict.decision == "ship"
    assert verdict.reasons[-1].startswith("accuracy on test changes by -2.4 points against")
    assert verdict.reasons[-1].endswith("worse")


def test_V13_precision_recall_and_f1_are_named_with_their_class() -> None:
    verdict = judge(fold(good()), config(metric="recall", at_least=0.5))
    assert all(r.startswith('recall of "fraud"') for r in verdict.reasons if "recall" in r)


def test_a_stopped_run_ships_nothing() -> None:
    verdict = judge(fold([*good()[:-1], RunFinished(status="stopped")]), config())
    assert verdict.decision == "no evidence"
    assert verdict.reasons[0].startswith("the run was stopped before its last check")


# V9: preliminary


def test_V9_a_run_that_has_not_ended_is_preliminary_and_says_what_is_missing() -> None:
    verdict = judge(fold(good()[:-1]), config())
    assert verdict.decision == "ship"
    assert verdict.preliminary == ("the run has not ended; still to come: self-test, deploy parity")
    assert verdict.to_dict()["preliminary"] == verdict.preliminary
    assert name_decision(verdict.to_dict()) == "preliminary: ship"
    ended = judge(fold(good()), config())
    assert ended.preliminary == ""
    assert "preliminary" not in ended.to_dict()
    assert name_decision(ended.to_dict()) == "ship"
    before = judge(fold(good()[:2]), config())
    assert before.preliminary.startswith("the run has not ended; still to come: results on test")
    assert before.reasons == ["the final evaluation is still to come"]


def test_V9_a_split_that_is_on_its_way_is_not_called_missing() -> None:
    on_validation: list[AnyEvent] = [
        msgspec.structs.replace(e, split="validation") if isinstance(e, ResultsComputed) else e
        for e in good()[:-2]
    ]
    verdict = judge(fold(on_validation), config())
    assert "still to come: results on test, paired differences" in verdict.preliminary
    told = " ".join(verdict.reasons)
    assert "results on test are still to come: validation also chose the checkpoint" in told
    assert "no test split" not in told
    without = replace(config(), data=DataConfig(train="t.csv"))
    assert "no test split" in " ".join(judge(fold(on_validation), without).reasons)


def test_V9_a_report_of_a_running_run_never_says_ship_alone(tmp_path: Path) -> None:
    from ftev.core.report.report import render_html, render_markdown
    from ftev.tui.commands.follow import gate_code

    report = build_report(story.write_story(tmp_path / "run", good()[:-1], config()))
    assert report["verdict"]["decision"] == "ship"
    text = render_markdown(report)
    assert "## Preliminary verdict: ship" in text
    assert "Verdict: ship" not in text
    assert "Preliminary: ship" in render_html(report)
    assert gate_code(report) == 3
    ended = build_report(story.write_story(tmp_path / "ended", good(), config()))
    assert gate_code(ended) == 0


@pytest.mark.parametrize(("rows", "clusters", "vote"), [(5, None, 0), (300, 5, 0), (6, None, 1)])
def test_S2b_no_margin_is_shown_by_fewer_than_six_rows_or_clusters(
    rows: int, clusters: int | None, vote: int
) -> None:
    plain = {"metric": "loss", "difference": 0.0, "low": -0.1, "high": 0.1, "p": 0.9}
    c = records.record(Comparison, plain | {"clusters": clusters})
    assert against_margin(c, rows, no_worse_by=0.5)[0] == vote


def test_an_interval_that_ends_at_the_margin_shows_nothing() -> None:
    """In floating point 0.80 - 0.85 is a little more than -0.05."""
    plain = {"metric": "accuracy", "difference": -0.02, "low": 0.80 - 0.85, "high": 0.01, "p": 0.2}
    c = records.record(Comparison, plain)
    assert c.low > -0.05
    assert against_margin(c, 200, no_worse_by=0.05)[0] == 0
    assert against_margin(c, 200, no_worse_by=0.051)[0] == 1
    gain = msgspec.structs.replace(c, difference=0.08, low=0.85 - 0.80, high=0.1, p=0.001)
    assert against_margin(gain, 200, better_by=0.05)[0] == 0


@pytest.mark.parametrize("ends", [(math.nan, 0.2), (0.1, math.nan), (math.nan, math.nan)])
def test_an_interval_without_one_of_its_ends_proves_nothing(ends: tuple[float, float]) -> None:
    plain = {"metric": "accuracy", "difference": 0.15, "low": ends[0], "high": ends[1], "p": 0.001}
    c = records.record(Comparison, plain)
    assert against_margin(c, 200) == (0, "it has no interval, so it proves nothing")
    assert against_margin(c, 200, better_by=0.05)[0] == 0


def test_without_the_number_of_rows_no_number_is_asked_for() -> None:
    """An older run has a threshold's figures, and no results of the rows they were measured on."""
    asked = {"kind": "recall_at_least", "target": 0.9}
    history = fold([STARTED, chosen(asked, (0.85, 0.95))])
    [answer] = threshold_holds(history, "test")
    assert answer.vote == 0
    assert answer.reason.endswith("the interval contains the target, more rows are needed")


def test_remarks_stand_last_even_behind_what_speaks_for_the_opposite() -> None:
    """Held: the vote against stands first, then the open one, the one in favour, the remark."""
    votes = (None, 1, 0, -1)
    for decision, order in {
        "hold": [-1, 0, 1, None],
        "ship": [1, 0, -1, None],
        "no evidence": [0, 1, -1, None],
    }.items():
        answers = [Answer(vote, "") for vote in votes]
        answers.sort(key=lambda a: _effect(a, decision))
        assert [a.vote for a in answers] == order


def test_a_better_probe_and_references_already_asked_are_not_named_again() -> None:
    before, after = predicted((930, 70), (30, 70)), predicted((900, 100), (60, 40))
    history = fold(evaluated(before, after, "accuracy"))
    assert read_difference(find_comparison(history, "test", "accuracy", "probe")) == "worse"
    assert not list(_loses_to(history, "accuracy", "test", ["probe"]))  # a finding says it
    events = with_reference(evaluated(before, after, "accuracy"), "base", before, after, "accuracy")
    assert not list(_loses_to(fold(events), "accuracy", "test", []))
    [answer] = _loses_to(fold(events), "accuracy", "test", ["base", "probe"])
    assert "against the base" in answer.reason
