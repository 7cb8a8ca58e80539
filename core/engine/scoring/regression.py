"""How rows with numbers to predict are scored: by a head that answers in the data's own units.

Training is on standardised targets, with mean and deviation of train: a head of small weights would
take thousands of steps to reach a target of 1,000. The scale lies in the model's configuration as
long as its head answers in it, and is folded into the head before the model is saved (`fold`), so
that whoever loads it gets numbers as they stand in the data.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import polars as pl
import torch
from torch import Tensor

from ...config.config import TrainConfig
from ...data.data import Dataset, Split
from ...data.targets import spread_of
from ..models.models import Loaded
from ..models.scales import Scale, fold, unfold, use_scale
from ..training.batches import Batch, Layout
from .evaluate import BY_BUDGET, FloatArray, score_outputs
from .rows import TokenRows, read_texts
from .scorer import Criterion, Scorer

if TYPE_CHECKING:
    from ...analysis import Frames

SHOWN = ("mae", "rmse", "r2", "spearman")


def number_rows(frame: pl.DataFrame, loaded: Loaded) -> Iterator[TokenRows | int]:
    """Texts, or pairs of them, and their targets as they stand; yields rows done, then all."""
    rows = yield from read_texts(frame, loaded)
    rows.wanted = np.array(frame["targets"].to_list(), dtype=np.float64)
    scale = Scale.of(loaded)
    rows.unit = None if scale is None else np.array(scale.unit)
    yield rows


class Regression(Scorer):
    """Stored: row_id, targets, predicted, nll (mean squared error of the standardised targets)."""

    forms: ClassVar = {"text_numbers": number_rows}
    changed = ""  # no number is another for its last digit

    def score(
        self,
        loaded: Loaded,
        rows: TokenRows,
        precision: str,
        budget: int,
        layout: Layout = BY_BUDGET,
    ) -> Iterator[int | pl.DataFrame]:
        for found in score_outputs(loaded, rows, precision, budget, layout, lambda x: x):
            yield found if isinstance(found, int) else numbers(rows, _in_units(loaded, found))

    def set_up(self, loaded: Loaded, dataset: Dataset | None, *, trainable: bool) -> None:
        if dataset is not None:
            known = dataset.splits.get("train") or next(iter(dataset.splits.values()))
            use_scale(loaded, *spread_of(known.frame))
        if trainable:
            unfold(loaded)

    def finish(self, loaded: Loaded) -> None:
        fold(loaded)

    def criterion(self, loaded: Loaded, rows: TokenRows, settings: TrainConfig) -> Criterion:
        """The mean over a row's targets of the squared error, in standard deviations of train."""
        scale = Scale.of(loaded)
        assert scale is not None
        mean, unit = (torch.tensor(x, device=loaded.device) for x in (scale.mean, scale.unit))

        def loss(logits: Tensor, batch: Batch) -> Tensor:
            assert batch.wanted is not None
            standard = ((batch.wanted - mean) / unit).to(logits.dtype)
            return ((logits - standard) ** 2).mean(-1).sum()

        return Criterion(loss)

    def sums(self, frame: pl.DataFrame, labels: Sequence[str]) -> dict[str, Any]:
        from ...metrics.values.numbers import evaluate_numbers

        found = evaluate_numbers(frame, draws=1)
        return {
            "loss_count": frame.height,
            "correct": 0,
            "count": 0,
            "no_prediction": len(found.no_prediction),
            "values": {n: found.metrics[n].value for n in SHOWN if n in found.metrics},
        }

    def metric(
        self, name: str, frame: pl.DataFrame, labels: Sequence[str], positive: str | None
    ) -> float:
        from ...metrics.values.numbers import evaluate_numbers

        found = evaluate_numbers(frame, draws=1).metrics
        return found[name].value if name in found else float("nan")

    def answer(
        self, loaded: Loaded, rows: TokenRows, precision: str, budget: int
    ) -> dict[str, float]:
        *_, found = score_outputs(loaded, rows, precision, budget, BY_BUDGET, lambda x: x)
        assert not isinstance(found, int)
        return dict(zip(loaded.labels, _in_units(loaded, found)[0].tolist(), strict=True))

    def baselines(self, tuned: pl.DataFrame, labels: Sequence[str], train: Split | None) -> Frames:
        if train is None:
            return {}
        from ...metrics.values.numbers import mean_frame

        return {"mean": mean_frame(tuned, *spread_of(train.frame))}


SCORER = Regression()


def _in_units(loaded: Loaded, outputs: FloatArray) -> FloatArray:
    """Outputs [rows, targets] as they stand in the data."""
    scale = Scale.of(loaded)
    if scale is None or scale.folded:
        return outputs
    return outputs * np.array(scale.unit) + np.array(scale.mean)


def numbers(rows: TokenRows, predicted: FloatArray) -> pl.DataFrame:
    """Predictions as they are stored. `predicted`: [rows, targets] in the data's units."""
    assert rows.wanted is not None
    lists = pl.List(pl.Float64)
    unit = rows.unit if rows.unit is not None else np.ones(predicted.shape[1])
    return pl.DataFrame(
        {
            "row_id": rows.row_ids,
            "targets": pl.Series(rows.wanted.tolist(), dtype=lists),
            "predicted": pl.Series(predicted.tolist(), dtype=lists),
            "nll": (((predicted - rows.wanted) / unit) ** 2).mean(axis=1),
        },
        schema_overrides={"row_id": pl.Int64},
    )
