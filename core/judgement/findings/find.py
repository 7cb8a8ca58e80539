"""Pitfalls that the numbers of a run show, each with its evidence and what to do about it."""

from __future__ import annotations

from ...config.config import RunConfig
from ...run.history import History
from ..selection import place
from . import answers, data, evidence, scores, splits, texts, training
from .case import Case, Finding, Look

__all__ = ["LOOKS", "Finding", "find"]

SEVERITIES = ("error", "warning", "info")
# Of a severity those come first that say how far the judged figures bear a judgement.
ON_EVIDENCE = (
    "deploy_parity",
    "parity_not_tested",
    "self_test",
    "same_rows",
    "leakage",
    "group_in_two_splits",
    "label_variants",
    "drawn_differently",
    "no_test_set",
    "test_too_small",
    "test_read_before",
    "repeated_test_rows",
    "target_already_met",
    "wrong_metric",
)
LOOKS: tuple[Look, ...] = (
    *scores.LOOKS,
    *evidence.LOOKS,
    *splits.LOOKS,
    *data.LOOKS,
    *training.LOOKS,
    *texts.LOOKS,
    *answers.LOOKS,
)


def find(history: History, config: RunConfig | None = None) -> list[Finding]:
    """Every pitfall the history shows, by its effect on the decision: no error ships (V8).

    Without the configuration those are left out that need to know the declared objective.
    """
    case = Case(history, config)
    found = [finding for look in LOOKS for finding in look(case)]
    return sorted(found, key=by_effect)


def by_effect(f: Finding) -> tuple[int, int]:
    return SEVERITIES.index(f.severity), place(ON_EVIDENCE, f.code)
