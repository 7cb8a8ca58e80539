"""`ftev-tui explain [TERM]` and `report RUN --explain METRIC`: what a term or a number means."""

from __future__ import annotations

import argparse

import msgspec

from ...core.report.glossary import KINDS, Entry, entries, explain, of_kind
from ...core.run.misfits import use_history
from ...core.run.runs import Run
from .show import columns, labelled, paragraph, print_json


def run(options: argparse.Namespace) -> int:
    """Raises ConfigError for a term that the glossary lacks, with the nearest."""
    term = " ".join(options.term)
    if not term:
        _list(options.json)
        return 0
    found = explain(term)
    if options.json:
        print_json(msgspec.to_builtins(found))
    else:
        _show(found)
    return 0


def _list(as_json: bool) -> None:
    if as_json:
        wanted = ("name", "kind", "title", "meaning", "aliases")
        every = (msgspec.to_builtins(e) for e in entries())
        print_json([{key: e[key] for key in wanted} for e in every])
        return
    for kind, plural in KINDS.items():
        print(plural)
        print("\n".join(f"  {line}" for line in paragraph(_names(kind), columns() - 2)))
    print("`ftev-tui explain TERM` explains one of them")


def _names(kind: str) -> str:
    return ", ".join(entry.name for entry in of_kind(kind))  # type: ignore[arg-type]


def _show(entry: Entry) -> None:
    known = "" if entry.title == entry.name else f": {entry.title}"
    print(f"{entry.name}{known} ({entry.kind})")
    lines = [("meaning", entry.meaning), ("reading", entry.reading), ("trap", entry.trap)]
    for line in labelled([*lines, ("see also", ", ".join(entry.see))], columns()):
        print(line)


def show_explained(run: Run, options: argparse.Namespace) -> None:
    """How a metric of a run was made. Raises FtevError where the run lacks it."""
    from ...core.report.explained import (
        explain_metric,  # brings the numbers library
        explained_lines,
    )

    config = run.config_if_kept()  # without it, its terms are shown as unknown
    found = use_history(
        run, lambda h: explain_metric(h, config, options.explain, options.split, options.model)
    )
    if options.json:
        print_json(msgspec.to_builtins(found))
        return
    for i, block in enumerate(explained_lines(found)):
        if i:
            print()
        for line in labelled(block, columns()):
            print(line)
