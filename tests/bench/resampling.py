"""Metrics of a million predictions with intervals of 10,000 draws, beside scikit-learn in a loop.

    python tests/bench/resampling.py [--rows 1000000] [--labels 2 100] [--peer-draws 3 1]

scikit-learn has no intervals: the other side draws the rows anew and asks for every metric of ours
again. A few of its draws are timed and the time is multiplied, which says so. Both sides have the
same arrays; their metrics are asserted to be equal. Then ROC AUC, average precision and both curves
alone, without intervals: of two labels, and of many, each against the rest.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
from ftev.core.metrics.bootstrap import DRAWS, Resampling, bootstrap_cells
from ftev.core.metrics.counts import classification_metrics, confusion, joint_cells
from ftev.core.metrics.evaluate import evaluate_classification
from ftev.core.metrics.probabilities import rank, ranking_areas
from measure import alternate, peak_memory, section, table
from sklearn import metrics as sk

FloatArray = Any
WANTED = 1_000  # times scikit-learn in a loop
MANY = 10  # of many labels, those whose curves are compared


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """What it gives, seconds of wall, seconds of CPU."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = work()
    return found, time.perf_counter() - wall, time.process_time() - cpu


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


def every_metric(rows: int, labels: int, peer_draws: int) -> list[list[str]]:
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
    result, wall, cpu = timed(lambda: evaluate_classification(frame, names, positive))
    print(f"{labels} labels: ours {cpu:.1f} s", file=sys.stderr)
    once = sklearn_counts(truth, predicted, labels == 2) | sklearn_scores(truth, p, labels == 2)
    for name, value in once.items():
        np.testing.assert_allclose(result.metrics[name].value, value, rtol=1e-9, err_msg=name)
    rng = np.random.default_rng(0)

    def counts() -> None:
        for _ in range(peer_draws):
            drawn = rng.integers(0, rows, rows)
            sklearn_counts(truth[drawn], predicted[drawn], labels == 2)

    def scores() -> None:
        for _ in range(peer_draws):
            drawn = rng.integers(0, rows, rows)
            sklearn_scores(truth[drawn], p[drawn], labels == 2)

    def cells() -> Any:
        found = joint_cells(truth, (predicted,), labels)
        sums, code = found.sums(0), 1 if labels == 2 else None
        matrix = confusion(truth, predicted, labels)
        drawn = bootstrap_cells(found.counts, lambda c: sums.metrics(c, code), Resampling())
        return classification_metrics(matrix, names, positive), drawn

    _, count_wall, count_cpu = timed(cells)
    _, loop_wall, loop_cpu = timed(counts)
    _, more_wall, more_cpu = timed(scores)
    times = DRAWS / peer_draws
    print(f"{labels} labels: peer {loop_cpu + more_cpu:.1f} s", file=sys.stderr)

    def line(words: str, ours: tuple[float, float], theirs: tuple[float, float]) -> list[str]:
        lines = [f"{ours[0]:.2f} s", f"{ours[1]:.2f} s", f"{theirs[1] * times:,.0f} s"]
        return [f"{labels} labels, {words}", *lines, f"{theirs[1] * times / ours[1]:,.0f} ×"]

    both = loop_wall + more_wall, loop_cpu + more_cpu
    return [
        line("metrics of counts", (count_wall, count_cpu), (loop_wall, loop_cpu)),
        line(f"all {len(result.metrics)} metrics", (wall, cpu), both),
    ]


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
    parser.add_argument("--peer-draws", type=int, nargs="+", default=[3, 1])
    args = parser.parse_args()
    curves = ranked(args.rows, max(args.labels))
    rows, pairs = [], list(zip(args.labels, args.peer_draws, strict=True))
    for labels, draws in pairs:
        rows += every_metric(args.rows, labels, draws)
    text = " and ".join(f"{d} ({n} labels)" for n, d in pairs)
    short = [row[0] for row in rows if float(row[-1][:-2].replace(",", "")) < WANTED]
    below = f"Below {WANTED:,} times: {'; '.join(short) or 'none'}. "
    print(
        section(
            "Metrics with intervals",
            f"python tests/bench/resampling.py --rows {args.rows}",
            ("numpy", "scipy", "scikit-learn"),
            f"{args.rows:,} predictions, intervals of {DRAWS:,} draws. scikit-learn in a loop over "
            f"resampled rows: {text} of its draws timed, times the rest. Every metric is equal to "
            "1e-9; scikit-learn is spared the calibration error, which it does not have.",
            table(["", "ours, wall", "ours, CPU", "scikit-learn, CPU", "ratio"], rows),
            "The metrics of counts have intervals of real multinomial draws of the confusion cells "
            "that are not empty, as many as were asked for: their cost grows with those cells and "
            "not with rows. Loss, Brier score, areas and calibration of more than 5,000 rows have "
            "theirs from the normal limit of the bootstrap, as the method beside them says. "
            "An interval of counts needs a draw of every such cell, of "
            f"{max(args.labels)} labels up to {max(args.labels) ** 2:,} of them. {below}"
            f"Peak memory {peak_memory() / 1024:.1f} GiB, scikit-learn's included.",
            "ROC AUC, average precision and every point of both curves, equal to 1e-12, CPU time:",
            table(["scores", "ours", "scikit-learn", "ratio"], curves),
        )
    )


if __name__ == "__main__":
    main()
