"""What the models write by themselves, which no loss sees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...metrics.metric import metrics_from
from ...wording.names import name_metric
from ...wording.numbers import (
    format_count,
    format_difference,
    format_difference_interval,
    format_value,
    read_number,
    shows_nothing,
)
from .case import Case, Finding, Look, is_shown
from .remedies import learn_less, learn_more

MODELS = ("base", "tuned")
HALF = 0.5  # of the answers that could have ended: fewer, shown, and a model does not stop
COSTS = ("end_token", "other_tokens")
Found = Mapping[str, Any]


def _worse_answers(case: Case) -> Iterator[Finding]:
    """Further from the references than the base's, or caught in loops where the base is not."""
    compared = [case.comparison(metric.name, "base") for metric in metrics_from("answers")]
    lost = [
        c for c in compared if is_shown(c, "worse") and not shows_nothing(c["metric"], c["high"])
    ]
    base, tuned = (case.analysis("completions", model=m).get("looping", {}) for m in MODELS)
    loops = read_number(tuned.get("low")) > read_number(base.get("high"))
    if not lost and not loops:
        return
    told = [
        f"{name_metric(c['metric'])} {format_difference(c['metric'], c['difference'])} "
        f"({format_difference_interval(c['metric'], c['low'], c['high'])})"
        for c in lost
    ]
    if loops:
        told.append(
            f"{format_value('exact_match', tuned['value'])} of the answers loop "
            f"({format_value('exact_match', base['value'])} of the base's)"
        )
    text = f"on {case.split} the tuned model's answers are worse than the base's: {', '.join(told)}"
    if is_shown(case.comparison("loss", "base"), "better"):
        text += "; its loss is lower all the same, because the loss never sees a model's own words"
    yield Finding(
        "worse_answers",
        "error",
        text,
        {
            **{c["metric"]: c["difference"] for c in lost},
            **({"looping": tuned["value"], "looping_base": base["value"]} if loops else {}),
        },
        remedy=f"Read the answers in the report. {_of_worse_answers(case)}",
    )


def _of_worse_answers(case: Case) -> str:
    """Answers that go on to the limit are worse by that: one advice, and not two that conflict."""
    if any(_never_stops(case)):
        return "See first to the answers that do not end: what follows their end counts as wrong"
    return learn_less(case, "Do not use this model for what the base writes better")


def _never_stops(case: Case) -> Iterator[Finding]:
    """The references end within the limit, and the tuned model's answers mostly do not (V7)."""
    endings = case.analysis("endings", model="tuned")
    answers = case.analysis("completions", model="tuned")
    ended = _ended_where_references_do(endings, answers)
    if not read_number(ended.get("high")) < HALF:
        return
    rows = endings.get("answers", answers)["rows"]
    open_ended = rows - ended["count"]
    text = (
        f"{open_ended:,} of {format_count(rows, 'answer')} of the tuned model on {case.split} were "
        f"truncated at the limit of {format_count(answers['limit'], 'token')}, though their "
        "references end before it; references have "
        f"{read_number(answers['mean_reference_tokens']):,.1f} tokens on average"
    )
    costs = {name: read_number(endings.get(name, {}).get("value")) for name in COSTS}
    if costs["end_token"] == costs["end_token"]:
        text += (
            f". The end token costs {costs['end_token']:.3g} nats, "
            f"the other tokens {costs['other_tokens']:.3g}"
        )
    yield Finding(
        "never_stops",
        "error",
        text,
        {"answers": rows, "ended": ended["count"], "high": ended["high"], **costs},
        remedy=learn_more(
            case,
            "Check that the model stops at the token that its template ends an answer with",
            "and check that rows score their end token",
        ),
    )


def _ended_where_references_do(endings: Found, answers: Found) -> Found:
    """The share of ended answers, of those that could; of older runs where all could."""
    if "answers" in endings:
        ended: Found = endings["answers"]["ended"]
        return ended
    return {} if answers.get("references_over_limit", 1) else answers.get("ended_by_eos", {})


def _short_answers(case: Case) -> Iterator[Finding]:
    """BLEU of texts without a sequence of four tokens says nothing."""
    short = case.analysis("short_answers", model="tuned")
    if short:
        chosen = case.metric == "bleu"
        yield Finding(
            "bleu_of_short_answers",
            "warning" if chosen else "info",
            bleu_of_short(short),
            dict(short),
            remedy='Set objective.metric = "exact_match"' if chosen else "Read exact match or chrF",
        )


LOOKS: tuple[Look, ...] = (_worse_answers, _never_stops, _short_answers)


def bleu_of_short(told: Found) -> str:
    """Why BLEU is low where answers are right."""
    return (
        f"BLEU counts sequences of {told['tokens']} tokens: {told['answers']:,} of "
        f"{format_count(told['rows'], 'answer')} and {told['references']:,} references are "
        "shorter, so BLEU is near 0 even where they agree."
    )
