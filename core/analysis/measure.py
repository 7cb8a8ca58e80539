"""What is computed of a scored split, whoever scored it: results, the same on clean rows, analyses
and paired comparisons. No model is needed: rows of predictions are."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

import polars as pl

from ..judgement.selection import REFERENCES, clean
from ..metrics.comparisons import adjust_secondary
from ..metrics.results import Comparison
from ..run.events import AnalysisComputed, ComparisonsComputed, ResultsComputed
from . import Evaluation, Frames, analyse, guardrails, thresholds

OF_CLEAN_ROWS = (thresholds, guardrails)  # what the verdict asks of them beyond the results
Measured = ResultsComputed | AnalysisComputed | ComparisonsComputed


def measure(
    e: Evaluation, leaked: Collection[int] = (), *, comparable: bool = True
) -> Iterator[Measured]:
    """Every number of a split, as facts to be written down.

    `leaked`: ids of the rows that repeat an earlier split (D2). `comparable` is False where the
    models do not read the same rows: they are not compared. Raises DataError.
    """
    others = _without(e, leaked)
    for part in (e, others):
        for model in part.frames:
            yield ResultsComputed(split=part.split, model=model, result=part.result(model))
    yield from analyse(e)
    if others.frames and e.split != "validation":
        yield from analyse(others, OF_CLEAN_ROWS)
    found = [c for part in (e, others) for c in _comparisons(part)] if comparable else []
    yield ComparisonsComputed(comparisons=found)


def _without(e: Evaluation, leaked: Collection[int]) -> Evaluation:
    """The rows that repeat nothing of an earlier split; no frames where none repeats, or all do."""
    kept: Frames = {}
    if leaked:
        own = ~pl.col("row_id").is_in(list(leaked))
        kept = {model: frame.filter(own) for model, frame in e.frames.items()}
    kept = {model: frame for model, frame in kept.items() if frame.height}
    return replace(e, split=clean(e.split), frames=kept, measured={})


def _comparisons(e: Evaluation) -> Iterator[Comparison]:
    """Tuned against each reference, all but the primary metric with Holm's p (S6)."""
    task = e.config.task_type
    primary = e.config.objective.declared_metric or task.default_metric
    for reference in (m for m in REFERENCES if m in e.frames):
        pair = (reference, e.frames[reference]), ("tuned", e.frames["tuned"])
        found = task.compare(e.split, *pair, e.labels, e.positive)
        yield from adjust_secondary(found, primary)
