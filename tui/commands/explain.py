"""`ftev-tui explain [TERM]`: what a metric, a finding or a term of the report means."""

from __future__ import annotations

import argparse

import msgspec

from ...core.report.glossary import FILES, Entry, entries, explain, of_kind
from .show import print_json
from .wrapped import columns, labelled, paragraph


def run(options: argparse.Namespace) -> int:
    term = " ".join(options.term)
    if not term:
        _list(options.json)
        return 0
    found = explain(term)
    if options.json:
        print_json(msgspec.to_builtins(found))
    else:
        _tell(found)
    return 0


def _list(as_json: bool) -> None:
    if as_json:
        wanted = ("name", "kind", "title", "meaning", "aliases")
        every = (msgspec.to_builtins(e) for e in entries())
        print_json([{key: e[key] for key in wanted} for e in every])
        return
    for kind, plural in FILES.items():
        print(plural)
        print("\n".join(f"  {line}" for line in paragraph(_names(kind), columns() - 2)))
    print("`ftev-tui explain TERM` explains one of them")


def _names(kind: str) -> str:
    return ", ".join(entry.name for entry in of_kind(kind))  # type: ignore[arg-type]


def _tell(entry: Entry) -> None:
    known = "" if entry.title == entry.name else f": {entry.title}"
    print(f"{entry.name}{known} ({entry.kind})")
    lines = [("meaning", entry.meaning), ("reading", entry.reading), ("trap", entry.trap)]
    for line in labelled([*lines, ("see also", ", ".join(entry.see))], columns()):
        print(line)
