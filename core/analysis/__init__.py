"""What the stored rows of a split say beyond the metrics: calibration, slices, flips and the like.

Each analysis is one function of an `Evaluation` and one line in `ANALYSES`; its struct stands in
`metrics.analyses`. What it yields is folded into `History.analyses`. `measure` computes them with
the metrics and paired comparisons, whoever scored the split: no model is needed, only predictions.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace

import msgspec
import numpy as np
import polars as pl

from ..judgement.selection import REFERENCES, clean
from ..metrics.analyses import Forgetting
from ..metrics.comparisons import adjust_secondary, compare
from ..metrics.results import Comparison
from ..run.events import AnalysisComputed, ComparisonsComputed, ResultsComputed
from .calibration import calibration
from .choices import choices
from .completions import completions, end_tokens
from .flips import find_flips
from .guardrails import guardrails
from .label_errors import find_label_errors
from .label_sets import (
    at_own_thresholds,
    label_calibration,
    label_thresholds,
    set_label_errors,
)
from .predictions import Evaluation, Frames
from .slices import slices
from .thresholds import at_operating_point, thresholds

__all__ = [
    "ANALYSES",
    "Evaluation",
    "Frames",
    "analyse",
    "at_operating_point",
    "at_own_thresholds",
    "forgetting",
    "guardrails",
    "measure",
    "thresholds",
]

Look = Callable[[Evaluation], Iterator[AnalysisComputed]]

ANALYSES: tuple[Look, ...] = (
    find_flips,
    calibration,
    thresholds,
    label_thresholds,
    label_calibration,
    guardrails,
    slices,
    find_label_errors,
    set_label_errors,
    completions,
    end_tokens,
    choices,
)
# What the verdict asks of rows that repeat nothing, beyond the results.
OF_CLEAN_ROWS = (thresholds, label_thresholds, guardrails)
Measured = ResultsComputed | AnalysisComputed | ComparisonsComputed


def analyse(e: Evaluation, looks: Sequence[Look] = ANALYSES) -> Iterator[AnalysisComputed]:
    """Every analysis that applies to a split, as facts to be written down."""
    for look in looks:
        yield from look(e)


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


def forgetting(base: Sequence[float], tuned: Sequence[float], window: int) -> Forgetting | None:
    """The paired difference of the loss, tuned less base, in nats per token.

    `base` and `tuned` are log-likelihoods of the same tokens. The unit that is resampled is a run
    of `window` tokens, because neighbouring tokens depend on each other; one window alone has no
    interval. None where the two models did not score the same tokens.
    """
    if len(base) != len(tuned) or not len(base):
        return None
    frames = [_by_window(scores, window) for scores in (base, tuned)]
    [loss] = compare(
        "general_text", "base", frames[0], "tuned", frames[1], None, None, metrics=("loss",)
    )
    return Forgetting(
        **msgspec.structs.asdict(loss), tokens=len(base), window=window, windows=len(frames[0])
    )


def _by_window(scores: Sequence[float], window: int) -> pl.DataFrame:
    """Sums over each run of tokens, as a language model's rows are stored; without bytes."""
    starts = np.arange(0, len(scores), max(1, window))
    tokens = np.diff(starts, append=len(scores))
    nll = -np.add.reduceat(np.asarray(scores, dtype=np.float64), starts)
    zeros = np.zeros(len(starts), dtype=np.int64)
    return pl.DataFrame(
        {
            "row_id": np.arange(len(starts)),
            "nll": nll,
            "tokens": tokens,
            "correct": zeros,
            "bytes": zeros,
        }
    )
