"""A scored split as the analyses see it, and what each of them yields."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import polars as pl

from ..config import RunConfig

Frames = dict[str, pl.DataFrame]  # predictions by model, as they are stored


@dataclass(frozen=True)
class Evaluation:
    """A scored split: every model's predictions, the rows they were made from, and the run's terms.

    `source` has row_id and every column of the file; `validation` the predictions on validation,
    from which thresholds and temperatures are fitted (empty where there is none).
    """

    split: str
    frames: Frames
    source: pl.DataFrame
    config: RunConfig
    labels: tuple[str, ...] = ()
    positive: str | None = None
    validation: Frames = field(default_factory=dict)


@dataclass(frozen=True)
class Analysis:
    """One result: `name` says of what, `model` whose (empty where it is about several models)."""

    name: str
    result: dict[str, Any]
    model: str = ""
