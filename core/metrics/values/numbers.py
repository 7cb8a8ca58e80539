"""Predicted numbers as rows, measured and compared: one number or several to a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import polars as pl
from scipy.stats import rankdata

from ..bootstrap import DRAWS, Resampling, added_columns
from ..clusters import read_clusters
from ..comparisons import DEFAULT, added_differences, comparisons_of
from ..counts import FloatArray
from ..evaluate import added_estimates
from ..metric import Source
from ..results import Comparison, ModelResult
from ..rows import AddedRows, check_same_rows, ordered
from ..sums import Totals

COLUMNS = ("row_id", "targets", "predicted", "nll")


@dataclass(frozen=True)
class Numbers:
    """Truth and predictions [n, targets]; what metrics of numbers are counted in."""

    truth: FloatArray
    predicted: FloatArray

    @property
    def errors(self) -> FloatArray:
        return self.predicted - self.truth

    @cached_property
    def centred(self) -> FloatArray:
        """The truth about its mean: sums of squares of large numbers would lose their digits."""
        found: FloatArray = self.truth - self.truth.mean(0)
        return found

    @cached_property
    def rank_products(self) -> tuple[FloatArray, ...]:
        """Ranks of truth and prediction about their mean, and their products; NaN where a
        prediction is."""
        truth, predicted = (_ranks(x) for x in (self.truth, self.predicted))
        return truth, predicted, truth * predicted, truth**2, predicted**2

    @staticmethod
    def side_by_side(*columns: FloatArray) -> FloatArray:
        return np.concatenate(columns, axis=1)


def _ranks(values: FloatArray) -> FloatArray:
    ranks = np.apply_along_axis(rankdata, 0, values) - (len(values) + 1) / 2
    return np.where(np.isfinite(values).all(0), ranks, np.nan)


@dataclass(frozen=True, kw_only=True)
class NumberRows(AddedRows):
    """Rows with their truth; the losses of rows are among their columns."""

    truth: FloatArray
    predicted: FloatArray
    source: ClassVar[Source] = "numbers"
    content_name: ClassVar[str] = "the true number"  # what must agree between two models

    @property
    def content(self) -> FloatArray:
        """One number a row: of several targets, of which any differs, their sum by place."""
        places = np.arange(1, self.truth.shape[1] + 1)
        return np.asarray(self.truth @ places.astype(np.float64))

    @property
    def undefined(self) -> tuple[str, ...]:
        """Metrics that divide 0 by 0 here: no order where one side never changes."""
        if _constant(self.truth):
            return "r2", "spearman"
        return ("spearman",) if _constant(self.predicted) else ()

    def totals(self, totals: FloatArray) -> Totals:
        found = super().totals(totals)
        return {**found, "scored": found["rows"]}


def read_numbers(frame: pl.DataFrame) -> NumberRows:
    """Rows of row_id, targets, predicted (lists of as many numbers) and nll. Raises DataError."""
    frame = ordered(frame, COLUMNS)
    truth, predicted = (_matrix(frame[name]) for name in ("targets", "predicted"))
    columns = added_columns("numbers", Numbers(truth, predicted))
    columns = {"nll": frame["nll"].cast(pl.Float64).fill_null(np.nan).to_numpy(), **columns}
    ids = frame["row_id"].to_numpy()
    return NumberRows(ids, columns, read_clusters(frame), truth=truth, predicted=predicted)


def _matrix(column: pl.Series) -> FloatArray:
    flat = column.list.explode(empty_as_null=False).cast(pl.Float64).fill_null(np.nan)
    return flat.to_numpy().reshape(len(column), -1)


def evaluate_numbers(frame: pl.DataFrame, seed: int = 0, draws: int = DRAWS) -> ModelResult:
    """Metrics with intervals from rows as `read_numbers` takes them. Raises DataError."""
    rows = read_numbers(frame)
    estimates = added_estimates(rows, Resampling(seed, draws))
    defined = {name: e for name, e in estimates.items() if name not in rows.undefined}
    broken = ~np.isfinite(rows.predicted).all(1)
    return ModelResult(
        n=rows.n,
        clusters=None if rows.clusters is None else rows.clusters.count,
        loss=estimates["loss"].value,
        metrics=defined,
        no_prediction=rows.row_id[broken].tolist(),
    )


def _constant(values: FloatArray) -> bool:
    """Whether one of the targets has the same number in every row."""
    return bool((np.ptp(values, axis=0) == 0).any())


def compare_numbers(
    split: str,
    before: tuple[str, pl.DataFrame],
    after: tuple[str, pl.DataFrame],
    metrics: Sequence[str] | None = None,
    resampling: Resampling = DEFAULT,
) -> list[Comparison]:
    """As `comparisons.compare`, of frames as for `evaluate_numbers`."""
    a, b = read_numbers(before[1]), read_numbers(after[1])
    names = (before[0], after[0])
    check_same_rows(a, b, names)
    undefined = {*a.undefined, *b.undefined}
    differences = added_differences(a, b, resampling)
    found = {name: d for name, d in differences.items() if name not in undefined}
    return comparisons_of(found, (split, *names), metrics, a.clusters)


def mean_frame(tuned: pl.DataFrame, mean: Sequence[float], unit: Sequence[float]) -> pl.DataFrame:
    """The same rows, each predicted as the mean of train. `unit`: of the loss, per target."""
    truth = _matrix(tuned["targets"])
    loss = (((truth - np.array(mean)) / np.array(unit)) ** 2).mean(1)
    constant = pl.Series("predicted", [list(mean)] * tuned.height, dtype=pl.List(pl.Float64))
    return tuned.select("row_id", "targets").with_columns(constant, nll=pl.Series(loss))
