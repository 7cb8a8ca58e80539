"""A list of runs as it is looked at: filter, order, groups, and what is remembered of them.

Every part of a filter must hold. A word is looked for in a run's id, name, task, status and tags;
`-word` must be in none of them. A condition names a fact, a metric or a setting, and a value:
`train.learning_rate>1e-4`, `label="a b"`.
"""

from __future__ import annotations

import difflib
import math
import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePath
from typing import Any

import msgspec

from ..errors import ConfigError, RunError
from ..files.disk import write_whole
from ..files.reading import read_json
from ..judgement.selection import higher_is_better
from ..metrics.metric import METRICS
from .run_facts import RunEntry

Test = Callable[[RunEntry], bool]
_ORDER: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(s|m|min|h|d)")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
Getter = Callable[[RunEntry], object]
_FACTS: dict[str, Getter] = {
    "id": lambda e: e.run.id,
    "name": lambda e: e.name,
    "task": lambda e: e.facts.task,
    "status": lambda e: e.status,
    "tag": lambda e: list(e.notes.tags),
    "note": lambda e: e.notes.note,
    "verdict": lambda e: e.facts.decision,
    "step": lambda e: e.facts.step,
    "duration": lambda e: e.seconds,
}
_WORDS = ("id", "name", "task", "status", "tag", "note", "verdict")  # facts that have no order


class FilterError(ConfigError):
    """What is wrong with a filter, in one line."""


def read_filter(text: str) -> Test:
    """The test that a run passes. Raises FilterError."""
    if is_open(text):
        raise FilterError('a quotation mark " is not closed')
    tests = [_read_part(part) for part in split_parts(text)]
    return lambda entry: all(test(entry) for test in tests)


def _read_part(part: str) -> Test:
    condition = read_condition(part)
    if condition:
        return _condition(*condition)
    if part.startswith("-") and len(part) > 1:
        word = _word(part[1:])
        return lambda entry: not word(entry)
    return _word(part)


def _word(word: str) -> Test:
    sought = word.casefold()
    return lambda entry: any(sought in text.casefold() for text in _searched(entry))


def _searched(entry: RunEntry) -> Iterable[str]:
    return (
        entry.run.id,
        entry.name,
        entry.facts.name,
        entry.facts.task,
        entry.status,
        *entry.notes.tags,
    )


def _condition(key: str, sign: str, wanted: str) -> Test:
    get = _getter(key)
    if not wanted:
        raise FilterError(f"{key}{sign} needs a value after it")
    if sign in _ORDER:
        if key in _WORDS:
            raise FilterError(f"{key} has no order: write {key}={wanted} or {key}!={wanted}")
        return _ordered(get, _ORDER[sign], read_amount(key, wanted))
    if sign == "!=":
        return lambda entry: not _equals(get(entry), wanted)
    return lambda entry: _equals(get(entry), wanted)


def _ordered(get: Getter, compare: Callable[[float, float], bool], wanted: float) -> Test:
    def test(entry: RunEntry) -> bool:
        value = get(entry)
        return (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and compare(value, wanted)
        )

    return test


def read_amount(key: str, text: str) -> float:
    """`1e-4`, `90%`, and for a duration `90s`, `10m`, `2h`. Raises FilterError."""
    if key == "duration" and (found := _DURATION.fullmatch(text)):
        return float(found[1]) * _SECONDS[found[2]]
    try:
        return read_number(text)
    except ValueError:
        raise FilterError(f"{key} is compared with a number, and {text!r} is none") from None


def _equals(value: object, wanted: str) -> bool:
    if isinstance(value, list | tuple):
        return any(_equals(item, wanted) for item in value)
    if isinstance(value, bool):
        return wanted.casefold() == str(value).casefold()
    if isinstance(value, int | float):
        try:
            return math.isclose(value, read_amount("", wanted), rel_tol=1e-9)
        except FilterError:
            return False
    return fnmatchcase(str(value or "none").casefold(), wanted.casefold())


def _getter(key: str) -> Getter:
    """How a fact, a metric or a setting is read from a run. Raises FilterError."""
    if key in _FACTS:
        return _FACTS[key]
    if key in METRICS:
        return lambda entry: entry.facts.metrics.get(key)
    from ..config.config import RunConfig
    from ..config.fields import settings

    known = [setting.path for setting in settings(RunConfig)]
    path = key.removeprefix("config.")
    if path not in known:
        ends = [name for name in known if name.rpartition(".")[2] == path]
        if len(ends) != 1:
            raise FilterError(_unknown(key, path, known, ends))
        path = ends[0]
    return lambda entry: entry.facts.settings.get(path)


def _unknown(key: str, path: str, known: list[str], ends: list[str]) -> str:
    if ends:
        return f"{key} is more than one setting: {', '.join(ends)}"
    names = [*_FACTS, *METRICS, *known, *(name.rpartition(".")[2] for name in known)]
    close = difflib.get_close_matches(path, names, 1)
    hint = (
        f"did you mean {close[0]}?" if close else "write task, status, tag, a metric or a setting"
    )
    return f"nothing is called {key!r}: {hint}"


_PART = re.compile(r'(?:[^\s"]|"[^"]*")+')
_CONDITION = re.compile(r"([A-Za-z_][\w.]*)(>=|<=|!=|==|=|>|<)(.*)", re.DOTALL)


def is_open(text: str) -> bool:
    """Whether a quotation mark is not closed."""
    return text.count('"') % 2 == 1


def split_parts(text: str) -> list[str]:
    """The parts between spaces; quotes hold a part together and are taken off."""
    if is_open(text):
        text = text.replace('"', " ")
    return [part.replace('"', "") for part in _PART.findall(text)]


def read_condition(part: str) -> tuple[str, str, str] | None:
    """A name, a sign and a value; None for a word."""
    found = _CONDITION.fullmatch(part)
    return (found[1], found[2], found[3]) if found else None


def read_number(text: str) -> float:
    """`1e-4`, `90%`. Raises ValueError."""
    return float(text[:-1]) / 100 if text.endswith("%") else float(text)


SORTS = ("newest", "name", "status", "metric", "duration")
GROUPS = ("", "task", "base model", "training file", "tag")
_STATUSES = (
    *("running", "paused", "starting", "quiet"),
    *("died", "failed", "unreadable", "stopped", "finished"),
)


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


MEMORY_FILE = ".home.json"


class HomeMemory(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a folder's list of runs was last looked at."""

    baseline: str = ""  # name of a run directory
    filter: str = ""
    sort: str = "newest"
    group: str = ""
    chosen: str = ""  # the run under the cursor, where it is not the newest


def read_memory(folder: Path) -> HomeMemory:
    """What was kept; a fresh look where it is missing, damaged or of another version."""
    try:
        found = read_json(folder / MEMORY_FILE, HomeMemory)
    except RunError:
        return HomeMemory()
    if found.sort not in SORTS or found.group not in GROUPS:
        return HomeMemory(baseline=found.baseline)
    return found


def write_memory(folder: Path, memory: HomeMemory) -> None:
    """Keep it. Raises RunError where the folder may not be written to."""
    write_whole(folder / MEMORY_FILE, msgspec.json.encode(memory) + b"\n")
