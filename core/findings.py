"""Pitfalls that the numbers of a run show, each with its evidence and what to do about it."""

from __future__ import annotations

from .config import RunConfig
from .history import History
from .pitfalls import answers, data, evidence, scores, texts, training
from .pitfalls.case import Case, Finding, Look

__all__ = ["LOOKS", "Finding", "find"]

SEVERITIES = ("error", "warning", "info")
LOOKS: tuple[Look, ...] = (
    *scores.LOOKS,
    *evidence.LOOKS,
    *data.LOOKS,
    *training.LOOKS,
    *texts.LOOKS,
    *answers.LOOKS,
)


def find(history: History, config: RunConfig | None = None) -> list[Finding]:
    """Every pitfall the history shows, the gravest first.

    Without the configuration those are left out that need to know the declared objective.
    """
    case = Case(history, config)
    found = [finding for look in LOOKS for finding in look(case)]
    return sorted(found, key=lambda f: SEVERITIES.index(f.severity))
