"""The filter of a list of runs: words, and conditions like `train.learning_rate>1e-4`.

Every part must hold. A word is looked for in a run's id, name, task, status and tags; `-word` in
none of them. A condition names a fact, a metric or a setting, and a value.
"""

from __future__ import annotations

import difflib
import math
import operator
import re
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Any

from ..errors import ConfigError
from ..metrics.metric_table import METRICS
from .filter_words import is_open, read_condition, read_number, split_parts
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
_FACTS: dict[str, Callable[[RunEntry], Any]] = {
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


def _ordered(
    get: Callable[[RunEntry], Any], compare: Callable[[float, float], bool], wanted: float
) -> Test:
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


def _equals(value: Any, wanted: str) -> bool:
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


def _getter(key: str) -> Callable[[RunEntry], Any]:
    """How a fact, a metric or a setting is read from a run. Raises FilterError."""
    if key in _FACTS:
        return _FACTS[key]
    if key in METRICS:
        return lambda entry: entry.facts.metrics.get(key)
    from ..config.config import settings

    known = [setting.path for setting in settings()]
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
    told = (
        f"did you mean {close[0]}?" if close else "write task, status, tag, a metric or a setting"
    )
    return f"nothing is called {key!r}: {told}"
