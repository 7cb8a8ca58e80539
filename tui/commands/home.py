"""`ftev-tui` alone: the home screen; without a terminal, the list of runs."""

from __future__ import annotations

import argparse

from ...core.run.runs import runs_folder
from .show import can_draw_screen


def run(options: argparse.Namespace) -> int:
    if options.json or not can_draw_screen():
        from . import list_runs

        return list_runs.run(options)
    print("ftev …", flush=True)
    from ..app.app import run_app

    folder = runs_folder(options.runs_dir)
    return run_app(folder, theme=options.theme, ascii_only=options.ascii)
