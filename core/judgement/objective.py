"""Answers to what an objective asks: a target against an interval, a threshold on new rows."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ..metrics.analyses import GuardrailResult, Guardrails, Rival, Thresholds
from ..metrics.results import Comparison, ModelResult
from ..run.history import History
from ..wording.names import MODELS, name_metric
from ..wording.numbers import (
    COST,
    Measured,
    about_rows,
    format_count,
    format_difference,
    format_difference_interval,
    format_interval,
    format_value,
    unit_of,
)
from .selection import LEVEL, Outcome, higher_is_better, read_difference, unclean

SQUARED_Z = 3.841458820694124  # of two-sided 95 %
LEAST_UNITS = 6  # rows or clusters: fewer have no p at or below 0.05, whatever changed (S2b)
ROUNDING = 1e-9  # 0.80 - 0.85 is more than -0.05 in floating point, and shows nothing
FEASIBLE = 1_000_000  # labelled rows: nobody gathers more to decide one target


@dataclass(frozen=True)
class Answer:
    """What one question found: in favour (1), against (-1), or undecided (0).

    None is a remark: it stands among the reasons and decides nothing.
    """

    vote: int | None
    reason: str
    evidence: dict[str, object] = field(default_factory=dict)


def thresholds_of(history: History, split: str) -> Thresholds | None:
    """What is known of the tuned model's threshold on a split."""
    return history.analysis(Thresholds, split, "tuned")


def threshold_holds(history: History, split: str) -> list[Answer]:
    """What chose the threshold on validation, asked again of these rows (B2, V6)."""
    found = thresholds_of(history, split)
    whole = unclean(split)
    if found is None and (known := thresholds_of(history, whole)) is not None:
        if known.aim.kind == "f1":
            return []
        reason = (
            f"the chosen threshold was measured with rows of {whole} that repeat an earlier split"
        )
        return [Answer(0, reason, {"at": ["analyses", whole, "thresholds", "tuned"]})]
    if found is None or found.aim.kind == "f1":  # shown, and asked for by nobody
        return []
    at: list[str | int] = ["analyses", split, "thresholds", "tuned"]
    if not found.in_use or found.at_threshold is None:
        why = found.why_not or "it was not measured on these rows"
        return [Answer(0, f"no threshold is in use: {why}", {"at": at})]
    where = f"at the threshold {found.at_threshold.threshold:.3g} chosen on validation"
    answers = [] if found.aim.kind == "cost" else [_target_holds(history, split, found, where)]
    for i, rival in enumerate(found.against or []):
        answer = _beats_rival(rival, split, where, [*at, "against", i])
        if not rival.also or answer.vote == -1:
            answers.append(answer)
    return answers or [Answer(0, f"{where}, no other rule was measured", {"at": at})]


def _target_holds(history: History, split: str, found: Thresholds, where: str) -> Answer:
    """The recall or precision that was asked for, on these rows."""
    metric = found.aim.kind.removesuffix("_at_least")
    target = math.nan if found.aim.target is None else found.aim.target
    tuned, rows = history.result(split), 0
    at = ["results", split, "tuned", "metrics", metric]
    estimate = tuned.metrics.get(metric) if tuned else None
    if tuned is not None:
        rows = tuned.n
    if tuned is None or tuned.threshold is None:  # an older run measured its results at 0.5
        at = ["analyses", split, "thresholds", "tuned", "at_threshold", "metrics", metric]
        estimate = found.at_threshold.metrics.get(metric) if found.at_threshold else None
    if estimate is None:
        return Answer(0, f"{where}, {metric} on {split} is not defined", {"at": at[:-1]})
    low, high = estimate.low, estimate.high
    vote, why = against_target(estimate, rows, target, at_least=True)
    value = format_value(metric, estimate.value)
    interval = format_interval(metric, low, high)
    return Answer(
        vote,
        f'{where}, {metric} of "{found.positive}" on {split} is {value} (95 %: {interval}), '
        f"asked for {format_value(metric, target)}: {why}",
        {"at": at, "low": low, "high": high, "target": target},
    )


def _beats_rival(c: Rival, split: str, where: str, at: list[str | int]) -> Answer:
    """The chosen rule against a constant answer, or the reference at a threshold of its own."""
    metric, less_is_better = c.metric, c.metric == COST
    low, high = c.low, c.high
    shown = c.p <= LEVEL and (low > 0 or high < 0)
    vote = 0 if not shown else 1 if (high < 0) == less_is_better else -1
    rule = MODELS.get(c.rule, c.rule)
    if c.threshold is not None:
        rule += f" at its own threshold {c.threshold:.3g}"
    if less_is_better:
        ends = f"{low:+.3g} to {high:+.3g}"
        ours, theirs = f"costs {c.value:.3g} per row", f"{c.other:.3g}"
    else:
        ends = format_difference_interval(metric, low, high)
        ours = f"has a {metric} of {format_value(metric, c.value)}"
        theirs = f"one of {format_value(metric, c.other)}"
    word = {1: "better", -1: "worse", 0: "no difference is shown"}[vote]
    return Answer(
        vote,
        f"{where}, the tuned model {ours} on {split}, {rule} {theirs} "
        f"(paired 95 %: {ends}): {word}",
        {"at": at, "difference": c.difference, "low": low, "high": high},
    )


def guardrails_hold(history: History, split: str) -> Iterator[Answer]:
    """Each condition of the guardrails; one that is met decides nothing more."""
    known = history.analysis(Guardrails, split, "tuned")
    if known is None:
        yield Answer(0, f"the guardrails were not measured on {split}", {"at": ["analyses"]})
        return
    for i, r in enumerate(known.guardrails):
        vote = {"met": None, "failed": -1}.get(r.outcome, 0)
        at = ["analyses", split, "guardrails", "tuned", "guardrails", i]
        numbers = {"difference": r.change.difference} if r.change else {}
        ends = r.change or r
        if ends.low is not None and ends.high is not None:
            numbers |= {"low": ends.low, "high": ends.high}
        reason = f"guardrail: {describe_guardrail(r, split)}: {r.why}"
        yield Answer(vote, reason, {"at": at, "limit": r.limit, **numbers})


def describe_guardrail(r: GuardrailResult, split: str) -> str:
    """`recall of "fraud" on 120 rows of test with tier = "gold" is 80.0 % (95 %: …), target …`"""
    metric, change = r.metric, r.change
    chosen = " and ".join(f"{k} = {json.dumps(v)}" for k, v in r.slice.items())
    rows = f"{format_count(r.rows, 'row')} of {split}" + (f" with {chosen}" if chosen else "")
    name = f"{name_metric(metric, r.positive or None)} on {rows}"
    if change is not None:
        ends = format_difference_interval(metric, change.low, change.high)
        moved = format_difference(metric, change.difference)
        against = MODELS.get(r.from_model or "", r.from_model)
        return f"{name} changes by {moved} against {against} (paired 95 %: {ends})"
    if r.value is None or r.condition == "no_worse_by":
        return name
    value, limit = format_value(metric, r.value), format_value(metric, r.limit)
    ends = format_interval(metric, r.low, r.high)
    return f"{name} is {value} (95 %: {ends}), target {limit}"


def against_margin(
    c: Comparison, rows: int, *, better_by: float | None = None, no_worse_by: float = 0.0
) -> tuple[int, str]:
    """Whether a paired difference of so many rows shows a gain of more than `better_by`, else a
    loss of at most `no_worse_by`; with the words for it."""
    low, high = _gain(c, rows)
    if math.isnan(low) or math.isnan(high):
        return 0, "it has no interval, so it proves nothing"
    units = c.clusters or rows
    if 0 < units < LEAST_UNITS:
        return 0, f"{units} rows or clusters are too few to show anything"
    metric, outcome = c.metric, read_difference(c)
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


def _gain(c: Comparison, rows: int) -> tuple[float, float]:
    """The interval of the gain, more being better. Where no row changed, that of 0 of so many."""
    low, high = c.low, c.high
    if not higher_is_better(c.metric):
        low, high = -high, -low
    if math.isnan(low) and c.difference == 0 and c.p == 1:  # none changed
        low = high = 0.0
    if low == high:
        share = unit_of(c.metric) == "share" and rows
        half = SQUARED_Z / (rows + SQUARED_Z) if share else math.nan  # Wilson's upper end
        return low - half, high + half
    return low, high


def _plain_difference(metric: str, size: float) -> str:
    return format_difference(metric, size).lstrip("+")


def against_target(
    estimate: Measured, rows: int, target: float, *, at_least: bool
) -> tuple[int, str]:
    """Whether an estimate's interval of so many rows meets a target, with the words for it."""
    low, high = estimate.low, estimate.high
    if math.isnan(low) or math.isnan(high):
        return 0, "it has no interval, so it proves nothing"
    if (low >= target) if at_least else (high <= target):
        return 1, "the whole interval meets it"
    if (high < target) if at_least else (low > target):
        return -1, "the whole interval misses it"
    wanted = _rows_wanted(estimate.value, low, high, target, rows)
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


EXACT_ROWS = (
    1_000  # up to which a test stands beside the interval: bootstraps of few rows are narrow
)


@dataclass(frozen=True)
class Standing:
    """A model's figure on a split beside what guessing gives."""

    outcome: Outcome
    model: str
    metric: str
    value: float
    low: float
    high: float
    guessing: float
    path: tuple[str, ...]  # of the figure in the report

    @property
    def text(self) -> str:
        """`balanced accuracy on test is 45.0 % (95 %: 39.2 % to 50.9 %), guessing has 50.0 %`."""
        of = "" if self.model == "tuned" else f" of {MODELS.get(self.model, self.model)}"
        value = format_value(self.metric, self.value)
        ends = format_interval(self.metric, self.low, self.high)
        guess = format_value(self.metric, self.guessing)
        why = " (ln V)" if self.metric == "loss" else ""
        figure = f"{name_metric(self.metric)}{of} on {self.path[1]} is {value}"
        return f"{figure} (95 %: {ends}), guessing has {guess}{why}"

    @property
    def evidence(self) -> dict[str, object]:
        figures = {"value": self.value, "low": self.low, "high": self.high}
        return {"at": list(self.path), **figures, "guessing": self.guessing}


def against_chance(history: History, split: str, model: str) -> Standing | None:
    """None where nothing can decide: no interval, no size of the vocabulary, or only one label.

    Classifiers: balanced accuracy against one over the labels that occur, or MCC against 0.
    Language models: loss against ln V. Other tasks: the metric that they name.
    """
    result = history.results[split][model]
    if chance := history.task_type.chance_of(result.positive):
        return _standing(result, split, model, *chance)
    if history.task_type.writes:
        guess = history.random_loss
        return None if guess is None else _standing(result, split, model, "loss", guess)
    if not history.task_type.has_labels:
        return None
    rows = result.per_class or {}
    labels = sum(1 for row in rows.values() if row.support) or len(history.labels)
    if labels < 2:
        return None  # whoever answers the one label is always right
    figures = [("balanced_accuracy", 1 / labels), ("mcc", 0.0)]
    if model == "tuned" and result.threshold is None and _has_threshold(history, split):
        figures.append(("roc_auc", 0.5))  # an older run: its answers at 0.5 are not those that ship
    found = [s for name, guess in figures if (s := _standing(result, split, model, name, guess))]
    return next((s for s in found if s.outcome == "better"), found[0] if found else None)


def _has_threshold(history: History, split: str) -> bool:
    found = thresholds_of(history, split)
    return found is not None and found.in_use


def _standing(
    result: ModelResult, split: str, model: str, metric: str, guess: float
) -> Standing | None:
    estimate = result.metrics.get(metric)
    if estimate is None or math.isnan(estimate.low) or math.isnan(estimate.high):
        return None
    low, high = estimate.low, estimate.high
    path = ("results", split, model, "metrics", metric)
    better, worse = (high < guess, low > guess) if metric == "loss" else (low > guess, high < guess)
    counts = result.confusion.counts if result.confusion else None
    if (better or worse) and metric != "loss" and counts and permutation_p(counts) > LEVEL:
        better = worse = False
    outcome: Outcome = "better" if better else "worse" if worse else "cannot tell"
    return Standing(outcome, model, metric, estimate.value, low, high, guess, path)


def permutation_p(counts: Sequence[Sequence[int]]) -> float:
    """Two-sided p that predictions know nothing of the truth; 0 where rows are many.

    `counts` has truth in its rows. Of two labels Fisher's exact p, doubled; of more the normal
    limit of the permutation distribution of balanced accuracy (Hoeffding 1951).
    """
    truths = [sum(row) for row in counts]
    n = sum(truths)
    if n > EXACT_ROWS:
        return 0.0
    called = [sum(column) for column in zip(*counts, strict=False)]
    kept = [i for i, rows in enumerate(truths) if rows]
    if len(kept) < 2 or sum(1 for c in called if c) < 2:
        return 1.0
    if len(truths) == len(called) == 2:
        return _fisher(counts[0][0], truths[0], called[0], n)
    return _hoeffding(counts, truths, called, kept)


def _fisher(both: int, rows: int, called: int, n: int) -> float:
    """Twice the smaller tail of the hypergeometric distribution of the first cell."""
    every = math.comb(n, called)
    ways = [math.comb(rows, k) * math.comb(n - rows, called - k) for k in range(called + 1)]
    return min(1.0, 2 * min(sum(ways[: both + 1]), sum(ways[both:])) / every)


def _hoeffding(
    counts: Sequence[Sequence[int]], truths: list[int], called: list[int], kept: list[int]
) -> float:
    n = sum(truths)
    weight = {t: 1 / (len(kept) * truths[t]) for t in kept}
    right = sum(weight[t] * counts[t][t] for t in kept)
    expected = sum(weight[t] * truths[t] * called[t] for t in kept) / n
    spread = 0.0
    for t in kept:
        for p, column in enumerate(called):
            of_column = truths[p] * weight[p] / n if p in weight else 0.0
            here = weight[t] * (t == p) - weight[t] * called[t] / n - of_column + expected / n
            spread += truths[t] * column * here * here
    error = math.sqrt(spread / (n - 1))
    return math.erfc(abs(right - expected) / error / math.sqrt(2)) if error > 0 else 1.0
