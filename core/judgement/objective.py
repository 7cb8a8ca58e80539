"""Answers to what an objective asks: a target against an interval, a threshold on new rows."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..run.history import History
from ..wording.names import MODELS, name_metric
from ..wording.numbers import (
    about_rows,
    format_count,
    format_difference,
    format_difference_interval,
    format_interval,
    format_value,
    read_number,
    unit_of,
)
from .outcome import LEVEL, read_difference
from .selection import higher_is_better, unclean

SQUARED_Z = 3.841458820694124  # of two-sided 95 %
LEAST_UNITS = 6  # rows or clusters: fewer have no p at or below 0.05, whatever changed (S2b)
ROUNDING = 1e-9  # 0.80 - 0.85 is more than -0.05 in floating point, and shows nothing
FEASIBLE = 1_000_000  # labelled rows: nobody gathers more to decide one target


@dataclass(frozen=True)
class Answer:
    """What one question found: in favour (1), against (-1), or not to be told (0).

    None is a remark: it stands among the reasons and decides nothing.
    """

    vote: int | None
    reason: str
    evidence: dict[str, Any] = field(default_factory=dict)


def thresholds_of(history: History, split: str) -> Mapping[str, Any]:
    """What is known of the tuned model's threshold on a split; empty where there is none."""
    found: Mapping[str, Any] = history.analyses.get(split, {}).get("thresholds", {})
    return dict(found.get("tuned", {}))


def threshold_holds(history: History, split: str) -> list[Answer]:
    """What chose the threshold on validation, asked again of these rows (B2, V6)."""
    found = thresholds_of(history, split)
    if not found and (whole := unclean(split)) != split and thresholds_of(history, whole):
        if thresholds_of(history, whole)["aim"]["kind"] == "f1":
            return []
        told = (
            f"the chosen threshold was measured with rows of {whole} that repeat an earlier split"
        )
        return [Answer(0, told, {"at": ["analyses", whole, "thresholds", "tuned"]})]
    kind = str(found.get("aim", {}).get("kind", "f1"))
    if kind == "f1":  # shown, and asked for by nobody
        return []
    at = ["analyses", split, "thresholds", "tuned"]
    if not found.get("in_use") or "at_threshold" not in found:
        why = found.get("why_not", "it was not measured on these rows")
        return [Answer(0, f"no threshold is in use: {why}", {"at": at})]
    where = f"at the threshold {found['at_threshold']['threshold']:.3g} chosen on validation"
    answers = [] if kind == "cost" else [_target_holds(history, split, found, where)]
    rivals = found.get("against", [])
    for i, rival in enumerate(rivals):
        answer = _beats_rival(rival, split, where, [*at, "against", i])
        if not rival.get("also") or answer.vote == -1:
            answers.append(answer)
    return answers or [Answer(0, f"{where}, no other rule was measured", {"at": at})]


def _target_holds(history: History, split: str, found: Mapping[str, Any], where: str) -> Answer:
    """The recall or precision that was asked for, on these rows."""
    metric = str(found["aim"]["kind"]).removesuffix("_at_least")
    target = read_number(found["aim"].get("target"))
    tuned = history.results.get(split, {}).get("tuned", {})
    at = ["results", split, "tuned", "metrics", metric]
    estimate = tuned.get("metrics", {}).get(metric)
    if tuned.get("threshold") is None:  # an older run measured its results at 0.5
        at = ["analyses", split, "thresholds", "tuned", "at_threshold", "metrics", metric]
        estimate = found["at_threshold"].get("metrics", {}).get(metric)
    if estimate is None:
        return Answer(0, f"{where}, {metric} on {split} is not defined", {"at": at[:-1]})
    low, high = read_number(estimate["low"]), read_number(estimate["high"])
    vote, why = against_target(estimate, int(tuned.get("n") or 0), target, at_least=True)
    value = format_value(metric, estimate["value"])
    interval = format_interval(metric, low, high)
    return Answer(
        vote,
        f'{where}, {metric} of "{found["positive"]}" on {split} is {value} (95 %: {interval}), '
        f"asked for {format_value(metric, target)}: {why}",
        {"at": at, "low": low, "high": high, "target": target},
    )


def _beats_rival(c: Mapping[str, Any], split: str, where: str, at: list[Any]) -> Answer:
    """The chosen rule against a constant answer, or the reference at a threshold of its own."""
    metric, less_is_better = str(c["metric"]), c["metric"] == "cost"
    low, high, p = (read_number(c[key]) for key in ("low", "high", "p"))
    shown = p <= LEVEL and (low > 0 or high < 0)
    vote = 0 if not shown else 1 if (high < 0) == less_is_better else -1
    rule = MODELS.get(c["rule"], c["rule"])
    if "threshold" in c:
        rule += f" at its own threshold {c['threshold']:.3g}"
    told = "costs {:.3g} a row" if less_is_better else "has a " + metric + " of {}"
    values = [c["value"], c["other"]]
    texts = values if less_is_better else [format_value(metric, v) for v in values]
    ends = (
        f"{low:+.3g} to {high:+.3g}"
        if less_is_better
        else format_difference_interval(metric, low, high)
    )
    word = {1: "better", -1: "worse", 0: "no difference is shown"}[vote]
    return Answer(
        vote,
        f"{where}, the tuned model {told.format(texts[0])} on {split}, "
        f"{rule} {'' if less_is_better else 'one of '}{_plain(texts[1])} "
        f"(paired 95 %: {ends}): {word}",
        {"at": at, "difference": read_number(c["difference"]), "low": low, "high": high},
    )


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:.3g}"


def guardrails_hold(history: History, split: str) -> Iterator[Answer]:
    """Each condition of the guardrails; one that is met decides nothing more."""
    known = history.analyses.get(split, {}).get("guardrails", {}).get("tuned")
    if known is None:
        yield Answer(0, f"the guardrails were not measured on {split}", {"at": ["analyses"]})
        return
    for i, r in enumerate(known["guardrails"]):
        vote = {"met": None, "failed": -1}.get(r["outcome"], 0)
        at = ["analyses", split, "guardrails", "tuned", "guardrails", i]
        figures = r.get("change", r)
        numbers = {
            k: read_number(figures[k]) for k in ("difference", "low", "high") if k in figures
        }
        said = f"guardrail: {describe_guardrail(r, split)}: {r['why']}"
        yield Answer(vote, said, {"at": at, "limit": r["limit"], **numbers})


def describe_guardrail(r: Mapping[str, Any], split: str) -> str:
    """`recall of "fraud" on 120 rows of test with tier = "gold" is 80.0 % (95 %: …), target …`"""
    metric, change = str(r["metric"]), r.get("change")
    chosen = " and ".join(f"{k} = {json.dumps(v)}" for k, v in r["slice"].items())
    rows = f"{format_count(r['rows'], 'row')} of {split}" + (f" with {chosen}" if chosen else "")
    name = f"{name_metric(metric, r.get('positive'))} on {rows}"
    if change is not None:
        ends = format_difference_interval(metric, change["low"], change["high"])
        moved = format_difference(metric, change["difference"])
        against = MODELS.get(r["from"], r["from"])
        return f"{name} changes by {moved} against {against} (paired 95 %: {ends})"
    if "value" not in r or r["condition"] == "no_worse_by":
        return name
    value, limit = format_value(metric, r["value"]), format_value(metric, r["limit"])
    ends = format_interval(metric, r["low"], r["high"])
    return f"{name} is {value} (95 %: {ends}), target {limit}"


def against_margin(
    c: Mapping[str, Any], rows: int, *, better_by: float | None = None, no_worse_by: float = 0.0
) -> tuple[int, str]:
    """Whether a paired difference of so many rows shows a gain of more than `better_by`, else a
    loss of at most `no_worse_by`; with the words for it."""
    low, high = _gain(c, rows)
    if math.isnan(low) or math.isnan(high):
        return 0, "it has no interval, so it proves nothing"
    units = int(c.get("clusters") or rows)
    if 0 < units < LEAST_UNITS:
        return 0, f"{units} rows or clusters are too few to show anything"
    metric, outcome = str(c["metric"]), read_difference(c)
    if better_by is not None:
        least = _plain_difference(metric, better_by)
        if low - better_by > ROUNDING and outcome == "better":
            return 1, f"the whole interval gains more than the {least} asked for"
        if better_by - high > ROUNDING:
            return -1, f"the whole interval gains less than the {least} asked for"
        return 0, f"a gain of more than the {least} asked for is not shown"
    most = _plain_difference(metric, no_worse_by)
    if low + no_worse_by > ROUNDING and (low <= 0 or outcome != "cannot tell"):
        return 1, f"shown no worse by more than {most}"
    if -no_worse_by - high > ROUNDING and outcome == "worse":
        return -1, f"shown worse by more than the {most} allowed"
    return 0, f"that it is no worse by more than {most} is not shown"


def _gain(c: Mapping[str, Any], rows: int) -> tuple[float, float]:
    """The interval of the gain, more being better. Where no row changed, that of 0 of so many."""
    low, high = read_number(c["low"]), read_number(c["high"])
    if not higher_is_better(str(c["metric"])):
        low, high = -high, -low
    if math.isnan(low) and c["difference"] == 0 and read_number(c.get("p")) == 1:  # none changed
        low = high = 0.0
    if low == high:
        share = unit_of(str(c["metric"])) == "share" and rows
        half = SQUARED_Z / (rows + SQUARED_Z) if share else math.nan  # Wilson's upper end
        return low - half, high + half
    return low, high


def _plain_difference(metric: str, size: float) -> str:
    return format_difference(metric, size).lstrip("+")


def against_target(
    estimate: Mapping[str, Any], rows: int, target: float, *, at_least: bool
) -> tuple[int, str]:
    """Whether an estimate's interval of so many rows meets a target, with the words for it."""
    low, high = read_number(estimate["low"]), read_number(estimate["high"])
    if math.isnan(low) or math.isnan(high):
        return 0, "it has no interval, so it proves nothing"
    if (low >= target) if at_least else (high <= target):
        return 1, "the whole interval meets it"
    if (high < target) if at_least else (low > target):
        return -1, "the whole interval misses it"
    value = read_number(estimate["value"])
    wanted = _rows_wanted(value, low, high, target, rows)
    return 0, f"the interval contains the target, {wanted}"


def _rows_wanted(value: float, low: float, high: float, target: float, rows: int) -> str:
    """About how many rows would decide it, were the value to stay: a half-width goes by 1 / √n."""
    distance = abs(value - target)
    half = value - low if value > target else high - value  # the side on which the target lies
    if not rows or math.isnan(half) or math.isnan(distance):
        return "more rows are needed"
    needed = rows * (half / distance) ** 2 if distance else math.inf
    if needed > FEASIBLE:
        return "and so near the value that no feasible number of rows would decide it"
    return f"more rows are needed: about {about_rows(needed):,} at this value"
