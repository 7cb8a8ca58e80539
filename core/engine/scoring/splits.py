"""A prepared split scored by one model of the run, on all ranks, and what is written of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
import polars as pl

from ...metrics.counts import classification_metrics, confusion
from ...run.events import Evaluated
from ..models.models import Loaded
from ..training.probe import Features, features
from ..worker.session import Session
from .evaluate import score_labels, score_tokens
from .rows import TokenRows

Part = TypeVar("Part", pl.DataFrame, Features)  # an entry per row


def score(s: Session, loaded: Loaded, split: str, what: str) -> pl.DataFrame:
    """Predictions of a model on a prepared split, a row per example."""
    s.ranks.order("score", s.name_of(loaded), split)
    frame = score_share(s, loaded, split, what)
    assert frame is not None
    return in_label_order(frame, loaded.labels, s.labels)


def score_share(s: Session, loaded: Loaded, split: str, what: str) -> pl.DataFrame | None:
    """This rank's part in it; the first one gets the whole, the others nothing."""
    settings = s.config.evaluate
    scorer = score_labels if s.config.task_type.has_labels else score_tokens

    def work(rows: TokenRows) -> Iterator[int | pl.DataFrame]:
        return scorer(loaded, rows, settings.precision, settings.batch_tokens)

    return _on_all_ranks(s, s.rows_for(loaded, split), work, f"{what} on {split}", pl.concat)


def read_features(s: Session, loaded: Loaded, split: str) -> Features:
    """The features of a split that a probe is fitted on or asked about: float32 [rows, hidden]."""
    s.ranks.order("features", s.name_of(loaded), split)
    found = features_share(s, loaded, split)
    assert found is not None
    return found


def features_share(s: Session, loaded: Loaded, split: str) -> Features | None:
    """This rank's part in it; the first one gets the whole, the others nothing."""
    settings = s.config.evaluate

    def work(rows: TokenRows) -> Iterator[int | Features]:
        return features(loaded, rows, settings.precision, settings.batch_tokens)

    what = f"probing the base on {split}"
    return _on_all_ranks(s, s.rows_for(loaded, split), work, what, np.concatenate)


def _on_all_ranks(
    s: Session,
    rows: TokenRows,
    work: Callable[[TokenRows], Iterator[int | Part]],
    what: str,
    join: Callable[[list[Part]], Part],
) -> Part | None:
    """What `work` yields last, an entry per row, in the order of the rows; None on other ranks.

    Each rank computes its share once. The progress written is that of the first rank's share.
    """
    if s.ranks.alone:
        return s.drive(work(rows), what, len(rows))
    own = s.ranks.share(np.arange(len(rows)), rows.lengths)
    found = s.drive(work(rows.take(own)), what, len(own)) if len(own) else None
    pieces = [piece for piece in s.ranks.gather((own, found)) if len(piece[0])]
    if not pieces:
        return None
    back = np.argsort(np.concatenate([index for index, _ in pieces]))
    return join([part for _, part in pieces])[back]


def in_label_order(
    frame: pl.DataFrame, own: tuple[str, ...], labels: tuple[str, ...]
) -> pl.DataFrame:
    """Probabilities in the order of the run's labels; 0 for those that a given model lacks."""
    if own == labels or "probabilities" not in frame.columns:
        return frame
    places = [own.index(label) if label in own else len(own) for label in labels]
    ordered = pl.col("probabilities").list.concat(pl.lit([0.0])).list.gather(places)
    return frame.with_columns(ordered.alias("probabilities"))


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
        loss_sum=math.fsum(frame["nll"].to_list()),  # the same in any order of rows
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
        from ...metrics.rows import text_metrics  # brings SciPy, as what else is not counted does

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
