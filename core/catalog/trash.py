"""Runs that were thrown away lie in a folder beside the others until somebody empties it."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import Fault, RunError
from ..run.lock import is_held
from ..run.runs import Run

TRASH = ".trash"  # a name that listing runs passes over


def move_to_trash(run: Run) -> Path:
    """Move a run directory into the trash of its folder, and return where it lies now.

    Raises RunError while its worker is alive, and where it cannot be moved.
    """
    if is_held(run):
        raise RunError(Fault(run.id, "its worker is alive", "Stop the run first"))
    trash = run.path.parent / TRASH
    target = _free_name(trash / run.id)
    try:
        trash.mkdir(exist_ok=True)
        os.rename(run.path, target)
    except OSError as error:
        raise RunError(Fault(run.id, f"cannot be moved to {trash}: {error.strerror}")) from None
    return target


def how_to_bring_back(target: Path, run: Run) -> str:
    """The command that undoes `move_to_trash`."""
    import shlex

    return f"mv {shlex.quote(str(target))} {shlex.quote(str(run.path))}"


def _free_name(path: Path) -> Path:
    found, number = path, 2
    while found.exists():
        found = path.with_name(f"{path.name}-{number}")
        number += 1
    return found
