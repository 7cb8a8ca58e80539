"""The analysis of the split that is judged.

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
