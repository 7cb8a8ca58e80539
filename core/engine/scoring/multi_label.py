"""How rows with any number of labels each are scored: a probability per label, by its sigmoid."""

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
from ...metrics.counts import set_metrics
from ..models.models import Loaded
from ..training.batches import Batch, Layout
from .classification import class_weights, in_words
from .evaluate import BY_BUDGET, FloatArray, score_outputs
from .rows import TokenRows, read_texts
from .scorer import Criterion, Scorer

if TYPE_CHECKING:
    from ...analysis import Frames

AT = 0.5  # probability from which a label is given, where no threshold is fitted


def label_set_rows(frame: pl.DataFrame, loaded: Loaded) -> Iterator[TokenRows | int]:
    """Texts, or pairs of them, and 0 or 1 per output; yields rows done, at last the rows."""
    rows = yield from read_texts(frame, loaded)
    names = loaded.outputs or loaded.labels
    index = {label: i for i, label in enumerate(names)}
    rows.wanted = np.zeros((len(rows), len(names)), dtype=np.float32)
    for row, own in enumerate(frame["labels"].to_list()):
        rows.wanted[row, [index[label] for label in own]] = 1.0
    yield rows


class MultiLabel(Scorer):
    """Stored: row_id, labels, predicted, probabilities, nll."""

    forms: ClassVar = {"text_labels": label_set_rows}

    def score(
        self,
        loaded: Loaded,
        rows: TokenRows,
        precision: str,
        budget: int,
        layout: Layout = BY_BUDGET,
    ) -> Iterator[int | pl.DataFrame]:
        for found in score_outputs(loaded, rows, precision, budget, layout, lambda x: x):
            yield found if isinstance(found, int) else label_sets(rows, loaded.labels, found)

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        assert batch.wanted is not None
        of_labels = functional.binary_cross_entropy_with_logits(
            logits, batch.wanted, reduction="none"
        )
        return of_labels.mean(-1).sum()  # as transformers: a row's loss is the mean of its labels'

    def criterion(self, loaded: Loaded, rows: TokenRows, settings: TrainConfig) -> Criterion:
        """A label's weight is that of its positives, as torch's `pos_weight`."""
        assert rows.wanted is not None
        counts = (rows.wanted > 0).sum(axis=0)
        names = loaded.outputs or loaded.labels
        weights = class_weights(names, counts, len(rows) - counts, settings)
        if weights is None:
            return Criterion(self.loss)
        positives = torch.tensor(weights, dtype=torch.float32, device=loaded.device)

        def loss(logits: Tensor, batch: Batch) -> Tensor:
            assert batch.wanted is not None
            of_labels = functional.binary_cross_entropy_with_logits(
                logits, batch.wanted, pos_weight=positives, reduction="none"
            )
            return of_labels.mean(-1).sum()

        return Criterion(loss, words=in_words(names, weights))

    def sums(self, frame: pl.DataFrame, labels: Sequence[str]) -> dict[str, Any]:
        truth, predicted = (_marks(frame, c, labels) for c in ("labels", "predicted"))
        exact = (truth == predicted).all(axis=1) & frame["predicted"].is_not_null().to_numpy()
        return {
            "loss_count": frame.height,
            "correct": int(exact.sum()),
            "count": frame.height,
            "no_prediction": frame["predicted"].null_count(),
            "values": set_metrics(truth, predicted, None),
        }

    def metric(
        self, name: str, frame: pl.DataFrame, labels: Sequence[str], positive: str | None
    ) -> float:
        code = None if positive is None else list(labels).index(positive)
        truth, predicted = (_marks(frame, c, labels) for c in ("labels", "predicted"))
        found = set_metrics(truth, predicted, code)
        if name in found:
            return found[name]
        from ...metrics.label_sets.results import evaluate_label_sets  # brings SciPy

        whole = evaluate_label_sets(frame, labels, positive, draws=1)
        return whole.metrics[name].value if name in whole.metrics else float("nan")

    def answer(
        self, loaded: Loaded, rows: TokenRows, precision: str, budget: int
    ) -> dict[str, float]:
        *_, found = score_outputs(loaded, rows, precision, budget, BY_BUDGET, torch.sigmoid)
        assert not isinstance(found, int)
        return dict(zip(loaded.labels, found[0].tolist(), strict=True))

    def baselines(self, tuned: pl.DataFrame, labels: Sequence[str], train: Split | None) -> Frames:
        if train is None:
            return {}
        from ...metrics.label_sets.results import majority_sets  # brings SciPy

        counts = train.label_counts()
        return {"majority": majority_sets(tuned, labels, counts, train.frame.height)}

    def decided(
        self,
        frames: Frames,
        validation: Frames,
        labels: Sequence[str],
        positive: str | None,
        objective: ObjectiveConfig,
    ) -> Frames:
        from ...analysis import at_own_thresholds

        return at_own_thresholds(frames, validation, labels, positive, objective)


SCORER = MultiLabel()


def label_sets(rows: TokenRows, labels: Sequence[str], logits: FloatArray) -> pl.DataFrame:
    """Predictions as they are stored. `logits`: [rows, labels].

    A row whose scores are not finite has no prediction (V5).
    """
    assert rows.wanted is not None
    truth = rows.wanted > 0
    finite = np.logical_and.reduce(np.isfinite(logits), axis=1)
    # -ln of the probability of what is true, which never overflows
    costs = np.logaddexp(0.0, np.where(truth, -logits, logits))
    probabilities = np.exp(-np.logaddexp(0.0, -logits))
    given = probabilities >= AT
    return pl.DataFrame(
        {
            "row_id": rows.row_ids,
            "labels": [_named(labels, row) for row in truth],
            "predicted": [
                _named(labels, row) if ok else None for row, ok in zip(given, finite, strict=True)
            ],
            "probabilities": pl.Series(probabilities).arr.to_list(),
            "nll": costs.mean(axis=1),
        },
        schema_overrides={
            "row_id": pl.Int64,
            "labels": pl.List(pl.String),
            "predicted": pl.List(pl.String),
        },
    )


def _marks(frame: pl.DataFrame, column: str, labels: Sequence[str]) -> NDArray[np.bool_]:
    """A column of lists of labels as [rows, labels]."""
    place = {label: i for i, label in enumerate(labels)}
    marks = np.zeros((frame.height, len(labels)), dtype=bool)
    for row, own in enumerate(frame[column].to_list()):
        marks[row, [place[label] for label in own or ()]] = True
    return marks


def _named(labels: Sequence[str], marks: Any) -> list[str]:
    return [labels[int(i)] for i in np.flatnonzero(marks)]
