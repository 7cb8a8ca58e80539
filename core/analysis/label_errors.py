"""Labels that are probably wrong, by confident learning (Northcutt, Jiang and Chuang 2021).

Only held-out rows are looked at: a model has learnt the labels of its training rows by heart. And
only where a model has learnt the task, and errs where it is sure: what an unsure model calls wrong
says nothing of the labels (V12).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl
from msgspec import UNSET
from msgspec.structs import replace
from numpy.typing import NDArray
from scipy.special import expit, ndtr, ndtri, xlog1py, xlogy

from ..metrics.analyses import LabelErrors, SuspectCell, SuspectRow
from ..metrics.clusters import as_if_independent
from ..metrics.counts import FloatArray, IntArray
from ..metrics.rows import ClassificationRows, read_classification
from ..metrics.statistics import Z_95
from ..run.events import AnalysisComputed
from .predictions import Evaluation

LISTED = 100
TEXT_LENGTH = 200  # characters of a row's text
UNLIKELY = 0.05  # probability of the given label under which a suspicion is a strong one
SPLITS = ("validation", "test")
SURE = 0.01  # p of no label being wrong, from which rows are listed
NOT_LEARNT = "no model is shown to know these labels better than chance"
UNSURE_ERRORS = "the errors lie where the model is unsure: they are no sign of wrong labels"
CAVEAT = (
    "A label is suspected where the model's answer differs from it, the answer's probability is "
    "at least as high as rows of that label have on the average, and the given label's is lower "
    "than its own rows have. A confidently wrong model looks the same as a wrong label: "
    "read the rows before changing them."
)


@dataclass(frozen=True)
class Suspicion:
    """Rows by place, the most suspect first."""

    places: IntArray  # [suspected]
    thresholds: FloatArray  # [C] mean probability of a label on the rows that carry it


@dataclass(frozen=True)
class Judge:
    """The model whose probabilities speak of the labels."""

    name: str
    rows: ClassificationRows
    probabilities: FloatArray  # [n, C], all finite


def find_label_errors(e: Evaluation) -> Iterator[AnalysisComputed]:
    """Suspect labels of a held-out split, by the better of the tuned model and the probe."""
    if e.split not in SPLITS or not e.labels or "tuned" not in e.frames:
        return
    if not e.config.task_type.has_labels:
        return
    judges = [j for j in (_judge(e, name) for name in ("tuned", "probe")) if j]
    if not judges:
        return
    scores = [balanced_accuracy(j.rows.truth, j.rows.predicted, len(e.labels)) for j in judges]
    best = max(range(len(judges)), key=lambda i: scores[i][0])
    n = judges[best].rows.n
    if len(e.labels) < 2 or not scores[best][1] > 1 / len(e.labels):
        yield e.found(_nothing(n, NOT_LEARNT))
        return
    judge = judges[best]
    noise = fit_label_noise(judge.rows.truth, judge.probabilities)
    known = {"model": judge.name, **asdict(noise)}
    if noise.p > SURE:
        yield e.found(replace(_nothing(n, UNSURE_ERRORS), **known))
        return
    probe = next((j.rows for j in judges if j.name == "probe" and j is not judge), None)
    found = suspect(judge.rows.truth, judge.probabilities)
    yield e.found(replace(_describe(e, judge, probe, found, noise.share), **known))


def _judge(e: Evaluation, name: str) -> Judge | None:
    """None where a model has no probabilities, or one of them is no number."""
    if name not in e.frames:
        return None
    rows = read_classification(e.frames[name], e.labels)
    if rows.probabilities is None or not np.isfinite(rows.probabilities).all():
        return None
    return Judge(name, rows, rows.probabilities)


def _nothing(n: int, why: str) -> LabelErrors:
    return LabelErrors(n=n, suspected=0, why_not=why)


def suspect(truth: NDArray[Any], probabilities: FloatArray) -> Suspicion:
    """Suspect rows of int codes [n] and probabilities [n, C].

    Ranked by the probability of the given label less that of the answer.
    """
    n, n_labels = probabilities.shape
    given = probabilities[np.arange(n), truth]
    answer = probabilities.argmax(axis=1)
    top = probabilities[np.arange(n), answer]
    support = np.bincount(truth, minlength=n_labels)
    sums = np.bincount(truth, weights=given, minlength=n_labels)
    thresholds = np.divide(sums, support, out=np.full(n_labels, np.nan), where=support > 0)
    is_suspect = (answer != truth) & (top >= thresholds[answer]) & (given < thresholds[truth])
    places = np.flatnonzero(is_suspect)
    order = np.argsort(given[places] - top[places], kind="stable")
    return Suspicion(places[order], thresholds)


def _describe(
    e: Evaluation, judge: Judge, probe: ClassificationRows | None, found: Suspicion, share: float
) -> LabelErrors:
    answers = judge.probabilities[found.places].argmax(axis=1)
    given = judge.rows.truth[found.places]
    agrees = None if probe is None else int((probe.predicted[found.places] == answers).sum())
    return LabelErrors(
        n=judge.rows.n,
        suspected=len(found.places),
        unlikely=int((judge.probabilities[found.places, given] < UNLIKELY).sum()),
        estimated=share * judge.rows.n,
        cells=_cells(given, answers, e.labels),
        rows=_rows(e, judge, probe, found.places[:LISTED]),
        thresholds=dict(zip(e.labels, found.thresholds.tolist(), strict=True)),
        caveat=f"{CAVEAT} {as_if_independent(judge.rows.clusters)}".rstrip(),
        probe_agrees=agrees,
    )


def _cells(given: IntArray, answers: IntArray, labels: Sequence[str]) -> list[SuspectCell]:
    """The cells of the confusion matrix that the suspects stand in, the fullest first."""
    codes, counts = np.unique(given * len(labels) + answers, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [
        SuspectCell(labels[codes[i] // len(labels)], labels[codes[i] % len(labels)], int(counts[i]))
        for i in order[:LISTED]
    ]


def _rows(
    e: Evaluation, judge: Judge, probe: ClassificationRows | None, places: IntArray
) -> list[SuspectRow]:
    rows = judge.rows
    ids = rows.row_id[places].tolist()
    texts = _texts(e.source, ids)
    listed = []
    for place, row_id in zip(places.tolist(), ids, strict=True):
        p = judge.probabilities[place]
        answer = int(p.argmax())
        listed.append(
            SuspectRow(
                row_id=row_id,
                label=e.labels[rows.truth[place]],
                suggested=e.labels[answer],
                probability=float(p[answer]),
                label_probability=float(p[rows.truth[place]]),
                text=texts.get(row_id, ""),
                probe=UNSET if probe is None else [*e.labels, None][probe.predicted[place]],
            )
        )
    return listed


def _texts(source: pl.DataFrame, ids: Sequence[int]) -> dict[int, str]:
    """The beginning of each row's text; empty where the source has none."""
    if "text" not in source.columns:
        return {}
    wanted = source.filter(pl.col("row_id").is_in(list(ids)))
    begun = wanted.select("row_id", pl.col("text").cast(pl.String).str.head(TEXT_LENGTH))
    return dict(begun.iter_rows())


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
