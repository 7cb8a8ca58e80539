"""What a receipt holds, and the terms under which its number was made: rows, dtype, prefix."""

from __future__ import annotations

import msgspec

from ...config.config import RunConfig
from ...judgement.selection import CONSTANT, SPLITS, clean
from ...metrics.metric import needs_answers
from ...metrics.results import ModelResult
from ...run.events import Evaluated
from ...run.history import History

SUMS = "log-softmax in float32, sums in float64"
NO_TEXT = "none: no text is read"


class Rows(msgspec.Struct, frozen=True, omit_defaults=True):
    """The rows behind a number. All but `scored` are of the whole split, as it was prepared."""

    scored: int
    in_split: int | None = None
    unscored: int | None = None  # nothing left to score
    truncated: int | None = None
    skipped: int | None = None  # bad rows that the config said to leave out
    repeated: int | None = None  # left out here: they repeat a row of an earlier split


class Tokens(msgspec.Struct, frozen=True, omit_defaults=True):
    """The tokens of the whole split; `scored` those behind the number (generation)."""

    in_split: int
    masked: int
    truncated: int
    scored: int | None = None


class Part(msgspec.Struct, frozen=True):
    """One label's share of an average, or one model's of a difference."""

    name: str
    value: float
    numerator: float | None = None
    denominator: float | None = None


class IntervalReceipt(msgspec.Struct, frozen=True, omit_defaults=True):
    low: float
    high: float
    method: str
    draws: int | None = None
    seed: int | None = None


class Receipt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How one metric of one model on one split came about; what is None does not apply.

    value = numerator ÷ denominator, or `then` of that quotient. `training_seed` is the run's.
    """

    metric: str
    title: str
    split: str
    model: str
    value: float
    unit: str
    better: str
    formula: str
    numerator: float | None = None
    numerator_is: str = ""
    denominator: float | None = None
    denominator_is: str = ""
    then: str = ""
    parts: list[Part] = []
    weighting: str
    positive: str | None = None
    rows: Rows
    tokens: Tokens | None = None
    dtype: str
    prefix: str
    interval: IntervalReceipt | None = None
    training_seed: int | None = None
    notes: list[str] = []


class DifferenceReceipt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a paired difference came about: both values, and one ratio where they share one."""

    metric: str
    title: str
    split: str
    from_model: str
    to_model: str
    value: float  # to - from
    unit: str
    better: str
    formula: str
    numerator: float | None = None
    numerator_is: str = ""
    denominator: float | None = None
    denominator_is: str = ""
    parts: list[Part]
    rows: Rows
    dtype: str
    prefix: str
    interval: IntervalReceipt | None = None
    p: float
    p_method: str
    p_holm: float | None = None  # adjusted for reading all secondary metrics
    fixed: int | None = None
    broke: int | None = None
    smallest_detectable: float | None = None
    training_seed: int | None = None
    notes: list[str] = []


def whole_split(split: str) -> str:
    """The split that was prepared: `test` for `test_clean`."""
    return next((whole for whole in SPLITS if split == clean(whole)), split)


def rows_of(history: History, split: str, result: ModelResult, metric: str = "") -> Rows:
    """The rows of a result; what the run did not store is None.

    Answers are compared with references on the rows that were answered, which may be fewer.
    """
    scored = result.n
    if needs_answers(metric) and result.answered is not None:
        return Rows(result.answered, in_split=scored)
    unscored = len(result.unscored)
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
    scored = None if not history.task_type.writes or split != whole else prepared.scored_tokens
    return Tokens(prepared.tokens, prepared.masked_tokens, prepared.truncated_tokens, scored)


def dtype_of(config: RunConfig | None, model: str, found: Evaluated | None) -> str:
    """Of the scores of a model; `found`: the evaluation that they are from, as it was recorded."""
    if model in CONSTANT:
        return "none: counts only"
    precision = found.precision if found else ""
    precision = precision or (config.evaluate.precision if config else "unknown precision")
    if model == "probe":
        return f"features of the frozen base in {precision}, logistic regression in float64"
    return f"forward pass in {precision}, {SUMS}"


def prefix_of(history: History, model: str, result: ModelResult | None = None) -> str:
    """The one token that scoring puts first (K1)."""
    if model in CONSTANT:
        return NO_TEXT
    if result and result.method:
        return "that of the base as a language model, as context, never scored"
    if not history.task_type.writes:
        return "none: the special tokens of the tokenizer alone"
    prefix = history.model.prefix if history.model else ""
    return f"{prefix}, as context, never scored" if prefix else "not recorded by this run"
