"""The last gate before the terminal, whichever widget drew a line.

`core.reporting.text.visible` makes control characters visible where text comes in. `SafeFilter`
takes what is left of them, and links, out of every line that goes out.
"""

from __future__ import annotations

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from ...core.wording.text import CONTROL


class SafeFilter(LineFilter):
    """No control character and no link passes."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        if not any(_is_unsafe(segment) for segment in segments):
            return segments
        return [_make_safe(segment) for segment in segments if not segment.control]


def _is_unsafe(segment: Segment) -> bool:
    text, style, control = segment
    linked = style is not None and style.link is not None
    return bool(control) or linked or CONTROL.search(text) is not None


def _make_safe(segment: Segment) -> Segment:
    style = segment.style
    if style is not None and style.link is not None:
        style = style.update_link(None)
    return Segment(CONTROL.sub("", segment.text), style)
