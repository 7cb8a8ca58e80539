"""What the models write by themselves, which no loss sees."""

from __future__ import annotations

import math
from collections.abc import Iterator

import msgspec

from ...metrics.analyses import Completions, Endings, Share, ShortAnswers
from ...metrics.metric import metrics_from
from ...wording.names import name_metric
from ...wording.numbers import (
    format_count,
    format_difference,
    format_difference_interval,
    format_value,
    shows_nothing,
)
from .case import Case, Finding, is_shown, pitfall
from .course import learn_less, learn_more

MODELS = ("base", "tuned")
HALF = 0.5  # of the answers that could have ended: fewer, shown, and a model does not stop


@pitfall(
    "worse_answers",
    title="answers got worse",
    see=("exact match", "chrf", "end_not_scored", "cross-scoring"),
    aliases=("degeneration", "looping answers"),
)
def _worse_answers(case: Case) -> Iterator[Finding]:
    """What the tuned model writes by itself is worse than what the base wrote, whatever the loss
    says.

    The loss reads the reference one token at a time and always continues from the right words; a
    model that writes must continue from its own. Here the answers to the same prompts are further
    from the references, or run into loops more often, by more than chance explains. Look at the
    worst examples: answers without an end point to ends that were never scored, loops to too many
    steps or too high a rate.

    Trap: A falling loss is no licence to skip reading twenty answers. Sampling at a temperature
    hides loops without curing them.
    """
    # Further from the references than the base's, or caught in loops where the base is not.
    compared = [case.comparison(metric.name, "base") for metric in metrics_from("answers")]
    lost = [
        c
        for c in compared
        if c is not None and is_shown(c, "worse") and not shows_nothing(c.metric, c.high)
    ]
    base, tuned = (case.analysis(Completions, model=m) for m in MODELS)
    evidence: dict[str, object] = {c.metric: c.difference for c in lost}
    parts = [
        f"{name_metric(c.metric)} {format_difference(c.metric, c.difference)} "
        f"({format_difference_interval(c.metric, c.low, c.high)})"
        for c in lost
    ]
    if base is not None and tuned is not None and tuned.looping.low > base.looping.high:
        ours, theirs = tuned.looping.value, base.looping.value
        evidence |= {"looping": ours, "looping_base": theirs}
        parts.append(
            f"{format_value('exact_match', ours)} of the answers loop "
            f"({format_value('exact_match', theirs)} of the base's)"
        )
    if not parts:
        return
    text = (
        f"on {case.split} the tuned model's answers are worse than the base's: {', '.join(parts)}"
    )
    if is_shown(case.comparison("loss", "base"), "better"):
        text += "; its loss is lower all the same, because the loss never sees a model's own words"
    yield Finding(
        "worse_answers",
        "error",
        text,
        evidence,
        remedy=f"Read the answers in the report. {_of_worse_answers(case)}",
    )


def _of_worse_answers(case: Case) -> str:
    """Answers that go on to the limit are worse by that: one advice, and not two that conflict."""
    if any(_never_stops(case)):
        return "See first to the answers that do not end: what follows their end counts as wrong"
    return learn_less(case, "Do not use this model for what the base writes better")


@pitfall(
    "never_stops",
    title="answers do not end",
    see=("end_not_scored", "worse_answers", "loss"),
    aliases=("run-on answers", "missing end of text"),
)
def _never_stops(case: Case) -> Iterator[Finding]:
    """The references end within the limit, and most of the tuned model's answers run on until they
    are truncated.

    Raised when fewer than half of the answers that could have ended did so, shown by a Wilson
    interval. It forbids shipping whatever the loss says: one end token among thirty others hardly
    moves a mean. Its own cost stands beside the answers in the report. A high one means that the
    end was never learnt, often because the template's end token is not the one that generation
    stops at.

    Trap: A limit on the length of answers hides the fault in a demonstration and leaves half
    sentences in production.
    """
    # The references end within the limit, and the tuned model's answers mostly do not (V7).
    endings = case.analysis(Endings, model="tuned")
    answers = case.analysis(Completions, model="tuned")
    if answers is None or (found := _ended_where_references_do(endings, answers)) is None:
        return
    rows, ended = found
    if not ended.high < HALF:
        return
    open_ended = rows - ended.count
    text = (
        f"{open_ended:,} of {format_count(rows, 'answer')} of the tuned model on {case.split} were "
        f"truncated at the limit of {format_count(answers.limit, 'token')}, though their "
        "references end before it; references have "
        f"{answers.mean_reference_tokens:,.1f} tokens on average"
    )
    end, others = (endings.end_token, endings.other_tokens) if endings else (None, None)
    if end is not None and others is not None:
        text += f". The end token costs {end.value:.3g} nats, the other tokens {others.value:.3g}"
    yield Finding(
        "never_stops",
        "error",
        text,
        {"answers": rows, "ended": ended.count, "high": ended.high}
        | {"end_token": end.value if end else math.nan}
        | {"other_tokens": others.value if others else math.nan},
        remedy=learn_more(
            case,
            "Check that the model stops at the token that its template ends an answer with",
            "and check that rows score their end token",
        ),
    )


def _ended_where_references_do(
    endings: Endings | None, answers: Completions
) -> tuple[int, Share] | None:
    """Answers that could end and the share that did; of older runs only where all could."""
    if endings is not None and endings.answers is not None:
        return endings.answers.rows, endings.answers.ended
    return None if answers.references_over_limit else (answers.rows, answers.ended_by_eos)


@pitfall(
    "bleu_of_short_answers",
    title="BLEU of short answers",
    see=("bleu", "exact_match", "chrf"),
)
def _short_answers(case: Case) -> Iterator[Finding]:
    """Most answers or references have fewer than four tokens, so BLEU is near 0 even where they
    agree.

    BLEU multiplies the precisions of sequences of one to four tokens, and a text of three has no
    sequence of four. Three identical words score 100 by chrF, 1.0 by exact match and 0.0 by BLEU,
    as in sacrebleu itself. Read exact match where an answer is a word or two, and chrF where
    spelling may vary.

    Trap: Two models that both have a BLEU of 0 here are not equally bad: they may both be right.
    """
    # BLEU of texts without a sequence of four tokens says nothing.
    short = case.analysis(ShortAnswers, model="tuned")
    if short:
        chosen = case.metric == "bleu"
        yield Finding(
            "bleu_of_short_answers",
            "warning" if chosen else "info",
            bleu_of_short(short),
            msgspec.to_builtins(short),
            remedy='Set objective.metric = "exact_match"' if chosen else "Read exact match or chrF",
        )


def bleu_of_short(short: ShortAnswers) -> str:
    """Why BLEU is low where answers are right."""
    return (
        f"BLEU counts sequences of {short.tokens} tokens: {short.answers:,} of "
        f"{format_count(short.rows, 'answer')} and {short.references:,} references are "
        "shorter, so BLEU is near 0 even where they agree."
    )
