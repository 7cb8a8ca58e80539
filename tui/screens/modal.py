"""A box over the screen: lines of text and the keys that answer it. No fades, no veil."""

from __future__ import annotations

from typing import TypeVar

from textual import events
from textual.app import ComposeResult
from textual.content import Content

from ..widgets.pane import Pane
from ..widgets.scrolling import scrolled
from ..widgets.spans import Line, width_of
from .calm import CalmModal

Result = TypeVar("Result")
MARGIN = 4


class Box(Pane):
    """The lines of a modal, as high as they need and the screen allows."""

    def __init__(self, title: str, lines: list[Line]) -> None:
        super().__init__(id="box")
        self.border_title = Content(title)
        self.lines = lines
        self.top = 0

    def draw(self, width: int, height: int) -> list[Line]:
        lines, self.top = scrolled(self.lines, self.top, height)
        return lines

    def scroll_by(self, count: int) -> None:
        self.top += count
        self.show()


class Modal(CalmModal[Result]):
    """Shows `lines`; subclasses add the keys."""

    def __init__(self, title: str, lines: list[Line]) -> None:
        super().__init__()
        self.box = Box(title, lines)

    def compose(self) -> ComposeResult:
        self._size_box(self.app.size.width, self.app.size.height)
        yield self.box

    def on_resize(self, event: events.Resize) -> None:
        self._size_box(event.size.width, event.size.height)

    def _size_box(self, width: int, height: int) -> None:
        needed = max(map(width_of, self.box.lines), default=10)
        self.box.styles.width = min(needed + 6, width - MARGIN)
        self.box.styles.height = min(len(self.box.lines) + 2, height - 2)
