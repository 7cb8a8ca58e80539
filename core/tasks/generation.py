"""Writing text."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from . import Labels, Task

if TYPE_CHECKING:
    import polars as pl

    from ..metrics.results import ModelResult


class Generation(Task):
    def guessing_loss(self, labels: int, vocabulary: int) -> float | None:
        return math.log(vocabulary) if vocabulary else None

    def evaluate(
        self,
        frame: pl.DataFrame,
        labels: Labels,
        positive: str | None,
        draws: int | None = None,
    ) -> ModelResult:
        from ..metrics.bootstrap import DRAWS
        from ..metrics.evaluate import evaluate_text

        return evaluate_text(frame, draws=draws or DRAWS)


TASK = Generation(
    name="generation",
    does="write text",
    model_kind="language model",
    hub_type="text-generation",
    auto_class="AutoModelForCausalLM",
    adapter_type="CAUSAL_LM",
    architectures=("CausalLM", "LMHead", "CAUSAL_LM"),
    writes=True,
    answers=True,
    forms=("text", "prompt_completion", "messages"),
    settings=(
        *("data.prompt", "data.completion", "data.messages", "evaluate.completions"),
        *("evaluate.completion_tokens", "evaluate.max_new_tokens"),
    ),
    stored={
        "row_id": "whole numbers",
        "nll": "numbers",
        "tokens": "whole numbers",
        "correct": "whole numbers",
        "bytes": "whole numbers",
    },
    truth="bytes",
    measures="generation",
    default_metric="loss",
    accuracy="token_accuracy",
    accuracy_title="next-token accuracy",
    accuracy_heading="next token",
    loss_unit="token",
    guesses="tokens in the vocabulary",
    guess_formula="ln V",
)
