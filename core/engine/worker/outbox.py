"""Events on their way to a disk that may be slow: the run hands them over and goes on.

A thread writes them down in their order. Held are at most `HELD_BYTES`: where the disk takes less
than the run makes, the run waits, because no event is left out. A worker that is killed loses what
the disk had not taken yet; one that ends by itself writes everything down first.
"""

from __future__ import annotations

import errno
import threading
from pathlib import Path

from ...files.disk import cannot_write
from ...run.events import Event, EventWriter

HELD_BYTES = 16 << 20  # some 100,000 steps


class Outbox:
    """Takes events from any thread. `write` waits for the disk only when too much is held."""

    def __init__(self, path: Path, held_bytes: int = HELD_BYTES) -> None:
        self._path, self._limit = path, held_bytes
        self._writer = EventWriter(path)
        self._held: list[bytes] = []
        self._bytes = 0  # held, or in the hands of the disk
        self._closing = False
        self._failed: OSError | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)

    def __enter__(self) -> Outbox:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Everything is written down, or has failed to be, when this returns."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        self._writer.close()

    def write(self, *events: Event) -> None:
        """Stamp the events and hand them over. Raises RunError once the disk has refused some."""
        lines = self._writer.lines(*events)
        with self._changed:
            self._changed.wait_for(lambda: self._failed or self._bytes < self._limit)
            self._refuse()
            self._held.append(lines)
            self._bytes += len(lines)
            self._changed.notify_all()

    def flush(self) -> None:
        """Return when everything handed over so far is in the file. Raises RunError."""
        with self._changed:
            self._changed.wait_for(lambda: self._failed or not self._bytes)
            self._refuse()

    def _refuse(self) -> None:
        if self._failed:
            raise cannot_write(self._path, self._failed.errno or errno.EIO, self._bytes)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._held or self._closing)
                if not self._held:
                    return
                lines, self._held = b"".join(self._held), []
            try:
                self._writer.append(lines)
            except OSError as error:
                self._fail(error)
                return
            with self._changed:
                self._bytes -= len(lines)
                self._changed.notify_all()

    def _fail(self, error: OSError) -> None:
        with self._changed:
            self._failed = error
            self._changed.notify_all()
