"""`ftev-tui` alone, the home screen; `ftev-tui open RUN`, a run. Leaving never stops a run."""

from __future__ import annotations

import argparse

from ...core.run.runs import open_run, runs_folder
from .show import can_draw_screen, print_json, say


def run(options: argparse.Namespace) -> int:
    """A screen where one can be drawn, else lines until the run ends."""
    if options.command is None:
        return show_home(options)
    folder = runs_folder(options.runs_dir)
    found = open_run(options.run, folder)
    if options.json:
        from ...core.catalog.summary import describe_status

        print_json(describe_status(found))
        return 0
    if can_draw_screen():
        from ..app.app import run_app

        # home lists the runs beside it, also where it was opened by its path
        return run_app(found.path.parent, found, theme=options.theme, ascii_only=options.ascii)
    from .follow import Follower, describe_death, print_outcome, printer

    emit = printer(to_stderr=False)
    follower = Follower(found, emit)
    follower.follow(found.worker_alive)
    if follower.history.finished is None and found.worker() is not None:
        for line in describe_death(found, follower.history):
            say(line)
        return 0
    print_outcome(found, follower.history, emit)
    return 0


def show_home(options: argparse.Namespace) -> int:
    """The home screen, or the list of runs where none can be drawn."""
    if options.json or not can_draw_screen():
        from . import list_runs

        return list_runs.run(options)
    print("ftev …", flush=True)
    from ..app.app import run_app

    folder = runs_folder(options.runs_dir)
    return run_app(folder, theme=options.theme, ascii_only=options.ascii)
