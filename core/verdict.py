"""The answer to the objective, from intervals and not from points."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .config import RunConfig
from .decision import choosers, declared_metric
from .findings import Finding, find
from .history import History
from .objective import Answer, against_target, threshold_holds
from .reporting.numbers import (
    format_count,
    format_difference,
    format_difference_interval,
    format_estimate,
    format_interval,
    format_value,
    read_number,
)
from .reporting.outcome import read_difference
from .reporting.summary import (
    DEFAULT_METRIC,
    clean,
    judged_split,
    metric_value,
    reference_model,
)

Decision = Literal["ship", "hold", "no evidence"]
NEVER_SHIP = ("accuracy_paradox", "worse_than_guessing", "worse_answers")
LEAKED_SHARE = 0.01  # of the judged rows that repeat an earlier split: more, and nothing is shown


@dataclass(frozen=True)
class Verdict:
    """`evidence` has one entry a reason: `at` is where the report says it, the rest the numbers."""

    decision: Decision
    objective: str
    reasons: list[str] = field(default_factory=list)
    evidence: list[dict[str, Any]] = field(default_factory=list)


def judge(history: History, config: RunConfig) -> Verdict:
    """Ship, hold or no evidence. Ship takes every question answered in favour."""
    objective = describe_objective(history, config)
    declared = judged_split(history)
    if declared is None:
        return Verdict("no evidence", objective, [_why_nothing(history)], [{"at": ["run"]}])
    split = _clean_split(history, config, declared)
    answers = [
        a
        for a in (
            _meets_target(history, config, split),
            *threshold_holds(history, split),
            _beats_reference(history, config, split),
            _is_not_absurd(history, config),
            _is_clean(history, objective_metric(history, config), split),
        )
        if a
    ]
    if declared != "test":
        missing = "there is no test split" if config.evaluate.test else "test is held back"
        told = f"{missing}: validation also chose the checkpoint"
        answers.append(Answer(0, told, {"at": ["data"]}))
    votes = [a.vote for a in answers]
    if -1 in votes:
        decision: Decision = "hold"
    elif 0 in votes or 1 not in votes:
        decision = "no evidence"
    else:
        decision = "ship"
    ordered = sorted(answers, key=lambda a: abs(a.vote - _leading_vote(decision)))
    if split != declared:
        ordered.append(_why_clean(history, objective_metric(history, config), declared))
    return Verdict(decision, objective, [a.reason for a in ordered], [a.evidence for a in ordered])


def _leading_vote(decision: Decision) -> int:
    return {"ship": 1, "no evidence": 0, "hold": -1}[decision]


def objective_metric(history: History, config: RunConfig) -> str:
    return declared_metric(config) or DEFAULT_METRIC.get(history.task or config.task, "loss")


def describe_objective(history: History, config: RunConfig) -> str:
    """`recall of "fraud" at least 85.0 %`, or that the tuned model be better."""
    metric, o = objective_metric(history, config), config.objective
    positive = o.positive or history.positive
    name = metric
    if metric in ("precision", "recall", "f1") and positive:
        name = f'{metric} of "{positive}"'
    if o.at_least is not None:
        return f"{name} at least {format_value(metric, o.at_least)}"
    if o.at_most is not None:
        return f"{name} at most {format_value(metric, o.at_most)}"
    if aim := _describe_aim(config, positive):
        if o.metric is None:
            return f"{aim}, better there than the reference and than a constant answer"
        return f"{aim}, and {name} better than before"
    return f"{name} better than before (no target was declared)"


def _describe_aim(config: RunConfig, positive: str | None) -> str:
    """What a threshold was to be chosen for; empty where none was asked for."""
    of = f' of "{positive}"' if positive else ""
    for metric in ("recall", "precision"):
        share = getattr(config.objective, f"{metric}_at_least", None)
        if share is not None:
            told = f"{metric}{of} at least {format_value(metric, share)}"
            return f"{told} at a threshold chosen on validation"
    if getattr(config.objective, "cost", None):
        return "the least cost at a threshold chosen on validation"
    return ""


def _clean_split(history: History, config: RunConfig, split: str) -> str:
    """The rows that repeat nothing of an earlier split, where models were compared on them (D2)."""
    metric = objective_metric(history, config)
    return clean(split) if find_comparison(history, clean(split), metric) else split


def _why_nothing(history: History) -> str:
    if history.finished and history.finished.status == "failed":
        return f"the run failed before anything was evaluated: {history.finished.error}"
    if history.finished:
        return f"the run was {history.finished.status} before the final evaluation"
    return "the final evaluation has not been made"


def _meets_target(history: History, config: RunConfig, split: str) -> Answer | None:
    metric, o = objective_metric(history, config), config.objective
    target = o.at_least if o.at_least is not None else o.at_most
    if target is None:
        return None
    at = ["results", split, "tuned", "metrics", metric]
    estimate = history.results[split]["tuned"].get("metrics", {}).get(metric)
    chosen = history.results[split]["tuned"].get("threshold")
    where = f", at the threshold {chosen:.3g} chosen on validation," if chosen is not None else ""
    if estimate is None:
        return _not_computed(metric, split)
    low, high = read_number(estimate["low"]), read_number(estimate["high"])
    value, goal = format_value(metric, estimate["value"]), format_value(metric, target)
    told = (
        f"{metric} on {_rows_of(history, split)}{where} is {value} "
        f"(95 %: {format_interval(metric, low, high)}), target {goal}"
    )
    numbers = {"value": read_number(estimate["value"]), "low": low, "high": high, "target": target}
    evidence = {"at": at, **numbers}
    rows = int(history.results[split]["tuned"].get("n") or 0)
    vote, why = against_target(estimate, rows, target, at_least=o.at_least is not None)
    return Answer(vote, f"{told}: {why}", evidence)


def _not_computed(metric: str, split: str) -> Answer:
    told = f"{metric} was not computed on {split}: it does not apply here"
    return Answer(0, told, {"at": ["results", split, "tuned", "metrics"]})


def _rows_of(history: History, split: str) -> str:
    """The split's name; of clean rows also how many they are, and of how many."""
    whole = next((name for name in history.results if clean(name) == split), None)
    if whole is None:
        return split
    kept, every = (history.results[name]["tuned"].get("n", 0) for name in (split, whole))
    return f"{split} ({kept:,} of {every:,} rows, those that repeat nothing of an earlier split)"


def find_comparison(
    history: History, split: str, metric: str, reference: str | None = None
) -> Mapping[str, Any] | None:
    """The paired difference of a metric from the reference to the tuned model on a split."""
    against = reference or reference_model(history.results.get(split, {}))
    for c in history.comparisons:
        if (c.get("split"), c.get("metric"), c.get("from"), c.get("to")) == (
            split,
            metric,
            against,
            "tuned",
        ):
            return c
    return None


def _beats_reference(history: History, config: RunConfig, split: str) -> Answer | None:
    metric = objective_metric(history, config)
    against = reference_model(history.results[split])
    if against is None or (choosers(config) and config.objective.metric is None):
        return None  # a threshold's own rivals answer: `threshold_holds`
    c = find_comparison(history, split, metric)
    name = {"base": "the base", "probe": "the linear probe", "majority": "the majority"}[against]
    if c is None:
        return _unpaired(history, split, metric, name)
    low, high = read_number(c["low"]), read_number(c["high"])
    change = format_difference(metric, c["difference"])
    told = (
        f"{metric} on {_rows_of(history, split)} changes by {change} "
        f"against {name} (paired 95 %: {format_difference_interval(metric, low, high)})"
    )
    if c.get("fixed") is not None and c.get("broke") is not None:
        told += f", fixed {c['fixed']:,}, broke {c['broke']:,}"
    evidence = {
        "at": ["comparisons", next(i for i, x in enumerate(history.comparisons) if x is c)],
        "difference": read_number(c["difference"]),
        "low": low,
        "high": high,
        "split": split,
        "metric": metric,
        "from": against,
    }
    match read_difference(c):
        case "better":
            return Answer(1, f"{told}: better", evidence)
        case "worse":
            return Answer(-1, f"{told}: worse", evidence)
        case "the same":
            return Answer(0, f"{told}: the same in every digit shown", evidence)
    return Answer(0, f"{told}: no difference is shown{_detectable(c, metric)}", evidence)


def _detectable(c: Mapping[str, Any], metric: str) -> str:
    least = read_number(c.get("smallest_detectable"))
    if math.isnan(least):
        return ""
    told = format_difference(metric, abs(least)).lstrip("+")
    return f"; these rows could have shown {told} or more"


def _unpaired(history: History, split: str, metric: str, name: str) -> Answer | None:
    value = metric_value(history.results[split]["tuned"], metric)
    if value is None:
        return _not_computed(metric, split)
    told = f"{metric} was not compared row by row with {name}"
    return Answer(0, told, {"at": ["comparisons"]})


def _is_not_absurd(history: History, config: RunConfig) -> Answer | None:
    """What no target and no difference can make good."""
    found: list[Finding] = [f for f in find(history, config) if f.code in NEVER_SHIP]
    if not found:
        return None
    worst = found[0]
    return Answer(-1, worst.message, {"at": ["findings"], "code": worst.code, **worst.evidence})


def _why_clean(history: History, metric: str, split: str) -> Answer:
    """Why clean rows are judged, and what all rows give: told after the votes were counted."""
    whole, kept = (history.results[name]["tuned"] for name in (split, clean(split)))
    rows, others = int(whole.get("n") or 0), int(kept.get("n") or 0)
    leaked = rows - others
    told = (
        f"{leaked:,} of {format_count(rows, f'{split} row')} "
        f"{'repeats' if leaked == 1 else 'repeat'} a row of an earlier split, "
        f"so the {others:,} others are judged"
    )
    estimate = whole.get("metrics", {}).get(metric)
    if estimate is not None:
        told += f"; on all rows {metric} is {format_estimate(metric, estimate)}"
    at = ["results", split, "tuned", "metrics", metric]
    return Answer(0, told, {"at": at, "leaked": leaked, "rows": rows})


def _is_clean(history: History, metric: str, split: str) -> Answer | None:
    rows = history.results[split]["tuned"].get("n") or 0
    leaked = history.leakage.leaked.get(split, 0) if history.leakage else 0
    if not rows or leaked <= LEAKED_SHARE * rows:
        return None
    told = (
        f"{leaked:,} of {rows:,} {split} rows repeat a row of an earlier split: the figures flatter"
    )
    others = history.results.get(clean(split), {}).get("tuned", {})
    if metric in others.get("metrics", {}):
        figure = format_estimate(metric, others["metrics"][metric])
        told += f". On the other {others['n']:,} rows {metric} is {figure}"
    return Answer(0, told, {"at": ["data", "leakage"], "leaked": leaked, "rows": rows})
