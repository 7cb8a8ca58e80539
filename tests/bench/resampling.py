"""Metrics of a million predictions with 95 % intervals, beside NumPy as one would write it by hand.

    python tests/bench/resampling.py [--rows 1000000] [--labels 2 100] [--rounds 3]

The peer draws 10,000 multinomial confusion matrices for the metrics of counts, and takes the normal
interval of the influence of each row for the others (DeLong 1988 for ROC AUC), which is what one
does at a million rows; scikit-learn gives its point values (`with points`), and 15 bins the
calibration error. Without them, `bare`, it checks nothing and says nothing else. Sides take turns;
intervals agree to a twentieth of their width, point values to 1e-9. Then ROC AUC, average
precision and both curves alone, without intervals: of two labels, and of many, each against the
rest.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import numpy as np
import polars as pl
from ftev.core.metrics.bootstrap import DRAWS
from ftev.core.metrics.evaluate import evaluate_classification
from ftev.core.metrics.probabilities import rank, ranking_areas
from measure import alternate, peak_memory, section, table
from sklearn import metrics as sk

FloatArray = Any
MANY = 10  # of many labels, those whose curves are compared
BINS = 15  # of the calibration error
AT_ONCE = 1_000_000  # cells of drawn matrices that the peer holds
Z = 1.959963984540054
Bounds = dict[str, tuple[float, float]]


def made(rows: int, labels: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Truth, predictions and probabilities [rows, labels] of a model that knows about the truth."""
    rng = np.random.default_rng(labels)
    truth = rng.integers(0, labels, rows)
    p = rng.standard_normal((rows, labels), dtype=np.float32)
    p[np.arange(rows), truth] += 1.5 if labels == 2 else 3.0
    np.exp(p, out=p)
    probabilities = p.astype(np.float64)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return truth, probabilities.argmax(axis=1), probabilities


def peer_counts(truth: FloatArray, predicted: FloatArray, labels: int) -> Bounds:
    """Percentiles of multinomial draws of the confusion matrix."""
    rng = np.random.default_rng(0)
    cells = np.bincount(truth * labels + predicted, minlength=labels**2)
    full = np.flatnonzero(cells)
    share, size = cells[full] / len(truth), max(1, AT_ONCE // len(full))
    right = np.flatnonzero(full // labels == full % labels)
    found: dict[str, list[FloatArray]] = {}
    for start in range(0, DRAWS, size):
        drawn = rng.multinomial(len(truth), share, size=min(size, DRAWS - start))
        matrix = np.zeros((len(drawn), labels**2))
        matrix[:, full] = drawn
        matrix = matrix.reshape(-1, labels, labels)
        support, named = matrix.sum(axis=2), matrix.sum(axis=1)
        hits = np.diagonal(matrix, axis1=1, axis2=2)
        assert hits.sum() == drawn[:, right].sum()
        for name, values in peer_metrics(hits, support, named, len(truth)).items():
            found.setdefault(name, []).append(values)
    ends = {name: np.percentile(np.concatenate(v), [2.5, 97.5]) for name, v in found.items()}
    return {name: (float(low), float(high)) for name, (low, high) in ends.items()}


def peer_metrics(
    hits: FloatArray, support: FloatArray, named: FloatArray, rows: int
) -> dict[str, FloatArray]:
    """Every metric of counts that ftev has, from margins [draws, labels]."""
    with np.errstate(invalid="ignore", divide="ignore"):
        precision, recall = np.nan_to_num(hits / named), np.nan_to_num(hits / support)
        f1 = np.nan_to_num(2 * hits / (named + support))
    weight, all_hits = support / rows, hits.sum(axis=1)
    spread = (rows**2 - (named**2).sum(axis=1)) * (rows**2 - (support**2).sum(axis=1))
    found = {
        "accuracy": all_hits / rows,
        "balanced_accuracy": recall.mean(axis=1),
        "mcc": (all_hits * rows - (named * support).sum(axis=1)) / np.sqrt(spread),
    }
    for name, each in (("precision", precision), ("recall", recall), ("f1", f1)):
        found[f"macro_{name}"] = each.mean(axis=1)
        found[f"weighted_{name}"] = (weight * each).sum(axis=1)
        if hits.shape[1] == 2:
            found[name] = each[:, 1]
    return found


def normal(value: float, influence: FloatArray) -> tuple[float, float]:
    half = Z * float(influence.std()) / np.sqrt(len(influence))
    return value - half, value + half


def peer_scores(truth: FloatArray, p: FloatArray) -> Bounds:
    """Normal intervals of loss, Brier score and both areas, from what each row adds to them."""
    rows, labels = p.shape
    own = p[np.arange(rows), truth]
    nll = -np.log(own)
    square = (p[:, 1] - truth) ** 2 if labels == 2 else (p * p).sum(axis=1) + 1 - 2 * own
    ranked = [1] if labels == 2 else range(labels)
    areas, of_areas = np.zeros(2), np.zeros((2, rows))
    for c in ranked:
        values, influences = peer_areas(truth == c, np.ascontiguousarray(p[:, c]))
        areas += values
        of_areas[0] += influences[0]
        of_areas[1] += influences[1]
    areas, of_areas = areas / len(ranked), of_areas / len(ranked)
    return {
        "loss": normal(float(nll.mean()), nll),
        "brier": normal(float(square.mean()), square),
        "roc_auc": normal(areas[0], of_areas[0]),
        "average_precision": normal(areas[1], of_areas[1]),
    }


def peer_areas(
    positive: FloatArray, scores: FloatArray
) -> tuple[tuple[float, float], tuple[FloatArray, FloatArray]]:
    """ROC AUC and average precision of scores without ties, and the influence of each row."""
    rows, ones = len(scores), int(positive.sum())
    order = np.argsort(scores)[::-1]
    y = positive[order].astype(float)
    above, place = np.cumsum(y), np.arange(1, rows + 1)
    others = place - above
    area = float((above * (1 - y)).sum()) / (ones * (rows - ones))
    precision = above / place
    average = float((precision * y).sum()) / ones
    of_area, of_average = np.empty(rows), np.empty(rows)
    placed = np.where(y == 1, 1 - others / (rows - ones), above / ones) - area
    of_area[order] = placed * np.where(y == 1, rows / ones, rows / (rows - ones))
    gains, passes = y * others / place**2, y * precision / place
    below_gains, below_passes = np.cumsum(gains[::-1])[::-1], np.cumsum(passes[::-1])[::-1]
    of_positive = precision - average + below_gains
    of_average[order] = rows / ones * np.where(y == 1, of_positive, -below_passes)
    return (area, average), (of_area, of_average)


def peer_points(truth: FloatArray, predicted: FloatArray, p: FloatArray) -> dict[str, float]:
    """scikit-learn's point values, and the calibration error, which it does not have."""
    binary = p.shape[1] == 2
    confidence = p.max(axis=1)
    bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    gaps = np.bincount(bins, confidence - (predicted == truth), minlength=BINS)
    points = sklearn_counts(truth, predicted, binary) | sklearn_scores(truth, p, binary)
    return points | {"ece": float(np.abs(gaps).sum()) / len(truth)}


def sklearn_counts(truth: FloatArray, predicted: FloatArray, binary: bool) -> dict[str, float]:
    found = {
        "accuracy": sk.accuracy_score(truth, predicted),
        "balanced_accuracy": sk.balanced_accuracy_score(truth, predicted),
        "mcc": sk.matthews_corrcoef(truth, predicted),
    }
    for average in ("macro", "weighted"):
        three = sk.precision_recall_fscore_support(truth, predicted, average=average)[:3]
        for name, value in zip(("precision", "recall", "f1"), three, strict=True):
            found[f"{average}_{name}"] = value
    if binary:
        three = sk.precision_recall_fscore_support(truth, predicted, average="binary")[:3]
        found |= dict(zip(("precision", "recall", "f1"), three, strict=True))
    return found


def sklearn_scores(truth: FloatArray, p: FloatArray, binary: bool) -> dict[str, float]:
    if binary:
        return {
            "loss": sk.log_loss(truth, p),
            "brier": sk.brier_score_loss(truth, p[:, 1]),
            "roc_auc": sk.roc_auc_score(truth, p[:, 1]),
            "average_precision": sk.average_precision_score(truth, p[:, 1]),
        }
    areas = [
        (sk.roc_auc_score(truth == c, p[:, c]), sk.average_precision_score(truth == c, p[:, c]))
        for c in range(p.shape[1])
    ]
    area, average = np.mean(areas, axis=0)
    own = p[np.arange(len(truth)), truth]
    return {
        "loss": sk.log_loss(truth, p),
        "brier": float((np.square(p).sum(axis=1) + 1 - 2 * own).mean()),
        "roc_auc": area,
        "average_precision": average,
    }


def every_metric(rows: int, labels: int, rounds: int) -> list[str]:
    truth, predicted, p = made(rows, labels)
    names = [f"label {i}" for i in range(labels)]
    enum = pl.Series(names, dtype=pl.Enum(names))
    frame = pl.DataFrame(
        {
            "row_id": np.arange(rows),
            "label": enum.gather(truth),
            "predicted": enum.gather(predicted),
            "probabilities": pl.Series(p).arr.to_list(),
        }
    )
    positive = names[1] if labels == 2 else None
    spent = alternate(
        {
            "ours": lambda: evaluate_classification(frame, names, positive),
            "bare": lambda: peer_counts(truth, predicted, labels) | peer_scores(truth, p),
            "points": lambda: peer_points(truth, predicted, p),
        },
        rounds,
    )
    metrics = spent["ours"].result.metrics
    for name, value in spent["points"].result.items():
        np.testing.assert_allclose(metrics[name].value, value, rtol=1e-9, err_msg=name)
    bounds = spent["bare"].result
    micro = {f"micro_{name}" for name in ("precision", "recall", "f1")}  # the accuracy here
    assert set(bounds) == set(metrics) - {"ece"} - micro
    for name, ends in bounds.items():
        found = metrics[name].low, metrics[name].high
        np.testing.assert_allclose(found, ends, atol=(ends[1] - ends[0]) / 20, err_msg=name)
    ours, bare, points = (spent[side].median_cpu for side in ("ours", "bare", "points"))
    print(f"{labels} labels: {ours:.2f} {bare:.2f} {points:.2f} s", file=sys.stderr)
    seconds = [f"{x:.2f} s" for x in (ours, bare, bare + points)]
    ratios = [f"{ours / bare:.2f} ×", f"{ours / (bare + points):.2f} ×"]
    return [f"{labels} labels, all {len(metrics)} metrics", *seconds, *ratios]


def ours_ranked(truth: FloatArray, scores: FloatArray) -> tuple[FloatArray, ...]:
    """Areas and the points of both curves, from one ranking."""
    order, starts, _ = rank(scores)
    marked = truth[order] == 1
    gained = np.add.reduceat(marked.astype(np.float64), starts)
    passed = np.diff(starts, append=len(order)) - gained
    hits, alarms = np.cumsum(gained), np.cumsum(passed)
    area, average = ranking_areas(gained, passed)
    recall, precision = hits / hits[-1], hits / (hits + alarms)
    return area, average, alarms / alarms[-1], recall, precision


def theirs_ranked(truth: FloatArray, scores: FloatArray) -> tuple[Any, ...]:
    false, true, _ = sk.roc_curve(truth, scores, drop_intermediate=False)
    precision, recall, _ = sk.precision_recall_curve(truth, scores)
    area, average = sk.roc_auc_score(truth, scores), sk.average_precision_score(truth, scores)
    return area, average, false, true, precision, recall


def assert_equal_curves(ours: tuple[Any, ...], theirs: tuple[Any, ...]) -> None:
    np.testing.assert_allclose(ours[:2], theirs[:2], atol=1e-12, rtol=0)
    np.testing.assert_allclose(ours[2], theirs[2][1:], atol=1e-12, rtol=0)
    np.testing.assert_allclose(ours[3], theirs[3][1:], atol=1e-12, rtol=0)
    np.testing.assert_allclose(ours[4][::-1], theirs[4][:-1], atol=1e-12, rtol=0)


def ranked(rows: int, many: int) -> list[list[str]]:
    """Two labels with scores of two kinds, and many labels: of these, MANY are ranked."""
    truth, _, p = made(rows, 2)
    cases = [
        ("2 labels, no two scores equal", [(truth, p[:, 1])]),
        ("2 labels, scores rounded to 0.001", [(truth, p[:, 1].round(3))]),
    ]
    if many > 2:
        truth, _, p = made(rows, many)
        each = [((truth == c).astype(int), p[:, c].copy()) for c in range(min(many, MANY))]
        cases.append((f"{len(each)} of {many} labels, each against the rest", each))
        del p
    found = []
    for words, pairs in cases:
        spent = alternate(
            {
                "ours": lambda pairs=pairs: [ours_ranked(*pair) for pair in pairs],
                "peer": lambda pairs=pairs: [theirs_ranked(*pair) for pair in pairs],
            },
            rounds=5 if len(pairs) == 1 else 1,
        )
        for ours, theirs in zip(spent["ours"].result, spent["peer"].result, strict=True):
            assert_equal_curves(ours, theirs)
        a, b = spent["ours"].median_cpu, spent["peer"].median_cpu
        found.append([words, f"{1000 * a:,.0f} ms", f"{1000 * b:,.0f} ms", f"{b / a:.1f} ×"])
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--labels", type=int, nargs="+", default=[2, 100])
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    rows = [every_metric(args.rows, labels, args.rounds) for labels in args.labels]
    curves = ranked(args.rows, max(args.labels))
    print(
        section(
            "Metrics with intervals",
            f"python tests/bench/resampling.py --rows {args.rows}",
            ("numpy", "scipy", "scikit-learn"),
            f"{args.rows:,} predictions, intervals of {DRAWS:,} draws, median CPU time of "
            f"{args.rounds} rounds in which the sides took turns. The peer is NumPy: multinomial "
            "draws of the confusion matrix, normal intervals of each row's influence (DeLong for "
            "ROC AUC); with points, scikit-learn's values and the calibration error too. Point "
            "values are equal to 1e-9, intervals to a twentieth of their width.",
            table(
                ["", "ftev", "bare peer", "peer with points", "ftev ÷ bare", "ftev ÷ with points"],
                rows,
            ),
            f"Peak memory {peak_memory() / 1024:.1f} GiB, the peer's included.",
            "ROC AUC, average precision and every point of both curves, equal to 1e-12, CPU time:",
            table(["scores", "ftev", "scikit-learn", "ratio"], curves),
        )
    )


if __name__ == "__main__":
    main()
