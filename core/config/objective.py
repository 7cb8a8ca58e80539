"""What counts as good enough: the objective and the guardrails, and what neither can ask for."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ..errors import Fault
from ..metrics.metric import METRICS, Metric, needs_positive
from ..tasks import Task, find_task, metrics_within
from .fields import Amount, Margin, Target, TargetShare

# Share of rows that repeat another's input from which copies are one cluster, and are reported:
# with fewer, intervals hardly change, and the exact tests of single rows stay.
REPEATED = 0.02
CHOOSERS = ("cost", "recall_at_least", "precision_at_least")
_BY_THRESHOLD = {"recall_at_least": "recall", "precision_at_least": "precision"}
_USE_METRIC = "Use objective.metric with at_least, or data with two labels"


@dataclass(frozen=True, kw_only=True)
class CostConfig:
    fp: Amount = 1.0
    """Price of a false positive: a row called positive that is not."""
    fn: Amount = 1.0
    """Price of a false negative: a positive row that is missed."""

    def faults(self) -> Iterator[Fault]:
        if self.fp == self.fn == 0:
            yield Fault.of("objective.cost", "makes every answer free", "Give fp or fn a price")


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    metric: str | None = None
    """The one primary metric, declared before the run; default: macro_f1 or loss, by task."""
    positive: str | None = None
    """The positive class of a binary task; default: the rarer one."""
    at_least: Target = None
    """The metric must reach this for the model to ship."""
    at_most: Target = None
    """The same for metrics where less is better."""
    better_by: Margin = None
    """The least gain over the reference that is worth shipping, in the metric's unit."""
    no_worse_by: Margin = None
    """Or: shown to be no worse than the reference by more than this."""
    cost: CostConfig | None = None
    """Prices of wrong answers: the threshold with the least cost on validation is used."""
    recall_at_least: TargetShare = None
    """Share of the positive rows to be found: the most precise threshold that does so is used."""
    precision_at_least: TargetShare = None
    """Share of right rows among those called positive: the threshold that finds most is used."""

    @property
    def choosers(self) -> list[str]:
        """The settings that choose a threshold; one at most in a checked config."""
        return [name for name in CHOOSERS if getattr(self, name) is not None]

    @property
    def declared_metric(self) -> str | None:
        """The metric asked for by name or by a threshold; None where there is none.

        A cost is no metric of a model alone: it has prices, and its own place in the results.
        """
        by_threshold = (_BY_THRESHOLD[n] for n in self.choosers if n in _BY_THRESHOLD)
        return self.metric or next(by_threshold, None)

    def faults(self, task: str) -> Iterator[Fault]:
        """An unknown metric, targets that it cannot have (V4), settings that exclude others."""
        yield from metric_faults("objective.metric", self.metric, task)
        yield from self._threshold_faults(task)
        metric = METRICS.get(self.declared_metric or find_task(task).default_metric)
        if self.at_least is not None and self.at_most is not None:
            yield Fault.of("objective.at_least", "at_least and at_most cannot both be given")
            return
        if metric is not None:
            yield from _target_faults("objective", self, metric)
        margins = [n for n in ("better_by", "no_worse_by") if getattr(self, n) is not None]
        if len(margins) == 2:
            yield Fault.of("objective.no_worse_by", "cannot stand beside better_by", "Keep one")
        for name in margins:
            if self.choosers and self.metric is None:
                what = f"has no metric beside {self.choosers[0]}: it would say nothing"
                yield Fault.of(f"objective.{name}", what, "Write objective.metric, or leave it out")
            elif metric is not None:
                yield from _margin_faults(f"objective.{name}", getattr(self, name), metric)

    def _threshold_faults(self, task: str) -> Iterator[Fault]:
        if len(given := self.choosers) > 1:
            what = f"cannot stand beside {given[0]}"
            yield Fault.of(f"objective.{given[1]}", what, "Keep one of them")
        if not find_task(task).has_labels:
            for name in given:
                what = f"is for tasks with labels; this task is {task}"
                yield Fault.of(f"objective.{name}", what)
        yield from self.cost.faults() if self.cost else ()

    def label_faults(self, labels: Sequence[str], task: Task) -> Iterator[Fault]:
        """What the labels of the data do not allow."""
        yield from metric_faults("objective.metric", self.metric, task.name, task.metrics)
        if self.positive is not None and self.positive not in labels:
            close = difflib.get_close_matches(self.positive, labels, 1)
            remedy = f'Did you mean "{close[0]}"?' if close else "Labels: " + ", ".join(labels[:20])
            yield Fault.of("objective.positive", f"there is no label {self.positive!r}", remedy)
        if not task.has_labels:
            yield from self._faults_of_sets()
            return
        if len(labels) != 2 and needs_positive(self.metric):
            what = f"{self.metric} belongs to one positive label of two; there are {len(labels):,}"
            yield Fault.of("objective.metric", f"{what} labels", f"Declare macro_{self.metric}")
        yield from self.threshold_faults(labels)

    def _faults_of_sets(self) -> Iterator[Fault]:
        """Where rows have several labels, what asks for one of them must name it."""
        if self.cost is not None:
            what = "chooses a threshold between two labels; here rows have several"
            yield Fault.of("objective.cost", what, "Use recall_at_least or precision_at_least")
        asking = [self.metric] if needs_positive(self.metric) else []
        asking += [n for n in self.choosers if n != "cost"]
        if asking and self.positive is None:
            what = f"must name the label of {asking[0]}: rows have several"
            yield Fault.of("objective.positive", what, 'Write positive = "a label"')

    def threshold_faults(self, labels: Sequence[str]) -> Iterator[Fault]:
        """A threshold is chosen between two labels."""
        if len(labels) != 2:
            what = f"chooses a threshold between two labels; there are {len(labels):,}"
            yield from (Fault.of(f"objective.{n}", what, _USE_METRIC) for n in self.choosers)


@dataclass(frozen=True, kw_only=True)
class GuardrailConfig:
    metric: str
    """What must hold for the model to ship, beside the objective."""
    slice: dict[str, str | int | float | bool] = field(default_factory=dict)
    """Columns and their values: only rows that have them count; default: every row."""
    positive: str | None = None
    """The class of precision, recall or F1; default: the positive one of the run."""
    no_worse_by: Margin = None
    """No worse than the reference by more than this, in the metric's unit."""
    at_least: Target = None
    """The metric must reach this on these rows."""
    at_most: Target = None
    """The same for metrics where less is better."""

    def faults(self, key: str, task: str) -> Iterator[Fault]:
        """A guardrail that asks for nothing, or for what its metric cannot give.

        `key`: its place in the config, `guardrail[0]`.
        """
        yield from metric_faults(f"{key}.metric", self.metric, task)
        if self.no_worse_by is self.at_least is self.at_most is None:
            yield Fault.of(key, "asks for nothing", "Give it no_worse_by, at_least or at_most")
        if self.positive is not None and not needs_positive(self.metric):
            what = f"belongs to precision, recall or f1, and the metric is {self.metric}"
            yield Fault.of(f"{key}.positive", what)
        for name, value in self.slice.items():
            if isinstance(value, float) and not math.isfinite(value):
                yield Fault.of(f"{key}.slice", f"no row has {value} in column {name!r}")
        if metric := METRICS.get(self.metric):
            yield from _target_faults(key, self, metric)
            if self.no_worse_by is not None:
                yield from _margin_faults(f"{key}.no_worse_by", self.no_worse_by, metric)

    def label_faults(self, key: str, labels: Sequence[str], task: Task) -> Iterator[Fault]:
        """What the labels of the data do not allow."""
        yield from metric_faults(f"{key}.metric", self.metric, task.name, task.metrics)
        if self.positive is not None and self.positive not in labels:
            what = f"there is no label {self.positive!r}"
            yield Fault.of(f"{key}.positive", what, "Labels: " + ", ".join(labels[:20]))
        if self.positive is None and needs_positive(self.metric) and len(labels) != 2:
            what = f"{self.metric} belongs to one class, and there are {len(labels):,} labels"
            yield Fault.of(f"{key}.metric", what, "Name its class: positive = a label")


def metric_faults(
    key: str, name: str | None, task: str, known: Sequence[str] | None = None
) -> Iterator[Fault]:
    """A metric that is misspelt, or that belongs to another task.

    `known`: those that rows of the form that was found have.
    """
    if name is None:
        return
    known = metrics_within(task) if known is None else known
    if name not in METRICS:
        close = difflib.get_close_matches(name, known, 1)
        remedy = f"Did you mean {close[0]}?" if close else "Known: " + ", ".join(known)
        yield Fault.of(key, f"there is no metric {name!r}", remedy)
    elif name not in known:
        what = f"{name} is measured for {' or '.join(METRICS[name].tasks)}, and the task is {task}"
        yield Fault.of(key, what, "Known: " + ", ".join(known))


def _target_faults(
    key: str, asked: ObjectiveConfig | GuardrailConfig, metric: Metric
) -> Iterator[Fault]:
    """Targets against the metric's direction, out of its range, or met by every model."""
    higher = metric.higher_is_better
    low, high = metric.range
    for name in ("at_least", "at_most"):
        target = getattr(asked, name)
        right, better = ("at_least", "more") if higher else ("at_most", "less")
        if target is None:
            continue
        if name != right:
            what = f"cannot be asked of {metric.name}: {better} is better"
            yield Fault.of(f"{key}.{name}", what, f"Write {right}")
        elif not (low < target <= high if higher else low <= target < high):
            ends = ("above", "and at most") if higher else ("at least", "and below")
            span = " ".join(f"{w} {e:g}" for w, e in zip(ends, (low, high), strict=True))
            remedy = "0.85 means 85 %" if metric.unit == "share" else ""
            what = f"must be {span} for {metric.name}, not {target:g}"
            yield Fault.of(f"{key}.{name}", what, remedy)


def _margin_faults(key: str, margin: float, metric: Metric) -> Iterator[Fault]:
    """A margin as wide as the metric's whole range."""
    low, high = metric.range
    if margin >= high - low:
        remedy = "0.02 means 2 points" if metric.unit == "share" else ""
        what = f"must be below {high - low:g} for {metric.name}, not {margin:g}"
        yield Fault.of(key, what, remedy)
