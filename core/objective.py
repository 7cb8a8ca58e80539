"""Answers to what an objective asks: a target against an interval, a threshold on new rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .history import History
from .reporting.numbers import format_interval, format_value, read_number

FEASIBLE = 1_000_000  # labelled rows: nobody gathers more to decide one target


@dataclass(frozen=True)
class Answer:
    """What one question found: in favour (1), against (-1), or not to be told (0)."""

    vote: int
    reason: str
    evidence: dict[str, Any] = field(default_factory=dict)


def threshold_in_use(history: History, split: str) -> Mapping[str, Any]:
    """The results at the threshold that the objective asked for; empty where there are none."""
    found = history.analyses.get(split, {}).get("thresholds", {}).get("tuned", {})
    if not found.get("in_use") or "metrics" not in found.get("at_threshold", {}):
        return {}
    return dict(found["at_threshold"])


def threshold_holds(history: History, split: str, leaked: bool = False) -> Answer | None:
    """What chose the threshold on validation, asked again of these rows (B2).

    `leaked`: the verdict rests on the clean rows, and the threshold was tried on all of them.
    """
    found = history.analyses.get(split, {}).get("thresholds", {}).get("tuned", {})
    kind = found.get("aim", {}).get("kind", "f1")
    if kind == "f1":  # shown, and asked for by nobody
        return None
    at = ["analyses", split, "thresholds", "tuned"]
    chosen = threshold_in_use(history, split)
    if not chosen:
        return Answer(0, f"no threshold is in use: {found.get('why_not', 'unknown')}", {"at": at})
    told = f"at the threshold {chosen['threshold']:.3g} chosen on validation"
    if leaked:
        return Answer(
            0,
            f"{told}, {split} was measured with the rows in it that repeat an earlier split: "
            "that proves nothing",
            {"at": at},
        )
    if kind == "cost":
        return _cost_holds(found.get("changes", {}).get("cost"), split, told, at)
    metric = str(kind).removesuffix("_at_least")
    estimate, target = chosen["metrics"].get(metric), read_number(found["aim"].get("target"))
    if estimate is None:
        return Answer(0, f"{told}, {metric} on {split} is not defined", {"at": at})
    low, high = read_number(estimate["low"]), read_number(estimate["high"])
    rows = int(history.results.get(split, {}).get("tuned", {}).get("n") or 0)
    vote, why = against_target(estimate, rows, target, at_least=True)
    value = format_value(metric, estimate["value"])
    interval = format_interval(metric, low, high)
    return Answer(
        vote,
        f'{told}, {metric} of "{found["positive"]}" on {split} is {value} (95 %: {interval}), '
        f"asked for {format_value(metric, target)}: {why}",
        {"at": [*at, "at_threshold", "metrics", metric], "low": low, "high": high}
        | {"target": target},
    )


def _cost_holds(
    change: Mapping[str, Any] | None, split: str, told: str, at: list[str]
) -> Answer | None:
    """Whether the chosen threshold costs less than the usual one; silent where neither does."""
    if change is None:
        return None
    low, high = read_number(change["low"]), read_number(change["high"])
    if not (high < 0 or low > 0):
        return None
    more = "less" if high < 0 else "more"
    return Answer(
        1 if high < 0 else -1,
        f"{told}, {split} costs {abs(read_number(change['difference'])):,.3g} a row {more} than at "
        f"the usual one (paired 95 %: {low:+,.3g} to {high:+,.3g})",
        {"at": [*at, "changes", "cost"], "low": low, "high": high},
    )


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
    return 0, f"the interval holds the target, {wanted}"


def _rows_wanted(value: float, low: float, high: float, target: float, rows: int) -> str:
    """About how many rows would decide it, were the value to stay: a half-width goes by 1 / √n."""
    distance = abs(value - target)
    half = value - low if value > target else high - value  # the side on which the target lies
    if not rows or math.isnan(half) or math.isnan(distance):
        return "more rows are needed"
    needed = rows * (half / distance) ** 2 if distance else math.inf
    if needed > FEASIBLE:
        return "and so near the value that no feasible number of rows would decide it"
    return f"more rows are needed: about {_two_digits(needed):,} at this value"


def _two_digits(number: float) -> int:
    """Rounded up, so that it is never fewer than what is there."""
    unit = int(10 ** max(math.floor(math.log10(number)) - 1, 0))
    return math.ceil(number / unit) * unit
