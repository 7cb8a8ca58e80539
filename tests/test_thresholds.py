import dataclasses
import math

import msgspec
import numpy as np
import polars as pl
import pytest
from ftev.core.analysis import analyse
from ftev.core.analysis.thresholds import at_operating_point, own_answers, thresholds
from ftev.core.config.config import CostConfig, ObjectiveConfig
from ftev.core.metrics.analyses import ThresholdAim
from ftev.core.metrics.bootstrap import Resampling
from ftev.core.metrics.clusters import clusters_of
from ftev.core.metrics.evaluate import evaluate_classification
from ftev.core.metrics.statistics import mcnemar, wilson
from ftev.core.metrics.thresholds import (
    CURVE_POINTS,
    EVERYTHING,
    NOTHING,
    Aim,
    choose,
    exchange_calls,
    figures,
    sweep,
    thin,
    trivial,
)
from ftev.core.report.blocks import Chart, Paragraph, Table
from ftev.core.report.sections.thresholds import show_thresholds
from ftev.core.report.verify.stored import contradictions_within
from ftev.core.run.events import decode_event, encode_event, spell_numbers
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
    assert found.chosen.threshold == expected
    other = results(objective, tuned=predictions(300, seed=3), validation=validation)["tuned"]
    assert other.chosen == found.chosen  # whatever test holds
    truth, scores = numbers(test)
    assert found.at_threshold.confusion.counts == (
        sk.confusion_matrix(truth, scores >= expected).tolist()
    )
    assert found.in_use
    assert found.curve is None  # none is drawn on test: nobody is tempted


def numbers(frame):
    return (frame["label"] == "spam").to_numpy().astype(int), (
        frame["probabilities"].list.get(1).to_numpy()
    )


def test_B2_figures_at_half_are_those_of_the_results():
    test = predictions(300)
    found = results(tuned=test, validation=predictions(300, seed=1))["tuned"]
    table = evaluate_classification(test, LABELS, "spam").metrics
    for name in ("precision", "recall", "f1"):
        mine = found.at_half.metrics[name]
        assert mine.value == pytest.approx(table[name].value)
        assert mine.low == pytest.approx(table[name].low, abs=0.01)
    recall = found.at_threshold.metrics["recall"]
    _, (missed, hit) = found.at_threshold.confusion.counts
    assert (recall.low, recall.high) == wilson(hit, hit + missed)


def test_B2_the_change_is_paired_and_holds_its_value():
    objective = ObjectiveConfig(cost=CostConfig(fp=1, fn=20))
    found = results(objective, tuned=predictions(500), validation=predictions(500, seed=1))["tuned"]
    for name, change in found.changes.items():
        values = [at.metrics[name].value for at in (found.at_half, found.at_threshold)]
        assert change.difference == pytest.approx(values[1] - values[0])
        assert change.low <= change.difference <= change.high
    assert found.changes["cost"].high < 0
    assert found.changes["cost"].p < 0.01


def at_point(objective, **frames):
    """Frames of test at the thresholds that validation chose, as the worker stores them."""
    known = {model: predictions(400, seed=i) for i, model in enumerate(frames)}
    return at_operating_point(frames, known, LABELS, "spam", objective), known


def test_V13_results_are_at_the_threshold_that_the_objective_chose():
    objective = ObjectiveConfig(recall_at_least=0.95)
    raw = {"tuned": predictions(300, seed=7), "probe": predictions(300, seed=7, skill=0.5)}
    frames, known = at_point(objective, **raw)
    for model, frame in frames.items():
        [threshold] = set(frame["threshold"])
        expected = chosen(Aim("recall_at_least", 0.95), *numbers(known[model]))
        assert threshold == expected  # each model's own
        called = frame["probabilities"].list.get(1) >= threshold
        assert (frame["predicted"] == "spam").to_list() == called.to_list()
        assert frame["predicted_at_half"].to_list() == raw[model]["predicted"].to_list()
        assert own_answers(frame).equals(raw[model].select(own_answers(frame).columns))
    result = evaluate_classification(frames["tuned"], LABELS, "spam")
    truth, scores = numbers(raw["tuned"])
    assert result.threshold == frames["tuned"]["threshold"][0]
    assert (
        result.confusion.counts
        == sk.confusion_matrix(truth, scores >= threshold_of(frames)).tolist()
    )
    found = {
        a.model: a.result
        for a in thresholds(evaluation(objective=objective, validation=known["tuned"], **frames))
    }["tuned"]
    at = found.at_threshold
    assert at.confusion.counts == result.confusion.counts
    assert at.metrics["recall"].value == result.metrics["recall"].value
    half = evaluate_classification(raw["tuned"], LABELS, "spam").confusion.counts
    assert found.at_half.confusion.counts == half
    false = result.confusion.counts[0][1]
    assert at.false_positives_per_1000 == pytest.approx(1000 * false / 300)


def threshold_of(frames):
    return frames["tuned"]["threshold"][0]


def test_V13_without_a_chosen_threshold_predictions_are_the_models_own():
    raw = {"tuned": predictions(100)}
    assert at_point(ObjectiveConfig(metric="recall"), **raw)[0]["tuned"].equals(raw["tuned"])
    nothing = at_operating_point(raw, {}, LABELS, "spam", ObjectiveConfig(recall_at_least=0.9))
    assert nothing["tuned"].equals(raw["tuned"])
    assert evaluate_classification(raw["tuned"], LABELS, "spam").threshold is None


def test_V13_a_row_without_a_prediction_gets_none_from_a_threshold():
    frame = predictions(50).with_columns(
        predicted=pl.when(pl.col("row_id") == 3).then(None).otherwise("predicted")
    )
    frames, _ = at_point(ObjectiveConfig(recall_at_least=0.9), tuned=frame)
    assert frames["tuned"]["predicted"].null_count() == 1


def test_V6_the_rule_is_set_against_constants_and_the_reference_at_its_own_threshold():
    objective = ObjectiveConfig(cost=CostConfig(fp=1, fn=20))
    frames, known = at_point(
        objective, tuned=predictions(500, seed=5), probe=predictions(500, seed=5, skill=0.2)
    )
    e = evaluation(objective=objective, validation=known["tuned"], **frames)
    [found] = [a.result for a in thresholds(e) if a.model == "tuned"]
    rivals = {r.rule: r for r in found.against}
    assert list(rivals) == ['calling every row "spam"', 'calling no row "spam"', "probe"]
    truth, _ = numbers(frames["tuned"])
    assert rivals['calling every row "spam"'].other == pytest.approx(1 - truth.mean())
    assert rivals['calling no row "spam"'].other == pytest.approx(20 * truth.mean())
    assert rivals["probe"].threshold == frames["probe"]["threshold"][0]
    for r in rivals.values():
        assert r.difference == pytest.approx(r.value - r.other)
        assert r.low <= r.difference <= r.high


def test_V6_a_second_reference_is_set_against_the_rule_as_well():
    """A zero-shot base stands behind the probe, and may be the better of the two."""
    objective = ObjectiveConfig(cost=CostConfig(fp=1, fn=20))
    base = predictions(500, seed=5, skill=0.9).with_columns(method=pl.lit("label_likelihood"))
    probe = predictions(500, seed=5, skill=0.2)
    frames, known = at_point(objective, tuned=predictions(500, seed=5), base=base, probe=probe)
    e = evaluation(objective=objective, validation=known["tuned"], **frames)
    [found] = [a.result for a in thresholds(e) if a.model == "tuned"]
    assert [(r.rule, r.also) for r in found.against[2:]] == [
        ("probe", False),
        ("base", True),
    ]


def test_S2b_the_p_of_two_ways_of_calling_is_that_of_all_exchanges():
    rng = np.random.default_rng(2)
    positive, before, after = (rng.random(12) < 0.5 for _ in range(3))
    changed = np.flatnonzero(before != after)

    def cost(called):
        return (3 * (called & ~positive) + 5 * (~called & positive)).sum()

    every = []
    for code in range(2 ** len(changed)):
        b, a = before.copy(), after.copy()
        swapped = changed[[bool(code >> i & 1) for i in range(len(changed))]]
        b[swapped], a[swapped] = after[swapped], before[swapped]
        every.append(abs(cost(a) - cost(b)))
    expected = np.mean(np.array(every) >= abs(cost(after) - cost(before)) - 1e-9)
    aim = Aim("cost", fp=3, fn=5)
    null = exchange_calls(positive, before, after, aim, Resampling())
    difference = (cost(after) - cost(before)) / 12
    assert null.p("cost", difference, 1.0) == pytest.approx(expected)


def test_S2b_many_changed_rows_draw_their_exchanges():
    rng = np.random.default_rng(3)
    positive = rng.random(4000) < 0.3
    before, after = (rng.random(4000) < 0.5 for _ in range(2))
    aim = Aim("cost", fp=1, fn=1)
    right_b, right_a = before == positive, after == positive
    null = exchange_calls(positive, before, after, aim, Resampling())
    p = null.p("cost", float(right_b.mean() - right_a.mean()), 1.0)
    exact = mcnemar(int((right_b & ~right_a).sum()), int((~right_b & right_a).sum())).exact
    assert p == pytest.approx(exact, abs=0.02)


def test_without_an_objective_the_threshold_is_shown_but_not_used():
    found = results(tuned=predictions(300), validation=predictions(300, seed=1))
    assert found["tuned"].aim == ThresholdAim("f1")
    assert not found["tuned"].in_use
    assert found["tuned"].chosen.cost is None


def test_the_verdict_is_given_the_figures_of_the_frozen_threshold():
    objective = ObjectiveConfig(recall_at_least=0.9)
    found = results(objective, tuned=predictions(300), validation=predictions(300, seed=1))
    used = found["tuned"].at_threshold
    assert found["tuned"].in_use
    assert set(msgspec.to_builtins(used.metrics["recall"])) == {"value", "low", "high", "method"}


def test_more_than_two_labels_have_no_threshold():
    labels = tuple("abc")
    frame = predictions(60, labels)
    assert not list(thresholds(evaluation(labels=labels, tuned=frame, validation=frame)))


def test_validation_has_the_curve_and_nothing_is_applied_to_it():
    frame = predictions(300)
    found = results(ObjectiveConfig(recall_at_least=0.9), "validation", tuned=frame)["tuned"]
    assert set(found.curve) == {"threshold", "precision", "recall", "f1"}
    assert found.chosen.threshold in found.curve["threshold"]
    assert found.at_half is found.at_threshold is found.changes is None


def test_results_survive_being_written_down():
    frame = predictions(100)
    e = evaluation("validation", objective=ObjectiveConfig(precision_at_least=0.9), tuned=frame)
    for event in analyse(e):
        line = encode_event(event)
        assert spell_numbers(decode_event(line).result) == spell_numbers(event.result)
        assert b":null" not in line
        assert b":NaN" not in line


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
    figures_, confusions, against = (b for b in blocks if isinstance(b, Table))
    assert [row[0] for row in against.rows] == [
        'calling every row "spam"',
        'calling no row "spam"',
    ]
    assert [row[0] for row in figures_.rows] == [
        *(f'{name} of "spam"' for name in ("precision", "recall", "F1")),
        "cost per row",
    ]
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
    assert f'recall of "spam" on test is {hits}.0 %' in text
    assert said in text


def test_section_says_that_predictions_remain_where_nothing_was_asked():
    _, text = told(None, predictions(100), predictions(100, seed=1))
    assert "No objective asks for a threshold, so predictions remain at 0.5" in text


def test_no_validation_rows_no_threshold():
    found = results(ObjectiveConfig(recall_at_least=0.9), tuned=predictions(100))["tuned"]
    assert found.why_not == "there are no validation rows to choose a threshold on"
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
    assert found.why_not == "a probability on validation is not a number"
    found = results(tuned=broken, validation=frame)["tuned"]
    assert found.why_not == "a probability on test is not a number"


def test_V13_verify_holds_predictions_to_their_threshold():
    frames, _ = at_point(ObjectiveConfig(recall_at_least=0.95), tuned=predictions(200, seed=7))
    assert not list(contradictions_within(frames["tuned"], LABELS))
    other = pl.when(pl.col("predicted") == "spam").then(pl.lit("ham")).otherwise(pl.lit("spam"))
    changed = pl.when(pl.col("row_id") == 5).then(other).otherwise("predicted")
    spoilt = frames["tuned"].with_columns(predicted=changed)
    [found] = contradictions_within(spoilt, LABELS)
    assert (found.rows, found.what) == ([5], "the prediction is not that of the threshold")


def test_S9_rules_on_clusters_are_as_sure_as_their_single_rows():
    """Every row four times over in its cluster: intervals and p are those of the rows once."""
    rng = np.random.default_rng(4)
    once = rng.random(120) < 0.4, rng.random(120) < 0.5, rng.random(120) < 0.5
    four = [np.repeat(rows, 4) for rows in once]
    clusters = clusters_of(np.repeat(np.arange(120), 4))
    width = {}
    for name, rows, together in (("once", once, None), ("clusters", four, clusters)):
        _, values, draws = figures(*rows, COST, Resampling(), together)
        change = draws["cost"][1] - draws["cost"][0]
        width[name] = np.quantile(change, 0.975) - np.quantile(change, 0.025)
        null = exchange_calls(*rows, COST, Resampling(), together)
        moved = values["cost"][1, 0] - values["cost"][0, 0]
        width[f"{name} p"] = null.p("cost", moved, 10.0)
    assert width["clusters"] == pytest.approx(width["once"], rel=0.05)
    assert width["clusters p"] == pytest.approx(width["once p"], abs=0.02)
    _, _, narrow = figures(*four, COST, Resampling())
    change = narrow["cost"][1] - narrow["cost"][0]
    assert np.quantile(change, 0.975) - np.quantile(change, 0.025) < 0.6 * width["once"]


def test_only_the_tuned_models_rule_has_rivals():
    objective = ObjectiveConfig(cost=CostConfig(fp=1, fn=20))
    known = predictions(300, seed=1)
    frames = {"tuned": predictions(300), "base": predictions(300, seed=2, skill=0.5)}
    e = evaluation(objective=objective, validation=known, **frames)
    e = dataclasses.replace(e, validation={"tuned": known, "base": known})
    found = {a.model: a.result for a in thresholds(e)}
    assert found["base"].in_use
    assert not found["base"].against
    assert found["tuned"].against


@pytest.mark.parametrize(("named", "expected"), [("ham", "ham"), ("spam", "spam"), (None, "spam")])
def test_C4_the_positive_label_is_the_one_named_else_the_rarer(named, expected):
    frame = binary([0] * 30 + [1] * 10, np.linspace(0.1, 0.9, 40))
    e = dataclasses.replace(evaluation(tuned=frame, validation=frame), positive=named)
    assert [a.result.positive for a in thresholds(e)] == [expected]
