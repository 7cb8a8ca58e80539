"""What the words of a report mean: every metric, every finding, and the terms around them.

The words of a metric and of a finding stand with their definitions. Those of other terms lie in
terms.toml: a table per term, its key the name that the report uses, read when somebody asks.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

from ...errors import ConfigError
from ...judgement.findings import PITFALLS
from ...judgement.findings.case import Pitfall
from ...metrics.metric import METRICS, Metric
from ...wording.text import nearest, plain

Kind = Literal["metric", "finding", "term"]
KINDS: dict[Kind, str] = {"metric": "metrics", "finding": "findings", "term": "terms"}


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One term. `reading` says how to read it, and what is good and bad."""

    name: str
    kind: Kind
    title: str
    meaning: str  # one sentence
    reading: str  # one paragraph
    trap: str
    see: list[str]
    aliases: list[str] = []


def entries() -> list[Entry]:
    """Every entry: metrics, findings, terms, each in the order of its definitions."""
    return list(_by_name().values())


def explain(term: str) -> Entry:
    """The entry of a name or alias, however it is spelt. Raises ConfigError with near names."""
    found = lookup(term)
    if found is None:
        near = dict.fromkeys(_names()[spelling] for spelling in nearest(term, _names(), 8))
        raise ConfigError(
            f"the glossary has no {term!r}. Nearest: {', '.join(list(near)[:5])}; "
            "`ftev-tui explain` lists every term"
        )
    return found


def lookup(term: str) -> Entry | None:
    name = _names().get(plain(term))
    return _by_name()[name] if name else None


def _by_name() -> dict[str, Entry]:
    return _entries(tuple(METRICS), tuple(PITFALLS))


@cache
def _entries(metrics: tuple[str, ...], findings: tuple[str, ...]) -> dict[str, Entry]:
    found = [_defined("metric", name, METRICS[name].heading, METRICS[name]) for name in metrics]
    explained = [PITFALLS[code] for code in findings if PITFALLS[code].meaning]
    found += [_defined("finding", p.code, p.title, p) for p in explained]
    return {entry.name: entry for entry in (*found, *_terms())}


def _defined(kind: Kind, name: str, title: str, words: Metric | Pitfall) -> Entry:
    return Entry(
        name=name,
        kind=kind,
        title=title,
        meaning=words.meaning,
        reading=words.reading,
        trap=words.trap,
        see=list(words.see),
        aliases=list(words.aliases),
    )


def _terms() -> Iterator[Entry]:
    text = (Path(__file__).parent / "terms.toml").read_text(encoding="utf-8")
    for name, table in tomllib.loads(text).items():
        fields = {key: _flowing(value) for key, value in table.items()}
        entry = {"title": name, "see": [], **fields, "name": name, "kind": "term"}
        yield msgspec.convert(entry, Entry)


def _flowing(value: str | list[str]) -> str | list[str]:
    """Text of several lines as one paragraph."""
    return " ".join(value.split()) if isinstance(value, str) else value


def _names() -> dict[str, str]:
    return _spellings(tuple(METRICS), tuple(PITFALLS))


@cache
def _spellings(metrics: tuple[str, ...], findings: tuple[str, ...]) -> dict[str, str]:
    """Every spelling, plain, to the name of its entry; a name goes before an alias."""
    known = _entries(metrics, findings).values()
    found = {plain(entry.name): entry.name for entry in known}
    for entry in known:
        for other in (entry.title, *entry.aliases):
            found.setdefault(plain(other), entry.name)
    return found


def of_kind(kind: Kind) -> Iterable[Entry]:
    return (entry for entry in entries() if entry.kind == kind)
