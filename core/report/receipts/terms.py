"""The terms under which a number was made: its rows and tokens, its arithmetic, its prefix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...config.config import RunConfig
from ...judgement.selection import SPLITS, clean
from ...run.history import History
from .forms import Rows, Tokens

SUMS = "log-softmax in float32, sums in float64"
ANSWERED = ("exact_match", "bleu", "chrf", "rouge1", "rouge2", "rougeL")
NO_TEXT = "none: no text is read"


def whole_split(split: str) -> str:
    """The split that was prepared: `test` for `test_clean`."""
    return next((whole for whole in SPLITS if split == clean(whole)), split)


def rows_of(history: History, split: str, result: Mapping[str, Any], metric: str = "") -> Rows:
    """The rows of a result; what the run did not tell is None.

    Answers are compared with references on the rows that were answered, which may be fewer.
    """
    scored = int(result.get("n") or 0)
    if metric in ANSWERED and result.get("answered") is not None:
        return Rows(int(result["answered"]), in_split=scored)
    unscored = len(result.get("unscored") or [])
    prepared = history.splits.get(whole := whole_split(split))
    if prepared is None:
        return Rows(scored, unscored=unscored or None)
    return Rows(
        scored,
        in_split=prepared.rows,
        unscored=unscored or prepared.unscored_rows,
        truncated=prepared.truncated_rows,
        skipped=prepared.skipped_rows,
        repeated=None if split == whole else prepared.rows - scored - unscored,
    )


def tokens_of(history: History, split: str) -> Tokens | None:
    """The tokens of the whole split; for generation those that were scored, and masked ones."""
    prepared = history.splits.get(whole := whole_split(split))
    if prepared is None or not prepared.tokens:
        return None
    scored = None if history.task_type.has_labels or split != whole else prepared.scored_tokens
    return Tokens(prepared.tokens, prepared.masked_tokens, prepared.truncated_tokens, scored)


def dtype_of(config: RunConfig | None, model: str) -> str:
    if model == "majority":
        return "none: counts only"
    precision = config.evaluate.precision if config else "unknown precision"
    if model == "probe":
        return f"features of the frozen base in {precision}, logistic regression in float64"
    return f"forward pass in {precision}, {SUMS}"


def prefix_of(history: History, model: str, result: Mapping[str, Any] | None = None) -> str:
    """The one token that scoring puts first (K1)."""
    if model == "majority":
        return NO_TEXT
    if result and result.get("method"):
        return "that of the base as a language model, as context, never scored"
    if history.task_type.has_labels:
        return "none: the special tokens of the tokenizer alone"
    prefix = history.model.prefix if history.model else ""
    return f"{prefix}, as context, never scored" if prefix else "not told by this run"
