"""Escape and the key behind it are two keys, however close together they come.

A terminal sends alt+q as escape and q. Textual takes what follows escape within 0.1 seconds for one
key, and over a slow line both come in one piece however slowly they were pressed; then neither does
its work. No key here is alt with a letter or a digit, so they are two keys at any pace. To wait for
less (ESCDELAY) would not help against that, and would tear the arrows of a slow line, which begin
with escape too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from textual._xterm_parser import XTermParser
from textual.message import Message

ESCAPE = "\x1b"
PASTE_BEGINS, PASTE_ENDS = "\x1b[200~", "\x1b[201~"
# What goes on behind escape: sequences; alt+enter, alt+backspace; words back and on as of iTerm.
GOES_ON = frozenset("[O]P_\x1b\r\n\x7f\x08bf")
ALT_ENTER = "[13;3u"  # behind escape, as newer terminals send it; Textual reads escape, \r as enter


class KeysApart(XTermParser):
    """Textual's parser of what a terminal sends, told where a lone escape ends."""

    def __init__(self, debug: bool = False) -> None:
        super().__init__(debug)
        self._ends_in_escape = self._is_pasted = False

    @property
    def _escape_waits(self) -> bool:
        """Whether what comes next may go on from an escape: once its time is over it is a key."""
        return self._ends_in_escape and self._timeout_time is not None

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
                self._timeout_time = 0.0  # the time of the escape is over
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
