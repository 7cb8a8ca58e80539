"""A metric of a run in full: its receipt, its differences, what stands beside it, what it means."""

from __future__ import annotations

import msgspec

from ..config.config import RunConfig
from ..errors import ConfigError
from ..metrics.metric import METRICS
from ..run.history import History
from ..wording.text import nearest
from .glossary import Entry, lookup
from .receipts import (
    DifferenceReceipt,
    Receipt,
    compared_with,
    differences,
    explained_split,
    receipt,
)


class Explained(msgspec.Struct, frozen=True):
    """`beside`: the same metric of the other models on these rows, and of random guessing."""

    receipt: Receipt
    differences: list[DifferenceReceipt]
    beside: dict[str, float]
    glossary: Entry


def explain_metric(
    history: History,
    config: RunConfig | None,
    metric: str,
    split: str | None = None,
    model: str = "tuned",
) -> Explained:
    """By default of the tuned model on the split that the verdict reads.

    Raises ConfigError for a metric, split or model that the run does not have.
    """
    metric = metric_name(metric)
    split = explained_split(history, split)
    found = lookup(metric)
    assert found is not None  # a test holds that the glossary has every metric
    return Explained(
        receipt(history, config, split, model, metric),
        differences(history, config, split, metric, model),
        compared_with(history, split, metric, model),
        found,
    )


def metric_name(text: str) -> str:
    """A metric however it is spelt, by its aliases too. Raises ConfigError with the nearest."""
    found = lookup(text)
    if found is not None and found.name in METRICS:
        return found.name
    near = ", ".join(nearest(text, METRICS))
    raise ConfigError(f"--explain: there is no metric {text!r}. Nearest: {near}")
