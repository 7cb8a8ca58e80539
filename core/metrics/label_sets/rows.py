"""Rows with any number of labels each, as arrays.

Each label is a yes or no of its own. Stored are `labels` and `predicted`, lists of text in the
order of the labels, `probabilities`, one per label, which need not sum to 1, and `nll`: the mean
over the labels of the binary cross-entropy, as transformers trains it. Where the decision is not at
0.5, `thresholds` has one per label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...errors import DataError, Fault
from ..clusters import Clusters, read_clusters
from ..counts import Draws, FloatArray, IntArray
from ..metric import draws_of
from ..probabilities import RANKINGS, RankedScores
from ..rows import ordered, probabilities_of, row_ids
from ..smoothing import LEAST
from ..sums import SetMargins

NO_LABEL = "(none)"  # a row without any
RANKED_CELLS = 3_000  # rows × ranked labels up to which each draw ranks its rows anew
Marks = NDArray[np.bool_]  # [n, C]


@dataclass(frozen=True)
class LabelSetRows(RankedScores):
    """Rows by ascending row id, each label marked or not; a `bootstrap.RowScores`."""

    row_id: IntArray  # [n]
    truth: Marks
    predicted: Marks  # nothing in a row without a prediction
    answered: Marks  # [n] whether a row has a prediction
    nll: FloatArray | None  # [n]
    scores: FloatArray | None  # [n, C] probabilities
    positive: int | None = None
    clusters: Clusters | None = None
    content_name = "the true labels"

    @property
    def n(self) -> int:
        return len(self.row_id)

    @property
    def content(self) -> NDArray[Any]:
        """[n] each row's labels as one text."""
        return np.array(["".join("01"[int(m)] for m in row) for row in self.truth])

    @property
    def probabilities(self) -> FloatArray:  # type: ignore[override]
        return np.full(self.truth.shape, np.nan) if self.scores is None else self.scores

    def marked(self, label: int) -> Marks:
        return np.asarray(self.truth[:, label])

    @cached_property
    def ranked_labels(self) -> list[int]:  # type: ignore[override]
        """Those that some rows have and some lack; only the positive one, where there is one."""
        support = self.truth.sum(axis=0)
        wanted = range(len(support)) if self.positive is None else [self.positive]
        return [c for c in wanted if 0 < support[c] < self.n]

    @property
    def first_order(self) -> bool:
        """Earlier than for one label: next to always some label has few rows, and draws with
        imagined ones come twice more (1,000 rows of 6 labels took 10 s of processor time)."""
        return self.n * len(self.ranked_labels) > RANKED_CELLS

    @cached_property
    def exact(self) -> Marks:
        """[n] which rows have exactly their labels."""
        return np.asarray((self.truth == self.predicted).all(axis=1) & self.answered)

    @cached_property
    def _right(self) -> Marks:
        return self.truth & self.predicted

    @cached_property
    def _extras(self) -> dict[str, FloatArray]:
        """What each row adds beside its counts, [n] each."""
        labels = self.truth.shape[1]
        wrong = (self.truth != self.predicted).sum(axis=1).astype(np.float64)
        named = (self.truth.sum(axis=1) + self.predicted.sum(axis=1)).astype(np.float64)
        f1 = np.divide(2.0 * self._right.sum(axis=1), named, out=np.ones(self.n), where=named > 0)
        found = {
            "exact": self.exact.astype(np.float64),
            "decisions_wrong": np.where(self.answered, wrong, labels),
            "row_f1": np.where(self.answered, f1, 0.0),
        }
        if self.nll is not None:
            found["nll"] = self.nll
        if self.scores is not None and self.ranked_labels:
            found |= {name: self.influence_on(name) for name in RANKINGS}
        return found

    def features(self, rows: slice) -> FloatArray:
        """[rows, 3 C + k]: right, true and predicted labels, then what stands beside them."""
        marks = (self._right[rows], self.truth[rows], self.predicted[rows])
        return np.column_stack((*marks, *(column[rows] for column in self._extras.values())))

    def margins(self, totals: FloatArray) -> SetMargins:
        """Totals [..., 3 C + k] of `features`."""
        c = self.truth.shape[1]
        found = {name: totals[..., 3 * c + i] for i, name in enumerate(self._extras)}
        for name in RANKINGS:
            if name in found:
                found[name] = self.area(name) + found[name] / self.n
        rows = np.float64(self.n)
        constant = {"rows": rows, "scored": rows, "decisions": rows * c}
        right, support, predicted = (totals[..., i * c : (i + 1) * c] for i in range(3))
        return SetMargins(right, support, predicted, self.positive, {**found, **constant})

    def metrics_of_totals(self, totals: FloatArray) -> Draws:
        return draws_of("label_sets", self.margins(totals))

    def reweighted(self, weights: FloatArray) -> dict[str, FloatArray]:
        return {} if self.scores is None else super().reweighted(weights)

    def with_imagined(self, *, right: bool) -> LabelSetRows:
        """And two more rows, one with every label and one with none, answered rightly or wrongly.

        Wrongly: as unlikely as the least likely row that there is.
        """
        c = self.truth.shape[1]
        truth = np.stack((np.ones(c, dtype=bool), np.zeros(c, dtype=bool)))
        scores = nll = None
        if self.scores is not None:
            ends = self.scores.max(axis=0), self.scores.min(axis=0)
            scores = np.stack(ends if right else ends[::-1]).clip(LEAST, 1 - LEAST)
        if self.nll is not None:
            nll = np.full(2, self.nll.min() if right else self.nll.max())
        return replace(
            self,
            row_id=np.append(self.row_id, [-1, -2]),
            truth=np.vstack((self.truth, truth)),
            predicted=np.vstack((self.predicted, truth if right else ~truth)),
            answered=np.append(self.answered, [True, True]),
            nll=None if self.nll is None or nll is None else np.append(self.nll, nll),
            scores=None if scores is None else np.vstack((self.probabilities, scores)),
        )


def read_label_sets(
    frame: pl.DataFrame, labels: Sequence[str], positive: str | None = None
) -> LabelSetRows:
    """Rows of row_id, labels, predicted and, where there, probabilities and nll.

    A `predicted` that is null is no prediction; rows of one `cluster` belong together. Raises
    DataError for missing columns, repeated or missing row ids, labels that are not in the list, and
    probabilities of another length.
    """
    if positive is not None and positive not in labels:
        raise DataError(Fault.of("objective.positive", f"there is no label {positive!r}"))
    frame = ordered(frame, ("row_id", "labels", "predicted"))
    probabilities = probabilities_of(frame, len(labels))
    truth = marks_of(frame, "labels", labels)
    nll = None
    if "nll" in frame.columns and frame["nll"].null_count() < frame.height:
        nll = frame["nll"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    elif probabilities is not None:
        nll = cross_entropy(truth, probabilities)
    return LabelSetRows(
        frame["row_id"].to_numpy(),
        truth,
        marks_of(frame, "predicted", labels),
        frame["predicted"].is_not_null().to_numpy(),
        nll,
        probabilities,
        None if positive is None else list(labels).index(positive),
        read_clusters(frame),
    )


def marks_of(frame: pl.DataFrame, column: str, labels: Sequence[str]) -> Marks:
    """A column of lists of labels as marks [n, C]. Raises DataError for an unknown label."""
    index = {label: i for i, label in enumerate(labels)}
    marks = np.zeros((frame.height, len(labels)), dtype=bool)
    named = frame.select(pl.int_range(pl.len()).alias("row"), column).explode(column).drop_nulls()
    codes = named[column].replace_strict(index, default=None, return_dtype=pl.Int64)
    if codes.null_count():
        strange = named.filter(codes.is_null())
        shown = ", ".join(map(repr, strange[column].unique(maintain_order=True).head(5)))
        ids = row_ids(frame["row_id"].to_numpy()[strange["row"].unique().to_numpy()])
        what = f"{column} of {ids} is not in the label list: {shown}"
        raise DataError(Fault("stored predictions", what, "Run the evaluation again"))
    marks[named["row"].to_numpy(), codes.to_numpy()] = True
    return marks


def as_lists(marks: Marks, labels: Sequence[str]) -> list[list[str]]:
    """Marks [n, C] as lists of labels, in their order."""
    return [[labels[int(i)] for i in np.flatnonzero(row)] for row in marks]


def as_one_label(frame: pl.DataFrame) -> pl.DataFrame:
    """The same rows with `label` and `predicted` as one text each: "good, cheap", "(none)".

    For what asks of a row only whether it is right. `confidence` is the probability of exactly this
    set, were the labels independent. Rows with one label each stay as they are.
    """
    if "labels" not in frame.columns:
        return frame
    if "probabilities" in frame.columns and frame.height:
        frame = frame.with_columns(_confidence_of_sets(frame))

    def joined(column: str) -> pl.Expr:
        text = pl.col(column).list.join(", ")
        return pl.when(text == "").then(pl.lit(NO_LABEL)).otherwise(text)

    texts = joined("labels").alias("label"), joined("predicted").alias("predicted")
    return frame.with_columns(*texts)


def _confidence_of_sets(frame: pl.DataFrame) -> pl.Series:
    p = np.array(frame["probabilities"].to_list(), dtype=np.float64)
    limits = np.array(frame["thresholds"].to_list()) if "thresholds" in frame.columns else 0.5
    sure = np.where(p >= limits, p, 1 - p).prod(axis=1)
    return pl.Series("confidence", sure).fill_nan(None)


def of_one_label(frame: pl.DataFrame, labels: Sequence[str], label: str) -> pl.DataFrame:
    """The rows as those of a task of two labels, "not toxic" and "toxic": `label`, `predicted`
    and what is there of `predicted_at_half`, `threshold`, `probabilities`, `nll` left out."""
    place, lacks = list(labels).index(label), lacking(label)

    def one(column: str) -> pl.Expr:
        has = pl.col(column).list.contains(label)
        marked = pl.when(has).then(pl.lit(label)).otherwise(pl.lit(lacks))
        return pl.when(pl.col(column).is_not_null()).then(marked)

    made = {"label": one("labels"), "predicted": one("predicted")}
    if "predicted_at_half" in frame.columns:
        made["predicted_at_half"] = one("predicted_at_half")
    if "thresholds" in frame.columns:
        made["threshold"] = pl.col("thresholds").list.get(place)
    if "probabilities" in frame.columns:
        share = pl.col("probabilities").list.get(place)
        made["probabilities"] = pl.concat_list(1 - share, share)
    kept = [c for c in ("row_id", "cluster", "input") if c in frame.columns]
    return frame.select(*kept, **made)


def lacking(label: str) -> str:
    """What a row without a label is called, where it is looked at by itself."""
    return f"not {label}"


def cross_entropy(truth: Marks, probabilities: FloatArray) -> FloatArray:
    """[n] the mean over labels of -ln of the probability that each label's truth was given."""
    with np.errstate(divide="ignore"):
        found: FloatArray = -np.log(np.where(truth, probabilities, 1 - probabilities)).mean(axis=1)
    return found


def with_thresholds(
    frame: pl.DataFrame, labels: Sequence[str], at: Sequence[float]
) -> pl.DataFrame:
    """The frame with each label decided at its own threshold: at or above it, it is given."""
    marks = np.asarray(frame["probabilities"].to_list(), dtype=np.float64) >= np.asarray(at)
    decided = pl.Series("predicted", as_lists(marks, labels), dtype=pl.List(pl.String))
    decided = decided.set(frame["predicted"].is_null(), None)
    fixed = pl.Series("thresholds", [list(at)] * frame.height, dtype=pl.List(pl.Float64))
    return frame.with_columns(decided, fixed)
