"""What the models write by themselves, which no loss sees."""

from __future__ import annotations

from collections.abc import Iterator

from ..numbers.metric_table import REFERENCE_METRICS
from ..reporting.numbers import (
    format_difference,
    format_difference_interval,
    format_value,
    read_number,
    shows_nothing,
)
from .case import Case, Finding, Look, is_shown
from .remedies import learn_less

MODELS = ("base", "tuned")


def _worse_answers(case: Case) -> Iterator[Finding]:
    """Further from the references than the base's, or caught in loops where the base is not."""
    compared = [case.comparison(metric, "base") for metric in REFERENCE_METRICS]
    lost = [
        c for c in compared if is_shown(c, "worse") and not shows_nothing(c["metric"], c["high"])
    ]
    base, tuned = (case.analysis("completions", model=m).get("looping", {}) for m in MODELS)
    loops = read_number(tuned.get("low")) > read_number(base.get("high"))
    if not lost and not loops:
        return
    told = [
        f"{c['metric']} {format_difference(c['metric'], c['difference'])} "
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
        remedy="Read the answers in the report. "
        + learn_less(case, "Do not use this model for what the base writes better"),
    )


LOOKS: tuple[Look, ...] = (_worse_answers,)
