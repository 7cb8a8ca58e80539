"""How pairs of a chosen and a rejected text are scored: both by their likelihood after the same."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import polars as pl

from ..models.models import Loaded
from ..training.batches import Layout
from .evaluate import BY_BUDGET, score_tokens
from .generation import Generation
from .rows import TokenRows, chat_rows, completion_rows


def pair_rows(frame: pl.DataFrame, loaded: Loaded) -> Iterator[TokenRows | int]:
    """The chosen texts, each with its rejected one beside it; yields rows done, then all."""
    chats = "messages" in frame.columns
    render = chat_rows if chats else completion_rows
    other = frame["rejected"].alias("messages" if chats else "completion")
    *counts, rows = render(frame, loaded)
    for count in counts:
        assert isinstance(count, int)
        yield count // 2
    *_, rejected = render(frame.with_columns(other), loaded)
    assert isinstance(rows, TokenRows)
    assert isinstance(rejected, TokenRows)
    yield replace(
        rows,
        rejected=rejected,
        truncated_rows=rows.truncated_rows + rejected.truncated_rows,
        truncated_tokens=rows.truncated_tokens + rejected.truncated_tokens,
        truncated_completions=rows.truncated_completions + rejected.truncated_completions,
    )


class Preference(Generation):
    """Stored: as of texts, of the chosen ones; rejected_nll, rejected_tokens."""

    forms: ClassVar = {"preference": pair_rows, "preference_chats": pair_rows}

    def score(
        self,
        loaded: Loaded,
        rows: TokenRows,
        precision: str,
        budget: int,
        layout: Layout = BY_BUDGET,
    ) -> Iterator[int | pl.DataFrame]:
        """Both texts in one pass: they share their beginning, which is read once."""
        for found in score_tokens(loaded, _side_by_side(rows), precision, budget, layout):
            yield found // 2 if isinstance(found, int) else _paired(found, rows)

    def sums(self, frame: pl.DataFrame, labels: Sequence[str]) -> dict[str, Any]:
        broken = ~(pl.col("nll").is_finite() & pl.col("rejected_nll").is_finite())
        return super().sums(frame, labels) | {"no_prediction": frame.filter(broken).height}

    def metric(
        self, name: str, frame: pl.DataFrame, labels: Sequence[str], positive: str | None
    ) -> float:
        from ...metrics.evaluate import evaluate_preferences

        found = evaluate_preferences(frame, draws=1).metrics
        return found[name].value if name in found else math.nan


SCORER = Preference()


def _side_by_side(rows: TokenRows) -> TokenRows:
    """The chosen texts, then the rejected ones, as rows of one kind."""
    other = rows.rejected
    assert other is not None
    assert rows.scored is not None
    assert other.scored is not None
    return TokenRows(
        ids=rows.ids + other.ids,
        row_ids=list(range(2 * len(rows))),
        scored=rows.scored + other.scored,
        bytes=rows.bytes + other.bytes,
    )


def _paired(scores: pl.DataFrame, rows: TokenRows) -> pl.DataFrame:
    chosen, rejected = scores.head(len(rows)), scores.tail(len(rows))
    return chosen.with_columns(
        pl.Series("row_id", rows.row_ids, dtype=pl.Int64),
        rejected["nll"].alias("rejected_nll"),
        rejected["tokens"].alias("rejected_tokens"),
    )
