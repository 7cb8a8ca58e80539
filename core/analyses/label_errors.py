"""Labels that are probably wrong, by confident learning (Northcutt, Jiang and Chuang 2021).

Only held-out rows are looked at: a model has learnt the labels of its training rows by heart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..metrics import FloatArray, IntArray
from ..numbers.scored import ClassificationRows, read_classification
from .evaluation import Analysis, Evaluation

LISTED = 100
TEXT_LENGTH = 200  # characters of a row's text
UNLIKELY = 0.05  # probability of the given label under which a suspicion is a strong one
SPLITS = ("validation", "test")
AT_ONCE = 1 << 20  # rows whose probabilities are compared at a time
CAVEAT = (
    "A label is suspected where the model's answer differs from it, the answer's probability is "
    "at least as high as rows of that label have on the average, and the given label's is lower "
    "than its own rows have. A model that is surely wrong looks the same as a label that is: "
    "read the rows before changing them."
)


@dataclass(frozen=True)
class Suspicion:
    """Rows by place, the most suspect first, and how many labels are wrong by the estimate."""

    places: IntArray  # [suspected]
    thresholds: FloatArray  # [C] mean probability of a label on the rows that carry it
    estimated: float


def find_label_errors(e: Evaluation) -> Iterator[Analysis]:
    """Suspect labels of a held-out split by the tuned model, with the probe's opinion."""
    if e.split not in SPLITS or not e.labels or "tuned" not in e.frames:
        return
    rows = read_classification(e.frames["tuned"], e.labels)
    if rows.probabilities is None or not np.isfinite(rows.probabilities).all():
        return
    probe = read_classification(e.frames["probe"], e.labels) if "probe" in e.frames else None
    found = suspect(rows.truth, rows.probabilities)
    yield Analysis("label_errors", _describe(e, rows, probe, found))


def suspect(truth: NDArray[Any], probabilities: FloatArray) -> Suspicion:
    """Suspect rows of int codes [n] and probabilities [n, C].

    Ranked by the probability of the given label less that of the answer. The estimate is that of
    the confident joint: rows of each label, by the label whose threshold their probability passes
    (the likeliest of these), scaled to the rows of that label.
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
    joint = _confident_joint(truth, probabilities, thresholds)
    return Suspicion(places[order], thresholds, _expected_errors(joint, support))


def _confident_joint(
    truth: NDArray[Any], probabilities: FloatArray, thresholds: FloatArray
) -> IntArray:
    """Rows [given, confident label]; a row that passes no threshold is in no cell."""
    n_labels = len(thresholds)
    joint = np.zeros((n_labels, n_labels), dtype=np.int64)
    for start in range(0, len(truth), AT_ONCE):
        part = probabilities[start : start + AT_ONCE]
        with np.errstate(invalid="ignore"):
            passed = np.where(part >= thresholds, part, -1.0)
        confident = passed.argmax(axis=1)
        counted = passed[np.arange(len(part)), confident] >= 0
        cells = truth[start : start + AT_ONCE][counted] * n_labels + confident[counted]
        joint += np.bincount(cells, minlength=n_labels**2).reshape(n_labels, n_labels)
    return joint


def _expected_errors(joint: IntArray, support: IntArray) -> float:
    """The share off the diagonal of each label's row, times the rows of that label."""
    confident = joint.sum(axis=1)
    off = confident - np.diagonal(joint)
    return float(
        (np.divide(off, confident, out=np.zeros(len(off)), where=confident > 0) * support).sum()
    )


def _describe(
    e: Evaluation, rows: ClassificationRows, probe: ClassificationRows | None, found: Suspicion
) -> dict[str, Any]:
    assert rows.probabilities is not None
    answers = rows.probabilities[found.places].argmax(axis=1)
    given = rows.truth[found.places]
    result: dict[str, Any] = {
        "n": rows.n,
        "suspected": len(found.places),
        "unlikely": int((rows.probabilities[found.places, given] < UNLIKELY).sum()),
        "estimated": found.estimated,
        "cells": _cells(given, answers, e.labels),
        "rows": _rows(e, rows, probe, found.places[:LISTED]),
        "thresholds": dict(zip(e.labels, found.thresholds.tolist(), strict=True)),
        "caveat": CAVEAT,
    }
    if probe is not None:
        result["probe_agrees"] = int((probe.predicted[found.places] == answers).sum())
    return result


def _cells(given: IntArray, answers: IntArray, labels: Sequence[str]) -> list[dict[str, Any]]:
    """The cells of the confusion matrix that the suspects stand in, the fullest first."""
    codes, counts = np.unique(given * len(labels) + answers, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [
        {
            "label": labels[codes[i] // len(labels)],
            "suggested": labels[codes[i] % len(labels)],
            "rows": int(counts[i]),
        }
        for i in order[:LISTED]
    ]


def _rows(
    e: Evaluation, rows: ClassificationRows, probe: ClassificationRows | None, places: IntArray
) -> list[dict[str, Any]]:
    assert rows.probabilities is not None
    ids = rows.row_id[places].tolist()
    texts = _texts(e.source, ids)
    listed = []
    for place, row_id in zip(places.tolist(), ids, strict=True):
        p = rows.probabilities[place]
        answer = int(p.argmax())
        row = {
            "row_id": row_id,
            "label": e.labels[rows.truth[place]],
            "suggested": e.labels[answer],
            "probability": float(p[answer]),
            "label_probability": float(p[rows.truth[place]]),
            "text": texts.get(row_id, ""),
        }
        if probe is not None:
            row["probe"] = [*e.labels, None][probe.predicted[place]]
        listed.append(row)
    return listed


def _texts(source: pl.DataFrame, ids: Sequence[int]) -> dict[int, str]:
    """The beginning of each row's text; empty where the source has none."""
    if "text" not in source.columns:
        return {}
    wanted = source.filter(pl.col("row_id").is_in(list(ids)))
    begun = wanted.select("row_id", pl.col("text").cast(pl.String).str.head(TEXT_LENGTH))
    return dict(begun.iter_rows())
