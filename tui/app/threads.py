"""Slow work beside the event loop: a thread that posts what it found."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

from textual.message import Message

Post = Callable[[Message], object]


def in_thread(act: Callable[[], object]) -> None:
    def run() -> None:
        with contextlib.suppress(RuntimeError):  # the screen is gone, and its loop with it
            act()

    threading.Thread(target=run, daemon=True).start()
