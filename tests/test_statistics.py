import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from ftev.core.metrics import bootstrap, smoothing
from ftev.core.metrics.bootstrap import (
    Resampling,
    bootstrap_cells,
    bootstrap_rows,
    percentile_interval,
    standard_error,
)
from ftev.core.metrics.clusters import Clusters, sign_flip_p
from ftev.core.metrics.counts import classification_metrics, confusion, joint_cells
from ftev.core.metrics.probabilities import ProbabilityScores
from ftev.core.metrics.rows import TextRows
from ftev.core.metrics.statistics import (
    holm,
    mcnemar,
    mcnemar_power,
    sign_flip,
    smallest_detectable,
    smallest_detectable_of,
    smallest_shown,
    tango,
    wilson,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import minimize_scalar
from scipy.special import xlogy
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

DRAWS = Resampling()
unhurried = settings(deadline=None)  # the machine may be busy


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [(90, 100, 0.8256, 0.9448), (27, 30, 0.7438, 0.9654), (0, 20, 0, 0.1611), (50, 50, 0.9287, 1)],
)
def test_S1_wilson_vectors(k, n, low, high):
    assert wilson(k, n) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


@unhurried
@given(st.integers(1, 10**6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_S1_wilson_equals_statsmodels(pair):
    low, high = proportion_confint(*pair, method="wilson")
    assert wilson(*pair) == (pytest.approx(low, abs=1e-9), pytest.approx(high, abs=1e-9))


def test_S1_wilson_of_no_rows_is_nan():
    assert all(math.isnan(x) for x in wilson(0, 0))


def predictions(n=200, n_labels=4, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, n_labels, n)
    predicted = np.where(rng.random(n) < 0.7, truth, rng.integers(0, n_labels, n))
    return truth, predicted


def macro_f1(truth, predicted, n_labels=4):
    counts = confusion(truth, predicted, n_labels)
    return classification_metrics(counts, "abcd"[:n_labels], None)["macro_f1"]


def draws_of_macro_f1(truth, predicted, resampling=DRAWS):
    cells = joint_cells(truth, (predicted,), 4)
    sums = cells.sums(0)
    return bootstrap_cells(cells.counts, lambda c: sums.metrics(c, None), resampling)["macro_f1"]


@pytest.mark.parametrize("n", [40, 400])  # rows drawn one by one, and cells by the multinomial
def test_S2_interval_and_standard_error_equal_scipy(n):
    truth, predicted = predictions(n)
    draws = draws_of_macro_f1(truth, predicted)
    expected = stats.bootstrap(
        (truth, predicted),
        macro_f1,
        paired=True,
        vectorized=False,
        n_resamples=4000,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    interval, error = percentile_interval(draws), expected.standard_error
    assert standard_error(draws) == pytest.approx(error, rel=0.05)  # never divided by √draws
    assert interval.low == pytest.approx(expected.confidence_interval.low, abs=error / 5)
    assert interval.high == pytest.approx(expected.confidence_interval.high, abs=error / 5)


def test_S2_10_000_draws_repeat_with_their_seed():
    pair = predictions()
    draws = draws_of_macro_f1(*pair)
    assert len(draws) == 10_000
    assert np.array_equal(draws, draws_of_macro_f1(*pair))
    assert not np.array_equal(draws, draws_of_macro_f1(*pair, Resampling(seed=1)))


def test_S2_cells_give_the_metrics_of_the_rows_they_count():
    truth, predicted = predictions()
    cells = joint_cells(truth, (predicted,), 4)
    found = cells.sums(0).metrics(cells.counts[None, :].astype(float), None)
    expected = classification_metrics(confusion(truth, predicted, 4), "abcd", None)
    assert {name: value[0] for name, value in found.items()} == pytest.approx(expected, abs=1e-12)


def test_S2_joint_cells_of_many_labels_are_those_of_few():
    rng = np.random.default_rng(0)
    truth, a, b = rng.integers(0, 300, (3, 500))
    cells = joint_cells(truth, (a, b), 300)  # 27 million codes: counted by sorting
    expected = np.unique(np.stack((truth, a, b)), axis=1, return_counts=True)
    assert np.array_equal(np.stack((cells.truth, *cells.predicted)), expected[0])
    assert np.array_equal(cells.counts, expected[1])


def text_rows(n, seed=0):
    rng = np.random.default_rng(seed)
    tokens = rng.integers(1, 60, n)
    nll = tokens * rng.gamma(4, 0.5, n)
    return TextRows(np.arange(n), np.stack((nll, tokens, tokens // 3, tokens * 4), axis=1) * 1.0)


def test_S2_ratio_bootstrap_equals_scipy():
    rows = text_rows(150)
    (draws,), by_rows = bootstrap_rows([rows], DRAWS)
    nll, tokens = rows.sums[:, 0], rows.sums[:, 1]
    expected = stats.bootstrap(
        (nll, tokens),
        lambda x, y, axis: x.sum(axis) / y.sum(axis),
        paired=True,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    assert by_rows
    error = expected.standard_error
    assert standard_error(draws["loss"]) == pytest.approx(error, rel=0.05)
    low, high = expected.confidence_interval
    assert percentile_interval(draws["loss"]) == (
        pytest.approx(low, abs=error / 8),
        pytest.approx(high, abs=error / 8),
    )


def probability_scores(n, n_labels=2):
    rng = np.random.default_rng(3)
    probabilities = rng.dirichlet(np.ones(n_labels), n)
    truth = (rng.random(n)[:, None] > probabilities.cumsum(axis=1)[:, :-1]).sum(axis=1)
    return ProbabilityScores(truth, probabilities, 1 if n_labels == 2 else None)


@pytest.mark.parametrize("scores", [text_rows(4000), probability_scores(4000)])
def test_S2_normal_limit_gives_the_interval_of_resampled_rows(scores, monkeypatch):
    (by_rows,), exact = bootstrap_rows([scores], DRAWS)
    monkeypatch.setattr(bootstrap, "ROWS_DRAWN", 0)
    (limit,), also_exact = bootstrap_rows([scores], DRAWS)
    assert exact
    assert not also_exact
    for name, draws in by_rows.items():
        error = standard_error(draws)
        assert standard_error(limit[name]) == pytest.approx(error, rel=0.05), name
        expected = percentile_interval(draws)
        assert percentile_interval(limit[name]) == pytest.approx(expected, abs=error / 5), name


def test_S2_first_order_expansion_gives_the_interval_of_ranking_anew(monkeypatch):
    scores = probability_scores(600, 3)
    (anew,), _ = bootstrap_rows([scores], DRAWS)
    monkeypatch.setattr("ftev.core.metrics.probabilities.RANKED_CELLS", 0)
    (expanded,), _ = bootstrap_rows([scores], DRAWS)
    for name in ("roc_auc", "average_precision"):
        error = standard_error(anew[name])
        assert standard_error(expanded[name]) == pytest.approx(error, rel=0.05)
        expected = percentile_interval(anew[name])
        assert percentile_interval(expanded[name]) == pytest.approx(expected, abs=error / 4)


@pytest.mark.parametrize("clusters", [None, Clusters(np.arange(60) // 4, 15)])
@pytest.mark.parametrize("models", [1, 2])
def test_V14_both_ends_are_drawn_at_once_and_are_those_drawn_apart(models, clusters, monkeypatch):
    one = probability_scores(60, 3)
    scores = [one, replace(one, probabilities=one.probabilities[::-1])][:models]
    calls = []
    counted = lambda *a, **k: calls.append(a) or bootstrap_rows(*a, **k)  # noqa: E731
    monkeypatch.setattr(smoothing, "bootstrap_rows", counted)
    together = smoothing.smoothed_scores(scores, clusters, Resampling(draws=300))
    assert len(calls) == 1
    monkeypatch.setattr(smoothing, "rows_are_drawn", lambda *_: False)  # each by itself
    apart = smoothing.smoothed_scores(scores, clusters, Resampling(draws=300))
    assert len(calls) == 3
    for ours, theirs in ((together.worst, apart.worst), (together.best, apart.best)):
        assert ours.keys() == theirs.keys() >= {"loss"}
        assert all(np.array_equal(ours[name], theirs[name], equal_nan=True) for name in ours)


def test_S2_a_row_that_is_not_finite_leaves_no_interval():
    rows = text_rows(50)
    rows.sums[3, 0] = math.nan
    (draws,), _ = bootstrap_rows([rows], DRAWS)
    assert np.isnan(draws["loss"]).all()
    assert np.isfinite(draws["token_accuracy"]).all()
    assert all(math.isnan(x) for x in percentile_interval(draws["loss"]))


def test_S2_infinite_draws_are_ranked_and_not_interpolated():
    draws = np.append(np.arange(100.0), [math.inf] * 10)
    assert percentile_interval(draws) == (2.0, math.inf)


@pytest.mark.parametrize(
    ("b", "c", "exact", "mid_p"),
    [
        (0, 5, 0.0625, 0.03125),
        (1, 7, 0.070312, 0.039063),
        (5, 15, 0.041389, 0.026604),
        (40, 60, 0.056888, 0.046044),
        (3, 3, 1, 1),
        (0, 0, 1, 1),
    ],
)
def test_S4_mcnemar_vectors(b, c, exact, mid_p):
    expected = (pytest.approx(exact, abs=1e-6), pytest.approx(mid_p, abs=1e-6))
    assert mcnemar(b, c) == expected
    assert mcnemar(c, b) == expected


def test_S4_a_mid_p_below_every_float_is_not_told_as_zero():
    assert mcnemar(2, 2821).method == "exact McNemar p (mid-p below 1e-300)"
    assert mcnemar(5, 12).method == f"exact McNemar p (mid-p {mcnemar(5, 12).mid_p:.4g})"


@unhurried
@given(st.integers(0, 500), st.integers(0, 500))
def test_S4_mcnemar_equals_statsmodels(b, c):
    expected = statsmodels_mcnemar([[0, b], [c, 0]], exact=True).pvalue if b + c else 1.0
    assert mcnemar(b, c).exact == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("b", "c"), [(15, 1060), (1400, 1600), (2990, 3010)])
def test_S4_mcnemar_of_many_rows_equals_whole_numbers(b, c):
    """statsmodels gives 0 where 2 to the power of -n is too small for a float."""
    tail = sum(math.comb(b + c, k) for k in range(min(b, c) + 1))
    expected = float(Fraction(2 * tail, 2 ** (b + c)))
    assert mcnemar(b, c).exact == pytest.approx(min(1.0, expected), rel=1e-9)


def test_S5_few_rows_take_every_sign_pattern():
    assert sign_flip(np.array([1.0, 1.0, 1.0, 1.0, 1.0])) == 2 / 32
    assert sign_flip(np.array([0.1, 0.2, -0.3])) == 1.0
    assert sign_flip(np.zeros(7)) == 1.0


@pytest.mark.parametrize("n", [9, 60])
def test_S5_sign_flip_equals_scipy(n):
    values = np.random.default_rng(n).normal(0.25, 1, n)
    expected = stats.permutation_test(
        (values,),
        lambda x, axis: x.sum(axis=axis),
        permutation_type="samples",
        vectorized=True,
        rng=np.random.default_rng(0),
    )
    assert sign_flip(values) == pytest.approx(expected.pvalue, abs=1e-9 if n == 9 else 0.015)


def test_S5_normal_limit_continues_the_flips():
    values = np.random.default_rng(0).gamma(2, 1, 9_999) - 1.99
    drawn, limit = sign_flip(values), sign_flip(np.concatenate((values, [1e-9, 1e-9])))
    assert limit == pytest.approx(drawn, abs=0.01)
    assert 0.005 < limit < 0.2


def test_S5_sign_flip_of_nan_is_nan():
    assert math.isnan(sign_flip(np.array([1.0, math.nan])))


@settings(deadline=None, max_examples=10)  # statsmodels collects garbage on every call
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_S6_holm_equals_statsmodels(p_values):
    found = holm({str(i): p for i, p in enumerate(p_values)})
    assert list(found) == [str(i) for i in range(len(p_values))]
    expected = multipletests(p_values, method="holm")[1]
    assert list(found.values()) == pytest.approx(list(expected), abs=1e-12)


def test_S6_holm_keeps_nan_and_counts_it():
    found = holm({"a": 0.01, "b": math.nan})
    assert found["a"] == 0.02
    assert math.isnan(found["b"])


def rows_to_detect(difference, discordance):
    """Connor 1987, not rounded."""
    z = stats.norm.ppf(0.975) * math.sqrt(discordance)
    z += stats.norm.ppf(0.8) * math.sqrt(discordance - difference**2)
    return z**2 / difference**2


@pytest.mark.parametrize(("difference", "rows"), [(0.02, 2940), (0.05, 468)])
def test_S7_vectors(difference, rows):
    assert int(rows_to_detect(difference, 0.15)) == rows
    assert smallest_detectable(rows, 0.15) == pytest.approx(difference, abs=5e-5)


def test_S7_smallest_detectable_has_80_percent_power():
    rng = np.random.default_rng(0)
    counts = rng.multinomial(468, [0.1, 0.05, 0.85], size=20_000)
    b, c = counts[:, 0], counts[:, 1]
    assert np.mean((b - c) ** 2 > stats.chi2.ppf(0.95, 1) * (b + c)) == pytest.approx(0.8, abs=0.02)


@unhurried
@given(st.integers(6, 10**6), st.floats(0.001, 1))
def test_S7_smallest_detectable_inverts_rows_to_detect(n, discordance):
    found = smallest_detectable(n, discordance)
    share = max(discordance, 6 / n, found)
    assert rows_to_detect(found - 1e-12, share) == pytest.approx(n, rel=1e-4)


def test_S7_without_changed_rows_nothing_small_could_have_been_shown():
    assert smallest_detectable(100, 0.0) > 6 / 100
    assert math.isnan(smallest_detectable(5, 0.0))
    assert math.isnan(smallest_detectable(0, 0.0))


def test_S7_of_a_standard_error():
    assert math.isnan(smallest_detectable_of(0.0))
    assert smallest_detectable_of(0.01) == pytest.approx(0.02802, abs=1e-5)


@pytest.mark.parametrize(("n", "share", "difference"), [(60, 0.3, 0.2), (300, 0.1, 0.05)])
def test_S2b_power_of_the_exact_test_is_that_of_simulated_rows(n, share, difference):
    rng = np.random.default_rng(0)
    shares = [(share + difference) / 2, (share - difference) / 2, 1 - share]
    counts = rng.multinomial(n, shares, size=4_000)
    shown = np.mean([mcnemar(b, c).exact <= 0.05 for b, c, _ in counts])
    assert mcnemar_power(n, share, difference) == pytest.approx(shown, abs=0.02)


@unhurried
@given(st.integers(6, 1_500), st.floats(0.001, 0.9))
def test_S2b_the_smallest_shown_difference_has_80_percent_power(n, share):
    found = smallest_shown(n, share)
    assert mcnemar_power(n, share, found) >= 0.8
    assert found >= 0.9 * smallest_detectable(n, share)


def test_S2b_five_rows_show_no_difference():
    assert math.isnan(smallest_shown(5, 1.0))
    assert smallest_shown(6, 0.0) < 1


def test_V14_tango_has_a_width_where_no_row_changed():
    z2 = stats.norm.ppf(0.975) ** 2
    assert tango(0, 0, 50) == pytest.approx((-z2 / (50 + z2), z2 / (50 + z2)))
    assert tango(0, 5, 5) == pytest.approx((-1.0, -tango(5, 0, 5).low))


@pytest.mark.parametrize(("share", "difference", "n"), [(0.3, 0.1, 40), (0.1, 0.08, 30)])
def test_V14_tango_holds_the_true_difference(share, difference, n):
    rng = np.random.default_rng(0)
    shares = [(share + difference) / 2, (share - difference) / 2, 1 - share]
    counts = rng.multinomial(n, shares, size=2_000)
    held = [low <= difference <= high for low, high in (tango(b, c, n) for b, c, _ in counts)]
    assert np.mean(held) >= 0.93


def power_by_sum(n, share, difference):
    """Each number of changed rows and of fixed ones among them, with its chance."""
    up = (1 + difference / share) / 2
    return sum(
        stats.binom.pmf(k, n, share) * stats.binom.pmf(b, k, up)
        for k in range(n + 1)
        for b in range(k + 1)
        if mcnemar(b, k - b).exact <= 0.05
    )


@pytest.mark.parametrize(
    ("n", "share", "difference"), [(12, 0.9, 0.6), (20, 0.5, 0.5), (33, 0.4, 0.1), (7, 1.0, 0.8)]
)
def test_S2b_power_of_the_exact_test_is_the_sum_over_all_outcomes(n, share, difference):
    assert mcnemar_power(n, share, difference) == pytest.approx(
        power_by_sum(n, share, difference), abs=1e-9
    )


def test_S2b_of_many_changed_rows_the_limit_is_taken():
    assert smallest_shown(20_000, 0.1) > smallest_detectable(20_000, 0.1)
    assert smallest_shown(20_001, 0.1) == smallest_detectable(20_001, 0.1)
    found = smallest_shown(300, 0.2)
    assert mcnemar_power(300, 0.2, found) == pytest.approx(0.8, abs=1e-4)
    assert mcnemar_power(300, 0.2, found - 2e-6) < 0.8


@pytest.mark.parametrize(("b", "c", "n"), [(10, 3, 50), (1, 4, 20), (30, 30, 100), (0, 6, 40)])
def test_V14_tangos_ends_are_where_the_score_test_gives_5_percent(b, c, n):
    """Tango 1998: the test at a difference d, with the share of broken rows that suits d best."""

    def score(d):
        def unlikely(q):
            return -(xlogy(b, q + d) + xlogy(c, q) + xlogy(n - b - c, 1 - 2 * q - d))

        bounds = max(0.0, -d) + 1e-12, (1 - d) / 2 - 1e-12
        q = minimize_scalar(unlikely, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x
        return abs(b - c - n * d) / math.sqrt(n * (2 * q + d * (1 - d)))

    low, high = tango(b, c, n)
    assert low < (b - c) / n < high
    assert [score(low), score(high)] == pytest.approx([stats.norm.ppf(0.975)] * 2, abs=1e-4)


def test_S5_all_patterns_are_taken_where_they_are_no_more_than_the_draws():
    values = np.array([3.0, 1.0, 1.0])  # 8 patterns, of which 2 sum to 5 either way
    assert sign_flip(values, draws=8) == 2 / 8
    assert sign_flip([*values, 0.0], draws=8) == 2 / 8, "a row that did not change has no sign"
    drawn = {sign_flip(values, seed=seed, draws=7) for seed in range(20)}
    assert all((p * 8).is_integer() and p >= 1 / 8 for p in drawn)
    assert len(drawn) > 1
    assert sign_flip(np.arange(1, 15.0), draws=100) == 1 / 101, "none of 100 reaches the observed"


def test_S5_from_10_000_rows_on_the_normal_limit_is_taken():
    values = np.random.default_rng(1).normal(0.02, 1, 10_001)
    limit = 2 * stats.norm.sf(abs(values.sum()) / math.sqrt((values**2).sum()))
    assert sign_flip(values) == pytest.approx(limit, rel=1e-12)
    assert (sign_flip(values[1:], draws=99) * 100).is_integer()


def test_S6_holm_multiplies_by_the_tests_left_and_never_falls():
    found = holm({"a": 0.04, "b": 0.01, "c": 0.03, "d": math.nan, "e": 0.9})
    assert list(found)[:3] == ["a", "b", "c"]
    assert [found[k] for k in "bcae"] == pytest.approx([0.05, 0.12, 0.12, 1.0])
    assert math.isnan(found["d"])


def test_S5_the_p_of_paired_changes_is_of_10_000_flips_and_the_observed_one():
    p, _ = sign_flip_p(np.ones(40), None)
    assert p == 1 / 10_001


@pytest.mark.parametrize(("fixed", "broke", "few"), [(5, 5, False), (5, 4, True), (4, 5, True)])
def test_V14_fewer_than_5_rows_fixed_or_broken_are_few(fixed, broke, few):
    truth = np.repeat([0, 1], 20)
    right, wrong = truth[:20], 1 - truth[:20]
    before = np.concatenate((wrong[:fixed], right[fixed:], 1 - truth[20:30], truth[30:]))
    after = np.concatenate((right[: 20 - broke], wrong[:broke], truth[20:30], 1 - truth[30:]))
    assert smoothing.are_few(truth, [before, after], 2, None) == few


@pytest.mark.parametrize(("right", "wrong", "few"), [(5, 5, False), (4, 6, True), (6, 4, True)])
def test_V14_fewer_than_5_rows_right_or_wrong_are_few(right, wrong, few):
    truth = np.zeros(right + wrong, dtype=int)
    predicted = np.arange(right + wrong) >= right
    assert smoothing.are_few(truth, [predicted.astype(int)], 2, None) == few
