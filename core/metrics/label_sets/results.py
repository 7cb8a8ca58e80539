"""What rows with several labels each come to: metrics with intervals, and paired differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from ..bootstrap import DRAWS, Resampling, totals_of
from ..comparisons import Differences, comparisons_of, of_shares, row_differences, with_ranks
from ..evaluate import drawn_rows, evaluate_classification, wilson_estimate
from ..metric import observed, ratios
from ..results import Comparison, Estimate, LabelScores, ModelResult
from ..rows import check_same_rows
from ..smoothing import FEW, Ends, smoothed_ends
from ..sums import Ratio
from .rows import LabelSetRows, lacking, of_one_label, read_label_sets

OF_ONE = ("precision", "recall", "f1")  # of the positive label


def evaluate_label_sets(
    frame: pl.DataFrame,
    labels: Sequence[str],
    positive: str | None = None,
    seed: int = 0,
    draws: int = DRAWS,
) -> ModelResult:
    """Metrics with intervals of rows as `read_label_sets` has them, and the figures of each label.

    Subset accuracy has Wilson's interval, the rest the percentile bootstrap over rows; where next
    to no row of a label is wrong (or right), the smoothed one. Raises DataError.
    """
    rows = read_label_sets(frame, labels, positive)
    resampling = Resampling(seed, draws)
    margins = rows.margins(totals_of(rows))
    values = observed("label_sets", margins)
    ends = _ends([rows], resampling) if _few([rows]) else None
    drawn = drawn_rows(rows, rows.clusters, resampling, ends)
    divided = ratios("label_sets", margins.beside(rows.area_ratios))
    estimates: dict[str, Estimate] = drawn.estimates(values, divided)
    exact = rows.exact.astype(np.float64)
    estimates["subset_accuracy"] = wilson_estimate(float(exact.mean()), exact, rows.clusters)
    if positive is not None:  # its figures are those of a task of two labels, with their intervals
        both = of_one_label(frame, labels, positive).drop("probabilities", strict=False)
        known = evaluate_classification(both, (lacking(positive), positive), positive, seed, draws)
        estimates |= {n: e for n, e in known.metrics.items() if n in OF_ONE and n in estimates}
    by_label = label_scores(rows, labels, _thresholds(frame, labels))
    return ModelResult(
        n=rows.n,
        clusters=None if rows.clusters is None else rows.clusters.count,
        loss=estimates["loss"].value if "loss" in estimates else None,
        metrics=estimates,
        per_class=by_label,
        positive=positive,
        undefined=[label for label in labels if label not in by_label],
        no_prediction=rows.row_id[~rows.answered].tolist(),
        method=frame["method"][0] if "method" in frame.columns else None,
    )


def label_scores(
    rows: LabelSetRows, labels: Sequence[str], thresholds: Mapping[str, float]
) -> dict[str, LabelScores]:
    """Precision, recall, F1 and support of each label in truth or predictions."""
    margins = rows.margins(totals_of(rows))
    found = {}
    for i, label in enumerate(labels):
        if margins.support[i] + margins.predicted[i] == 0:
            continue
        by_name: dict[str, Ratio] = {k: r.of_label(i) for k, r in margins.by_label.items()}
        figures = {name: ratio.quotient for name, ratio in by_name.items()}
        support = int(margins.support[i])
        found[label] = LabelScores(**figures, support=support, threshold=thresholds.get(label))
    return found


def _thresholds(frame: pl.DataFrame, labels: Sequence[str]) -> dict[str, float]:
    if "thresholds" not in frame.columns or not frame.height:
        return {}
    return dict(zip(labels, frame["thresholds"][0].to_list(), strict=True))


def _few(models: Sequence[LabelSetRows]) -> bool:
    """Whether some label has fewer than 5 right or fewer than 5 wrong rows, with it or without it.

    Of two models: fewer than 5 that one of them fixed, or broke.
    """
    truth = models[0].truth
    for marked in (truth, ~truth):
        right = [(m.truth == m.predicted) & marked & m.answered[:, None] for m in models]
        if len(right) == 1:
            sides = right[0].sum(axis=0), (marked & ~right[0]).sum(axis=0)
        else:
            sides = (right[1] & ~right[0]).sum(axis=0), (right[0] & ~right[1]).sum(axis=0)
        if (np.minimum(*sides)[marked.any(axis=0)] < FEW).any():
            return True
    return False


def _ends(models: Sequence[LabelSetRows], r: Resampling) -> Ends | None:
    """Draws with the worst and with the best imagined rows added."""
    if not all(m.scores is None or m.rankable for m in models):
        return None
    pair = len(models) == 2
    worst = [m.with_imagined(right=pair and i == 0) for i, m in enumerate(models)]
    best = [m.with_imagined(right=not (pair and i == 0)) for i, m in enumerate(models)]
    weight = np.full(2, 1.0 / len(models))
    return smoothed_ends([worst, best], weight, models[0].clusters, r)


def compare_label_sets(
    split: str,
    before: tuple[str, pl.DataFrame],
    after: tuple[str, pl.DataFrame],
    labels: Sequence[str],
    positive: str | None = None,
    metrics: Sequence[str] | None = None,
    resampling: Resampling | None = None,
) -> list[Comparison]:
    """Paired differences of the metrics that both models have, or of those named.

    Subset accuracy has McNemar's exact p, the others exchange the models' answers row by row.
    Raises DataError when the rows or their labels do not agree.
    """
    r = resampling or Resampling()
    a, b = (read_label_sets(frame, labels, positive) for _, frame in (before, after))
    check_same_rows(a, b, (before[0], after[0]))
    if a.scores is None or b.scores is None:
        a, b = replace(a, scores=None), replace(b, scores=None)
    if a.nll is None or b.nll is None:
        a, b = replace(a, nll=None), replace(b, nll=None)
    ends = _ends([a, b], r) if _few([a, b]) else None
    found: Differences = row_differences((a, b), a.clusters, r, ends)
    found = with_ranks(found, (a, b), a.clusters, r)
    change = b.exact.astype(np.float64) - a.exact
    found["subset_accuracy"] = of_shares(found["subset_accuracy"], change, a.clusters)
    return comparisons_of(found, (split, before[0], after[0]), metrics, a.clusters)


def majority_sets(
    frame: pl.DataFrame, labels: Sequence[str], train_counts: Mapping[str, int], train_rows: int
) -> pl.DataFrame:
    """The same rows, each given the labels that more than half of train's rows have."""
    answer = [label for label in labels if train_counts.get(label, 0) * 2 > train_rows]
    always = pl.Series("predicted", [answer] * frame.height, dtype=pl.List(pl.String))
    return frame.select("row_id", "labels").with_columns(always)
