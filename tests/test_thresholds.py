import json
import math

import numpy as np
import polars as pl
import pytest
from ftev.core.analyses import analyse
from ftev.core.analyses.thresholds import thresholds
from ftev.core.config import CostConfig, ObjectiveConfig
from ftev.core.events import decode_event, encode_event
from ftev.core.numbers.bootstrap import Resampling
from ftev.core.numbers.thresholds import (
    CURVE_POINTS,
    EVERYTHING,
    NOTHING,
    Aim,
    choose,
    figures,
    sweep,
    thin,
    trivial,
)
from ftev.core.reporting.blocks import Chart, Paragraph, Table
from ftev.core.reporting.sections.thresholds import show_thresholds
from ftev.core.results import evaluate_classification
from ftev.core.statistics import wilson
from scored_splits import LABELS, binary, evaluation, predictions
from sklearn import metrics as sk

# By hand: of six rows from the highest score down, spam, spam, ham, spam, ham, ham.
TRUTH = np.array([1, 1, 0, 1, 0, 0])
SCORES = np.array([0.9, 0.8, 0.7, 0.6, 0.3, 0.2])
COST = Aim("cost", fp=1, fn=20)


def swept(truth=TRUTH, scores=SCORES):
    return sweep(truth == 1, scores)


def chosen(aim, truth=TRUTH, scores=SCORES):
    s = swept(truth, scores)
    index = choose(s, aim)
    return None if index is None else s.thresholds[index]


def results(objective=None, split="test", **frames):
    e = evaluation(split, objective=objective, **frames)
    return {a.model: a.result for a in thresholds(e)}


def many(n, seed=0):
    frame = predictions(n, seed=seed)
    return (frame["label"] == "spam").to_numpy(), frame["probabilities"].list.get(1).to_numpy()


def test_B2_curve_equals_sklearn():
    is_positive, scores = many(500)
    scores = scores.round(2)  # ties
    s = sweep(is_positive, scores)
    precision, recall, thresholds_ = sk.precision_recall_curve(is_positive, scores)
    assert s.thresholds[:0:-1] == pytest.approx(thresholds_)
    assert s.precision[:0:-1] == pytest.approx(precision[:-1])
    assert s.recall[::-1] == pytest.approx(recall)
    for i in (1, 20, 70):
        called = scores >= s.thresholds[i]
        assert s.f1[i] == pytest.approx(sk.f1_score(is_positive, called))
        false, missed = (called & ~is_positive).sum(), (~called & is_positive).sum()
        assert s.cost(COST)[i] == pytest.approx((false + 20 * missed) / 500)


def test_the_first_threshold_calls_no_row_and_the_last_every_row():
    s = swept()
    assert s.found.tolist() == [0, 1, 2, 2, 3, 3, 3]
    assert s.false.tolist() == [0, 0, 0, 1, 1, 2, 3]
    assert math.isnan(s.precision[0])
    assert (trivial(s, 0), trivial(s, 6), trivial(s, 3)) == (NOTHING, EVERYTHING, "")


def test_B2_the_least_cost_chooses_by_hand():
    assert chosen(COST) == 0.6  # one false alarm costs 1, one miss 20
    assert chosen(Aim("cost", fp=20, fn=1)) == 0.8
    assert chosen(Aim("cost", fp=1, fn=0)) > 0.9  # a miss is free: call nothing
    assert chosen(Aim("cost", fp=0, fn=1)) == 0.6  # of equal cost the higher threshold


def test_B2_least_cost_is_the_least_of_all_thresholds():
    is_positive, scores = many(300)
    costs = [
        (COST.fp * (called & ~is_positive).sum() + COST.fn * (~called & is_positive).sum()) / 300
        for called in (scores >= t for t in [*scores, 2.0])
    ]
    s = sweep(is_positive, scores)
    assert s.cost(COST)[choose(s, COST)] == pytest.approx(min(costs))


def test_B2_recall_at_least_takes_the_most_precise_threshold_that_reaches_it():
    assert chosen(Aim("recall_at_least", 2 / 3)) == 0.8
    assert chosen(Aim("recall_at_least", 0.7)) == 0.6
    assert chosen(Aim("recall_at_least", 1.0)) == 0.6


def test_B2_precision_at_least_takes_the_threshold_that_finds_most():
    assert chosen(Aim("precision_at_least", 1.0)) == 0.8
    assert chosen(Aim("precision_at_least", 0.75)) == 0.6
    assert chosen(Aim("precision_at_least", 0.9), TRUTH[::-1]) is None


def test_B2_most_f1_chooses_by_default():
    assert chosen(Aim()) == 0.6  # 6/7, against 4/5 at 0.8
    is_positive, scores = many(300)
    s = sweep(is_positive, scores)
    best = max(sk.f1_score(is_positive, scores >= t) for t in scores)
    assert s.f1[choose(s, Aim())] == pytest.approx(best)


def test_one_kind_of_rows_chooses_nothing():
    for truth in (np.zeros(6, int), np.ones(6, int)):
        for aim in (Aim(), COST, Aim("recall_at_least", 0.5)):
            assert choose(swept(truth), aim) is None


def test_a_long_curve_is_thinned_and_keeps_its_extremes():
    is_positive, scores = many(20_000)
    s = sweep(is_positive, scores)
    index = choose(s, COST)
    kept = thin(s, index)
    assert len(kept) <= CURVE_POINTS + 10
    assert {0, 1, index, len(s.thresholds) - 1} <= set(kept.tolist())
    assert np.nanmax(s.precision[kept]) == np.nanmax(s.precision)
    assert np.nanmin(s.precision[kept]) == np.nanmin(s.precision)
    assert s.f1[kept].max() == s.f1.max()
    gaps = np.diff(s.recall[kept])
    assert gaps.min() >= 0
    assert gaps.max() < 0.05
    assert len(thin(swept(), None)) == 7


def test_figures_are_those_of_the_confusion_matrix():
    is_positive, scores = many(500)
    before, after = scores >= 0.5, scores >= 0.2
    counts, values, draws = figures(is_positive, before, after, COST, Resampling(draws=500))
    for way, called in enumerate((before, after)):
        assert (
            counts[way].reshape(2, 2).tolist() == sk.confusion_matrix(is_positive, called).tolist()
        )
        assert values["precision"][way, 0] == pytest.approx(sk.precision_score(is_positive, called))
        assert values["recall"][way, 0] == pytest.approx(sk.recall_score(is_positive, called))
        assert values["f1"][way, 0] == pytest.approx(sk.f1_score(is_positive, called))
    assert draws["cost"].shape == (2, 500)
    assert draws["recall"][1].mean() == pytest.approx(values["recall"][1, 0], abs=0.01)
    assert (draws["recall"][1] >= draws["recall"][0]).all()  # one resample: called rows are nested


def test_B2_threshold_is_chosen_on_validation_and_frozen_on_test():
    validation, test = predictions(400, seed=1), predictions(300, seed=2)
    objective = ObjectiveConfig(cost=CostConfig(fp=1, fn=20))
    found = results(objective, tuned=test, validation=validation)["tuned"]
    expected = chosen(COST, *numbers(validation))
    assert found["chosen"]["threshold"] == expected
    other = results(objective, tuned=predictions(300, seed=3), validation=validation)["tuned"]
    assert other["chosen"] == found["chosen"]  # whatever test holds
    truth, scores = numbers(test)
    assert found["at_threshold"]["confusion"]["counts"] == (
        sk.confusion_matrix(truth, scores >= expected).tolist()
    )
    assert found["in_use"]
    assert "curve" not in found  # none is drawn on test: nobody is tempted


def numbers(frame):
    return (frame["label"] == "spam").to_numpy().astype(int), (
        frame["probabilities"].list.get(1).to_numpy()
    )


def test_B2_figures_at_half_are_those_of_the_results():
    test = predictions(300)
    found = results(tuned=test, validation=predictions(300, seed=1))["tuned"]
    table = evaluate_classification(test, LABELS, "spam").metrics
    for name in ("precision", "recall", "f1"):
        mine = found["at_half"]["metrics"][name]
        assert mine["value"] == pytest.approx(table[name].value)
        assert mine["low"] == pytest.approx(table[name].low, abs=0.01)
    recall = found["at_threshold"]["metrics"]["recall"]
    _, (missed, hit) = found["at_threshold"]["confusion"]["counts"]
    assert (recall["low"], recall["high"]) == wilson(hit, hit + missed)


def test_B2_the_change_is_paired_and_holds_its_value():
    objective = ObjectiveConfig(cost=CostConfig(fp=1, fn=20))
    found = results(objective, tuned=predictions(500), validation=predictions(500, seed=1))["tuned"]
    for name, change in found["changes"].items():
        values = [found[way]["metrics"][name]["value"] for way in ("at_half", "at_threshold")]
        assert change["difference"] == pytest.approx(values[1] - values[0])
        assert change["low"] <= change["difference"] <= change["high"]
    assert found["changes"]["cost"]["high"] < 0
    assert found["changes"]["cost"]["p"] < 0.01


def test_without_an_objective_the_threshold_is_shown_but_not_used():
    found = results(tuned=predictions(300), validation=predictions(300, seed=1))
    assert found["tuned"]["aim"] == {"kind": "f1"}
    assert not found["tuned"]["in_use"]
    assert "cost" not in found["tuned"]["chosen"]


def test_the_verdict_is_given_the_figures_of_the_frozen_threshold():
    objective = ObjectiveConfig(recall_at_least=0.9)
    found = results(objective, tuned=predictions(300), validation=predictions(300, seed=1))
    used = found["tuned"]["at_threshold"]
    assert found["tuned"]["in_use"]
    assert set(used["metrics"]["recall"]) == {"value", "low", "high", "method"}


def test_more_than_two_labels_have_no_threshold():
    labels = tuple("abc")
    frame = predictions(60, labels)
    assert not list(thresholds(evaluation(labels=labels, tuned=frame, validation=frame)))


def test_validation_has_the_curve_and_nothing_is_applied_to_it():
    frame = predictions(300)
    found = results(ObjectiveConfig(recall_at_least=0.9), "validation", tuned=frame)["tuned"]
    assert set(found["curve"]) == {"threshold", "precision", "recall", "f1"}
    assert found["chosen"]["threshold"] in found["curve"]["threshold"]
    assert not {"at_half", "at_threshold", "changes"} & set(found)


def test_results_survive_being_written_down():
    frame = predictions(100)
    e = evaluation("validation", objective=ObjectiveConfig(precision_at_least=0.9), tuned=frame)
    for event in analyse(e):
        line = encode_event(event)
        assert decode_event(line).result == event.result
        assert not set(json.dumps(event.result).split()) & {"null", "NaN"}


def told(objective, test, validation):
    found = results(objective, tuned=test, validation=validation)
    known = results(objective, "validation", tuned=validation)
    blocks = show_thresholds(
        {"analyses": {"validation": {"thresholds": known}, "test": {"thresholds": found}}}
    )
    return blocks, " ".join(b.text for b in blocks if isinstance(b, Paragraph))


def test_what_cannot_be_reached_is_said_plainly():
    # Validation's highest score is a ham: no threshold is precise.
    validation = binary([0, 1, 0, 1, 0], [0.9, 0.8, 0.7, 0.6, 0.1])
    _, text = told(ObjectiveConfig(precision_at_least=0.9), predictions(100), validation)
    assert "No threshold is used: no threshold reaches a precision of 90 %" in text
    assert "the highest that 5 rows allow is 50.0 %" in text
    assert "Predictions remain at 0.5" in text
    only_ham = binary([0, 0, 0], [0.1, 0.2, 0.3])
    _, text = told(ObjectiveConfig(recall_at_least=0.9), predictions(100), only_ham)
    assert 'none of the 3 validation rows is "spam"' in text


def test_a_recall_that_only_calling_everything_reaches_is_said_plainly():
    validation = binary([0, 0, 0, 1], [0.9, 0.8, 0.7, 0.1])
    _, text = told(ObjectiveConfig(recall_at_least=1.0), predictions(100), validation)
    assert 'The only way to reach this is to call every row "spam"' in text


def test_a_cost_that_no_call_is_worth_is_said_plainly():
    validation = binary([0, 0, 1, 0], [0.9, 0.8, 0.7, 0.1])
    cost = ObjectiveConfig(cost=CostConfig(fp=5, fn=1))
    _, text = told(cost, predictions(100), validation)
    assert 'The cheapest is to call no row "spam"' in text


def test_section_shows_the_trade_off_with_the_chosen_point():
    objective = ObjectiveConfig(cost=CostConfig(fp=1, fn=20))
    blocks, text = told(objective, predictions(400), predictions(400, seed=1))
    assert "the least cost (1 for a false positive, 20 for a miss)" in text
    [chart] = [b for b in blocks if isinstance(b, Chart)]
    [(x, y, word)] = chart.marks
    assert (x, y) in set(zip(chart.lines[0].x, chart.lines[0].y, strict=True))
    assert word.startswith("threshold 0.")
    figures_, confusions = (b for b in blocks if isinstance(b, Table))
    assert [row[0] for row in figures_.rows] == ["precision", "recall", "F1", "cost a row"]
    counted = [int(row[2].replace(",", "")) for row in confusions.rows]
    assert sum(counted) == 400


@pytest.mark.parametrize(
    ("hits", "said"),
    [
        (95, "the whole interval meets it"),
        (80, "neither met nor missed for certain"),
        (60, "the whole interval misses it, though validation reached it"),
    ],
)
def test_section_says_whether_the_target_holds_on_test(hits, said):
    validation = binary([1] * 10 + [0] * 10, [0.6] * 10 + [0.1] * 10)
    test = binary([1] * 100 + [0] * 10, [0.6] * hits + [0.4] * (100 - hits) + [0.1] * 10)
    _, text = told(ObjectiveConfig(recall_at_least=0.8), test, validation)
    assert f"recall on test is {hits}.0 %" in text
    assert said in text


def test_section_says_that_predictions_remain_where_nothing_was_asked():
    _, text = told(None, predictions(100), predictions(100, seed=1))
    assert "No objective asks for a threshold, so predictions remain at 0.5" in text


def test_no_validation_rows_no_threshold():
    found = results(ObjectiveConfig(recall_at_least=0.9), tuned=predictions(100))["tuned"]
    assert found["why_not"] == "there are no validation rows to choose a threshold on"
    blocks = show_thresholds({"analyses": {"test": {"thresholds": {"tuned": found}}}})
    assert "no validation rows" in blocks[1].text


def test_models_without_probabilities_have_no_threshold():
    frame = predictions(50)
    found = results(tuned=frame, validation=frame, majority=frame.drop("probabilities"))
    assert list(found) == ["tuned"]


def test_L6_a_probability_that_is_no_number_is_said():
    frame = predictions(50)
    broken = frame.with_columns(
        probabilities=pl.when(pl.col("row_id") == 3)
        .then(pl.lit([math.nan, math.nan]))
        .otherwise("probabilities")
    )
    found = results(tuned=frame, validation=broken)["tuned"]
    assert found["why_not"] == "a probability on validation is not a number"
    found = results(tuned=broken, validation=frame)["tuned"]
    assert found["why_not"] == "a probability on test is not a number"
