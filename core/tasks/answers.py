"""Writing text somewhere else: answers with references or scores, and no likelihoods."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import Labels, Task

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from ..metrics.results import Comparison, ModelResult


class Answers(Task):
    def evaluate(
        self,
        frame: pl.DataFrame,
        labels: Labels,
        positive: str | None,
        draws: int | None = None,
    ) -> ModelResult:
        from ..metrics.bootstrap import DRAWS
        from ..metrics.values.answers import evaluate_answers

        return evaluate_answers(frame, draws=draws or DRAWS)

    def compare(
        self,
        split: str,
        before: tuple[str, pl.DataFrame],
        after: tuple[str, pl.DataFrame],
        labels: Labels,
        positive: str | None,
        metrics: Sequence[str] | None = None,
    ) -> list[Comparison]:
        from ..metrics.values.answers import compare_answers

        return compare_answers(split, before, after, metrics)


TASK = Answers(
    name="answers",
    within="generation",
    does="answer as the references do",
    model_kind="language model",
    hub_type="text-generation",
    auto_class="AutoModelForCausalLM",
    learns=False,
    guessable=False,
    forms=("answers",),
    stored={"row_id": "whole numbers"},
    truth="row_id",
    measures="answers",
    default_metric="exact_match",
    accuracy="exact_match",
    accuracy_title="exact match",
    accuracy_heading="exact",
)
