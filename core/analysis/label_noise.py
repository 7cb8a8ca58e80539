"""How many labels of held-out rows are wrong, from where a model errs and how sure it is there.

A model that finds its task hard errs where it is unsure: its errors thin out towards its surest
answers, whatever its calibration. Wrong labels do not: the error rate levels off at their share.
Both are fitted to the error rate by rank of confidence, and the share is believed where the fit
needs it. Only ranks are used: an over-confident model, and one that learnt from wrong labels
and is never surer than they allow, are read alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtr, ndtri, xlog1py, xlogy

from ..metrics.counts import FloatArray
from ..metrics.statistics import Z_95

BINS = 50  # of rank: an error rate is a smooth function of it
STEEPNESS = np.concatenate([[0.0], np.geomspace(0.2, 30.0, 40)])
SHARES = np.linspace(0.0, 0.5, 101)
LEVELS = 6  # of the error rate at the least sure row, with more than two labels
SMOOTHING = 1.0  # rows added to each label's


@dataclass(frozen=True)
class LabelNoise:
    """Share of wrong labels with its 95 % profile interval, and the p of there being none."""

    share: float
    low: float
    high: float
    p: float


def fit_label_noise(truth: NDArray[Any], probabilities: FloatArray) -> LabelNoise:
    """From int codes [n] and out-of-sample probabilities [n, C], C at least 2.

    Answers are those of labels equally common: a rare label that is never answered is no wrong
    label. p is that of a likelihood ratio whose null lies at the boundary (Self and Liang 1987).
    """
    n_labels = probabilities.shape[1]
    margin, wrong = _balanced_answers(truth, probabilities)
    rank = (_midranks(margin) + 0.5) / len(margin)
    bins = np.minimum((rank * BINS).astype(np.int64), BINS - 1)
    rows = np.bincount(bins, minlength=BINS).astype(np.float64)
    errors = np.bincount(bins[wrong], minlength=BINS).astype(np.float64)
    profile = _profile(rows, errors, n_labels)
    best = int(profile.argmax())
    low, high = _ends(profile, best)
    ratio = max(0.0, 2 * (profile[best] - profile[0]))
    return LabelNoise(
        float(SHARES[best]),
        low,
        high,
        float(ndtr(-math.sqrt(ratio))),
    )


def _ends(profile: FloatArray, best: int) -> tuple[float, float]:
    """Where the profile falls by half the 95 % quantile of chi-squared, between two shares."""
    below = profile[best] - profile - 1.92

    def crossing(side: NDArray[np.int64]) -> float:
        """`side`: places from the best one outwards."""
        outside = np.flatnonzero(below[side] > 0)
        if not outside.size:
            return float(SHARES[side[-1]])
        far = int(outside[0])
        a, b = side[far - 1], side[far]
        return float(np.interp(0.0, (below[a], below[b]), (SHARES[a], SHARES[b])))

    return crossing(np.arange(best, -1, -1)), crossing(np.arange(best, len(SHARES)))


def balanced_accuracy(
    truth: NDArray[Any], predicted: NDArray[Any], n_labels: int
) -> tuple[float, float]:
    """Mean recall of the labels with rows, and the lower end of its 95 % interval.

    The normal limit of independent recalls, each with one right and one wrong row more, so that a
    label that is always found does not count as certain.
    """
    support = np.bincount(truth, minlength=n_labels)[:n_labels].astype(np.float64)
    found = np.bincount(truth[truth == predicted], minlength=n_labels)[:n_labels]
    there = support > 0
    recall = found[there] / support[there]
    smooth = (found[there] + 1) / (support[there] + 2)
    variance = (smooth * (1 - smooth) / support[there]).sum() / there.sum() ** 2
    mean = float(recall.mean())
    return mean, mean - Z_95 * math.sqrt(variance)


def _balanced_answers(
    truth: NDArray[Any], probabilities: FloatArray
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Log odds of the answer over the next one, and whether it is another than the label."""
    n_labels = probabilities.shape[1]
    prior = np.bincount(truth, minlength=n_labels) + SMOOTHING
    with np.errstate(divide="ignore"):
        scores = np.log(probabilities) - np.log(prior)
    top = np.partition(scores, -2, axis=1)[:, -2:]
    with np.errstate(invalid="ignore"):
        margin = np.nan_to_num(top[:, 1] - top[:, 0], nan=0.0, posinf=1e300)
    return margin, scores.argmax(axis=1) != truth


def _midranks(values: FloatArray) -> FloatArray:
    """Ranks from 0; equal values share theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return ((ends - counts + ends - 1) / 2)[inverse]


def _profile(rows: FloatArray, errors: FloatArray, n_labels: int) -> FloatArray:
    """Log-likelihood of each share, at the error curve that fits it best."""
    at = ndtri(0.5 + (np.arange(BINS) + 0.5) / (2 * BINS))  # quantiles of a folded normal
    levels = np.linspace(0, math.log(n_labels - 1), LEVELS) if n_labels > 2 else np.zeros(1)
    curves = levels[:, None, None] - STEEPNESS[:, None] * at
    errs = expit(curves).reshape(-1, BINS)
    found = np.empty(len(SHARES))
    for i, share in enumerate(SHARES):
        rate = errs * (1 - share / (n_labels - 1)) + (1 - errs) * share
        found[i] = (xlogy(errors, rate) + xlog1py(rows - errors, -rate)).sum(axis=1).max()
    return found
