"""The order of a list of runs, and the groups it falls into."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from ..judgement.selection import higher_is_better
from .run_facts import RunEntry

SORTS = ("newest", "name", "status", "metric", "duration")
GROUPS = ("", "task", "base model", "training file", "tag")
_STATUSES = ("running", "paused", "starting", "died", "failed", "unreadable", "stopped", "finished")


@dataclass(frozen=True)
class Group:
    """Runs that share something; without a title all there are."""

    title: str
    entries: list[RunEntry]


def arrange(entries: Iterable[RunEntry], sort: str, group: str) -> list[Group]:
    """Runs in their order and groups. `entries` come by name, the newest of those that a run
    gave itself first, and keep that among equals: a copied run may have any name."""
    ordered = sorted(entries, key=_KEYS[sort])
    if not group:
        return [Group("", ordered)] if ordered else []
    found: dict[str, list[RunEntry]] = {}
    for entry in ordered:
        found.setdefault(_TITLES[group](entry), []).append(entry)
    return [Group(title, members) for title, members in found.items()]


def _by_metric(entry: RunEntry) -> tuple[bool, str, float]:
    """Metrics apart from one another, the best run of each first; runs without one last."""
    facts = entry.facts
    if facts.value is None or math.isnan(facts.value):
        return True, "", 0.0
    return False, facts.metric, -facts.value if higher_is_better(facts.metric) else facts.value


_KEYS: dict[str, Callable[[RunEntry], Any]] = {
    "newest": lambda entry: -entry.facts.created,
    "name": lambda entry: entry.name.casefold(),
    "status": lambda entry: (
        _STATUSES.index(entry.status) if entry.status in _STATUSES else len(_STATUSES)
    ),
    "metric": _by_metric,
    "duration": lambda entry: -entry.seconds,
}


def _file(entry: RunEntry) -> str:
    source = entry.facts.settings.get("data.train") or entry.facts.settings.get("data.test")
    first = source[0] if isinstance(source, list) and source else source
    return PurePath(str(first)).name if first else "no file"


_TITLES: dict[str, Callable[[RunEntry], str]] = {
    "task": lambda entry: entry.facts.task or "no task yet",
    "base model": lambda entry: str(entry.facts.settings.get("model.base") or "no base model"),
    "training file": _file,
    "tag": lambda entry: ", ".join(entry.notes.tags) or "no tag",
}
