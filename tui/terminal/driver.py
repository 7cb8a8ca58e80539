"""The terminal driver: keys are heard at once, and a quiet terminal wakes nobody.

Textual's own looks ten times a second whether the screen is about to be left, which is half of
what an idle screen costs, and hears a lone escape up to twice as late as it could.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from codecs import getincrementaldecoder
from typing import Any

from textual._parser import ParseError
from textual.drivers.linux_driver import LinuxDriver

from .escape import KeysApart
from .terminal import FEW_ABILITIES, within

AT_ONCE = 4096  # bytes


class QuietDriver(LinuxDriver):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._ear, self._bell = os.pipe()

    def _run_input_thread(self) -> None:
        try:
            self.run_input_thread()
        except Exception as error:  # Textual's own shows it and ends with 0
            self._app.call_later(self._app._handle_exception, error)

    def run_input_thread(self) -> None:
        """Tell the app of keys until the bell rings."""
        parser = KeysApart(self._debug)
        decode = getincrementaldecoder("utf-8")().decode
        heard: tuple[int, ...] = (self.fileno, self._ear)
        while not self.exit_event.is_set():
            due = parser._timeout_time  # of an escape behind which something may come
            wait = None if due is None else max(0.0, due - time.monotonic())
            if self.fileno in select.select(heard, (), (), wait)[0]:
                data = os.read(self.fileno, AT_ONCE)
                if not data:  # nothing will ever come again
                    heard = (self._ear,)
                for event in parser.feed(decode(data)) if data else ():
                    self.process_message(event)
            for event in parser.tick():
                self.process_message(event)
        with contextlib.suppress(EOFError, ParseError):
            list(parser.feed(""))

    def disable_input(self) -> None:
        os.write(self._bell, b".")
        super().disable_input()
        os.read(self._ear, AT_ONCE)


class ModestDriver(QuietDriver):
    """For a terminal of few abilities."""

    def write(self, data: str) -> None:
        super().write(within(os.environ.get("TERM", ""), data))


def driver_for(term: str) -> type[QuietDriver]:
    return ModestDriver if term in FEW_ABILITIES else QuietDriver
