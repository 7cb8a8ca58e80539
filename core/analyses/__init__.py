"""What the stored rows of a split say beyond the metrics: calibration, slices, flips and the like.

Each analysis is a file here with one function of an `Evaluation`, and one line in `ANALYSES`. What
it yields is written down as an `AnalysisComputed` event and folded into `History.analyses`. No
torch: the worker calls them at the end of a run, and `verify` can call them again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from ..config import RunConfig
from ..events import AnalysisComputed, spell_numbers

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


from .flips import find_flips  # noqa: E402 - analyses are made of the classes above

ANALYSES: tuple[Callable[[Evaluation], Iterator[Analysis]], ...] = (find_flips,)


def analyse(e: Evaluation) -> Iterator[AnalysisComputed]:
    """Every analysis that applies to a split, as facts to be written down."""
    for look in ANALYSES:
        for found in look(e):
            plain = spell_numbers(found.result)
            yield AnalysisComputed(split=e.split, name=found.name, model=found.model, result=plain)
