"""Pitfalls that the numbers of a run show, each with its evidence and what to do about it."""

from __future__ import annotations

from ...config.config import RunConfig
from ...run.history import History
from ..selection import place
from . import answers, data, declared, evidence, scores, splits, texts, training
from .case import LOOKS, PITFALLS, UNRANKED, Case, Finding, Look

__all__ = ["LOOKS", "PITFALLS", "Finding", "find"]

SEVERITIES = ("error", "warning", "info")
THEMES = tuple(
    m.__name__ for m in (scores, declared, evidence, splits, data, training, texts, answers)
)


def find(history: History, config: RunConfig | None = None) -> list[Finding]:
    """Every pitfall the history shows, by its effect on the decision: no error ships (V8).

    Without the configuration those are left out that need to know the declared objective.
    """
    case = Case(history, config)
    found = [finding for look in sorted(LOOKS, key=_by_theme) for finding in look(case)]
    return sorted(found, key=by_effect)


def _by_theme(look: Look) -> int:
    return place(THEMES, look.__module__)


def by_effect(f: Finding) -> tuple[int, int]:
    known = PITFALLS.get(f.code)
    return SEVERITIES.index(f.severity), known.rank if known else UNRANKED


def is_void(f: Finding) -> bool:
    """Whether it shows nothing against the model, and nothing for it."""
    return f.code in PITFALLS and PITFALLS[f.code].void
