"""`ftev-tui` alone, the home screen; `ftev-tui open RUN`, a run; `open PATH`, another tool's log.

Leaving never stops a run.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ...core.errors import RunError
from ...core.run.foreign.found import find_sources
from ...core.run.foreign.imported import (
    Following,
    SeveralError,
    find_run,
    import_log,
    open_log,
)
from ...core.run.runs import Run, runs_folder
from .show import can_draw_screen, print_json, print_table, say


def run(options: argparse.Namespace) -> int:
    """A screen where one can be drawn, else lines until the run ends."""
    if options.command is None:
        return show_home(options)
    folder = runs_folder(options.runs_dir)
    try:
        if options.of_log:
            found = open_log(Path(options.run), folder, options.of_log)
        else:
            found = find_run(options.run, folder)
    except SeveralError:
        if options.of_log or options.json or not can_draw_screen():
            raise
        return choose(options, folder)
    if options.json:
        from ...core.catalog.summary import describe_status

        print_json(describe_status(found))
        return 0
    if can_draw_screen():
        from ..app.app import run_app

        # home lists the runs beside it, also where it was opened by its path
        with Following(found):
            return run_app(found.folder, found, theme=options.theme, ascii_only=options.ascii)
    return follow(found)


def follow(found: Run) -> int:
    """A line for what happens, until the run ends or nothing adds to it any more."""
    from ...core.catalog.summary import describe_status
    from .follow import Follower, describe_death, print_outcome, printer
    from .steer import status_rows

    emit = printer(to_stderr=False)
    follower = Follower(found, emit)
    with Following(found):
        follower.follow(found.worker_alive)
    if found.is_foreign:
        rows = status_rows(describe_status(found, follower.history))
        print_table(("", "where it stands"), rows, words=("", "where it stands"))
        return 0
    if follower.history.finished is None and found.worker() is not None:
        for line in describe_death(found, follower.history):
            say(line)
        return 0
    print_outcome(found, follower.history, emit)
    return 0


def choose(options: argparse.Namespace, folder: Path) -> int:
    """The home screen with all the runs of a log that holds several."""
    from ..app.app import run_app

    for source in find_sources(Path(options.run)):
        try:
            import_log(source, folder)
        except RunError as error:
            say(f"ftev: {error}")
    return run_app(folder, theme=options.theme, ascii_only=options.ascii)


def show_home(options: argparse.Namespace) -> int:
    """The home screen, or the list of runs where none can be drawn."""
    if options.json or not can_draw_screen():
        from . import list_runs

        return list_runs.run(options)
    print("ftev …", flush=True)
    from ..app.app import run_app

    folder = runs_folder(options.runs_dir)
    return run_app(folder, theme=options.theme, ascii_only=options.ascii)
