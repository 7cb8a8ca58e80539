"""Whether a model learned to stop: what the end token costs it, and how many answers end (V7).

A model that never learned to stop may have a good loss: one token of thirty hardly moves it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from msgspec.structs import replace

from ..metrics.analyses import EndChange, Ended, Endings
from ..metrics.bootstrap import Resampling, bootstrap_rows, interval_of, values_of
from ..metrics.clusters import Clusters, read_clusters, share, sign_flip_p, together, told_clusters
from ..metrics.counts import Draws, FloatArray
from ..metrics.references import answered
from ..metrics.results import Estimate
from ..run.events import AnalysisComputed
from .evaluation import Evaluation

MODELS = ("base", "tuned")
COLUMNS = ("nll", "tokens", "end_nll")


@dataclass(frozen=True)
class EndedRows:
    """Rows whose end is scored. Sums [n, 4]: 1, nats of the end, of the others, their count."""

    row_id: Any  # [n]
    sums: FloatArray
    clusters: Clusters | None = None

    @property
    def n(self) -> int:
        return len(self.sums)

    def features(self, rows: slice) -> FloatArray:
        return self.sums[rows]

    def metrics_of_totals(self, totals: FloatArray) -> Draws:
        rows, end, others, count = np.moveaxis(totals, -1, 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            return {"end_token": end / rows, "other_tokens": others / count}

    def reweighted(self, weights: FloatArray) -> Draws:
        return {}


def end_tokens(e: Evaluation) -> Iterator[AnalysisComputed]:
    """Of base and tuned, then the paired difference of what the end token costs."""
    found: dict[str, EndedRows] = {}
    for model in (m for m in MODELS if m in e.frames):
        frame = e.frames[model]
        endings = Endings(answers=_answers(frame))
        if (rows := _read(frame)) is not None:
            found[model] = rows
            endings = _describe(rows, frame.height, endings)
        if endings != Endings():
            yield e.found(endings, model)
    if set(found) == set(MODELS):
        base, tuned = found["base"], found["tuned"]
        if np.array_equal(base.row_id, tuned.row_id):
            yield e.found(_difference(base, tuned))


def _answers(frame: pl.DataFrame) -> Ended | None:
    """Answers that ended by themselves where the reference ends within the limit, if any does.

    The end token takes a place too; a null end_nll: that reference shows no end to learn.
    """
    rows = answered(frame)
    if rows is None or not {"reference_tokens", "completion_limit"} <= set(rows.columns):
        return None
    fits = pl.col("reference_tokens") < pl.col("completion_limit")
    if "end_nll" in rows.columns:
        fits &= pl.col("end_nll").is_not_null()
    fitting = rows.filter(fits)
    if not fitting.height:
        return None
    return Ended(fitting.height, share(fitting["ended_by_eos"].to_numpy(), read_clusters(fitting)))


def _read(frame: pl.DataFrame | None) -> EndedRows | None:
    if frame is None or not set(COLUMNS) <= set(frame.columns):
        return None
    rows = frame.filter(pl.col("end_nll").is_not_null()).sort("row_id")
    if not rows.height:
        return None
    nll, tokens, end = rows.select(pl.col(*COLUMNS).cast(pl.Float64)).to_numpy().T
    sums = np.stack([np.ones(len(nll)), end, nll - end, tokens - 1], axis=1)
    return EndedRows(rows["row_id"].to_numpy(), sums, read_clusters(rows))


def _describe(rows: EndedRows, of: int, endings: Endings) -> Endings:
    resampling = Resampling()
    model = together(rows, rows.clusters)
    drawn, by_rows = bootstrap_rows([model], resampling)
    method = resampling.method(limit=not by_rows)
    costs = {
        name: _estimate(value, drawn[0][name], (model.n, rows.clusters), method)
        for name, value in values_of(rows).items()
    }
    return replace(endings, rows=rows.n, of=of, **costs)


def _difference(base: EndedRows, tuned: EndedRows) -> Endings:
    """Tuned less base, paired by row: below 0 the tuned model ends more surely."""
    resampling, clusters = Resampling(), base.clusters
    models = [together(rows, clusters) for rows in (base, tuned)]
    drawn, by_rows = bootstrap_rows(models, resampling)
    change = tuned.sums[:, 1] - base.sums[:, 1]
    draws = drawn[1]["end_token"] - drawn[0]["end_token"]
    method = resampling.method(paired=True, limit=not by_rows)
    cost = _estimate(float(change.mean()), draws, (models[0].n, clusters), method)
    p, _ = sign_flip_p(change, clusters, resampling.seed, resampling.draws)
    difference = EndChange(cost.value, cost.low, cost.high, cost.method, p)
    return Endings(rows=base.n, difference=difference)


def _estimate(
    value: float, draws: FloatArray, units: tuple[int, Clusters | None], method: str
) -> Estimate:
    n, clusters = units
    (low, high), how = interval_of(draws, n, method + told_clusters(clusters, None))
    return Estimate(value, low, high, how)
