"""Labels that are probably wrong, by confident learning (Northcutt, Jiang and Chuang 2021).

Only held-out rows are looked at: a model has learnt the labels of its training rows by heart. And
only where a model has learnt the task, and errs where it is sure: what an unsure model calls wrong
says nothing of the labels (V12).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl
from msgspec import UNSET
from msgspec.structs import replace
from numpy.typing import NDArray

from ..metrics.analyses import LabelErrors, SuspectCell, SuspectRow
from ..metrics.clusters import as_if_independent
from ..metrics.counts import FloatArray, IntArray
from ..metrics.rows import ClassificationRows, read_classification
from ..run.events import AnalysisComputed
from .evaluation import Evaluation
from .label_noise import balanced_accuracy, fit_label_noise

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
