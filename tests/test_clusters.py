"""Rows that are not independent: resampled, exchanged and told by cluster (S9)."""

import math

import msgspec
import numpy as np
import polars as pl
import pytest
from ftev.core.analysis import analyse
from ftev.core.config.config import CostConfig, ObjectiveConfig
from ftev.core.data.splits import rows_together
from ftev.core.metrics.bootstrap import Resampling
from ftev.core.metrics.clusters import (
    Clustered,
    Clusters,
    cluster_words,
    clusters_of,
    read_clusters,
)
from ftev.core.metrics.comparisons import compare
from ftev.core.metrics.evaluate import evaluate_classification, evaluate_text
from ftev.core.metrics.slices import Grouping, Moments
from ftev.core.report.sections.metrics import describe_clusters, without_clusters
from scored_splits import evaluation

LABELS = ("no", "yes")
DRAWS = 4_000


def classified(n, skill, seed):
    truth = np.random.default_rng(1).integers(0, 2, n)
    z = np.random.default_rng(seed).normal(size=n) + skill * (2 * truth - 1)
    p = 1 / (1 + np.exp(-z))
    names = np.array(LABELS)
    return pl.DataFrame(
        {
            "row_id": range(n),
            "label": names[truth],
            "predicted": names[(p >= 0.5).astype(int)],
            "probabilities": np.stack((1 - p, p), axis=1).tolist(),
        }
    )


def written(n, seed):
    rng = np.random.default_rng(seed)
    tokens = np.random.default_rng(1).integers(4, 30, n)
    words = np.array(["yes it is", "no it is not", "we do not know"])
    truth = np.random.default_rng(2).integers(0, 3, n)
    said = np.where(rng.random(n) < 0.5, truth, rng.integers(0, 3, n))
    return pl.DataFrame(
        {
            "row_id": range(n),
            "nll": tokens * rng.gamma(3, 0.4, n),
            "tokens": tokens,
            "correct": rng.binomial(tokens, 0.5),
            "bytes": tokens * 3,
            "completion": words[said],
            "reference": words[truth],
        }
    )


def repeated(frame, times=4, clustered=True):
    """Every row so many times, each under an id of its own, in its group."""
    whole = pl.concat([frame] * times).with_columns(cluster=pl.col("row_id"))
    whole = whole.with_columns(row_id=pl.int_range(pl.len()))
    return whole if clustered else whole.drop("cluster")


def width(estimate):
    return estimate.high - estimate.low


@pytest.mark.parametrize("skill", [0.8, 2.2])  # many rows are wrong, and next to none
def test_S9_repeated_rows_have_the_intervals_of_the_single_ones(skill):
    frame = classified(120, skill, 3)
    one, four, naive = (
        evaluate_classification(f, LABELS, "yes", draws=DRAWS)
        for f in (frame, repeated(frame), repeated(frame, clustered=False))
    )
    assert (four.n, four.clusters, one.clusters) == (480, 120, None)
    for name in ("accuracy", "recall", "precision", "macro_f1", "mcc", "loss", "brier"):
        wanted = one.metrics[name]
        assert four.metrics[name].value == pytest.approx(wanted.value)
        assert width(four.metrics[name]) == pytest.approx(width(wanted), rel=0.06), name
        assert width(naive.metrics[name]) < 0.62 * width(wanted), name
        assert four.metrics[name].design_effect == pytest.approx(4, rel=0.08), name
        assert "120 clusters of 480 rows" in four.metrics[name].method or name in (
            "recall",
            "precision",
        )
    assert width(four.metrics["accuracy"]) == pytest.approx(
        width(one.metrics["accuracy"]), rel=0.02
    )


def test_S9_the_vector_holds_to_2_percent_with_many_draws():
    frame = classified(150, 0.8, 3)
    one, four = (evaluate_classification(f, LABELS, "yes") for f in (frame, repeated(frame)))
    for name in ("accuracy", "macro_f1", "loss", "balanced_accuracy"):
        ratio = width(four.metrics[name]) / width(one.metrics[name])
        assert ratio == pytest.approx(1, abs=0.02), name


def test_S9_repeated_rows_show_no_more_than_the_single_ones():
    a, b = classified(80, 0.6, 3), classified(80, 0.9, 4)

    def found(a, b):
        pairs = compare("t", "a", a, "b", b, LABELS, "yes", resampling=Resampling(draws=DRAWS))
        return {c.metric: c for c in pairs}

    one, four = found(a, b), found(repeated(a), repeated(b))
    naive = found(repeated(a, clustered=False), repeated(b, clustered=False))
    for name in ("accuracy", "macro_f1", "loss", "brier", "ece", "roc_auc"):
        assert four[name].p == pytest.approx(one[name].p, abs=0.035), name
        assert naive[name].p < max(one[name].p, 2e-4), name
        assert four[name].clusters == 80
        assert four[name].high - four[name].low == pytest.approx(
            one[name].high - one[name].low, rel=0.1
        )
        assert "by cluster" in four[name].method or "DeLong" in four[name].method
        assert "design effect" in four[name].method
    assert "McNemar" not in four["accuracy"].method
    assert (four["accuracy"].fixed, four["accuracy"].broke) == (
        4 * one["accuracy"].fixed,
        4 * one["accuracy"].broke,
    )


def test_S9_texts_and_their_answers_are_resampled_by_cluster():
    frame = written(90, 5)
    one, four = (evaluate_text(f, draws=DRAWS) for f in (frame, repeated(frame)))
    for name in ("loss", "bits_per_byte", "token_accuracy", "exact_match", "bleu", "chrf"):
        assert width(four.metrics[name]) == pytest.approx(width(one.metrics[name]), rel=0.06), name
        assert four.metrics[name].design_effect == pytest.approx(4, rel=0.08), name
    other = written(90, 6)
    pairs = [
        {c.metric: c for c in compare("t", "a", x, "b", y, resampling=Resampling(draws=DRAWS))}
        for x, y in ((frame, other), (repeated(frame), repeated(other)))
    ]
    for name in ("loss", "exact_match", "bleu"):
        assert pairs[1][name].p == pytest.approx(pairs[0][name].p, abs=0.035), name


def test_S9_a_column_without_repeats_changes_nothing():
    frame = classified(60, 1.0, 3)
    alone = frame.with_columns(cluster=pl.col("row_id") * 7)
    assert evaluate_classification(alone, LABELS) == evaluate_classification(frame, LABELS)
    assert read_clusters(frame) is None
    missing = frame.with_columns(cluster=pl.lit(None, pl.Int64))
    assert read_clusters(missing) is None


def test_S9_no_wrong_row_in_few_clusters_says_no_more_than_the_clusters():
    frame = classified(10, 50.0, 3)
    four = evaluate_classification(repeated(frame), LABELS, "yes", draws=DRAWS).metrics
    one = evaluate_classification(frame, LABELS, "yes", draws=DRAWS).metrics
    assert four["accuracy"].low == pytest.approx(one["accuracy"].low)
    assert four["macro_f1"].low == pytest.approx(one["macro_f1"].low, abs=0.03)


def test_S9_the_design_effect_of_independent_rows_is_about_1():
    rng = np.random.default_rng(0)
    clusters = clusters_of(np.repeat(np.arange(500), 3))
    assert clusters.design_effect(rng.random(1500) < 0.7) == pytest.approx(1, abs=0.15)
    assert clusters.design_effect(np.ones(1500)) == 3


def test_S9_groups_and_prompts_with_several_answers_are_clusters():
    frame = pl.DataFrame(
        {
            "row_id": [4, 5, 6, 7],
            "content": pl.Series([1, 2, 1, 3], dtype=pl.UInt64),
            "group": ["x", "y", "z", "y"],
        }
    )
    by_prompt = rows_together(frame.drop("group"), same_input=True)
    assert by_prompt["cluster"].to_list() == [0, 1, 0, 2]
    apart = frame.with_columns(content=pl.Series([1, 2, 4, 3], dtype=pl.UInt64))
    by_group = rows_together(apart, same_input=False)
    codes = by_group["cluster"].to_list()
    assert codes[1] == codes[3]
    assert len(set(codes)) == 3
    both = rows_together(frame, same_input=True)["cluster"].to_list()
    assert (both[0] == both[2], both[1] == both[3], both[0] == both[1]) == (True, True, False)
    assert rows_together(apart.drop("group"), same_input=False) is None


def test_S9_copies_of_one_input_are_a_cluster_where_they_are_more_than_a_few():
    def rows(distinct: int, copies: int) -> pl.DataFrame:
        content = [*range(distinct), *range(copies)]
        ids = list(range(len(content)))
        return pl.DataFrame({"row_id": ids, "content": pl.Series(content, dtype=pl.UInt64)})

    assert rows_together(rows(98, 2), same_input=False) is None
    found = rows_together(rows(90, 10), same_input=False)
    assert found["cluster"].n_unique() == 90
    assert found["cluster"][0] == found["cluster"][90]


def test_S9_an_interval_of_one_cluster_is_none():
    frame = classified(8, 0.5, 3).with_columns(cluster=pl.lit(1))
    found = evaluate_classification(frame, LABELS, "yes", draws=100).metrics
    assert math.isnan(found["loss"].low)


def leaves(found, path):
    """The width of every interval and every p of a result, by where they stand."""
    if isinstance(found, list):
        found = {
            s["value"] if isinstance(s, dict) and "by" in s else i: s for i, s in enumerate(found)
        }
    if not isinstance(found, dict):
        return
    if {"low", "high"} <= set(found):
        yield f"{path}: width", float(found["high"]) - float(found["low"])
    if isinstance(found.get("p"), float):
        yield f"{path}: p", found["p"]
    for name, inner in found.items():
        yield from leaves(inner, f"{path}/{name}")


def evidence(frames, labels, **more):
    """Of every analysis of frames, whose rows have a length and a tier."""
    n = frames["tuned"].height
    texts = ["x" * (1 + 37 * (i % 120) % 100) for i in range(n)]
    source = pl.DataFrame({"row_id": range(n), "text": texts}).with_columns(
        pl.Series("slice:tier", ["gold" if i % 120 % 3 else "free" for i in range(n)])
    )
    e = evaluation(source=source, labels=labels, slices=("tier",), **more, **frames)
    return {
        place: value
        for a in analyse(e)
        for place, value in leaves(msgspec.to_builtins(a.result), f"{a.name}/{a.model}")
        if not any(word in place for word in AS_IF_INDEPENDENT)
    }


# What says in words that it treats rows as independent; bins have ends, and no intervals.
AS_IF_INDEPENDENT = ("label_errors", "ece_null", "/bins/")


def answered(n, seed):
    """With answers that end, that both models read, and that are a choice among three."""
    rng = np.random.default_rng(seed)
    return written(n, seed).with_columns(
        pl.Series("ended_by_eos", rng.random(n) < 0.7),
        pl.Series("end_nll", rng.gamma(2, 0.2, n)),
        pl.Series("answer_nll_base", rng.gamma(2, 2, n)),
        pl.Series("answer_nll_tuned", rng.gamma(2, 1.8, n)),
        pl.lit(5).alias("answer_tokens"),
        pl.lit(5).alias("completion_tokens"),
        pl.lit(5).alias("reference_tokens"),
        pl.lit(40).alias("completion_limit"),
        pl.lit(False).alias("prompt_cut"),
        pl.lit("what is it?").alias("prompt"),
        pl.col("completion").alias("chosen"),
        pl.lit(3).alias("candidates"),
    )


@pytest.mark.parametrize(("make", "labels"), [(classified, LABELS), (answered, ())])
def test_S9_no_analysis_of_repeated_rows_is_surer_than_of_the_single_ones(make, labels):
    one = {
        "base": make(120, 0.4, 5) if labels else make(120, 5),
        "tuned": make(120, 1.2, 6) if labels else make(120, 6),
    }
    more = {}
    if labels:
        more = {"objective": ObjectiveConfig(cost=CostConfig(fp=1.0, fn=3.0))}
        more["validation"] = classified(200, 1.2, 7)
    wanted = evidence(one, labels, **more)
    found = evidence({m: repeated(f) for m, f in one.items()}, labels, **more)
    naive = evidence({m: repeated(f, clustered=False) for m, f in one.items()}, labels, **more)
    assert set(found) == set(wanted)
    widths = [place for place in wanted if place.endswith("width")]
    assert len(widths) > 20
    for place, value in wanted.items():
        if place.endswith("/ece: width"):  # what chance alone shows is simulated row by row
            assert found[place] > 0.9 * value
        else:
            assert found[place] == pytest.approx(value, rel=0.1, abs=0.01), place
    narrower = [naive[place] < 0.7 * wanted[place] for place in widths if wanted[place]]
    assert np.mean(narrower) > 0.9  # else these rows would show nothing


def test_S9_a_slice_of_few_clusters_is_not_judged_and_one_cut_through_them_is_right():
    """Clusters of which a part lies in a slice are in it and in the rest with that part."""
    frame = repeated(classified(60, 1.0, 3)).sort("cluster")
    few = [("few" if c < 9 else "many") for c in frame["cluster"]]
    source = frame.select("row_id").with_columns(pl.Series("slice:place", few))
    e = evaluation(source=source, labels=LABELS, slices=("place",), tuned=frame)
    [found] = [a.result for a in analyse(e) if a.name == "slices"]
    by_name = {s.value: s for s in found.slices}
    assert (by_name["few"].rows, by_name["few"].judged) == (36, False)
    assert by_name["many"].judged
    assert found.method.endswith("60 clusters of 240 rows")

    rng = np.random.default_rng(4)
    codes, inside = rng.integers(0, 40, 300), rng.integers(0, 2, 300)
    above, below = rng.gamma(2, 1, 300), rng.integers(1, 9, 300).astype(float)
    grouping, clusters = Grouping("column", inside, ["out", "in"]), clusters_of(codes)
    own = Moments.of(grouping, above, below, clusters)
    rest = own.rest(grouping, above, below, clusters)
    assert rest.error[1] == pytest.approx(own.error[0])  # the rest of one slice is the other
    influence = (above - own.ratio[1] * below) * (inside == 1) / own.below[1]
    assert own.error[1] == pytest.approx(np.sqrt(np.square(clusters.sum(influence)).sum()))


def test_what_is_told_of_clusters_is_taken_out_of_methods_and_said_once():
    """Maker and reader of the words are files apart: the reader is there before NumPy is."""
    clusters = clusters_of(np.arange(12) // 3)
    methods = [f"made so{cluster_words(clusters, effect)}" for effect in (1.25, None, 3.0)]
    assert {without_clusters(m) for m in methods} == {"made so"}
    assert describe_clusters(methods) == "4 clusters of 12 rows (design effect 1.25 to 3.00)"
    assert describe_clusters(["made so"]) == ""


def test_S9_totals_of_drawn_clusters_are_brought_to_the_rows_there_are():
    """A cluster of 1 row and one of 3: the second drawn twice has 6 rows, and there are 4."""

    class Sums:
        n = 4

        def features(self, rows):
            return np.array([[1.0], [2.0], [3.0], [7.0]])[rows]

        def metrics_of_totals(self, totals):
            return {"sum": totals[..., 0]}

    found = Clustered(Sums(), Clusters(np.array([0, 1, 1, 1]), 2))
    assert found.features(slice(0, 2)).tolist() == [[1, 1], [12, 3]]
    drawn = np.array([[24.0, 6.0], [13.0, 4.0]])
    assert found.metrics_of_totals(drawn)["sum"].tolist() == [24 * 4 / 6, 13]
