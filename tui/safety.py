"""Text from data, models and files is untrusted: shown in full, never obeyed.

Two layers. `visible` makes control characters visible where text comes in. `SafeFilter` takes what
is left of them, and links, out of every line that goes to the terminal, whichever widget drew it.
"""

from __future__ import annotations

import re

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

_DIRECTION = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # reorders what is read
_UNSEEN = "\u2028\u2029\u200b\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
_SURROGATES = "\ud800-\udfff"
_CONTROL = re.compile(f"[\x00-\x1f\x7f-\x9f{_DIRECTION}{_UNSEEN}{_SURROGATES}]")
_CONTROL_BUT_NEWLINE = re.compile(
    f"[\x00-\x09\x0b-\x1f\x7f-\x9f{_DIRECTION}{_UNSEEN}{_SURROGATES}]"
)

LONGEST = 100_000  # characters of one text on the screen


def visible(text: str, limit: int = LONGEST) -> str:
    """The text on one line, with every control character as a picture of itself."""
    return _CONTROL.sub(_picture, _cut(text, limit))


def visible_lines(text: str, limit: int = LONGEST) -> list[str]:
    """The same for text of several lines; a tab becomes four spaces."""
    text = _cut(text, limit).replace("\r\n", "\n").replace("\t", "    ")
    return _CONTROL_BUT_NEWLINE.sub(_picture, text).split("\n")


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[:limit] + "…"


def _picture(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    return f"<U+{code:04X}>"


class SafeFilter(LineFilter):
    """The last gate before the terminal: no control character and no link passes."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        if not any(_is_unsafe(segment) for segment in segments):
            return segments
        return [_make_safe(segment) for segment in segments if not segment.control]


def _is_unsafe(segment: Segment) -> bool:
    text, style, control = segment
    linked = style is not None and style.link is not None
    return bool(control) or linked or _CONTROL.search(text) is not None


def _make_safe(segment: Segment) -> Segment:
    style = segment.style
    if style is not None and style.link is not None:
        style = style.update_link(None)
    return Segment(_CONTROL.sub("", segment.text), style)
