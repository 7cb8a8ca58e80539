import math
import warnings
from itertools import pairwise

import numpy as np
import pytest
from ftev.core.metrics import probabilities
from ftev.core.metrics.bootstrap import values_of
from ftev.core.metrics.counts import (
    classification_metrics,
    confusion,
    default_positive,
    majority_counts,
    per_class,
    undefined_labels,
)
from ftev.core.metrics.metric import METRICS
from ftev.core.metrics.probabilities import ProbabilityScores, ranking_influence
from ftev.core.metrics.results import LabelScores
from ftev.core.metrics.rows import text_metrics
from ftev.core.metrics.sums import EXP_LIMIT, exponential
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

NAMES_PROMISED = {
    "accuracy",
    "balanced_accuracy",
    "macro_precision",
    "macro_recall",
    "macro_f1",
    "weighted_f1",
    "precision",
    "recall",
    "f1",
    "mcc",
    "roc_auc",
    "average_precision",
    "brier",
    "ece",
    "loss",
    "perplexity",
    "token_accuracy",
    "average_log_likelihood",
    "bits_per_byte",
    "exact_match",
    "bleu",
    "chrf",
    "rouge1",
    "rouge2",
    "rougeL",
}
unhurried = settings(deadline=None)  # the machine may be busy


def test_table_has_every_promised_metric_under_its_own_name():
    assert set(METRICS) >= NAMES_PROMISED
    assert all(name == metric.name for name, metric in METRICS.items())


def test_T2_direction_is_a_property_of_the_metric():
    lower = {name for name, metric in METRICS.items() if metric.direction == "lower"}
    assert lower == {
        *("brier", "ece", "loss", "perplexity", "bits_per_byte", "hamming_loss", "mae", "rmse")
    }


def test_C1_averages_are_named_in_full():
    titles = {"macro": "macro-averaged", "micro": "micro-averaged", "weighted": "support-weighted"}
    for prefix, title in titles.items():
        for name in ("precision", "recall", "f1"):
            assert METRICS[f"{prefix}_{name}"].title.startswith(title)


def test_C1_confusion_counts_truth_by_row_in_the_order_of_the_labels():
    counts = confusion(np.array([0, 0, 1, 2]), np.array([0, 2, 1, 1]), 3)
    assert counts.tolist() == [[1, 0, 1], [0, 1, 0], [0, 1, 0]]
    assert counts.dtype == np.int64


def test_confusion_refuses_codes_outside_the_label_list():
    with pytest.raises(ValueError, match="outside"):
        confusion(np.array([0, 3]), np.array([0, 0]), 3)


def test_C2_macro_f1_is_mean_of_class_f1():
    counts = np.array([[1, 1, 0], [0, 2, 0], [1, 0, 1]])
    rows = per_class(counts, ("a", "b", "c"))
    pairs = [(row.precision, row.recall) for row in rows.values()]
    assert pairs == [(0.5, 0.5), (pytest.approx(2 / 3), 1.0), (1.0, 0.5)]
    found = classification_metrics(counts, ("a", "b", "c"), None)
    assert found["macro_f1"] == pytest.approx(0.6556, abs=5e-5)
    p, r = found["macro_precision"], found["macro_recall"]
    assert 2 * p * r / (p + r) == pytest.approx(0.6933, abs=5e-4)  # the wrong one


def test_C3_class_never_predicted_has_f1_0_and_absent_class_is_left_out():
    counts = np.array([[8, 0, 0], [2, 0, 0], [0, 0, 0]])
    labels = ("common", "missed", "absent")
    rows = per_class(counts, labels)
    assert rows["missed"] == LabelScores(0.0, 0.0, 0.0, 2)
    assert "absent" not in rows
    assert undefined_labels(counts, labels) == ["absent"]
    found = classification_metrics(counts, labels, None)
    assert found["macro_f1"] == pytest.approx((16 / 18 + 0) / 2)


def test_C4_positive_is_the_rarer_of_two_labels():
    assert default_positive(("ham", "spam"), {"ham": 90, "spam": 10}) == "spam"
    assert default_positive(("fraud", "fine"), {"fraud": 3, "fine": 97}) == "fraud"
    assert default_positive(("no", "yes"), {"no": 5, "yes": 5}) == "yes"
    assert default_positive(("a", "b", "c"), {"a": 1, "b": 2, "c": 3}) is None


def test_C4_binary_metrics_are_of_the_positive_label_alone():
    counts = np.array([[85, 15], [10, 90]])
    assert classification_metrics(counts, ("p", "n"), "p")["recall"] == 0.85
    assert classification_metrics(counts, ("p", "n"), "n")["recall"] == 0.9
    assert "recall" not in classification_metrics(counts, ("p", "n"), None)


def test_C4_precision_of_a_label_never_predicted_is_absent_and_its_f1_is_0():
    counts = np.array([[9, 0], [3, 0]])
    found = classification_metrics(counts, ("no", "yes"), "yes")
    truth, answers = [0] * 9 + [1] * 3, [0] * 12
    assert np.isnan(sk.precision_score(truth, answers, zero_division=np.nan))
    assert "precision" not in found
    assert found["recall"] == sk.recall_score(truth, answers) == 0.0
    assert found["f1"] == sk.f1_score(truth, answers) == 0.0
    assert found["macro_precision"] == sk.precision_score(
        truth, answers, average="macro", zero_division=0
    )


def test_C4_recall_without_positive_rows_is_absent():
    found = classification_metrics(np.array([[9, 1], [0, 0]]), ("no", "yes"), "yes")
    assert "recall" not in found
    assert found["precision"] == 0.0


def test_C5_vector():
    found = classification_metrics(np.array([[85, 15], [10, 90]]), ("p", "n"), "p")
    expected = {"precision": 0.8947, "recall": 0.85, "f1": 0.8718, "accuracy": 0.875}
    assert {name: round(found[name], 4) for name in expected} == expected


def test_C6_majority_predictor():
    counts = majority_counts(("ham", "spam"), {"ham": 700, "spam": 30}, {"ham": 95, "spam": 5})
    assert counts.tolist() == [[95, 0], [5, 0]]
    found = classification_metrics(counts, ("ham", "spam"), "spam")
    expected = {"accuracy": 0.95, "balanced_accuracy": 0.5, "macro_f1": 0.487, "weighted_f1": 0.926}
    assert {name: round(found[name], 3) for name in expected} == expected
    assert found["mcc"] == 0


def test_C7_high_accuracy_does_not_hide_low_recall():
    found = classification_metrics(np.array([[974, 1], [22, 3]]), ("fine", "fraud"), "fraud")
    assert round(found["accuracy"], 2) == 0.98
    assert found["recall"] == 0.12


def sklearn_count_metrics(truth, predicted):
    found = {"accuracy": sk.accuracy_score(truth, predicted)}
    for average in ("macro", "micro", "weighted"):
        scores = sk.precision_recall_fscore_support(
            truth, predicted, average=average, zero_division=0
        )
        names = (f"{average}_precision", f"{average}_recall", f"{average}_f1")
        found |= dict(zip(names, scores, strict=False))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # labels predicted but never true; one label only
        found["balanced_accuracy"] = sk.balanced_accuracy_score(truth, predicted)
        found["mcc"] = sk.matthews_corrcoef(truth, predicted)
    return found


@unhurried
@given(
    st.integers(1, 8).flatmap(
        lambda c: st.lists(
            st.tuples(st.integers(0, c - 1), st.integers(0, c - 1)), min_size=1, max_size=80
        )
    ),
    st.integers(0, 3),
)
def test_C1_count_metrics_equal_sklearn(pairs, labels_unused):
    truth, predicted = np.array(pairs).T
    labels = [str(i) for i in range(int(np.max(pairs)) + 1 + labels_unused)]
    found = classification_metrics(confusion(truth, predicted, len(labels)), labels, None)
    for name, value in sklearn_count_metrics(truth, predicted).items():
        assert found[name] == pytest.approx(value, abs=1e-9), name


@unhurried
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1), st.integers(0, 1))
def test_C4_binary_metrics_equal_sklearn(pairs, positive):
    truth, predicted = np.array(pairs).T
    counts = confusion(truth, predicted, 2)
    found = classification_metrics(counts, ("0", "1"), str(positive))
    scores = sk.precision_recall_fscore_support(
        truth, predicted, average="binary", pos_label=positive, labels=[0, 1], zero_division=0
    )
    for name, value in zip(("precision", "recall", "f1"), scores, strict=False):
        if name in found:
            assert found[name] == pytest.approx(value, abs=1e-9)
        elif name == "precision":
            assert not counts[:, positive].any()
        else:
            assert not counts[positive].any()


def probability_metrics(truth, probabilities, labels, positive):
    code = list(labels).index(positive) if positive is not None else None
    return values_of(ProbabilityScores(truth, probabilities, code))


def scored(n_labels, n, seed, digits=2):
    """Probabilities with ties, and truth drawn from them."""
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(n_labels), n).round(digits) + 1e-3
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    truth = (rng.random(n)[:, None] > probabilities.cumsum(axis=1)[:, :-1]).sum(axis=1)
    return truth, probabilities


@pytest.mark.parametrize("seed", range(5))
def test_binary_probability_metrics_equal_sklearn(seed):
    truth, probabilities = scored(2, 300, seed)
    for positive in (0, 1):
        found = probability_metrics(truth, probabilities, ("0", "1"), str(positive))
        yes, p = truth == positive, probabilities[:, positive]
        assert found["roc_auc"] == pytest.approx(sk.roc_auc_score(yes, p), abs=1e-9)
        assert found["average_precision"] == pytest.approx(
            sk.average_precision_score(yes, p), abs=1e-9
        )
        assert found["brier"] == pytest.approx(sk.brier_score_loss(yes, p), abs=1e-9)
        assert found["loss"] == pytest.approx(sk.log_loss(truth, probabilities), abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_probability_metrics_of_many_labels_equal_sklearn(seed):
    truth, probabilities = scored(5, 300, seed)
    found = probability_metrics(truth, probabilities, "abcde", None)
    one_hot = np.eye(5)[truth]
    assert found["roc_auc"] == pytest.approx(
        sk.roc_auc_score(truth, probabilities, multi_class="ovr"), abs=1e-9
    )
    assert found["average_precision"] == pytest.approx(
        sk.average_precision_score(one_hot, probabilities), abs=1e-9
    )
    assert found["brier"] == pytest.approx(sk.brier_score_loss(truth, probabilities), abs=1e-9)


def test_C3_ranking_areas_leave_out_labels_without_rows():
    truth, probabilities = scored(4, 200, 0)
    truth[truth == 3] = 0
    found = probability_metrics(truth, probabilities, "abcd", None)
    areas = [sk.roc_auc_score(truth == c, probabilities[:, c]) for c in range(3)]
    assert found["roc_auc"] == pytest.approx(np.mean(areas), abs=1e-9)


def test_ranking_areas_are_absent_when_all_rows_have_one_label():
    found = probability_metrics(np.zeros(3, int), np.full((3, 2), 0.5), ("a", "b"), "b")
    assert set(found) == {"loss", "brier", "ece"}


def test_B1_ece_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.3, 0.7], [0.2, 0.8]])
    truth = np.array([0, 1, 1, 1])
    # Bins (13/15, 14/15]: two rows at .9, half right; (10/15, 11/15]: .7; (11/15, 12/15]: .8.
    expected = 2 / 4 * abs(0.9 - 0.5) + 1 / 4 * (1 - 0.7) + 1 / 4 * (1 - 0.8)
    found = probability_metrics(truth, probabilities, ("a", "b"), "b")
    assert found["ece"] == pytest.approx(expected, abs=1e-12)


def test_B1_ece_bins_are_15_of_equal_width_closed_above():
    truth, probabilities = scored(3, 1000, 3)
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    expected, edges = 0.0, np.linspace(0, 1, 16)
    for low, high in pairwise(edges):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            expected += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    found = probability_metrics(truth, probabilities, "abc", None)
    assert found["ece"] == pytest.approx(expected, abs=1e-12)


def test_impossible_true_label_is_an_infinite_loss_and_nan_stays_nan():
    truth = np.array([0, 1, 0])
    certain = np.array([[0.0, 1.0], [0.2, 0.8], [0.6, 0.4]])
    assert probability_metrics(truth, certain, ("a", "b"), "b")["loss"] == math.inf
    certain[0] = math.nan
    found = probability_metrics(truth, certain, ("a", "b"), "b")
    assert all(math.isnan(value) for value in found.values())


@pytest.mark.parametrize("n_labels", [2, 4])
def test_first_order_expansion_is_the_derivative_of_the_ranking_areas(n_labels):
    truth, probabilities = scored(n_labels, 120, 1)
    scores = ProbabilityScores(truth, probabilities, 1 if n_labels == 2 else None)
    features = scores.features(slice(None))
    for row in (0, 7, 50):
        weights = np.ones((2, scores.n))
        weights[:, row] += (1e-4, -1e-4)
        moved = scores.reweighted(weights)
        for name, column in (("roc_auc", 2), ("average_precision", 3)):
            slope = (moved[name][0] - moved[name][1]) / 2e-4 * scores.n
            assert slope == pytest.approx(features[row, column], abs=1e-6)


def test_reweighted_areas_equal_areas_of_repeated_rows():
    truth, probabilities = scored(2, 80, 2)
    weights = np.random.default_rng(0).integers(0, 4, (3, 80)).astype(float)
    found = ProbabilityScores(truth, probabilities, 1).reweighted(weights)
    for i, repeats in enumerate(weights.astype(int)):
        yes, p = np.repeat(truth, repeats), np.repeat(probabilities[:, 1], repeats)
        assert found["roc_auc"][i] == pytest.approx(sk.roc_auc_score(yes, p), abs=1e-9)
        expected = sk.average_precision_score(yes, p)
        assert found["average_precision"][i] == pytest.approx(expected, abs=1e-9)


def test_L1_loss_is_one_division_and_perplexity_its_exponential():
    nll, tokens = np.array([2.0, 90.0]), np.array([2, 18])  # row means 1 and 5
    found = text_metrics(nll, tokens, np.array([1, 4]), np.array([8, 80]))
    assert found["loss"] == 92 / 20
    assert found["perplexity"] == math.exp(92 / 20)
    assert found["token_accuracy"] == 5 / 20
    assert found["average_log_likelihood"] == -92 / 20


def test_L6_rows_with_nothing_to_score_are_left_out():
    nll, tokens = np.array([6.0, 0.0]), np.array([3, 0])
    found = text_metrics(nll, tokens, np.array([1, 0]), np.array([12, 500]))
    assert found["loss"] == 2.0
    assert found["bits_per_byte"] == pytest.approx(6 / (12 * math.log(2)))
    assert text_metrics(nll[1:], tokens[1:], tokens[1:], tokens[1:]) == {}


def test_L6_nan_and_infinity_are_shown():
    tokens = np.array([3, 3])
    found = text_metrics(np.array([6.0, math.nan]), tokens, tokens, tokens)
    assert math.isnan(found["loss"])
    assert found["token_accuracy"] == 1.0
    assert text_metrics(np.array([6.0, math.inf]), tokens, tokens, tokens)["loss"] == math.inf
    assert text_metrics(np.array([6e3, 6e3]), tokens, tokens, tokens)["perplexity"] == math.inf


def test_K4_bits_per_byte_vector():
    tokens, n_bytes = np.array([1000]), np.array([4200])
    found = text_metrics(np.array([2000.0]), tokens, tokens, n_bytes)
    assert found["bits_per_byte"] == pytest.approx(0.687, abs=5e-4)


def test_K4_bits_per_byte_is_absent_without_bytes():
    tokens = np.array([3])
    assert "bits_per_byte" not in text_metrics(np.array([6.0]), tokens, tokens, np.array([0]))


def test_a_ranking_in_pieces_is_the_whole_ranking(monkeypatch):
    rng = np.random.default_rng(5)
    scores = np.round(rng.random(500), 2)  # many ties, some across the edges of pieces
    is_positive = rng.random(500) < scores
    whole = ranking_influence(is_positive, scores)
    monkeypatch.setattr(probabilities, "RANKED_AT_ONCE", 7)
    pieces = ranking_influence(is_positive, scores)
    assert pieces[:4] == pytest.approx(whole[:4], rel=1e-12)
    for found, expected in zip(pieces[4:], whole[4:], strict=True):
        assert np.allclose(found, expected, atol=1e-9)
        assert found.sum() == pytest.approx(0, abs=1e-8)
    assert whole.area == pytest.approx(sk.roc_auc_score(is_positive, scores), abs=1e-12)


def test_an_exponential_is_infinite_only_beyond_its_limit():
    assert exponential(EXP_LIMIT) == math.exp(EXP_LIMIT)
    assert exponential(EXP_LIMIT + 0.1) == math.inf
