"""What scoring a task takes: one object a task, in the file of this folder that bears its name.

The engine asks the object and never which task it is. `core.tasks` holds what is known of a task
without torch; a scorer, how rows become token ids, what a batch costs, and what is stored per row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray
from torch import Tensor

from ...config.config import TrainConfig
from ...config.objective import ObjectiveConfig
from ...data.data import Dataset, Split
from ..models.models import Loaded
from ..training.batches import Batch, Layout
from .rows import TokenRows

if TYPE_CHECKING:
    from ...analysis import Frames  # brings SciPy's statistics, which no step needs

Render = Callable[[pl.DataFrame, Loaded], Iterator[TokenRows | int]]
BY_BUDGET = Layout()


@dataclass(frozen=True)
class Criterion:
    """A head's training loss: its sum over a batch's rows, from logits in float32, and what each
    row counts in the mean of a step; None: as one. `words` says what is weighted."""

    loss: Callable[[Tensor, Batch], Tensor]
    row_weights: NDArray[np.float64] | None = None  # [rows]
    words: str = ""


class Scorer:
    """How rows of one task are scored. Frames have a row per example and `nll`, in nats."""

    forms: ClassVar[Mapping[str, Render]] = {}  # how examples of each form become token ids
    changed: str = "predicted"  # the column by which two scorings answer otherwise; "": by none

    def score(
        self,
        loaded: Loaded,
        rows: TokenRows,
        precision: str,
        budget: int,
        layout: Layout = BY_BUDGET,
    ) -> Iterator[int | pl.DataFrame]:
        """Yields rows done, at last their scores as they are stored. `budget`: tokens of a pass."""
        raise NotImplementedError

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Sum over a batch's rows of what is trained on, from a head's logits in float32."""
        raise NotImplementedError

    def set_up(self, loaded: Loaded, dataset: Dataset | None, *, trainable: bool) -> None:
        """What a model of this task is given once it is loaded; `dataset`: where it was read."""

    def finish(self, loaded: Loaded) -> None:
        """What is done to a model once it is trained, before it is saved."""

    def criterion(self, loaded: Loaded, rows: TokenRows, settings: TrainConfig) -> Criterion:
        """The training loss of a model on these rows."""
        return Criterion(self.loss)

    def sums(self, frame: pl.DataFrame, labels: Sequence[str]) -> dict[str, Any]:
        """Fields of `Evaluated` that this task counts, beside the sum of losses."""
        raise NotImplementedError

    def metric(
        self, name: str, frame: pl.DataFrame, labels: Sequence[str], positive: str | None
    ) -> float:
        """One metric of an evaluation during training; NaN where it does not apply."""
        raise NotImplementedError

    def answer(
        self, loaded: Loaded, rows: TokenRows, precision: str, budget: int
    ) -> dict[str, float]:
        """What a model with a head says of a single row, by the names of its outputs."""
        raise NotImplementedError

    def baselines(self, tuned: pl.DataFrame, labels: Sequence[str], train: Split | None) -> Frames:
        """Answers to the same rows that need no model, by their names."""
        return {}

    def decided(
        self,
        frames: Frames,
        validation: Frames,
        labels: Sequence[str],
        positive: str | None,
        objective: ObjectiveConfig,
    ) -> Frames:
        """The frames with each model's decision at the threshold fitted on validation."""
        return frames


def find_scorer(task: str) -> Scorer:
    """The scorer of a task, by its name."""
    found: Scorer = import_module(f"{__package__}.{task}").SCORER
    return found
