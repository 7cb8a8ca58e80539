"""What a receipt holds: plain values that a screen shows and `--json` prints."""

from __future__ import annotations

import msgspec


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
