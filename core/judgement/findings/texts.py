"""What becomes of the rows as tokens, and of what the base knew."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ...metrics.analyses import Forgetting
from ...run.events import SplitPrepared, TextScored
from ...wording.numbers import format_count
from .case import EVIDENCE_ROWS, Case, Finding, Row, pitfall
from .course import learn_less

TRUNCATED_SHARE = 0.01
FORGOTTEN = 0.02  # nats per token: a smaller loss of likelihood is not called forgetting


def _rows_of(s: SplitPrepared, count: str) -> list[Row]:
    return [(s.split, row) for row in s.examples.get(count, [])[:EVIDENCE_ROWS]]


@pitfall(
    "truncation",
    title="rows truncated at the window",
    see=("nothing_to_score", "end_not_scored", "masking", "rolling windows"),
    aliases=("truncated rows",),
)
def _truncation(case: Case) -> Iterator[Finding]:
    """More than one row in a hundred was longer than the model takes, or a completion lost its end.

    What was truncated was neither learnt from nor scored. For classification the end of a text is
    lost; for generation a completion without its end teaches the model to go on for ever. Rows,
    tokens and completions lost are counted. Raise the maximum length where the model allows it, or
    shorten prompts on purpose.

    Trap: Scores on truncated rows are of another, shorter task: they can look better than life.
    """
    for name, s in case.history.splits.items():
        if not s.rows or not (
            s.truncated_rows > TRUNCATED_SHARE * s.rows or s.truncated_completions
        ):
            continue
        message = (
            f"{s.truncated_rows:,} of {s.rows:,} {name} rows were truncated, "
            f"{s.truncated_tokens:,} tokens lost"
        )
        if s.truncated_completions:
            message += (
                f", {format_count(s.truncated_completions, 'completion')} truncated: "
                + _without_ends(name, case)
            )
        yield Finding(
            "truncation",
            "warning",
            message,
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
    """What truncated completions mean: on train for learning, elsewhere for measuring."""
    if split == "train" and case.trains:
        return "the model never sees where to stop"
    return "their ends are not scored"


@pitfall(
    "nothing_to_score",
    title="rows without scored tokens",
    see=("truncation", "masking", "rows scored"),
)
def _nothing_to_score(case: Case) -> Iterator[Finding]:
    """In some rows masking and truncation left no token for the loss.

    Usually the prompt fills the whole window. These rows are left out of every mean, counted and
    listed; they can neither help nor hurt the figure, which is why their number matters: a score
    over 60 of 100 rows is a score of the short ones.

    Trap: Counting such a row as loss 0 makes a model look better with every row it cannot read.
    """
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


@pitfall(
    "end_not_scored",
    title="end of text not scored",
    see=("masking", "ended by EOS", "truncation", "template_mismatch"),
    aliases=("eos not scored",),
)
def _end_not_scored(case: Case) -> Iterator[Finding]:
    """Rows whose closing token is not among the targets of the loss.

    A model learns to stop only from seeing the end token as a target. When padding and end share an
    id and the mask goes by id, every end is hidden and the tuned model babbles on. All rows of
    train: an error, stop and fix the template. A few: look at how they were truncated.

    Trap: Loss does not show it, it even looks slightly better; only generated answers that never
    end do.
    """
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


@pitfall(
    "vocabulary_mismatch",
    title="vocabularies differ",
    see=("bits_per_byte", "tokenizer", "template_mismatch"),
)
@pitfall(
    "template_mismatch",
    title="templates differ",
    see=("vocabulary_mismatch", "prefix token", "end_not_scored", "deploy parity"),
    words="""
    Base and tuned render a chat, or mark the ends of a text, in different ways.

    The two are then not asked the same question. A difference between them may come from the
    template alone, and a model that is served with another one than it was trained with loses
    quality without any error message. Ship the tokenizer files that training used.

    Trap: Templates that look equal can differ in one space or newline before the answer, which is
    enough.
    """,
)
def _mismatch(case: Case) -> Iterator[Finding]:
    """Base and tuned model split text into different tokens, or a tokenizer does not fit its model.

    Loss, perplexity and token accuracy are per token, so between two vocabularies they have no
    common unit: only bits per byte, or the answers themselves, can be compared. A token id without
    an embedding is worse: model and tokenizer were not saved together.

    Trap: The larger vocabulary has fewer tokens a text and a higher loss per token while being the
    better model.
    """
    # Two models that do not see the same text, or not as they did in training.
    pair = case.history.models_compared
    if pair is None:
        return
    if not pair.same_vocabulary:
        yield Finding(
            "vocabulary_mismatch",
            "warning",
            f"base and tuned have different vocabularies: {pair.base_tokens:,} and "
            f"{pair.tuned_tokens:,} tokens, {pair.differing:,} of them not the same in both"
            + ("; only bits per byte can be compared" if case.task.writes else ""),
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


@pitfall(
    "forgetting",
    see=("general text", "learning_rate_too_high", "loss", "adapter"),
    aliases=("catastrophic forgetting",),
)
def _forgetting(case: Case) -> Iterator[Finding]:
    """The tuned model finds neutral text less likely than the base did.

    Fine-tuning moves weights that also held general knowledge. Measured as the change of loss on a
    neutral text that has nothing to do with the task, per token, or in bits per byte; a few
    hundredths of a nat are normal, half a nat is a model that has become a specialist. Fewer steps,
    a lower rate, an adapter or some mixed-in neutral rows keep it down.

    Trap: If the deployed model only ever does the one task, forgetting may not matter; if users
    also chat with it, the task's own score will never show it.
    """
    scored = {t.model: t for t in case.history.texts if t.source == "general_text"}
    if not {"base", "tuned"} <= set(scored):
        return
    base, tuned = scored["base"], scored["tuned"]
    found = case.analysis(Forgetting, "general_text")
    low, high = (found.low, found.high) if found else (math.nan, math.nan)
    if base.tokens == tuned.tokens and base.tokens:
        change = (base.log_likelihood - tuned.log_likelihood) / base.tokens
        amount = f"by {change:.3f} nats per token"
        if found is not None and not math.isnan(low):
            amount += f" (paired 95 %: {low:+.3f} to {high:+.3f}, {found.windows:,} windows)"
    else:
        change, amount = (_bits(tuned) - _bits(base)) * math.log(2), "by bits per byte"
    if change < FORGOTTEN or not low > 0:  # one window has no interval, and shows nothing
        return
    yield Finding(
        "forgetting",
        "warning",
        f"the tuned model knows neutral text less well than the base: its loss on general_text "
        f"({base.bytes:,} bytes) is higher {amount}; bits per byte went from {_bits(base):.3f} to "
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
