"""Work beside the event loop: threads that post what they found, a folder that is watched, and
screens by name, imported before they are asked for.

On the event loop the import of a large screen holds every key up for 40 to 90 ms, and that of the
numbers library for 400. A thread shares the interpreter with the loop a few milliseconds at a time.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import select
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from textual.message import Message
from textual.screen import Screen

Post = Callable[[Message], object]


def in_thread(act: Callable[[], object]) -> None:
    """Run `act` in a thread; what it posts to a screen that is gone is lost."""

    def run() -> None:
        with contextlib.suppress(RuntimeError):  # the screen is gone, and its loop with it
            act()

    threading.Thread(target=run, daemon=True).start()


MODIFIED, CREATED, MOVED_HERE = 0x2, 0x100, 0x80  # of <sys/inotify.h>


class Changes:
    """Waits for changes of the files of a folder. `wake` ends a wait from another thread."""

    def __init__(self, folder: Path) -> None:
        self._lock = threading.Lock()
        self._ear, self._bell = os.pipe()
        self._watched = _watch(folder)
        self.sees = False  # it has seen a change: there is no need to look as well
        self._poll = select.poll()
        for file in (self._ear, self._watched):
            if file >= 0:
                self._poll.register(file, select.POLLIN)

    def wait(self, seconds: float) -> bool:
        """Return at the next change, at one since the last wait, or when the time is up.

        Whether it was a change.
        """
        ready = [file for file, _ in self._poll.poll(1000 * seconds)]
        if self._watched not in ready:
            return False
        os.read(self._watched, 1 << 16)
        self.sees = True
        return True

    def wake(self) -> None:
        """End the wait, and all later ones."""
        with self._lock:
            if self._bell >= 0:
                os.write(self._bell, b".")

    def close(self) -> None:
        with self._lock:
            for file in (self._ear, self._bell, self._watched):
                if file >= 0:
                    os.close(file)
            self._ear = self._bell = self._watched = -1


def _watch(folder: Path) -> int:
    """A file that becomes readable at a change; -1 where the system reports none."""
    if not sys.platform.startswith("linux"):
        return -1
    import ctypes  # 4 ms: after the first picture

    libc = ctypes.CDLL(None, use_errno=True)
    try:
        file = int(libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        if file < 0:
            return -1
        watched = libc.inotify_add_watch(
            file, os.fsencode(folder), ctypes.c_uint32(MODIFIED | CREATED | MOVED_HERE)
        )
    except AttributeError:
        return -1
    if watched < 0:
        os.close(file)
        return -1
    return file


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
    "quiz": ("review", "QuizScreen"),
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
