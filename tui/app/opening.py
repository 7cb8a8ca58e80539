"""Screens by name: one opens another without importing it, which happens when it is opened."""

from __future__ import annotations

import importlib
from typing import Any, Literal

from textual.screen import Screen

Name = Literal[
    "compare", "evaluation", "examples", "home", "new_run", "quiz", "review", "row", "run", "trace"
]
PLACES: dict[Name, tuple[str, str]] = {
    "compare": ("compare.compare", "CompareScreen"),
    "evaluation": ("evaluation.evaluation", "EvaluationScreen"),
    "examples": ("examples.examples", "ExamplesScreen"),
    "home": ("home.home", "HomeScreen"),
    "new_run": ("new_run.new_run", "NewRunScreen"),
    "quiz": ("quiz.quiz", "QuizScreen"),
    "review": ("review", "ReviewScreen"),
    "row": ("examples.row", "RowScreen"),
    "run": ("run.run", "RunScreen"),
    "trace": ("trace.trace", "TraceScreen"),
}


def make_screen(name: Name, /, *arguments: Any, **named: Any) -> Screen[Any]:
    """What the screen's class takes is what is given here."""
    module, class_name = PLACES[name]
    found = getattr(importlib.import_module(f"ftev.tui.screens.{module}"), class_name)
    screen: Screen[Any] = found(*arguments, **named)
    return screen
