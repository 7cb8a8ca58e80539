"""What becomes of the rows as tokens, and of what the base knew."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ...run.events import SplitPrepared, TextScored
from ...wording.numbers import format_count, read_number
from .case import EVIDENCE_ROWS, Case, Finding, Look, Row
from .remedies import learn_less

TRUNCATED_SHARE = 0.01
FORGOTTEN = 0.02  # nats a token: a smaller loss of likelihood is not called forgetting


def _rows_of(s: SplitPrepared, count: str) -> list[Row]:
    return [(s.split, row) for row in s.examples.get(count, [])[:EVIDENCE_ROWS]]


def _truncation(case: Case) -> Iterator[Finding]:
    for name, s in case.history.splits.items():
        if not s.rows or not (
            s.truncated_rows > TRUNCATED_SHARE * s.rows or s.truncated_completions
        ):
            continue
        told = (
            f"{s.truncated_rows:,} of {s.rows:,} {name} rows were truncated, "
            f"{s.truncated_tokens:,} tokens lost"
        )
        if s.truncated_completions:
            told += (
                f", {format_count(s.truncated_completions, 'completion')} truncated: "
                + _without_ends(name, case)
            )
        yield Finding(
            "truncation",
            "warning",
            told,
            {
                "split": name,
                "rows": s.truncated_rows,
                "tokens": s.truncated_tokens,
                "completions": s.truncated_completions,
            },
            _rows_of(s, "truncated_completions" if s.truncated_completions else "truncated_rows"),
            "Raise model.max_length where the model allows it, or shorten the rows",
            {name: s.truncated_completions or s.truncated_rows},
        )


def _without_ends(split: str, case: Case) -> str:
    """What cut completions mean: on train for what is learnt, elsewhere for what is measured."""
    if split == "train" and case.trains:
        return "the model never sees where to stop"
    return "their ends are not scored"


def _nothing_to_score(case: Case) -> Iterator[Finding]:
    for name, s in case.history.splits.items():
        if s.unscored_rows:
            yield Finding(
                "nothing_to_score",
                "warning",
                f"{s.unscored_rows:,} {name} rows have no scored tokens and are excluded",
                {"split": name, "rows": s.unscored_rows},
                _rows_of(s, "unscored_rows"),
                "Look at rows whose prompt fills the whole window",
                {name: s.unscored_rows},
            )


def _end_not_scored(case: Case) -> Iterator[Finding]:
    for name, s in case.history.splits.items():
        if s.rows_without_eos:
            every = s.rows_without_eos >= s.rows - s.truncated_rows
            yield Finding(
                "end_not_scored",
                "error" if every and name == "train" else "warning",
                f"{s.rows_without_eos:,} of {s.rows:,} {name} rows do not score their end: "
                + _stopping(name, case, every=every),
                {"split": name, "rows": s.rows_without_eos},
                _rows_of(s, "rows_without_eos"),
                "Check that the tokenizer's end-of-text token is what its template closes a turn "
                "with",
                {name: s.rows_without_eos},
            )


def _stopping(split: str, case: Case, *, every: bool) -> str:
    if split == "train" and case.trains:
        return f"the model {'cannot' if every else 'may not'} learn to stop"
    return "whether the model stops is not measured on them"


def _mismatch(case: Case) -> Iterator[Finding]:
    """Two models that do not see the same text, or not as they did in training."""
    pair = case.history.models_compared
    if pair is None:
        return
    if not pair.same_vocabulary:
        yield Finding(
            "vocabulary_mismatch",
            "warning",
            f"base and tuned have different vocabularies: {pair.base_tokens:,} and "
            f"{pair.tuned_tokens:,} tokens, {pair.differing:,} of them not the same in both"
            + ("" if case.task.has_labels else "; only bits per byte can be compared"),
            {
                "base": pair.base_tokens,
                "tuned": pair.tuned_tokens,
                "differing": pair.differing,
                "examples": pair.examples,
            },
            remedy="Compare by answers or by bits per byte; per-token figures are of other tokens",
        )
    if pair.outside:
        yield Finding(
            "vocabulary_mismatch",
            "error",
            f"the tokenizer of {pair.outside} has tokens that its model has no embedding for",
            {"model": pair.outside},
            remedy="Save model and tokenizer together, the embeddings resized",
        )
    if not pair.same_template:
        yield Finding(
            "template_mismatch",
            "warning",
            "base and tuned render a chat or mark the ends of a text differently: "
            + ", ".join(pair.differing_parts),
            {"parts": pair.differing_parts},
            remedy="Give both the tokenizer files that the tuned model was trained with",
        )


def _forgetting(case: Case) -> Iterator[Finding]:
    scored = {t.model: t for t in case.history.texts if t.source == "general_text"}
    if not {"base", "tuned"} <= set(scored):
        return
    base, tuned = scored["base"], scored["tuned"]
    found = case.analysis("forgetting", "general_text")
    low, high = read_number(found.get("low")), read_number(found.get("high"))
    if base.tokens == tuned.tokens and base.tokens:
        change = (base.log_likelihood - tuned.log_likelihood) / base.tokens
        told = f"by {change:.3f} nats a token"
        if not math.isnan(low):
            told += f" (paired 95 %: {low:+.3f} to {high:+.3f}, {found['windows']:,} windows)"
    else:
        change, told = (_bits(tuned) - _bits(base)) * math.log(2), "by bits per byte"
    if change < FORGOTTEN or not low > 0:  # one window has no interval, and shows nothing
        return
    yield Finding(
        "forgetting",
        "warning",
        f"the tuned model knows neutral text less well than the base: its loss on general_text "
        f"({base.bytes:,} bytes) is higher {told}; bits per byte went from {_bits(base):.3f} to "
        f"{_bits(tuned):.3f}",
        {
            "nats_per_token": change if base.tokens == tuned.tokens else None,
            "bits_per_byte_base": _bits(base),
            "bits_per_byte_tuned": _bits(tuned),
            "low": None if math.isnan(low) else low,
            "high": None if math.isnan(high) else high,
        },
        remedy=learn_less(case, "Weigh what was gained against it, or choose a gentler tuning"),
    )


def _bits(t: TextScored) -> float:
    """Bits per byte."""
    return -t.log_likelihood / (math.log(2) * t.bytes) if t.bytes else math.nan


LOOKS: tuple[Look, ...] = (
    _truncation,
    _nothing_to_score,
    _end_not_scored,
    _mismatch,
    _forgetting,
)
