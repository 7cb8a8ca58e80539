"""What an objective that chooses a threshold asks of the config and of the labels."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Sequence

from .config import RunConfig
from .errors import ConfigError, Fault

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


def threshold_contradictions(c: RunConfig) -> Iterator[tuple[str, str, str]]:
    """Settings that cannot be meant: key, what is wrong, what to do."""
    given = choosers(c)
    if len(given) > 1:
        yield f"objective.{given[1]}", f"cannot stand beside {given[0]}", "Keep one of them"
    for name in given:
        if not c.is_classification:
            yield f"objective.{name}", "is for classification; this task is generation", ""
        elif c.data.labels is not None and len(c.data.labels) > 2:
            yield f"objective.{name}", _two_labels(c.data.labels), _USE_METRIC
    for name in CHOOSERS[1:]:
        share = getattr(c.objective, name)
        if share is not None and not 0 < share <= 1:
            yield f"objective.{name}", "must be above 0 and at most 1", "0.9 means 90 %"
    if cost := c.objective.cost:
        for name in ("fp", "fn"):
            if not 0 <= getattr(cost, name) < math.inf:
                yield f"objective.cost.{name}", "must be a number of at least 0", ""
        if cost.fp == cost.fn == 0:
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
    if len(labels) != 2:
        faults += [
            Fault(f"objective.{name}", _two_labels(labels), _USE_METRIC)
            for name in choosers(config)
        ]
    if faults:
        raise ConfigError(*faults)
