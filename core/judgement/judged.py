"""Analyses of one kind, and those of the split that is judged.

`analyses` is `History.analyses`: split -> name -> model -> result.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from ..metrics.analyses import NAMES
from ..metrics.results import Record

Analyses = Mapping[str, Mapping[str, Mapping[str, Record]]]
Found = TypeVar("Found", bound=Record)


def of_models(analyses: Analyses, kind: type[Found], split: str) -> dict[str, Found]:
    """An analysis of a split by model."""
    found = analyses.get(split, {}).get(NAMES[kind], {})
    return {model: result for model, result in found.items() if isinstance(result, kind)}


def judged_analysis(analyses: Analyses, kind: type[Found]) -> tuple[str, dict[str, Found]]:
    """The split that is judged, and an analysis of it by model: test, else validation."""
    for split in ("test", "validation"):
        if found := of_models(analyses, kind, split):
            return split, found
    return "", {}
