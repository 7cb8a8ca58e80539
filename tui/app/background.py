"""Work beside the event loop: a thread that posts what it found, and a folder that is watched."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from textual.message import Message

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
