"""How rows with one label each are scored: probabilities of the labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ...config.config import TrainConfig
from ...config.objective import ObjectiveConfig
from ...data.data import Split
from ...metrics.counts import classification_metrics, confusion
from ..models.models import Loaded
from ..training.batches import Batch, Layout
from .evaluate import BY_BUDGET, FloatArray, score_outputs
from .rows import TokenRows, classification_rows
from .scorer import Criterion, Scorer

if TYPE_CHECKING:
    from ...analysis import Frames

SHOWN_WEIGHTS = 8


class Classification(Scorer):
    """Stored: row_id, label, predicted, probabilities, nll."""

    forms: ClassVar = {"text_label": classification_rows}

    def score(
        self,
        loaded: Loaded,
        rows: TokenRows,
        precision: str,
        budget: int,
        layout: Layout = BY_BUDGET,
    ) -> Iterator[int | pl.DataFrame]:
        for found in _log_probabilities(loaded, rows, precision, budget, layout):
            yield found if isinstance(found, int) else labelled(rows, loaded.labels, found)

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        assert batch.labels is not None
        return functional.cross_entropy(logits, batch.labels, reduction="sum")

    def criterion(self, loaded: Loaded, rows: TokenRows, settings: TrainConfig) -> Criterion:
        """Weighted as torch's CrossEntropyLoss: the mean of a step divides by the weights' sum."""
        assert rows.labels is not None
        counts = np.bincount(rows.labels, minlength=len(loaded.labels))
        weights = class_weights(loaded.labels, counts, len(rows) / len(counts), settings)
        if weights is None:
            return Criterion(self.loss)
        of_label = torch.tensor(weights, dtype=torch.float32, device=loaded.device)

        def loss(logits: Tensor, batch: Batch) -> Tensor:
            assert batch.labels is not None
            return functional.cross_entropy(logits, batch.labels, of_label, reduction="sum")

        return Criterion(loss, weights[rows.labels], in_words(loaded.labels, weights))

    def sums(self, frame: pl.DataFrame, labels: Sequence[str]) -> dict[str, Any]:
        return {
            "loss_count": frame.height,
            "correct": int((frame["label"] == frame["predicted"]).sum()),
            "count": frame.height,
            "confusion": _cells(frame, labels),
            "no_prediction": frame["predicted"].null_count(),
        }

    def metric(
        self, name: str, frame: pl.DataFrame, labels: Sequence[str], positive: str | None
    ) -> float:
        index = {label: i for i, label in enumerate(labels)}
        truth = np.array([index[v] for v in frame["label"]])
        predicted = np.array([index[v] for v in frame["predicted"]])
        counts = confusion(truth, predicted, len(labels))
        found = classification_metrics(counts, labels, positive)
        if name in found:
            return found[name]
        from ...metrics.evaluate import evaluate_classification

        whole = evaluate_classification(frame, labels, positive, draws=1)
        return whole.metrics[name].value if name in whole.metrics else float("nan")

    def answer(
        self, loaded: Loaded, rows: TokenRows, precision: str, budget: int
    ) -> dict[str, float]:
        *_, found = _log_probabilities(loaded, rows, precision, budget, BY_BUDGET)
        assert not isinstance(found, int)
        return dict(zip(loaded.labels, np.exp(found[0]).tolist(), strict=True))

    def baselines(self, tuned: pl.DataFrame, labels: Sequence[str], train: Split | None) -> Frames:
        if train is None:
            return {}
        from ...metrics.evaluate import majority_frame  # brings SciPy

        return {"majority": majority_frame(tuned, labels, train.label_counts())}

    def decided(
        self,
        frames: Frames,
        validation: Frames,
        labels: Sequence[str],
        positive: str | None,
        objective: ObjectiveConfig,
    ) -> Frames:
        from ...analysis import at_operating_point

        return at_operating_point(frames, validation, labels, positive, objective)


SCORER = Classification()


def class_weights(
    labels: Sequence[str],
    counts: NDArray[Any],
    balanced: float | NDArray[Any],
    settings: TrainConfig,
) -> NDArray[np.float64] | None:
    """The weight of each label; None where the settings name none. `balanced`: what is divided by
    the labels' rows, so that all count alike."""
    asked = settings.class_weights
    if asked is None:
        return None
    if asked == "balanced":
        return np.asarray(balanced / np.maximum(counts, 1), dtype=np.float64)
    assert isinstance(asked, dict)
    return np.array([asked.get(label, 1.0) for label in labels], dtype=np.float64)


def in_words(labels: Sequence[str], weights: NDArray[np.float64]) -> str:
    """The heaviest labels first."""
    order = np.argsort(-weights, kind="stable")
    shown = [f"{labels[i]} {weights[i]:.3g}" for i in order[:SHOWN_WEIGHTS]]
    more = len(labels) - len(shown)
    return ", ".join([*shown, *([f"and {more:,} more"] if more > 0 else [])])


def _log_probabilities(
    loaded: Loaded, rows: TokenRows, precision: str, budget: int, layout: Layout
) -> Iterator[int | FloatArray]:
    """Yields rows done, at last log-probabilities [rows, labels], nats."""

    def of_logits(logits: Tensor) -> Tensor:
        return logits.log_softmax(-1)

    for found in score_outputs(loaded, rows, precision, budget, layout, of_logits):
        yield found if isinstance(found, int) else by_label(loaded, found)


def by_label(loaded: Loaded, found: FloatArray) -> FloatArray:
    """Log-probabilities [rows, outputs] to [rows, labels]: outputs of one label are added."""
    if not loaded.outputs:
        return found
    of_label = [[o == label for o in loaded.outputs] for label in loaded.labels]
    return np.stack([np.logaddexp.reduce(found[:, own], axis=1) for own in of_label], axis=1)


def labelled(rows: TokenRows, labels: Sequence[str], log_probabilities: FloatArray) -> pl.DataFrame:
    """Predictions as they are stored. `log_probabilities`: [rows, labels], nats.

    A row whose scores are not finite has no prediction (V5).
    """
    assert rows.labels is not None
    return pl.DataFrame(
        {
            "row_id": rows.row_ids,
            "label": [labels[i] for i in rows.labels],
            "predicted": most_likely(labels, log_probabilities),
            "probabilities": pl.Series(np.exp(log_probabilities)).arr.to_list(),
            "nll": -log_probabilities[np.arange(len(rows)), rows.labels],
        },
        schema_overrides={"row_id": pl.Int64, "predicted": pl.String},
    )


def most_likely(labels: Sequence[str], scores: FloatArray) -> list[str | None]:
    """The label with the highest score of each row; none where a score is not finite (V5)."""
    finite: NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(scores), axis=1)
    return [labels[i] if ok else None for i, ok in zip(scores.argmax(1), finite, strict=True)]


def _cells(frame: pl.DataFrame, labels: Sequence[str]) -> list[tuple[int, int, int]]:
    index = {label: i for i, label in enumerate(labels)}
    answered = frame.drop_nulls("predicted")  # the others are `no_prediction`
    counted = answered.group_by("label", "predicted").len().sort("label", "predicted")
    return [(index[t], index[p], n) for t, p, n in counted.iter_rows()]
