"""p of paired differences: every one is exact or of a permutation test (S2b)."""

import itertools
import math

import numpy as np
import polars as pl
import pytest
import records
from ftev.core.judgement.selection import read_difference
from ftev.core.metrics.bootstrap import Resampling
from ftev.core.metrics.calibration import top_label
from ftev.core.metrics.comparisons import compare
from ftev.core.metrics.exchange import RANKED_ROWS, Null, Signs
from ftev.core.metrics.metric import METRICS
from ftev.core.metrics.results import Comparison
from ftev.core.metrics.rows import text_metrics
from ftev.core.metrics.statistics import mcnemar
from msgspec.structs import replace
from scipy import stats
from sklearn import metrics as sk

LABELS = ("no", "yes")


def frame(truth, predicted=None, p=None, clusters=None):
    """Predictions; `p` is the probability of "yes"."""
    names = np.array(LABELS)
    predicted = (np.asarray(p) >= 0.5).astype(int) if predicted is None else predicted
    columns = {"row_id": range(len(truth)), "label": names[truth], "predicted": names[predicted]}
    if p is not None:
        columns["probabilities"] = np.stack((1 - np.asarray(p), p), axis=1).tolist()
    if clusters is not None:
        columns["cluster"] = clusters
    return pl.DataFrame(columns)


def scores(n, skill, seed, truth):
    noise = np.random.default_rng(seed).normal(size=n)
    return 1 / (1 + np.exp(-(noise + skill * (2 * truth - 1))))


def pair(n, seed=0):
    truth = np.random.default_rng(seed).integers(0, 2, n)
    return truth, scores(n, 0.4, seed + 1, truth), scores(n, 1.0, seed + 2, truth)


def found(a, b, **more):
    return {c.metric: c for c in compare("test", "a", a, "b", b, LABELS, "yes", **more)}


def exchanged(statistic, a, b):
    """p of every exchange of rows [n, ...] of two models, the slow way."""
    observed = abs(statistic(b) - statistic(a))
    every = []
    for swap in itertools.product((False, True), repeat=len(a)):
        mask = np.array(swap).reshape(-1, *[1] * (a.ndim - 1))
        every.append(abs(statistic(np.where(mask, a, b)) - statistic(np.where(mask, b, a))))
    return np.mean(np.array(every) >= observed - 1e-9)


def test_S2b_five_rows_fixed_and_none_broken_are_not_shown():
    truth = np.array([0, 1, 0, 1, 1])
    c = found(frame(truth, 1 - truth), frame(truth, truth))
    assert c["accuracy"].p == 0.0625
    assert (c["accuracy"].fixed, c["accuracy"].broke) == (5, 0)
    for metric, d in c.items():
        assert d.p >= 0.0625, metric
        assert read_difference(replace(d, p_holm=None)) == "cannot tell", metric
    assert c["accuracy"].high == 1.0
    assert 0 < c["accuracy"].low < 1  # Tango's; the bootstrap's was [1, 1]


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_S2b_so_few_rows_can_never_show_anything(n):
    truth = np.arange(n) % 2
    for c in found(frame(truth, p=0.9 - 0.8 * truth), frame(truth, p=0.1 + 0.8 * truth)).values():
        assert not c.p <= 0.05, c.metric
        assert c.smallest_detectable is None, c.metric
        assert read_difference(replace(c, p_holm=None)) in ("cannot tell", "the same"), c.metric


def test_S2b_six_rows_can():
    truth = np.arange(6) % 2
    c = found(frame(truth, 1 - truth), frame(truth, truth))["accuracy"]
    assert c.p == 2 / 64
    assert read_difference(replace(c, p_holm=None)) == "better"


def macro_f1(rows):
    return sk.f1_score(rows[:, 0], rows[:, 1], average="macro", zero_division=0)


@pytest.mark.parametrize(
    ("metric", "statistic"),
    [
        ("accuracy", lambda rows: (rows[:, 0] == rows[:, 1]).mean()),
        ("macro_f1", macro_f1),
        ("mcc", lambda rows: sk.matthews_corrcoef(rows[:, 0], rows[:, 1])),
        ("balanced_accuracy", lambda rows: sk.balanced_accuracy_score(rows[:, 0], rows[:, 1])),
    ],
)
def test_S2b_p_of_counts_is_that_of_all_exchanges(metric, statistic):
    truth, p, q = pair(8)
    a, b = (np.stack((truth, (x >= 0.5).astype(int)), axis=1) for x in (p, q))
    c = found(frame(truth, a[:, 1]), frame(truth, b[:, 1]))[metric]
    assert c.p == pytest.approx(exchanged(statistic, a, b), abs=1e-12)
    assert "exact" in c.method


@pytest.mark.parametrize(
    ("metric", "statistic"),
    [
        ("loss", lambda rows: sk.log_loss(rows[:, 0], rows[:, 1])),
        ("brier", lambda rows: sk.brier_score_loss(rows[:, 0], rows[:, 1])),
        (
            "ece",
            lambda rows: (
                top_label(
                    rows[:, 0].astype(int), np.stack((1 - rows[:, 1], rows[:, 1]), axis=1)
                ).ece
            ),
        ),
    ],
)
def test_S2b_p_of_probabilities_is_that_of_all_exchanges(metric, statistic):
    truth, p, q = pair(8)
    a, b = (np.stack((truth, x), axis=1) for x in (p, q))
    c = found(frame(truth, p=p), frame(truth, p=q))[metric]
    assert c.p == pytest.approx(exchanged(statistic, a, b), abs=1e-12)


@pytest.mark.parametrize(
    ("metric", "statistic"),
    [("roc_auc", sk.roc_auc_score), ("average_precision", sk.average_precision_score)],
)
def test_S2b_ranking_areas_exchange_ranks_within_each_model(metric, statistic):
    truth, p, q = pair(8)
    ranks = [np.stack((truth, stats.rankdata(x)), axis=1) for x in (p, q)]
    expected = exchanged(lambda rows: statistic(rows[:, 0], rows[:, 1]), *ranks)
    c = found(frame(truth, p=p), frame(truth, p=q))[metric]
    assert c.p == pytest.approx(expected, abs=1e-12)
    other_scale = found(frame(truth, p=p), frame(truth, p=q**9))[metric]  # the same ranks
    assert other_scale.p == c.p
    assert "ranks exchanged within each model" in c.method


@pytest.mark.parametrize("metric", ["macro_f1", "loss", "ece"])
def test_S2b_drawn_exchanges_agree_with_scipy(metric):
    truth, p, q = pair(60, seed=5)

    def statistic(x, y, axis=-1):
        def one(values):
            if metric == "loss":
                return sk.log_loss(truth, values)
            if metric == "ece":
                return top_label(truth, np.stack((1 - values, values), axis=1)).ece
            return sk.f1_score(truth, values >= 0.5, average="macro")

        x, y = np.atleast_2d(x), np.atleast_2d(y)
        return np.array([one(b) - one(a) for a, b in zip(x, y, strict=True)])

    expected = stats.permutation_test(
        (p, q),
        lambda x, y: statistic(x, y)[0],
        permutation_type="samples",
        vectorized=False,
        n_resamples=400,
        rng=np.random.default_rng(0),
    )
    c = found(frame(truth, p=p), frame(truth, p=q))[metric]
    assert c.p == pytest.approx(expected.pvalue, abs=0.06)
    assert "10,000 exchanges by row, seed 0" in c.method or "exact" in c.method


def test_S2b_the_observed_exchange_is_counted():
    truth = np.arange(40) % 2
    c = found(frame(truth, 1 - truth), frame(truth, truth), resampling=Resampling(draws=99))
    assert c["mcc"].p == 1 / 100


def test_S2b_cost_of_counts_does_not_grow_with_rows():
    signs = Signs(np.array([3, 10**7]), Resampling(draws=50))
    [drawn] = signs.drawn()
    assert drawn.shape == (50, 2)
    assert abs(drawn[:, 1]).max() < 10**5  # binomial: some thousands


@pytest.mark.parametrize("metric", ["roc_auc", "average_precision"])
def test_S2b_delong_continues_the_exchanged_ranks(metric, monkeypatch):
    truth, p, q = pair(600, seed=3)
    q = 0.6 * p + 0.4 * q
    by_ranks = found(frame(truth, p=p), frame(truth, p=q))[metric]
    monkeypatch.setattr("ftev.core.metrics.exchange.RANKED_ROWS", 0)
    limit = found(frame(truth, p=p), frame(truth, p=q))[metric]
    assert RANKED_ROWS >= 600
    assert "DeLong" in limit.method
    assert limit.p == pytest.approx(by_ranks.p, rel=0.3, abs=0.005)
    assert limit.smallest_detectable == pytest.approx(by_ranks.smallest_detectable, rel=0.1)


def test_S2b_the_normal_limit_continues_the_exchanges(monkeypatch):
    truth, p, q = pair(400, seed=8)
    q = 0.8 * p + 0.2 * q
    drawn = found(frame(truth, p=p), frame(truth, p=q))
    monkeypatch.setattr("ftev.core.metrics.exchange.ROWS_DRAWN", 0)
    limit = found(frame(truth, p=p), frame(truth, p=q))
    for metric in ("loss", "brier", "ece", "macro_f1", "mcc"):
        assert limit[metric].p == pytest.approx(drawn[metric].p, abs=0.03), metric
        assert "normal limit" in limit[metric].method, metric


def test_S2b_text_metrics_exchange_the_sums_of_rows():
    rng = np.random.default_rng(0)
    tokens = rng.integers(3, 30, 9)
    a, b = (np.stack((tokens * rng.gamma(3, s, 9), tokens), axis=1) for s in (0.5, 0.4))

    def text(rows):
        return pl.DataFrame(
            {
                "row_id": range(9),
                "nll": rows[:, 0],
                "tokens": tokens,
                "correct": tokens // 2,
                "bytes": tokens * 3,
            }
        )

    def perplexity(rows):
        return text_metrics(rows[:, 0], tokens, tokens // 2, tokens)["perplexity"]

    c = {d.metric: d for d in compare("test", "a", text(a), "b", text(b))}
    assert c["perplexity"].p == pytest.approx(exchanged(perplexity, a, b), abs=1e-12)
    assert c["token_accuracy"].p == 1.0


def test_S2b_corpus_metrics_of_answers_have_a_permutation_p():
    words = ["a cat sat here", "the dog ran off", "we went home", "it rained all day", "no idea"]
    references = [f"{w} {i}" for i, w in enumerate(words * 3)]
    worse = [r if i % 3 else "nothing of the kind" for i, r in enumerate(references)]

    def answered(answers):
        n = len(answers)
        sums = {name: [2.0] * n for name in ("nll",)} | {
            name: [2] * n for name in ("tokens", "correct", "bytes")
        }
        return pl.DataFrame(
            {"row_id": range(n), **sums, "completion": answers, "reference": references}
        )

    c = {d.metric: d for d in compare("t", "a", answered(worse), "b", answered(references))}
    for metric in ("bleu", "chrf"):
        assert c[metric].p == 2 / 32  # five rows differ
        assert "exact permutation p" in c[metric].method
        assert c[metric].smallest_detectable is None
    assert c["exact_match"].p == 2 / 32


def test_S2b_no_p_comes_from_the_bootstrap():
    truth, p, q = pair(80)
    for c in found(frame(truth, p=p), frame(truth, p=q)).values():
        result = c.method.partition(";")[0]
        assert "permutation p" in result or "McNemar" in result, c.metric
        assert "same draws" not in c.method
        assert METRICS[c.metric].name == c.metric


def test_S2b_accuracy_keeps_mcnemar_which_is_the_sign_exchange():
    truth, p, q = pair(9, seed=4)
    a, b = ((x >= 0.5).astype(int) for x in (p, q))
    c = found(frame(truth, a), frame(truth, b))["accuracy"]
    assert c.p == mcnemar(c.broke, c.fixed).exact
    rows = [np.stack((truth, x), axis=1) for x in (a, b)]
    assert c.p == pytest.approx(exchanged(lambda r: (r[:, 0] == r[:, 1]).mean(), *rows))


def test_S2b_a_difference_without_p_is_not_shown():
    plain = {"metric": "loss", "difference": -1.0, "low": -2.0, "high": -0.5, "p": math.nan}
    c = records.record(Comparison, plain)
    assert read_difference(c) == "cannot tell"
    assert read_difference(replace(c, p=0.2)) == "cannot tell"
    assert read_difference(replace(c, p=0.05)) == "better"
    assert read_difference(replace(c, p=0.05, high=0.1)) == "cannot tell"


def test_S2b_a_large_difference_does_not_hide_small_ones() -> None:
    """Rows that all moved by about 2 nats, ± 0.45: small differences show from 2.8 × 0.06 on."""
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {"row_id": range(59), "nll": rng.gamma(9, 60, 59), "tokens": [500] * 59,
         "correct": [100] * 59, "bytes": [1500] * 59}
    )  # fmt: skip
    after = frame.with_columns(
        nll=pl.col("nll") - 500 * (2 + 0.45 * pl.Series(rng.normal(size=59)))
    )
    [c] = compare("test", "base", frame, "tuned", after, metrics=["loss"])
    assert c.smallest_detectable == pytest.approx(2.8 * 0.45 / np.sqrt(59), rel=0.25)


@pytest.mark.parametrize(
    ("counts", "every"),
    [([1] * 13, True), ([1] * 14, False), ([99, 99], True), ([100, 99], False), ([9999], True)],
)
def test_S2b_all_exchanges_are_made_where_they_are_no_more_than_the_draws(counts, every):
    """8,192 and 16,384 patterns; 100 × 100 and 101 × 100 sums."""
    assert Signs(np.array(counts), Resampling(draws=10_000)).every is every


def test_S2b_all_exchanges_have_the_chances_of_their_signs():
    sums, chances = Signs(np.array([2, 1]), Resampling()).all()
    found = {tuple(row): p for row, p in zip(sums.tolist(), chances.tolist(), strict=True)}
    expected = {(a, b): p / 8 for a, p in ((-2.0, 1), (0.0, 2), (2.0, 1)) for b in (-1.0, 1.0)}
    assert found == pytest.approx(expected)


def test_S2b_p_of_all_exchanges_is_never_above_1():
    for counts in itertools.product(range(1, 6), repeat=3):
        patterns, weights = Signs(np.array(counts), Resampling()).all()
        every = Null({"accuracy": patterns.sum(axis=1)}, sum(counts), weights)
        p = every.p("accuracy", 0.0, 1.0)
        assert p == pytest.approx(1)
        assert p <= 1
