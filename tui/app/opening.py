"""Screens by name: one opens another without importing it; large ones are imported before that.

On the event loop the import of a large screen holds every key up for 40 to 90 ms, and that of the
numbers library for 400. A thread shares the interpreter with the loop a few milliseconds at a time.
"""

from __future__ import annotations

import importlib
import threading
from typing import Any, Literal

from textual.screen import Screen

AnyScreen = Screen[Any]  # whatever it gives back when it is left
Name = Literal[
    "compare", "evaluation", "examples", "home", "new_run", "quiz", "review", "row", "run", "trace"
]
PLACES: dict[Name, tuple[str, str]] = {
    "compare": ("compare.compare", "CompareScreen"),
    "evaluation": ("evaluation.evaluation", "EvaluationScreen"),
    "examples": ("examples.examples", "ExamplesScreen"),
    "home": ("home.home", "HomeScreen"),
    "new_run": ("new_run.new_run", "NewRunScreen"),
    "quiz": ("quiz", "QuizScreen"),
    "review": ("review", "ReviewScreen"),
    "row": ("examples.row", "RowScreen"),
    "run": ("run.run", "RunScreen"),
    "trace": ("trace.trace", "TraceScreen"),
}


def make_screen(name: Name, /, *arguments: object, **named: object) -> AnyScreen:
    """What the screen's class takes is what is given here."""
    module, class_name = PLACES[name]
    found = getattr(importlib.import_module(f"ftev.tui.screens.{module}"), class_name)
    screen: AnyScreen = found(*arguments, **named)
    return screen


PRELOAD_SECONDS = 1.0  # after the first paint, which must not wait for what may never be asked for
SCREENS = (
    "ftev.core.report.glossary",
    "ftev.tui.screens.home.home",
    "ftev.tui.screens.evaluation.evaluation",
    "ftev.tui.screens.examples.examples",
    "ftev.tui.screens.examples.row",
    "ftev.tui.screens.new_run.new_run",
    "ftev.tui.screens.compare.compare",
)
RECEIPTS = "ftev.core.report.explained"  # brings the numbers library: only where it is near
_begun: set[str] = set()


def preload(*modules: str) -> None:
    """Import modules, in a thread; each once."""
    new = [name for name in modules if name not in _begun]
    _begun.update(new)
    if new:
        threading.Thread(target=_import_all, args=(new,), name="import", daemon=True).start()


def _import_all(modules: list[str]) -> None:
    for name in modules:
        importlib.import_module(name)
