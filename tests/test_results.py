import math

import msgspec
import numpy as np
import polars as pl
import pytest
from ftev.core.errors import DataError
from ftev.core.metrics.comparisons import compare
from ftev.core.metrics.evaluate import evaluate_classification, evaluate_text, majority_frame
from ftev.core.metrics.metric import METRICS
from ftev.core.metrics.statistics import mcnemar, sign_flip, smallest_shown
from sklearn import metrics as sk

SPAM = ("ham", "spam")


def classified(n=300, labels=SPAM, skill=2.0, seed=0):
    """Stored predictions of a classifier whose scores favour the truth by `skill`."""
    truth = np.random.default_rng(99).integers(0, len(labels), n)
    scores = np.random.default_rng(seed).normal(size=(n, len(labels)))
    scores[np.arange(n), truth] += skill
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    names = np.array(labels)
    return pl.DataFrame(
        {
            "row_id": np.arange(n),
            "label": names[truth],
            "predicted": names[probabilities.argmax(axis=1)],
            "probabilities": probabilities.tolist(),
        }
    )


def generated(n=60, gain=0.0, seed=0):
    rng = np.random.default_rng(seed)
    tokens = np.random.default_rng(98).integers(5, 50, n)
    return pl.DataFrame(
        {
            "row_id": np.arange(n),
            "nll": tokens * (rng.gamma(9, 0.3, n) - gain),
            "tokens": tokens,
            "correct": tokens // 3,
            "bytes": tokens * 4,
        }
    )


def accuracies(*frames):
    return [evaluate_classification(frame, SPAM).metrics["accuracy"] for frame in frames]


def by_metric(comparisons):
    return {c.metric: c for c in comparisons}


def test_result_has_the_shape_of_the_report():
    found = msgspec.to_builtins(evaluate_classification(classified(), SPAM))
    assert found["n"] == 300
    assert found["loss"] == found["metrics"]["loss"]["value"]
    assert set(found["metrics"]["macro_f1"]) == {"value", "low", "high", "method"}
    assert set(found["per_class"]["spam"]) == {"precision", "recall", "f1", "support"}
    assert found["confusion"]["labels"] == ["ham", "spam"]
    assert sum(map(sum, found["confusion"]["counts"])) == 300
    assert set(found["metrics"]) <= set(METRICS)
    assert "undefined" not in found


def test_comparison_has_the_shape_of_the_report():
    pair = by_metric(
        compare("test", "base", classified(seed=1), "tuned", classified(skill=3), SPAM)
    )
    found = msgspec.to_builtins(pair["accuracy"])
    expected = "split metric from to difference low high p method fixed broke smallest_detectable"
    assert list(found) == expected.split()
    assert (found["split"], found["from"], found["to"]) == ("test", "base", "tuned")


def test_values_equal_sklearn_on_the_stored_rows():
    labels = tuple("abcdef")
    frame = classified(500, labels)
    found = {n: e.value for n, e in evaluate_classification(frame, labels).metrics.items()}
    truth, predicted = frame["label"].to_list(), frame["predicted"].to_list()
    probabilities = np.array(frame["probabilities"].to_list())
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(truth, predicted), abs=1e-9)
    assert found["mcc"] == pytest.approx(sk.matthews_corrcoef(truth, predicted), abs=1e-9)
    macro_f1 = sk.f1_score(truth, predicted, average="macro")
    assert found["macro_f1"] == pytest.approx(macro_f1, abs=1e-9)
    area = sk.roc_auc_score(truth, probabilities, multi_class="ovr")
    assert found["roc_auc"] == pytest.approx(area, abs=1e-9)
    assert found["loss"] == pytest.approx(sk.log_loss(truth, probabilities), abs=1e-9)


def test_S1_shares_of_rows_have_wilson_intervals_and_the_rest_the_bootstrap():
    found = evaluate_classification(classified(), SPAM).metrics
    wilson = {name for name, estimate in found.items() if estimate.method == "Wilson 95 %"}
    micro = {"micro_precision", "micro_recall", "micro_f1", "weighted_recall"}
    assert wilson == {"accuracy", "precision", "recall"} | micro
    assert found["f1"].method == "percentile bootstrap 95 %, 10,000 draws, seed 0"


def test_S2_every_interval_holds_its_value():
    for estimate in evaluate_classification(classified(), SPAM).metrics.values():
        assert estimate.low <= estimate.value <= estimate.high
    for estimate in evaluate_text(generated()).metrics.values():
        assert estimate.low <= estimate.value <= estimate.high


def test_results_repeat_exactly_and_do_not_depend_on_the_order_of_rows():
    frame = classified()
    first = evaluate_classification(frame, SPAM)
    assert evaluate_classification(frame, SPAM) == first
    assert evaluate_classification(frame.reverse(), SPAM) == first


def test_S2_many_rows_say_that_the_normal_limit_was_used():
    found = evaluate_classification(classified(6000), SPAM).metrics
    assert found["loss"].method.startswith("normal limit of the percentile bootstrap")
    assert found["roc_auc"].method.endswith("first-order expansion")
    assert found["macro_f1"].method == "percentile bootstrap 95 %, 10,000 draws, seed 0"


def test_C3_labels_without_rows_are_listed():
    labels = ("a", "b", "never")
    found = evaluate_classification(classified(labels=("a", "b")).drop("probabilities"), labels)
    assert found.undefined == ["never"]
    assert set(found.per_class) == {"a", "b"}


def test_C4_positive_label_is_the_rarer_one_unless_named():
    rarer = classified()["label"].value_counts().sort("count")["label"][0]
    assert evaluate_classification(classified(), SPAM).positive == rarer
    assert evaluate_classification(classified(), SPAM, "ham").positive == "ham"
    assert evaluate_classification(classified(labels=tuple("abc")), tuple("abc")).positive is None


def test_C6_majority_baseline_has_no_probabilities_and_no_loss():
    frame = majority_frame(classified(), SPAM, {"ham": 60, "spam": 40})
    found = evaluate_classification(frame, SPAM)
    assert set(frame["predicted"]) == {"ham"}
    assert found.loss is None
    assert found.metrics["mcc"].value == 0
    assert not {"loss", "roc_auc", "ece", "brier"} & set(found.metrics)
    compared = by_metric(compare("test", "majority", frame, "tuned", classified(), SPAM))
    assert "loss" not in compared
    assert compared["accuracy"].difference > 0


def test_label_of_a_row_that_is_not_in_the_list_is_an_error():
    frame = classified().with_columns(
        label=pl.when(pl.col("row_id") == 7).then(pl.lit("eggs")).otherwise("label")
    )
    with pytest.raises(DataError, match=r"label of 1 row \(7\) is not in the label list: 'eggs'"):
        evaluate_classification(frame, SPAM)


@pytest.mark.parametrize(
    ("damaged", "message"),
    [
        (lambda f: f.drop("predicted"), "no column predicted"),
        (lambda f: f.head(0), "no rows"),
        (lambda f: pl.concat([f, f.head(2)]), r"more than one .* 2 rows \(0, 1\)"),
        (
            lambda f: f.head(3).with_columns(probabilities=pl.Series([[0.5, 0.5], [1.0], None])),
            r"probabilities of 2 rows \(1, 2\) are not one for each of 2 labels",
        ),
        (
            lambda f: f.head(3).with_columns(row_id=pl.Series([0, None, 2])),
            "1 rows without a row_id",
        ),
    ],
)
def test_unusable_predictions_are_errors(damaged, message):
    with pytest.raises(DataError, match=message):
        evaluate_classification(damaged(classified()), SPAM)


def test_unknown_positive_label_is_an_error():
    with pytest.raises(DataError, match="there is no label 'eggs'"):
        evaluate_classification(classified(), SPAM, "eggs")


def test_S3_rows_are_joined_by_id():
    a, b = classified(seed=1), classified(skill=3)
    expected = compare("test", "base", a, "tuned", b, SPAM)
    shuffled = b.sample(fraction=1.0, shuffle=True, seed=3)
    assert compare("test", "base", a, "tuned", shuffled, SPAM) == expected


def test_S3_other_rows_are_an_error():
    with pytest.raises(DataError, match=r"3 rows \(0, 1, 2\) only in base and 1 row \(9\) only"):
        compare("test", "base", classified(9), "tuned", classified(10)[3:], SPAM)


def test_S3_other_labels_of_the_same_rows_are_an_error():
    other = classified().with_columns(label=pl.lit("ham"))
    with pytest.raises(DataError, match="the true label differs on"):
        compare("test", "base", classified(), "tuned", other, SPAM)
    other = generated().with_columns(bytes=pl.col("bytes") + (pl.col("row_id") == 4))
    with pytest.raises(DataError, match=r"the raw text differs on 1 row \(4\)"):
        compare("test", "base", generated(), "tuned", other)


def test_S3_a_model_does_not_differ_from_itself():
    for c in compare("test", "base", classified(), "tuned", classified(), SPAM):
        assert (c.difference, c.p) == (0, 1)
        assert c.low < 0 < c.high or math.isnan(c.low), c.metric  # no width is no interval (V14)
    for c in compare("test", "base", generated(), "tuned", generated()):
        assert (c.difference, c.p) == (0, 1)
        assert math.isnan(c.low)
        assert math.isnan(c.high)


def test_S3_difference_is_that_of_the_two_results():
    a, b = classified(seed=1), classified(skill=3)
    values = [evaluate_classification(f, SPAM).metrics for f in (a, b)]
    found = by_metric(compare("test", "base", a, "tuned", b, SPAM))
    assert set(found) == {name for name in values[0] if not METRICS[name].same_as}
    for name, comparison in found.items():
        expected = values[1][name].value - values[0][name].value
        assert comparison.difference == pytest.approx(expected, abs=1e-12)
        assert comparison.low <= comparison.difference <= comparison.high


def test_S3_pairing_narrows_the_interval_of_models_that_agree():
    a = classified(400, skill=1.0)
    noisy = np.array(a["probabilities"].to_list())[:, 1] + 0.05 > 0.5
    b = a.with_columns(predicted=pl.Series(np.array(SPAM)[noisy.astype(int)]))
    found = by_metric(compare("test", "base", a, "tuned", b, SPAM, metrics=["accuracy"]))
    widths = [e.high - e.low for e in (found["accuracy"], *accuracies(a, b))]
    assert widths[0] < 0.5 * math.hypot(*widths[1:])  # the interval of an unpaired difference


def test_V15_rows_fixed_and_broken_stand_beside_the_metrics_that_they_add_up_to():
    pair = compare("test", "base", classified(seed=1), "tuned", classified(skill=3), SPAM)
    assert {c.metric for c in pair if c.fixed is not None or c.broke is not None} == {"accuracy"}
    accuracy = by_metric(pair)["accuracy"]
    assert accuracy.fixed is not None
    assert accuracy.broke is not None
    assert accuracy.difference == pytest.approx((accuracy.fixed - accuracy.broke) / 300)


def test_S4_accuracy_has_mcnemar_with_fixed_and_broke():
    a, b = classified(seed=1), classified(skill=3)
    found = by_metric(compare("test", "base", a, "tuned", b, SPAM))["accuracy"]
    right_a, right_b = ((f["label"] == f["predicted"]).to_numpy() for f in (a, b))
    assert found.fixed == (~right_a & right_b).sum()
    assert found.broke == (right_a & ~right_b).sum()
    p = mcnemar(found.broke, found.fixed)
    assert found.p == p.exact
    assert found.method.startswith(f"exact McNemar p (mid-p {p.mid_p:.4g})")


def test_S5_losses_have_a_sign_flip_p_over_rows():
    a, b = generated(), generated(gain=0.1, seed=1)
    found = by_metric(compare("test", "base", a, "tuned", b))
    expected = sign_flip((b["nll"] - a["nll"]).to_numpy())
    for name in ("loss", "perplexity", "average_log_likelihood", "bits_per_byte"):
        assert found[name].p == expected
        assert "sign-flip" in found[name].method
    assert found["loss"].difference == -found["average_log_likelihood"].difference
    assert found["loss"].fixed is None
    classifier = compare("test", "a", classified(seed=1), "b", classified(), SPAM, metrics=["loss"])
    assert classifier[0].method.startswith("sign-flip")


def test_S7_smallest_detectable_is_beside_every_difference():
    a, b = classified(seed=1), classified(skill=3)
    found = by_metric(compare("test", "base", a, "tuned", b, SPAM))
    accuracy = found["accuracy"]
    share = (accuracy.fixed + accuracy.broke) / 300
    assert accuracy.smallest_detectable == smallest_shown(300, share)
    assert found["mcc"].smallest_detectable > 0


def test_L6_unscored_rows_are_counted_and_listed():
    frame = generated().with_columns(
        [
            pl.when(pl.col("row_id").is_in([4, 9])).then(0).otherwise(pl.col(c)).alias(c)
            for c in ("nll", "tokens", "correct")
        ]
    )
    found = evaluate_text(frame)
    assert found.n == 58
    assert found.unscored == [4, 9]
    kept = frame.filter(pl.col("tokens") > 0)
    assert found.loss == pytest.approx(kept["nll"].sum() / kept["tokens"].sum())
    nothing = evaluate_text(frame.filter(pl.col("row_id").is_in([4, 9])))
    assert (nothing.n, nothing.loss, nothing.metrics) == (0, None, {})


def test_L6_nan_is_shown_and_has_no_interval():
    frame = generated().with_columns(
        nll=pl.when(pl.col("row_id") == 3).then(math.nan).otherwise("nll")
    )
    loss = evaluate_text(frame).metrics["loss"]
    assert all(math.isnan(x) for x in (loss.value, loss.low, loss.high))
    assert loss.method == "no interval: the value of a row is not finite"
    found = by_metric(compare("test", "base", generated(), "tuned", frame))
    assert math.isnan(found["loss"].p)
    assert not math.isnan(found["token_accuracy"].difference)


def test_one_text_has_no_interval():
    loss = evaluate_text(generated(1)).metrics["loss"]
    assert math.isfinite(loss.value)
    assert math.isnan(loss.low)
    assert loss.method == "no interval: one row only"


def test_certain_and_wrong_is_an_infinite_loss_without_an_interval():
    frame = classified(3).with_columns(
        label=pl.Series(["ham", "spam", "ham"]),
        probabilities=pl.Series([[0.0, 1.0], [0.1, 0.9], [0.7, 0.3]]),
    )
    found = evaluate_classification(frame, SPAM).metrics
    assert found["loss"].value == math.inf
    assert math.isnan(found["loss"].high)
    assert math.isfinite(found["brier"].high)
    compared = by_metric(compare("test", "a", frame, "b", frame, SPAM))
    assert math.isnan(compared["loss"].difference)


def test_K4_models_with_other_tokens_are_compared_in_bits_per_byte_only():
    other = generated(seed=1).with_columns(tokens=pl.col("tokens") * 2)
    assert set(by_metric(compare("test", "a", generated(), "b", other))) == {"bits_per_byte"}


def test_S7_where_no_row_changed_no_difference_is_called_detectable():
    frame = pl.DataFrame(
        {
            "row_id": range(40),
            "label": ["a", "b"] * 20,
            "predicted": ["a", "b", "b", "b"] * 10,
            "probabilities": [[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.3, 0.7]] * 10,
        }
    )
    found = {c.metric: c for c in compare("test", "x", frame, "y", frame, ["a", "b"], "a")}
    for name in ("f1", "loss", "brier", "ece", "mcc"):
        assert found[name].smallest_detectable is None, name
    assert found["accuracy"].smallest_detectable == smallest_shown(40, 0.0) > 0


def test_C4_precision_is_compared_only_where_both_models_have_one():
    found = classified(n=60)
    silent = found.select("row_id", "label", predicted=pl.lit("ham"))
    assert "precision" not in evaluate_classification(silent, SPAM, "spam").metrics
    names = {c.metric for c in compare("test", "majority", silent, "tuned", found, SPAM, "spam")}
    assert "precision" not in names
    assert {"recall", "f1", "macro_precision"} <= names


def without_predictions(rows):
    """As a run stores rows whose scores are not finite."""
    lost = pl.col("row_id").is_in(rows)
    spoilt = pl.lit([math.nan] * len(SPAM), pl.List(pl.Float64))
    return classified(40).with_columns(
        predicted=pl.when(lost).then(None).otherwise(pl.col("predicted")),
        probabilities=pl.when(lost).then(spoilt).otherwise(pl.col("probabilities")),
    )


def test_V5_rows_without_a_prediction_count_as_wrong():
    lost = [3, 7, 20]
    frame = without_predictions(lost)
    found = evaluate_classification(frame, SPAM, "spam")
    truth = frame["label"].to_list()
    predicted = frame["predicted"].fill_null("none").to_list()
    assert found.n == 40
    assert found.no_prediction == lost
    assert found.confusion is not None
    assert found.confusion.no_prediction == [sum(truth[i] == label for i in lost) for label in SPAM]
    assert sum(map(sum, found.confusion.counts)) == 37
    assert {k: row.support for k, row in found.per_class.items()} == {
        label: truth.count(label) for label in SPAM
    }
    values = {name: e.value for name, e in found.metrics.items()}
    pair = truth, predicted
    by_label = sk.precision_recall_fscore_support(*pair, labels=SPAM, zero_division=0)
    expected = {
        "accuracy": sk.accuracy_score(*pair),
        "balanced_accuracy": sk.recall_score(*pair, labels=SPAM, average="macro"),
        "macro_f1": float(np.mean(by_label[2])),
        "mcc": sk.matthews_corrcoef(*pair),
        "precision": by_label[0][1],
        "recall": by_label[1][1],
        "f1": by_label[2][1],
        "micro_precision": sk.precision_score(*pair, labels=SPAM, average="micro"),
        "micro_f1": sk.f1_score(*pair, labels=SPAM, average="micro"),
    }
    assert {name: values[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    assert found.metrics["accuracy"].denominator == 40


def test_V5_probability_metrics_of_rows_without_a_prediction_stay_nan():
    found = evaluate_classification(without_predictions([3]), SPAM, "spam")
    for name in ("loss", "brier", "ece", "roc_auc", "average_precision"):
        assert math.isnan(found.metrics[name].value), name
        assert math.isnan(found.metrics[name].low), name


def test_V5_a_label_outside_the_list_is_still_an_error():
    frame = without_predictions([3]).with_columns(
        predicted=pl.when(pl.col("row_id") == 5).then(pl.lit("eggs")).otherwise("predicted")
    )
    with pytest.raises(DataError, match=r"of 1 row .*eggs"):
        evaluate_classification(frame, SPAM)


def test_V5_comparisons_count_rows_without_a_prediction_as_wrong():
    whole = classified(40)
    lost = without_predictions([3, 7, 20])
    accuracy = by_metric(compare("test", "base", whole, "tuned", lost, SPAM))["accuracy"]
    right = int((whole["predicted"] == whole["label"]).gather([3, 7, 20]).sum())
    assert accuracy.difference == pytest.approx(-right / 40)
    assert (accuracy.fixed, accuracy.broke) == (0, right)


def test_V5_rows_of_a_language_model_without_a_finite_loss_are_listed():
    frame = generated().with_columns(
        nll=pl.when(pl.col("row_id") == 4).then(math.nan).otherwise(pl.col("nll"))
    )
    found = evaluate_text(frame)
    assert found.no_prediction == [4]
    assert math.isnan(found.loss)
    assert evaluate_text(generated()).no_prediction == []


def test_E2_models_scored_on_other_texts_are_compared_by_their_answers_alone() -> None:
    """Another template renders a row otherwise: its loss is of another text."""
    frame = pl.DataFrame(
        {
            "row_id": range(6),
            "nll": [1.0] * 6,
            "tokens": [3] * 6,
            "correct": [2] * 6,
            "bytes": [9] * 6,
            "completion": ["yes"] * 6,
            "reference": ["yes"] * 6,
        }
    )
    other = frame.with_columns(bytes=pl.lit(12), completion=pl.lit("no"))
    found = {c.metric for c in compare("test", "base", frame, "tuned", other)}
    assert "exact_match" in found
    assert "loss" not in found
    with pytest.raises(DataError, match="the raw text differs"):
        compare("test", "base", frame.drop("completion"), "tuned", other)
    with pytest.raises(DataError, match="not scored on the same rows"):
        compare("test", "base", frame, "tuned", other.head(5))
