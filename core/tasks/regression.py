"""Predicting numbers from a text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import Labels
from .classification import TASK as CLASSIFICATION
from .classification import Classification

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from ..metrics.results import Comparison, ModelResult


class Regression(Classification):
    def guessing_loss(self, labels: int, vocabulary: int) -> float | None:
        return 1.0  # of always answering the mean: the loss is in units of the targets' variance

    def evaluate(
        self,
        frame: pl.DataFrame,
        labels: Labels,
        positive: str | None,
        draws: int | None = None,
    ) -> ModelResult:
        from ..metrics.bootstrap import DRAWS
        from ..metrics.values.numbers import evaluate_numbers

        return evaluate_numbers(frame, draws=draws or DRAWS)

    def compare(
        self,
        split: str,
        before: tuple[str, pl.DataFrame],
        after: tuple[str, pl.DataFrame],
        labels: Labels,
        positive: str | None,
        metrics: Sequence[str] | None = None,
    ) -> list[Comparison]:
        from ..metrics.values.numbers import compare_numbers

        return compare_numbers(split, before, after, metrics)


TASK = Regression(
    name="regression",
    does="predict numbers",
    model_kind="regression model",
    hub_type=CLASSIFICATION.hub_type,
    auto_class=CLASSIFICATION.auto_class,
    adapter_type=CLASSIFICATION.adapter_type,
    problem_type="regression",
    has_head=True,
    numbers=True,
    forms=("text_numbers",),
    settings=("data.label", "data.text_pair", "evaluate.probe"),
    stored={
        "row_id": "whole numbers",
        "targets": "lists of numbers",
        "predicted": "lists of numbers",
        "nll": "numbers",
    },
    truth="targets",
    measures="regression",
    default_metric="mae",
    accuracy="mae",
    accuracy_title="mean absolute error",
    accuracy_heading="MAE",
    probed=True,
    chance=("r2", 0.0),
    guesses="the mean of the targets",
    guess_formula="the targets' variance",
)
