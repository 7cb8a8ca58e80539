"""What the models write by themselves, which no loss sees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..numbers.metric_table import REFERENCE_METRICS
from ..reporting.numbers import (
    format_difference,
    format_difference_interval,
    format_value,
    read_number,
)
from .case import Case, Finding, Look

MODELS = ("base", "tuned")


def _worse_answers(case: Case) -> Iterator[Finding]:
    """Further from the references than the base's, or caught in loops where the base is not."""
    lost = [c for m in REFERENCE_METRICS if shown_below_0(c := case.comparison(m))]
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
    if read_number(case.comparison("loss").get("high")) < 0:
        text += "; its loss is lower all the same, because the loss never sees a model's own words"
    yield Finding(
        "worse_answers",
        "error",
        text,
        {
            **{c["metric"]: c["difference"] for c in lost},
            **({"looping": tuned["value"], "looping_base": base["value"]} if loops else {}),
        },
        remedy="Read the answers in the report; train less or more gently, on answers that end"
        if case.trains
        else "Read the answers in the report before this model is used",
    )


def shown_below_0(c: Mapping[str, Any]) -> bool:
    """Whether the whole interval is below 0, and by more than what rounding leaves to be seen."""
    if not c or not read_number(c["high"]) < 0:
        return False
    return float(format_difference(c["metric"], c["high"]).removesuffix(" points")) < 0


LOOKS: tuple[Look, ...] = (_worse_answers,)
