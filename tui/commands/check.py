"""`ftev-tui check RUN.toml`: the pre-flight, as a readable page."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from ...core.check import CheckResult, check_run
from ...core.config_file import load_config
from ...core.errors import FtevError
from ...core.report_numbers import DASH, format_count
from ...core.report_text import visible
from .show import print_json, print_table

LISTED_LABELS = 20
LISTED_PAIRS = 10
FORMS = {
    "text_label": "a text and its label",
    "text": "running text",
    "prompt_completion": "a prompt and its completion",
    "messages": "chats",
}


def run(options: argparse.Namespace) -> int:
    try:
        result = check_run(load_config(Path(options.config), options.overrides))
    except FtevError as error:
        if options.json:
            print_json({"ok": False, "faults": [asdict(fault) for fault in error.faults]})
        raise
    if options.json:
        print_json({"ok": True, "faults": [], **asdict(result)})
    else:
        show_page(result)
    return 0


def show_page(result: CheckResult) -> None:
    print(f"{visible(result.name)}: {result.task}, every row is {FORMS[result.form]}")
    for role, column in result.columns.items():
        print(f"  {role}: column {visible(column)!r}")
    print()
    _show_splits(result)
    _show_labels(result)
    _show_leakage(result)
    _show_findings(result)
    print("\nnot checked here:")
    for what in result.not_checked:
        print(f"  {what}")
    print("\nthe data can be used: nothing here stops the run")


def _show_splits(result: CheckResult) -> None:
    columns = ("split", "rows", "duplicates", "left out", "median length", "longest", "from")
    rows = [
        [
            name,
            f"{s.rows:,}",
            f"{s.duplicates:,}",
            f"{s.skipped:,}",
            f"{s.median_length:,}",
            f"{s.longest:,}",
            ", ".join(s.sources),
        ]
        for name, s in result.splits.items()
    ]
    print_table(columns, rows, words=("split", "from"))
    print("lengths are characters of the input; duplicates repeat an earlier row of their split")
    for fault in result.skipped:
        print(f"  left out: {visible(str(fault))}")


def _show_labels(result: CheckResult) -> None:
    if not result.labels:
        return
    print(f"\n{format_count(len(result.labels), 'label')}:")
    counts = {name: s.labels for name, s in result.splits.items()}
    totals = {name: sum(of.values()) or 1 for name, of in counts.items()}
    first = next(iter(counts.values()))
    ordered = sorted(result.labels, key=lambda label: -first.get(label, 0))
    shown = ordered[:LISTED_LABELS]
    rows = [
        [
            label,
            *(
                f"{of.get(label, 0):,} ({of.get(label, 0) / totals[n]:.1%})"
                for n, of in counts.items()
            ),
        ]
        for label in shown
    ]
    print_table(("label", *counts), rows, words=("label",))
    if rest := len(ordered) - len(shown):
        least = ordered[-1]
        fewest = f"{first.get(least, 0):,} rows of {visible(least)!r}"
        print(f"and {format_count(rest, 'label')} more, down to {fewest}")


def _show_leakage(result: CheckResult) -> None:
    n = result.leakage
    print(
        f"\nrows that repeat a row of another split: {n['exact']:,} exactly, {n['near']:,} nearly, "
        f"{n['ngram']:,} by 13 words in a row"
    )
    if n["conflicting_labels"]:
        print(f"rows whose input stands earlier with another label: {n['conflicting_labels']:,}")
    if result.pairs:
        rows = [
            [f"{b} {j}", f"{a} {i}", layer, f"{likeness:.2f}"]
            for a, i, b, j, layer, likeness in result.pairs[:LISTED_PAIRS]
        ]
        print_table(("row", "repeats", "layer", "similarity"), rows, ("row", "repeats", "layer"))
    for note in result.notes:
        print(f"  {visible(note)}")


def _show_findings(result: CheckResult) -> None:
    print("\nfindings:" if result.findings else f"\nfindings: {DASH}")
    for finding in result.findings:
        print(f"  {finding.severity}: {visible(finding.message)}. {visible(finding.remedy)}")
