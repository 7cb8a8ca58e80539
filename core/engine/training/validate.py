"""Evaluations inside training: what is written down of one, and which model is the best so far."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from msgspec.structs import replace

from ...config.config import EarlyStopping
from ...judgement.kept import chosen_by
from ...metrics.metrics import (
    METRICS,
    classification_metrics,
    confusion,
    count_metrics,
    margins,
    text_metrics,
)
from ...run.events import Evaluated
from ..distributed.shares import compute
from ..models.models import Loaded
from ..scoring.evaluate import score_labels, score_tokens
from ..scoring.rows import TokenRows
from ..worker.session import Session
from .checkpoints import Best

LEVEL = 0.05  # a p above it does not tell two checkpoints apart

PValue = Callable[[int, int], float]  # of two steps


def score(s: Session, loaded: Loaded, split: str, what: str) -> pl.DataFrame:
    """Predictions of a model on a prepared split, a row an example."""
    s.ranks.order("score", s.name_of(loaded), split)
    return in_label_order(score_share(s, loaded, split, what), loaded.labels, s.labels)


def score_share(s: Session, loaded: Loaded, split: str, what: str) -> pl.DataFrame:
    """This rank's part in it; the first one gets the whole."""
    settings = s.config.evaluate
    scorer = score_labels if s.config.task_type.has_labels else score_tokens

    def work(rows: TokenRows) -> Iterator[Any]:
        return scorer(loaded, rows, settings.precision, settings.batch_tokens)

    frame: pl.DataFrame = compute(s, s.rows_for(loaded, split), work, f"{what} on {split}")
    return frame


def in_label_order(
    frame: pl.DataFrame, own: tuple[str, ...], labels: tuple[str, ...]
) -> pl.DataFrame:
    """Probabilities in the order of the run's labels; 0 for those that a given model lacks."""
    if own == labels or "probabilities" not in frame.columns:
        return frame
    places = [own.index(label) if label in own else len(own) for label in labels]
    ordered = pl.col("probabilities").list.concat(pl.lit([0.0])).list.gather(places)
    return frame.with_columns(ordered.alias("probabilities"))


def validate(
    s: Session, model: str, loaded: Loaded, epoch: float
) -> tuple[Evaluated, pl.DataFrame]:
    """Score validation, write the sums down and keep the rows."""
    started = time.monotonic()
    s.listener.state = "evaluating"
    frame = score(s, loaded, "validation", f"evaluating {model}")
    seconds = time.monotonic() - started
    event = evaluated(s, "validation", model, frame, epoch=epoch, seconds=seconds)
    event = replace(event, changes=s.validation_rows.changes(s.step, frame))
    asked = _needs_probabilities(chosen_by(s.config))
    s.validation_rows.keep(s.step, epoch, frame, probabilities=asked)
    s.write(event)
    return event, frame


def _needs_probabilities(metric: str) -> bool:
    """Whether labels alone do not give it."""
    of_counts = count_metrics(margins(np.zeros((2, 2))), 0)
    return metric != "loss" and metric not in of_counts


def evaluated(
    s: Session, split: str, model: str, frame: pl.DataFrame, *, epoch: float, seconds: float
) -> Evaluated:
    """Sums and counts of a scored split."""
    sums = _class_sums(frame, s.labels) if s.config.task_type.has_labels else _token_sums(frame)
    return Evaluated(
        split=split,
        model=model,
        step=s.step,
        epoch=epoch,
        rows=frame.height,
        loss_sum=math.fsum(frame["nll"].to_list()),
        seconds=seconds,
        **sums,
    )


def _class_sums(frame: pl.DataFrame, labels: tuple[str, ...]) -> dict[str, Any]:
    return {
        "loss_count": frame.height,
        "correct": int((frame["label"] == frame["predicted"]).sum()),
        "count": frame.height,
        "confusion": _cells(frame, labels),
        "no_prediction": frame["predicted"].null_count(),
    }


def _token_sums(frame: pl.DataFrame) -> dict[str, Any]:
    tokens = int(frame["tokens"].sum())
    return {
        "loss_count": tokens,
        "correct": int(frame["correct"].sum()),
        "count": tokens,
        "bytes": int(frame["bytes"].sum()),
        "unscored_rows": int((frame["tokens"] == 0).sum()),
        "no_prediction": int((~frame["nll"].is_finite()).sum()),
    }


def _cells(frame: pl.DataFrame, labels: tuple[str, ...]) -> list[tuple[int, int, int]]:
    index = {label: i for i, label in enumerate(labels)}
    answered = frame.drop_nulls("predicted")  # the others are `no_prediction`
    counted = answered.group_by("label", "predicted").len().sort("label", "predicted")
    return [(index[t], index[p], n) for t, p, n in counted.iter_rows()]


def metric_value(s: Session, name: str, event: Evaluated, frame: pl.DataFrame) -> float:
    """One metric of an evaluation; NaN where it does not apply, or a row has no prediction (V5)."""
    if event.no_prediction:
        return math.nan
    if name == "loss":
        return event.loss_sum / event.loss_count if event.loss_count else math.nan
    if not s.config.task_type.has_labels:
        columns = ("nll", "tokens", "correct", "bytes")
        return text_metrics(*(frame[c].to_numpy() for c in columns)).get(name, math.nan)
    index = {label: i for i, label in enumerate(s.labels)}
    truth = np.array([index[v] for v in frame["label"]])
    predicted = np.array([index[v] for v in frame["predicted"]])
    counts = confusion(truth, predicted, len(s.labels))
    found = classification_metrics(counts, s.labels, s.positive)
    if name in found:
        return found[name]
    from ...metrics.evaluate import evaluate_classification

    whole = evaluate_classification(frame, s.labels, s.positive, draws=1)
    return whole.metrics[name].value if name in whole.metrics else math.nan


def update_best(
    best: Best,
    value: float,
    step: int,
    metric: str,
    stop: EarlyStopping | None,
    loss: float = math.nan,
    p_value: PValue = lambda earlier, later: 0.0,
) -> bool:
    """Whether the checkpoint of this evaluation is needed: it is kept, or the best by the metric.

    NaN is never best. The reference of early stopping moves only when the gain exceeds min_delta
    (T2).
    """
    sign = 1.0 if METRICS[metric].direction == "higher" else -1.0
    needed = False
    if not math.isnan(value):
        new = Candidate(step, value, math.inf if math.isnan(loss) else loss)
        needed = _choose(best, new, sign, p_value)
    min_delta = stop.min_delta if stop else 0.0
    if not math.isnan(value) and (
        best.reference is None or sign * (value - best.reference) > min_delta
    ):
        best.reference, best.since = value, 0
    else:
        best.since += 1
    return needed


@dataclass(frozen=True)
class Candidate:
    """An evaluation that may choose the checkpoint."""

    step: int
    value: float
    loss: float


def _choose(best: Best, new: Candidate, sign: float, p_value: PValue) -> bool:
    """Keep, of those that the metric cannot tell from the best one, the one of the lowest loss.

    Each is held against the best by the metric and never against the one that is kept, or a chain
    of small losses would lead downhill. One that was told apart once is out for good: its weights
    are gone, which bounds the checkpoints on disk.
    """
    known = {c.step: c for c in (*_candidates(best), new)}
    top = max(known.values(), key=lambda c: (sign * c.value, -c.loss))
    kept, p = top, None
    for candidate in known.values():
        if candidate.loss < kept.loss and candidate is not top:
            found = p_value(candidate.step, top.step)
            if found > LEVEL:
                kept, p = candidate, found
    best.value, best.step, best.loss, best.p = kept.value, kept.step, _told(kept.loss), p
    best.top_value, best.top_step, best.top_loss = top.value, top.step, _told(top.loss)
    return new in (top, kept)


def _candidates(best: Best) -> Iterator[Candidate]:
    """The one that was kept and the best by the metric, as far as there are any."""
    for step, value, loss in (
        (best.step, best.value, best.loss),
        (best.top_step, best.top_value, best.top_loss),
    ):
        if value is not None:
            yield Candidate(step, value, math.inf if loss is None else loss)


def _told(loss: float) -> float | None:
    return loss if math.isfinite(loss) else None


def paired_p(s: Session, metric: str, earlier: int, later: int) -> float:
    """p of the metric's difference between two evaluations over the same validation rows (S2b).

    0, which tells them apart, where that cannot be computed: then the metric alone decides.
    """
    from ...metrics.comparisons import compare  # brings SciPy: most runs never ask

    rows = [s.validation_rows.read(step) for step in (earlier, later)]
    if rows[0] is None or rows[1] is None:
        return 0.0
    labels = s.labels if s.config.task_type.has_labels else None
    found = compare(
        "validation", "earlier", rows[0], "later", rows[1], labels, s.positive, metrics=[metric]
    )
    return next((c.p for c in found if not math.isnan(c.p)), 0.0)


def out_of_patience(best: Best, stop: EarlyStopping | None) -> bool:
    return stop is not None and best.since >= stop.patience
