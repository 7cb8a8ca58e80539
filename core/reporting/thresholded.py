"""What the analyses of a report or a history say, found by split and model.

`analyses` is `History.analyses`, or "analyses" of a report: split -> name -> model -> result.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Analyses = Mapping[str, Mapping[str, Mapping[str, Mapping[str, Any]]]]


def judged_analysis(analyses: Analyses, name: str) -> tuple[str, Mapping[str, Any]]:
    """The split that is judged, and an analysis of it by model: test, else validation."""
    for split in ("test", "validation"):
        if found := analyses.get(split, {}).get(name):
            return split, found
    return "", {}


def thresholded(analyses: Analyses, split: str, model: str = "tuned") -> Mapping[str, Any] | None:
    """A model's figures on a split at the threshold that the objective chose on validation.

    {n, threshold, confusion: {labels, counts}, metrics: {precision, recall, f1 and, where prices
    are set, cost: {value, low, high, method}}}. None where predictions remain at 0.5: no objective
    chooses a threshold, none meets it, or this is the split it was chosen on.
    """
    found = analyses.get(split, {}).get("thresholds", {}).get(model, {})
    return found.get("at_threshold") if found.get("in_use") else None
