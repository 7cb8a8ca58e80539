"""Whether a model is shown to be better than guessing: without that nothing ships (V1)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..metrics.results import ModelResult
from ..run.history import History
from ..wording.names import MODELS, name_metric
from ..wording.numbers import format_interval, format_value
from .objective import thresholds_of
from .outcome import LEVEL, Outcome

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
    def evidence(self) -> dict[str, Any]:
        figures = {"value": self.value, "low": self.low, "high": self.high}
        return {"at": list(self.path), **figures, "guessing": self.guessing}


def against_chance(history: History, split: str, model: str) -> Standing | None:
    """None where nothing could tell: no interval, no size of the vocabulary, or only one label.

    Classifiers: balanced accuracy against one over the labels that occur, or MCC against 0.
    Language models: loss against ln V.
    """
    result = history.results[split][model]
    if not history.task_type.has_labels:
        guess = history.random_loss
        return None if guess is None else _standing(result, split, model, "loss", guess)
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
