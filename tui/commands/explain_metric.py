"""`ftev-tui report RUN --explain METRIC`: how a number was made, and what it means."""

from __future__ import annotations

import argparse

import msgspec

from ...core.report.explained import explain_metric
from ...core.report.receipt_lines import explained_lines
from ...core.run.misfits import use_history
from ...core.run.runs import Run
from .show import print_json
from .wrapped import columns, labelled


def show_explained(run: Run, options: argparse.Namespace) -> None:
    config = run.config_if_kept()  # without it its terms are told as not known
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
