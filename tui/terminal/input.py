"""Keys: read at once, kept apart from an escape before them, and handled in their order.

Textual's own driver looks ten times a second whether the screen is about to be left, which is half
of what an idle screen costs, and hears a lone escape up to twice as late as it could.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from codecs import getincrementaldecoder
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from textual import events
from textual.app import App
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message
from textual.message_pump import MessagePump
from textual.widgets import Input

from .private import KeyParser, ParseError
from .terminal import FEW_ABILITIES, within

AT_ONCE = 4096  # bytes


class QuietDriver(LinuxDriver):
    """Waits for keys without looking up: a bell, which is a pipe, ends the wait."""

    def __init__(self, app: App[Any], **options: Any) -> None:
        super().__init__(app, **options)
        self._ear, self._bell = os.pipe()
        self._host, self._debugs = app, bool(options.get("debug"))

    def run_input_thread(self) -> None:
        try:
            self._pass_keys_on()
        except Exception as error:  # Textual's own shows it and ends with 0
            self._host.call_later(_raise, error)

    def _pass_keys_on(self) -> None:
        """Post keys to the app until the bell rings."""
        parser = KeysApart(self._debugs)
        decode = getincrementaldecoder("utf-8")().decode
        heard: tuple[int, ...] = (self.fileno, self._ear)
        while not self.exit_event.is_set():
            due = parser.due  # of an escape behind which something may come
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


def _raise(error: Exception) -> None:
    raise error


class ModestDriver(QuietDriver):
    """For a terminal of few abilities."""

    def write(self, data: str) -> None:
        super().write(within(os.environ.get("TERM", ""), data))


def driver_for(term: str) -> type[QuietDriver]:
    """The driver for what TERM says."""
    return ModestDriver if term in FEW_ABILITIES else QuietDriver


ESCAPE = "\x1b"
PASTE_BEGINS, PASTE_ENDS = "\x1b[200~", "\x1b[201~"
# What goes on behind escape: sequences; alt+enter, alt+backspace; words back and on as of iTerm.
GOES_ON = frozenset("[O]P_\x1b\r\n\x7f\x08bf")
ALT_ENTER = "[13;3u"  # behind escape, as newer terminals send it; Textual reads escape, \r as enter


class KeysApart(KeyParser):
    """Textual's parser of what a terminal sends, where escape and the key behind it are two keys.

    A terminal sends alt+q as escape and q. Textual takes what follows escape within 0.1 seconds for
    one key, and over a slow line both come in one piece however slowly they were pressed; then
    neither does its work. No key here is alt with a letter or a digit, so they are two keys at any
    pace. To wait for less (ESCDELAY) would not help against that, and would tear the arrows of a
    slow line, which begin with escape too.
    """

    def __init__(self, debug: bool = False) -> None:
        super().__init__(debug)
        self._ends_in_escape = self._is_pasted = False

    @property
    def _escape_waits(self) -> bool:
        """Whether what comes next may go on from an escape: once its time is over it is a key."""
        return self._ends_in_escape and self.due is not None

    def feed(self, data: str) -> Iterable[Message]:
        was_pasted = self._is_pasted
        begins, closes = data.rfind(PASTE_BEGINS), data.rfind(PASTE_ENDS)
        self._is_pasted = begins > closes or (was_pasted and closes < 0)
        if was_pasted or begins >= 0:
            self._ends_in_escape = False
            yield from super().feed(data)
            return
        waits, ends = self._escape_waits, data.endswith(ESCAPE)
        data = data.replace(ESCAPE + "\r", ESCAPE + ALT_ENTER)
        if waits and data.startswith("\r"):
            data = ALT_ENTER + data[1:]
        for part, ends_escape in pieces(data, after_escape=waits):
            if ends_escape:
                self.end_sequence()
                yield from self.tick()
            yield from super().feed(part)
        self._ends_in_escape = ends


def pieces(data: str, *, after_escape: bool) -> Iterator[tuple[str, bool]]:
    """`data` cut where an escape stands alone; each piece with whether one ends before it."""
    start, ends_escape, behind = 0, False, after_escape
    for n, character in enumerate(data):
        if behind and character not in GOES_ON:
            if n > start:
                yield data[start:n], ends_escape
            start, ends_escape = n, True
        behind = character == ESCAPE
    yield data[start:], ends_escape


NEVER_WAIT = ("escape", "q", "ctrl+q", "ctrl+c", "question_mark", "f1")  # for what is read
LOST_SECONDS = 0.3  # a screen that its own key closed never says that it is done
SLOW = 10  # times as long for what is still there: the machine may be busy


class KeyDone(Message):
    """Posted behind a key, it bubbles up behind it: the key has done its work."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class KeyQueue:
    """The keys that wait, and the number of the one under way.

    Over a slow line several keys arrive in one piece. Textual passes each on to what has the focus
    at that moment, so letters typed after `p` would act as keys of the screen, before the prompt
    box has the focus. Here a key waits until the one before it has done its work, and until the
    screen has read what the key is about.
    """

    def __init__(self, app: App[int], screen_reads: Callable[[str], bool]) -> None:
        """`screen_reads`: whether the screen still reads what a key is about."""
        self._app, self._screen_reads = app, screen_reads
        self._waiting: deque[events.Key] = deque()
        self._number = 0
        self._under_way = self._goes_on = False

    def must_wait(self, key: events.Key) -> bool:
        """Whether another key is under way or the screen still reads; then this one is kept."""
        if key.key in NEVER_WAIT and not self._under_way and not self._goes_on:
            self._waiting.clear()  # typed for a screen that is left
        must_wait = self._under_way or self._reads_before(key)
        if must_wait:
            self._waiting.append(key)
        return must_wait

    def _reads_before(self, key: events.Key) -> bool:
        """Whether the screen still reads what this key is about; text is never held up."""
        if key.key in NEVER_WAIT or isinstance(self._app.focused, Input):
            return False
        return self._screen_reads(key.key)

    def go_on(self) -> None:
        """A screen has read what keys may wait for."""
        if self._waiting and not self._under_way:
            self._under_way = True  # later keys queue behind
            self._app.call_later(self._go)

    def follow(self, target: MessagePump) -> None:
        """A key was passed on to `target`."""
        self._number += 1
        number = self._number
        self._under_way = target.post_message(KeyDone(number))
        if self._under_way:
            self._look_after(number, target, SLOW)

    def _look_after(self, number: int, target: MessagePump, times: int) -> None:
        def look() -> None:
            if target.is_running and times > 1 and self._under_way and number == self._number:
                self._look_after(number, target, times - 1)
            else:
                self.let_next_go(number)

        self._app.set_timer(LOST_SECONDS, look)

    def let_next_go(self, number: int) -> None:
        """Key `number` is done, or was lost. The next goes behind what that one has set off."""
        if self._under_way and number == self._number:
            self._app.call_later(self._go)

    async def _go(self) -> None:
        self._under_way = False
        while self._waiting and not self._under_way:
            leaving = [i for i, key in enumerate(self._waiting) if key.key in NEVER_WAIT]
            if self._reads_before(self._waiting[0]):
                if not leaving:
                    return
                for _ in range(leaving[0]):
                    self._waiting.popleft()
            self._goes_on = True  # what waits behind this key was typed after it
            try:
                await self._app.on_event(self._waiting.popleft())
            finally:
                self._goes_on = False
