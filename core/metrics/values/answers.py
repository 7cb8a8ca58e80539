"""Answers without likelihoods: set against references, or with a score that somebody gave them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import polars as pl
from msgspec.structs import replace

from ..bootstrap import DRAWS, Resampling, added_columns
from ..clusters import read_clusters
from ..comparisons import DEFAULT, Differences, added_differences, comparisons_of
from ..counts import FloatArray, IntArray
from ..evaluate import added_estimates
from ..metric import Source
from ..references import read_references
from ..results import Comparison, Estimate, ModelResult
from ..rows import AddedRows, check_same_rows, ordered

SCORE = "score"  # of each answer, given by somebody


@dataclass(frozen=True)
class Scores:
    """[n] scores of answers; what metrics of scores are counted in."""

    given: FloatArray


@dataclass(frozen=True)
class ScoreRows(AddedRows):
    """Rows with a score."""

    source: ClassVar[Source] = "scores"
    content_name: ClassVar[str] = "the row"

    @property
    def content(self) -> IntArray:
        return self.row_id


def read_scores(frame: pl.DataFrame) -> ScoreRows | None:
    """Rows of row_id and score; None where no row has one."""
    if SCORE not in frame.columns:
        return None
    rows = ordered(frame.filter(pl.col(SCORE).is_not_null()), ("row_id", SCORE))
    scores = Scores(rows[SCORE].cast(pl.Float64).to_numpy())
    columns = added_columns("scores", scores)
    return ScoreRows(rows["row_id"].to_numpy(), columns, read_clusters(rows))


def evaluate_answers(frame: pl.DataFrame, seed: int = 0, draws: int = DRAWS) -> ModelResult:
    """Metrics with intervals from rows of row_id with completion and reference, or score, or both.

    Rows without an answer are left out and listed. Raises DataError.
    """
    resampling, estimates = Resampling(seed, draws), dict[str, Estimate]()
    answers, scores = read_references(frame), read_scores(frame)
    for rows in (answers, scores):
        if rows is not None:
            estimates |= added_estimates(rows, resampling)
    kept = answers or scores
    known: IntArray = kept.row_id if kept is not None else np.empty(0, dtype=np.int64)
    clusters = kept.clusters if kept is not None else None
    result = ModelResult(
        n=len(known),
        clusters=None if clusters is None else clusters.count,
        metrics=estimates,
        unscored=sorted(set(frame["row_id"].to_list()) - set(known.tolist())),
    )
    if answers is None:
        return result
    return replace(result, answered=answers.n, signatures=answers.signatures)


def compare_answers(
    split: str,
    before: tuple[str, pl.DataFrame],
    after: tuple[str, pl.DataFrame],
    metrics: Sequence[str] | None = None,
    resampling: Resampling = DEFAULT,
) -> list[Comparison]:
    """As `comparisons.compare`, on the rows that both models have answered."""
    names, found, clusters = (before[0], after[0]), Differences(), None
    kept = before[1].select("row_id").join(_usable(after[1]), on="row_id", how="semi")
    kept = kept.join(_usable(before[1]), on="row_id", how="semi")
    sides = [frame.join(kept, on="row_id", how="semi") for frame in (before[1], after[1])]
    for read in (read_references, read_scores):
        a, b = read(sides[0]), read(sides[1])
        if a is not None and b is not None:
            check_same_rows(a, b, names)
            found |= added_differences(a, b, resampling)
            clusters = a.clusters
    return comparisons_of(found, (split, *names), metrics, clusters)


def _usable(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows that were answered, or scored."""
    column = "completion" if "completion" in frame.columns else SCORE
    return frame.filter(pl.col(column).is_not_null()).select("row_id")
