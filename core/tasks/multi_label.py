"""Choosing any number of labels for a text: each label is a yes or no of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from . import Labels
from .classification import TASK as ONE_LABEL
from .classification import Classification

if TYPE_CHECKING:
    import polars as pl

    from ..metrics.results import Comparison, ModelResult


class MultiLabel(Classification):
    def guessing_loss(self, labels: int, vocabulary: int) -> float | None:
        return math.log(2) if labels else None

    def chance_of(self, positive: str | None) -> tuple[str, float] | None:
        metric = "macro_balanced_accuracy" if positive is None else "label_balanced_accuracy"
        return metric, 0.5

    def positive_of(
        self, asked: str | None, labels: Labels, counts: Mapping[str, int]
    ) -> str | None:
        return asked  # each label is one: none of them is positive by itself

    def evaluate(
        self,
        frame: pl.DataFrame,
        labels: Labels,
        positive: str | None,
        draws: int | None = None,
    ) -> ModelResult:
        from ..metrics.bootstrap import DRAWS
        from ..metrics.label_sets.results import evaluate_label_sets

        return evaluate_label_sets(frame, labels, positive, draws=draws or DRAWS)

    def compare(
        self,
        split: str,
        before: tuple[str, pl.DataFrame],
        after: tuple[str, pl.DataFrame],
        labels: Labels,
        positive: str | None,
        metrics: Sequence[str] | None = None,
    ) -> list[Comparison]:
        from ..metrics.label_sets.results import compare_label_sets

        return compare_label_sets(split, before, after, labels, positive, metrics)


TASK = MultiLabel(
    name="multi_label",
    does="choose any number of labels",
    model_kind="text classifier of several labels",
    hub_type=ONE_LABEL.hub_type,
    auto_class=ONE_LABEL.auto_class,
    adapter_type=ONE_LABEL.adapter_type,
    problem_type="multi_label_classification",
    within="classification",
    gives_sets=True,
    has_head=True,
    probed=True,
    forms=("text_labels",),
    settings=ONE_LABEL.settings,
    stored={"row_id": "whole numbers", "labels": "lists of text", "predicted": "lists of text"},
    truth="labels",
    measures="multi_label",
    default_metric="macro_f1",
    accuracy="subset_accuracy",
    accuracy_title="subset accuracy",
    accuracy_heading="exact",
    guesses="yes or no for each label",
    guess_formula="ln 2",
)
