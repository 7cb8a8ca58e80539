"""`ftev-tui list`: the runs, newest first, each with its headline."""

from __future__ import annotations

import argparse

from ...core.reporting.numbers import DASH
from ...core.reporting.summary import format_headline, summarize
from ...core.runs import list_runs, runs_folder
from .show import print_json, print_table, say


def run(options: argparse.Namespace) -> int:
    folder = runs_folder(options.runs_dir)
    told = [summarize(found) for found in list_runs(folder)]
    if options.json:
        print_json(told)
    elif not told:
        say(f"{folder}: no runs here yet. Start one with `ftev-tui demo`")
    else:
        rows = [
            [
                entry["id"],
                entry["task"],
                entry["status"],
                f"{entry['step']:,}/{entry['max_steps']:,}" if entry["max_steps"] else DASH,
                format_headline(entry["headline"]),
            ]
            for entry in told
        ]
        columns = ("run", "task", "status", "step", "headline")
        print_table(columns, rows, words=("run", "task", "status", "headline"))
    return 0
