"""A scored split as the analyses see it, and what each of them yields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from ..config.config import RunConfig
from ..judgement.selection import first_reference
from ..metrics.analyses import NAMES
from ..metrics.results import Estimate, ModelResult, Record
from ..run.events import AnalysisComputed

Frames = dict[str, pl.DataFrame]  # predictions by model, as they are stored


@dataclass(frozen=True)
class Evaluation:
    """A scored split: every model's predictions, the rows they were made from, and the run's terms.

    `source` has row_id and every column of the file; `validation` the predictions on validation,
    from which thresholds and temperatures are fitted (empty where there is none). `windows` has
    row_id and input (how it begins) where the rows are windows of documents, not the source's own.
    """

    split: str
    frames: Frames
    source: pl.DataFrame
    config: RunConfig
    labels: tuple[str, ...] = ()
    positive: str | None = None
    validation: Frames = field(default_factory=dict)
    windows: pl.DataFrame | None = None
    measured: dict[str, ModelResult] = field(default_factory=dict, repr=False)  # by model

    def result(self, model: str) -> ModelResult:
        """Its metrics with their intervals, which every table shows alike. Raises DataError."""
        if model not in self.measured:
            measure = self.config.task_type.evaluate
            self.measured[model] = measure(self.frames[model], self.labels, self.positive)
        return self.measured[model]

    @property
    def reference(self) -> str | None:
        return reference_of(self.frames)

    def found(self, result: Record, model: str = "") -> AnalysisComputed:
        """An analysis of this split as it is written down; `model` is empty where it is about
        several."""
        name = NAMES[type(result)]
        return AnalysisComputed(split=self.split, name=name, model=model, result=result)


def reference_of(frames: Mapping[str, pl.DataFrame]) -> str | None:
    """What the tuned model is set against; a frame with a method is of a zero-shot base."""
    base = frames.get("base")
    return first_reference(frames, zero_shot=base is not None and "method" in base.columns)


def as_in_results(estimate: Estimate) -> Estimate:
    """One number has one interval, wherever it stands; its sums stand with the results."""
    return Estimate(estimate.value, estimate.low, estimate.high, estimate.method)
