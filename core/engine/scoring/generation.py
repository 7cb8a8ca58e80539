"""How texts are scored: log-likelihoods of their tokens, summed per row."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import polars as pl

from ..models.models import Loaded
from ..training.batches import Layout
from .evaluate import BY_BUDGET, score_tokens
from .rows import TokenRows, chat_rows, completion_rows, text_rows
from .scorer import Scorer


class Generation(Scorer):
    """Stored: row_id, nll, tokens, correct, bytes."""

    forms: ClassVar = {
        "text": text_rows,
        "prompt_completion": completion_rows,
        "messages": chat_rows,
    }
    changed = "correct"

    def score(
        self,
        loaded: Loaded,
        rows: TokenRows,
        precision: str,
        budget: int,
        layout: Layout = BY_BUDGET,
    ) -> Iterator[int | pl.DataFrame]:
        return score_tokens(loaded, rows, precision, budget, layout)

    def sums(self, frame: pl.DataFrame, labels: Sequence[str]) -> dict[str, Any]:
        tokens = int(frame["tokens"].sum())
        return {
            "loss_count": tokens,
            "correct": int(frame["correct"].sum()),
            "count": tokens,
            "bytes": int(frame["bytes"].sum()),
            "unscored_rows": int((frame["tokens"] == 0).sum()),
            "no_prediction": int((~frame["nll"].is_finite()).sum()),
        }

    def metric(
        self, name: str, frame: pl.DataFrame, labels: Sequence[str], positive: str | None
    ) -> float:
        from ...metrics.rows import text_metrics  # brings SciPy, as what else is not counted does

        columns = ("nll", "tokens", "correct", "bytes")
        return text_metrics(*(frame[c].to_numpy() for c in columns)).get(name, math.nan)


SCORER = Generation()
