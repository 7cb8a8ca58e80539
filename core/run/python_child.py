"""How every Python process of ours is started: nothing it imports comes from where it was started.

A file `calendar.py` beside the data would otherwise be imported in place of the library of that
name, and run.
"""

from __future__ import annotations

import os
import sys

SAFE = {"PYTHONSAFEPATH": "1"}  # for processes that it starts in turn, as torchrun does


def python_command(module: str, *arguments: str) -> list[str]:
    """A module of ours, or torch's launcher, in this interpreter."""
    return [sys.executable, "-P", "-m", module, *arguments]


def child_environment() -> dict[str, str]:
    """This process's environment, without the working directory in any place of Python's path."""
    named = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    kept = [place for place in named if place not in ("", os.curdir)]
    return {**os.environ, **SAFE, "PYTHONPATH": os.pathsep.join(kept)}
