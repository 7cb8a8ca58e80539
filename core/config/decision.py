"""What an objective that chooses a threshold asks of the config and of the labels."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Sequence

from ..errors import ConfigError, Fault
from ..metrics.metric_table import METRICS, REFERENCE_METRICS, Metric, Unit
from .config import GuardrailConfig, RunConfig

Contradiction = tuple[str, str, str]  # the setting, what is wrong, what to do
RANGES: dict[Unit, tuple[float, float]] = {
    "share": (0, 1),
    "coefficient": (-1, 1),
    "squared error": (0, 2),
    "nats": (0, math.inf),
    "perplexity": (1, math.inf),
    "bits": (0, math.inf),
    "points": (0, 100),
}
DEFAULT_METRIC = {"classification": "macro_f1", "generation": "loss"}
OF_ONE_LABEL = ("precision", "recall", "f1")
# Share of rows that repeat another's input from which copies are one cluster, and are reported:
# with fewer, intervals hardly change, and the exact tests of single rows stay.
REPEATED = 0.02
CHOOSERS = ("cost", "recall_at_least", "precision_at_least")


def choosers(config: RunConfig) -> list[str]:
    """The settings of the objective that choose a threshold; one at most in a checked config."""
    return [name for name in CHOOSERS if getattr(config.objective, name) is not None]


def declared_metric(config: RunConfig) -> str | None:
    """The metric that the objective asks for by name or by a threshold; None where it has none.

    A cost is no metric of a model alone: it has prices, and its own place in the results.
    """
    by_threshold = {"recall_at_least": "recall", "precision_at_least": "precision"}
    found = next((by_threshold[n] for n in choosers(config) if n in by_threshold), None)
    return config.objective.metric or found


def objective_contradictions(c: RunConfig) -> Iterator[Contradiction]:
    """A metric that there is not, and targets that it cannot have (V4)."""
    for key, name in (
        ("objective.metric", c.objective.metric),
        ("train.best_metric", c.train.best_metric),
    ):
        yield from metric_contradictions(c, key, name)
    o = c.objective
    if o.at_least is not None and o.at_most is not None:
        yield "objective.at_least", "at_least and at_most cannot both be given", ""
        return
    metric = METRICS.get(declared_metric(c) or DEFAULT_METRIC[c.task])
    for key, target in (("at_least", o.at_least), ("at_most", o.at_most)):
        if metric is not None and target is not None:
            yield from target_contradictions(metric, f"objective.{key}", target)
    margins = [name for name in ("better_by", "no_worse_by") if getattr(o, name) is not None]
    if len(margins) == 2:
        yield "objective.no_worse_by", "cannot stand beside better_by", "Keep one of them"
    for name in margins:
        if choosers(c) and o.metric is None:
            what = f"has no metric beside {choosers(c)[0]}: it would say nothing"
            yield f"objective.{name}", what, "Write objective.metric, or leave it out"
        elif metric is not None:
            yield from margin_contradictions(metric, f"objective.{name}", getattr(o, name))


def guardrail_contradictions(c: RunConfig) -> Iterator[Contradiction]:
    """Guardrails that ask for nothing, or for what their metric cannot give."""
    for i, g in enumerate(c.guardrail):
        key = f"guardrail[{i}]"
        yield from metric_contradictions(c, f"{key}.metric", g.metric)
        if g.no_worse_by is g.at_least is g.at_most is None:
            yield key, "asks for nothing", "Give it no_worse_by, at_least or at_most"
        if g.positive is not None and g.metric not in OF_ONE_LABEL:
            what = f"belongs to precision, recall or f1, and the metric is {g.metric}"
            yield f"{key}.positive", what, ""
        if g.metric in REFERENCE_METRICS and not c.evaluate.completions:
            what = f"is 0, and {key} is {g.metric}, which needs answers"
            yield "evaluate.completions", what, ""
        for name, value in g.slice.items():
            if isinstance(value, float) and not math.isfinite(value):
                yield f"{key}.slice", f"no row has {value} in column {name!r}", ""
        if (metric := METRICS.get(g.metric)) is None:
            continue
        for name in ("at_least", "at_most"):
            if (target := getattr(g, name)) is not None:
                yield from target_contradictions(metric, f"{key}.{name}", target)
        if g.no_worse_by is not None:
            yield from margin_contradictions(metric, f"{key}.no_worse_by", g.no_worse_by)


def margin_contradictions(metric: Metric, key: str, margin: float) -> Iterator[Contradiction]:
    """A margin as wide as the metric's whole range."""
    low, high = RANGES[metric.unit]
    if margin >= high - low:
        remedy = "0.02 means 2 points" if metric.unit == "share" else ""
        yield key, f"must be below {high - low:g} for {metric.name}, not {margin:g}", remedy


def sliced_columns(config: RunConfig) -> tuple[str, ...]:
    """The columns whose values some figures are split by; each must stand in the judged rows."""
    by_guardrails = (name for g in config.guardrail for name in g.slice)
    return tuple(dict.fromkeys([*config.evaluate.slices, *by_guardrails]))


def metric_contradictions(c: RunConfig, key: str, name: str | None) -> Iterator[Contradiction]:
    """A metric that is misspelt, or that belongs to another task."""
    if name is None:
        return
    known = [n for n, m in METRICS.items() if m.task in ("both", c.task)]
    if name not in METRICS:
        close = difflib.get_close_matches(name, known, 1)
        remedy = f"Did you mean {close[0]}?" if close else "Known: " + ", ".join(known)
        yield key, f"there is no metric {name!r}", remedy
    elif name not in known:
        what = f"{name} is measured for {METRICS[name].task}, and the task is {c.task}"
        yield key, what, "Known: " + ", ".join(known)


def target_contradictions(metric: Metric, key: str, target: float) -> Iterator[Contradiction]:
    """A target against the metric's direction, out of its range, or met by every model."""
    asked = key.rpartition(".")[2]
    right = "at_least" if metric.higher_is_better else "at_most"
    if asked != right:
        better = "more" if metric.higher_is_better else "less"
        yield key, f"cannot be asked of {metric.name}: {better} is better", f"Write {right}"
        return
    low, high = RANGES[metric.unit] if metric.name != "average_log_likelihood" else (-math.inf, 0)
    if not (low < target <= high if metric.higher_is_better else low <= target < high):
        ends = ("above", "and at most") if metric.higher_is_better else ("at least", "and below")
        told = " ".join(f"{w} {e:g}" for w, e in zip(ends, (low, high), strict=True))
        remedy = "0.85 means 85 %" if metric.unit == "share" else ""
        yield key, f"must be {told} for {metric.name}, not {target:g}", remedy


def threshold_contradictions(c: RunConfig) -> Iterator[Contradiction]:
    """Settings that cannot be meant: key, what is wrong, what to do."""
    given = choosers(c)
    if len(given) > 1:
        yield f"objective.{given[1]}", f"cannot stand beside {given[0]}", "Keep one of them"
    for name in given:
        if not c.is_classification:
            yield f"objective.{name}", "is for classification; this task is generation", ""
        elif c.data.labels is not None and len(c.data.labels) > 2:
            yield f"objective.{name}", _two_labels(c.data.labels), _USE_METRIC
    if (cost := c.objective.cost) and cost.fp == cost.fn == 0:
        yield "objective.cost", "makes every answer free", "Give one of fp and fn a price"
    names = c.evaluate.slices
    if repeated := [name for i, name in enumerate(names) if name in names[:i]]:
        yield "evaluate.slices", f"names {repeated[0]!r} twice", ""


_USE_METRIC = "Use objective.metric with at_least, or data with two labels"


def _two_labels(labels: Sequence[str]) -> str:
    return f"chooses a threshold between two labels; there are {len(labels):,}"


def check_objective(config: RunConfig, labels: Sequence[str]) -> None:
    """Raise ConfigError, with every fault, where the objective does not fit these labels."""
    if not config.is_classification:
        return
    faults = []
    positive = config.objective.positive
    if positive is not None and positive not in labels:
        close = difflib.get_close_matches(positive, labels, 1)
        remedy = f'Did you mean "{close[0]}"?' if close else "Labels: " + ", ".join(labels[:20])
        faults.append(Fault("objective.positive", f"there is no label {positive!r}", remedy))
    metric = config.objective.metric
    if len(labels) != 2 and metric in OF_ONE_LABEL:
        what = f"{metric} belongs to one positive label of two; there are {len(labels):,} labels"
        faults.append(Fault("objective.metric", what, f"Declare macro_{metric}"))
    for i, g in enumerate(config.guardrail):
        faults += _guardrail_faults(f"guardrail[{i}]", g, labels)
    if len(labels) != 2:
        faults += [
            Fault(f"objective.{name}", _two_labels(labels), _USE_METRIC)
            for name in choosers(config)
        ]
    if faults:
        raise ConfigError(*faults)


def _guardrail_faults(key: str, g: GuardrailConfig, labels: Sequence[str]) -> Iterator[Fault]:
    if g.positive is not None and g.positive not in labels:
        what = f"there is no label {g.positive!r}"
        yield Fault(f"{key}.positive", what, "Labels: " + ", ".join(labels[:20]))
    if g.positive is None and g.metric in OF_ONE_LABEL and len(labels) != 2:
        what = f"{g.metric} belongs to one class, and there are {len(labels):,} labels"
        yield Fault(f"{key}.metric", what, "Name its class: positive = a label")
