"""Modules imported before a key asks for them.

On the event loop the import of a large screen holds every key up for 40 to 90 ms, and that of the
numbers library for 400. A thread shares the interpreter with the loop a few milliseconds at a time.
"""

from __future__ import annotations

import importlib
import threading

AHEAD_SECONDS = 1.0  # after the first paint, which must not wait for what may never be asked for
SCREENS = tuple(
    f"ftev.tui.{name}"
    for name in (
        "widgets.help",
        "widgets.explain",
        "screens.home.home",
        "screens.evaluation.evaluation",
        "screens.examples.examples",
        "screens.examples.row",
        "screens.new_run.new_run",
        "screens.compare.compare",
    )
)
RECEIPTS = "ftev.core.report.explained"  # brings the numbers library: only where it is near
_begun: set[str] = set()


def import_ahead(*modules: str) -> None:
    """Import modules, in a thread; each once."""
    new = [name for name in modules if name not in _begun]
    _begun.update(new)
    if new:
        threading.Thread(target=_import_all, args=(new,), name="import", daemon=True).start()


def _import_all(modules: list[str]) -> None:
    for name in modules:
        importlib.import_module(name)
