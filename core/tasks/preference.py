"""Preferring one of two given texts: measured of language models, not trained."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from .generation import TASK as GENERATION
from .generation import Generation

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from ..metrics.results import Comparison, ModelResult
    from . import Labels


class Preference(Generation):
    def evaluate(
        self,
        frame: pl.DataFrame,
        labels: Labels,
        positive: str | None,
        draws: int | None = None,
    ) -> ModelResult:
        from ..metrics.bootstrap import DRAWS
        from ..metrics.evaluate import evaluate_preferences

        return evaluate_preferences(frame, draws=draws or DRAWS)

    def compare(
        self,
        split: str,
        before: tuple[str, pl.DataFrame],
        after: tuple[str, pl.DataFrame],
        labels: Labels,
        positive: str | None,
        metrics: Sequence[str] | None = None,
    ) -> list[Comparison]:
        from ..metrics.comparisons import compare_preferences

        return compare_preferences(split, *before, *after, metrics)


_SCORES = {"rejected_nll": "numbers", "rejected_tokens": "whole numbers"}
TASK = Preference(
    **vars(
        replace(
            GENERATION,
            name="preference",
            within="generation",
            does="prefer the better of two texts",
            learns=False,
            answers=False,
            architectures=(),
            forms=("preference", "preference_chats"),
            stored=GENERATION.stored | _SCORES,
            measures="preference",
            default_metric="preference_accuracy",
            chance=("preference_accuracy", 0.5),
        )
    )
)
