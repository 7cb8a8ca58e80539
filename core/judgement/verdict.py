"""The answer to the objective, from intervals and not from points."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NotRequired, TypedDict

from ..config.config import ObjectiveConfig, RunConfig
from ..metrics.metric import METRICS, adds_up
from ..metrics.results import Comparison
from ..run.history import History
from ..wording.names import MODELS, name_metric
from ..wording.numbers import (
    format_count,
    format_difference,
    format_difference_interval,
    format_estimate,
    format_interval,
    format_value,
    spell,
)
from .findings import find, is_void
from .findings.splits import LEAKED_SHARE
from .objective import (
    Answer,
    against_chance,
    against_margin,
    against_target,
    guardrails_hold,
    threshold_holds,
)
from .selection import (
    CONSTANT,
    REFERENCES,
    clean,
    clean_if_compared,
    find_comparison,
    judged_split,
    metric_value,
    read_difference,
    reference_model,
)

Decision = Literal["ship", "hold", "no evidence"]


class VerdictPart(TypedDict):
    """The verdict in report.json."""

    decision: str
    objective: str
    reasons: list[str]
    evidence: list[dict[str, object]]
    preliminary: NotRequired[str]


@dataclass(frozen=True)
class Verdict:
    """`evidence` has one entry a reason: `at` is where the report says it, the rest the numbers."""

    decision: Decision
    objective: str
    reasons: list[str] = field(default_factory=list)
    evidence: list[dict[str, object]] = field(default_factory=list)
    preliminary: str = ""  # what is still to come; empty where the run has ended (V9)

    def to_dict(self) -> VerdictPart:
        """As in report.json: `preliminary` is absent once the run has ended."""
        part: VerdictPart = {
            "decision": self.decision,
            "objective": self.objective,
            "reasons": self.reasons,
            "evidence": self.evidence,
        }
        if self.preliminary:
            part["preliminary"] = self.preliminary
        return part


def judge(history: History, config: RunConfig) -> Verdict:
    """Ship, hold or no evidence. Ship takes every question answered in favour."""
    objective, to_come = describe_objective(history, config), _still_to_come(history, config)
    declared = judged_split(history)
    if declared is None:
        reasons = [_why_nothing(history)]
        return Verdict("no evidence", objective, reasons, [{"at": ["run"]}], to_come)
    split = clean_if_compared(history, declared, objective_metric(history, config))
    answers = list(_answers(history, config, declared, split))
    decision = _decide(answers)
    ordered = sorted(answers, key=lambda a: _effect(a, decision))
    reasons, evidence = [a.reason for a in ordered], [a.evidence for a in ordered]
    return Verdict(decision, objective, reasons, evidence, to_come)


def _answers(history: History, config: RunConfig, declared: str, split: str) -> Iterator[Answer]:
    """Every question, the gravest first: where two weigh the same, it is named first."""
    metric = objective_metric(history, config)
    yield from _errors(history, config)
    yield from _loss_is_finite(history, split)
    yield from _is_better_than_guessing(history, split)
    yield from _meets_target(history, config, split)
    yield from threshold_holds(history, split)
    yield from _beats_reference(history, config, split)
    if config.guardrail:
        yield from guardrails_hold(history, split)
    yield from _loses_accuracy(history, metric, split)
    yield from _is_clean(history, metric, split)
    yield from _is_judged_on_test(history, config, declared)
    yield from _reached_its_end(history)
    if split != declared:
        yield _why_clean(history, metric, declared)


def _still_to_come(history: History, config: RunConfig) -> str:
    """What a run that has not ended has still to measure; empty of one that has."""
    if history.finished:
        return ""
    split = "test" if _awaits_test(history, config) else judged_split(history) or "validation"
    known = history.analyses.get(split, {})
    missing = {
        f"results on {split}": history.result(split) is None,
        "paired differences": all(c.split != split for c in history.comparisons),
        "guardrails": bool(config.guardrail) and "guardrails" not in known,
        "self-test": bool(config.evaluate.self_test_rows) and "self_test" not in known,
        "deploy parity": bool(config.evaluate.parity_rows) and "parity" not in known,
    }
    listed = ", ".join(name for name, is_missing in missing.items() if is_missing)
    return f"the run has not ended; still to come: {listed}" if listed else "the run has not ended"


def _awaits_test(history: History, config: RunConfig) -> bool:
    known = "test" in history.splits or bool(config.data.test)
    return config.evaluate.test and (known or "test" in history.results)


def _decide(answers: Sequence[Answer]) -> Decision:
    votes = [a.vote for a in answers]
    if -1 in votes:  # one fault is enough: no other answer makes good for it
        return "hold"
    # a question left open keeps a model back as well, and so does a lack of any vote in favour
    return "no evidence" if 0 in votes or 1 not in votes else "ship"


def _effect(answer: Answer, decision: Decision) -> int:
    """What made the decision comes first, remarks last."""
    if answer.vote is None:
        return 3
    # how far a vote lies from the decision: 0 made it, 2 speaks for the opposite
    return abs(answer.vote - {"ship": 1, "no evidence": 0, "hold": -1}[decision])


def objective_metric(history: History, config: RunConfig) -> str:
    declared = config.objective.declared_metric
    return declared or (history.task_type if history.task else config.task_type).default_metric


def describe_objective(history: History, config: RunConfig) -> str:
    """`recall of "fraud" at least 85.0 %`, or that the tuned model be better."""
    metric, o = objective_metric(history, config), config.objective
    positive = o.positive or history.positive
    name = name_metric(metric, positive)
    margin = _describe_margin(metric, config)
    condition = f", and {margin}" if margin else ""
    if o.at_least is not None:
        return f"{name} at least {format_value(metric, o.at_least)}{condition}"
    if o.at_most is not None:
        return f"{name} at most {format_value(metric, o.at_most)}{condition}"
    if aim := _describe_aim(config, positive):
        if o.metric is None:
            return f"{aim}, better there than the reference and than a constant answer"
        return f"{aim}, and {name} {margin or 'better than before'}"
    if margin:
        return f"{name} {margin}"
    return f"{name} better than before (no target was declared)"


def _describe_margin(metric: str, config: RunConfig) -> str:
    o = config.objective
    if o.better_by is not None:
        least = format_difference(metric, o.better_by).lstrip("+")
        return f"better than the reference by more than {least}"
    if o.no_worse_by is not None:
        most = format_difference(metric, o.no_worse_by).lstrip("+")
        return f"no worse than the reference by more than {most}"
    return ""


def _describe_aim(config: RunConfig, positive: str | None) -> str:
    """What a threshold was to be chosen for; empty where none was asked for."""
    of = f' of "{positive}"' if positive else ""
    for metric in ("recall", "precision"):
        share = getattr(config.objective, f"{metric}_at_least", None)
        if share is not None:
            aim = f"{metric}{of} at least {format_value(metric, share)}"
            return f"{aim} at a threshold chosen on validation"
    if getattr(config.objective, "cost", None):
        return "the least cost at a threshold chosen on validation"
    return ""


def _why_nothing(history: History) -> str:
    if history.finished and history.finished.status == "failed":
        return f"the run failed before anything was evaluated: {history.finished.error}"
    if history.finished:
        return f"the run was {history.finished.status} before the final evaluation"
    return "the final evaluation is still to come"


def _errors(history: History, config: RunConfig) -> Iterator[Answer]:
    """What no target and no difference can make good: each is named (leaked rows further on)."""
    for f in find(history, config):
        if f.severity == "error" and f.code != "leakage":
            vote = 0 if is_void(f) else -1
            yield Answer(vote, f.message, {"at": ["findings"], "code": f.code, **f.evidence})


def _loss_is_finite(history: History, split: str) -> Iterator[Answer]:
    """A model without a loss never ships (V5); rows without a prediction are a finding."""
    loss = metric_value(history.results[split]["tuned"], "loss")
    if loss is not None and not math.isfinite(loss):
        reason = f"the tuned model's loss on {split} is {spell(loss)}: it is not finite"
        yield Answer(-1, reason, {"at": ["results", split, "tuned"]})


def _is_better_than_guessing(history: History, split: str) -> Iterator[Answer]:
    """Better than a reference is not enough: the reference may know nothing itself (V1)."""
    standing = against_chance(history, split, "tuned")
    if standing is None:
        if history.task_type.guessable and not history.task_type.writes:
            reason = f"nothing shows on {split} whether the tuned model is better than guessing"
            yield Answer(0, reason, {"at": ["results", split, "tuned", "metrics"]})
    elif standing.outcome == "worse":
        yield Answer(-1, f"{standing.text}: worse than guessing", standing.evidence)
    elif standing.outcome == "cannot tell":
        yield Answer(0, f"{standing.text}: not shown better than guessing", standing.evidence)


def _meets_target(history: History, config: RunConfig, split: str) -> Iterator[Answer]:
    metric, o = objective_metric(history, config), config.objective
    target = o.at_least if o.at_least is not None else o.at_most
    if target is None:
        return
    at = ["results", split, "tuned", "metrics", metric]
    tuned = history.results[split]["tuned"]
    estimate, chosen = tuned.metrics.get(metric), tuned.threshold
    where = f", at the threshold {chosen:.3g} chosen on validation," if chosen is not None else ""
    if estimate is None:
        yield _not_computed(metric, split)
        return
    value, goal = format_value(metric, estimate.value), format_value(metric, target)
    ends = format_interval(metric, estimate.low, estimate.high)
    claim = (
        f"{name_metric(metric, history.positive)} on {_rows_of(history, split)}{where} is {value} "
        f"(95 %: {ends}), target {goal}"
    )
    numbers = {"value": estimate.value, "low": estimate.low, "high": estimate.high}
    numbers["target"] = target
    vote, why = against_target(estimate, tuned.n, target, at_least=o.at_least is not None)
    yield Answer(vote, f"{claim}: {why}", {"at": at, **numbers})


def _not_computed(metric: str, split: str) -> Answer:
    reason = f"{name_metric(metric)} was not computed on {split}: it does not apply here"
    return Answer(0, reason, {"at": ["results", split, "tuned", "metrics"]})


def _rows_of(history: History, split: str) -> str:
    """The split's name; of clean rows also how many they are, and of how many."""
    whole = next((name for name in history.results if clean(name) == split), None)
    if whole is None:
        return split
    kept, every = (history.results[name]["tuned"].n for name in (split, whole))
    return f"{split} ({kept:,} of {every:,} rows, those that repeat nothing of an earlier split)"


def _beats_reference(history: History, config: RunConfig, split: str) -> Iterator[Answer]:
    """Against the first reference that is shown better than guessing; the others are named.

    The majority guesses, and stands for the rows' own shares: whoever is better than guessing and
    beats it has gained something. Beating a reference that is not shown to know anything is no
    reason to ship; not being shown to beat it is one not to.
    """
    if config.objective.choosers and config.objective.metric is None:
        return  # a threshold's own rivals answer: `threshold_holds`
    metric = objective_metric(history, config)
    left = dict(history.results[split])
    while against := reference_model(left):
        answer = _against(history, metric, split, against, config.objective)
        known = None if against in CONSTANT else against_chance(history, split, against)
        del left[against]
        if known is None or known.outcome == "better":
            yield answer
            yield from _loses_to(history, metric, split, left)
            return
        is_ = "is not shown to be" if known.outcome == "cannot tell" else "is no"
        reason = f"it {is_} better than guessing, so beating it is no reason to ship"
        yield Answer(None, f"{known.text}: {reason}", known.evidence)
        if answer.vote != 1:
            yield answer
    if config.objective.at_least is None and config.objective.at_most is None:
        reason = (
            f"no reference on {split} is better than guessing: declare a target, such as at_least"
        )
        yield Answer(0, reason, {"at": ["results", split]})


def _loses_to(
    history: History, metric: str, split: str, others: Collection[str]
) -> Iterator[Answer]:
    """The references that were not asked: one that is shown better than the tuned model."""
    for against in (m for m in REFERENCES if m in others and m != "probe"):  # that is a finding
        c = find_comparison(history, split, metric, against)
        if c is not None and read_difference(c) == "worse":
            yield _against(history, metric, split, against)


def _against(
    history: History, metric: str, split: str, against: str, o: ObjectiveConfig | None = None
) -> Answer:
    if broken := history.results[split][against].no_prediction:
        lost = format_count(len(broken), f"{split} row")
        claim = (
            f"{MODELS[against]} has no prediction for {lost}: it is broken, so being better than "
            "it shows nothing"
        )
        return Answer(0, claim, {"at": ["results", split, against], "rows": len(broken)})
    c = find_comparison(history, split, metric, against)
    if c is None:
        return _unpaired(history, split, metric, MODELS[against])
    change = format_difference(metric, c.difference)
    ends = format_difference_interval(metric, c.low, c.high)
    claim = (
        f"{name_metric(metric, history.positive)} on {_rows_of(history, split)} changes by "
        f"{change} against {MODELS[against]} "
        f"(paired 95 %: {ends}){_flips(c, metric)}"
    )
    evidence = _paired_evidence(history, c)
    if o is not None and (o.better_by is not None or o.no_worse_by is not None):
        rows = history.results[split]["tuned"].n
        no_worse_by = o.no_worse_by or 0.0
        vote, why = against_margin(c, rows, better_by=o.better_by, no_worse_by=no_worse_by)
        return Answer(vote, f"{claim}: {why}", evidence)
    match read_difference(c):
        case "better":
            return Answer(1, f"{claim}: better", evidence)
        case "worse":
            return Answer(-1, f"{claim}: worse", evidence)
        case "the same":
            return Answer(0, f"{claim}: the same in every digit shown", evidence)
    return Answer(0, f"{claim}: no difference is shown{_detectable(c, metric)}", evidence)


def _paired_evidence(history: History, c: Comparison) -> dict[str, object]:
    at = ["comparisons", next(i for i, x in enumerate(history.comparisons) if x is c)]
    figures = {"difference": c.difference, "low": c.low, "high": c.high}
    return {"at": at, **figures, "split": c.split, "metric": c.metric, "from": c.from_model}


def _flips(c: Comparison, metric: str) -> str:
    """`, fixed 12, broke 3`: they are the terms of a difference in right rows, and of no other."""
    right_rows = metric in METRICS and adds_up(METRICS[metric].tested_as)
    if not right_rows or c.fixed is None or c.broke is None:
        return ""
    return f", fixed {c.fixed:,}, broke {c.broke:,}"


def _loses_accuracy(history: History, metric: str, split: str) -> Iterator[Answer]:
    """Another metric was declared, and may win; what it cost in right rows is named (V15)."""
    against = reference_model(history.results[split])
    if not against or metric not in METRICS or METRICS[metric].tested_as == "accuracy":
        return
    c = find_comparison(history, split, "accuracy", against)
    if c is not None and read_difference(c) == "worse":
        yield replace(_against(history, "accuracy", split, against), vote=None)


def _detectable(c: Comparison, metric: str) -> str:
    if c.smallest_detectable is None or math.isnan(c.smallest_detectable):
        return ""
    least = format_difference(metric, abs(c.smallest_detectable)).lstrip("+")
    return f"; detectable with these rows: {least} or more"


def _unpaired(history: History, split: str, metric: str, name: str) -> Answer:
    value = metric_value(history.results[split]["tuned"], metric)
    if value is None:
        return _not_computed(metric, split)
    reason = f"{name_metric(metric)} was not compared row by row with {name}"
    return Answer(0, reason, {"at": ["comparisons"]})


def _is_judged_on_test(history: History, config: RunConfig, split: str) -> Iterator[Answer]:
    if split != "test":
        missing = "there is no test split" if config.evaluate.test else "test is held back"
        if not history.finished and _awaits_test(history, config):
            missing = "results on test are still to come"
        reason = f"{missing}: validation also chose the checkpoint"
        yield Answer(0, reason, {"at": ["data"]})


def _reached_its_end(history: History) -> Iterator[Answer]:
    """What comes last is whether the saved weights are those that were scored."""
    if history.finished and history.finished.status != "finished":
        reason = f"the run was {history.finished.status} before its last check of the saved weights"
        yield Answer(0, reason, {"at": ["run"]})


def _why_clean(history: History, metric: str, split: str) -> Answer:
    """Why clean rows are judged, and what all rows give: it decides nothing."""
    whole, kept = (history.results[name]["tuned"] for name in (split, clean(split)))
    rows, others = whole.n, kept.n
    leaked = rows - others
    reason = (
        f"{leaked:,} of {format_count(rows, f'{split} row')} "
        f"{'repeats' if leaked == 1 else 'repeat'} a row of an earlier split, "
        f"so the {others:,} others are judged"
    )
    estimate = whole.metrics.get(metric)
    if estimate is not None:
        name, figure = name_metric(metric, history.positive), format_estimate(metric, estimate)
        reason += f"; on all rows {name} is {figure}"
    at = ["results", split, "tuned", "metrics", metric]
    return Answer(None, reason, {"at": at, "leaked": leaked, "rows": rows})


def _is_clean(history: History, metric: str, split: str) -> Iterator[Answer]:
    rows = history.results[split]["tuned"].n
    leaked = history.leakage.leaked.get(split, 0) if history.leakage else 0
    if not rows or leaked <= LEAKED_SHARE * rows:
        return
    reason = (
        f"{leaked:,} of {rows:,} {split} rows repeat a row of an earlier split: "
        "the figures are optimistic"
    )
    others = history.result(clean(split))
    if others is not None and metric in others.metrics:
        figure = format_estimate(metric, others.metrics[metric])
        name = name_metric(metric, history.positive)
        reason += f". On the other {others.n:,} rows {name} is {figure}"
    yield Answer(0, reason, {"at": ["data", "leakage"], "leaked": leaked, "rows": rows})
