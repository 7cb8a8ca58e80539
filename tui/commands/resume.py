"""`ftev-tui resume RUN`: a paused run goes on at once, an ended one from its last checkpoint."""

from __future__ import annotations

import argparse

from ...core.errors import RunError
from ...core.run.checkpoint_files import newest_whole, way_on
from ...core.run.control import AskResume, ask
from ...core.run.history import read_history
from ...core.run.launch import is_stopping, make_way, wait_until_gone
from ...core.run.runs import Run, open_run, runs_folder
from .show import say
from .start import announce, show_new
from .steer import tell


def run(options: argparse.Namespace) -> int:
    found = open_run(options.run, runs_folder(options.runs_dir))
    history = read_history(found)
    if found.worker_alive() and not history.finished:
        if not is_stopping(found):
            return _go_on(found, options)
        wait_until_gone(found)
        history = read_history(found)
    if history.finished and history.finished.status == "finished":
        raise RunError(f"{found.id} is finished: nothing is left to resume")
    make_way(found)
    for text in way_on(*newest_whole(found)):
        say(f"ftev: {text}")
    announce(options, f"{found.id} goes on")
    return show_new(found, options, "--resume")


def _go_on(found: Run, options: argparse.Namespace) -> int:
    if not read_history(found).paused:
        raise RunError(f"{found.id} is not paused: its worker is at work")
    for _ in ask(found, AskResume()):
        pass
    tell(f"{found.id} goes on", found, options)
    return 0
