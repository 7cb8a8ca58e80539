"""A box over the screen: lines of text and the keys that answer it. No fades, no veil."""

from __future__ import annotations

from typing import ClassVar, TypeVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content

from ..app.keys import PAGES, UP_DOWN, Key, both_ways, to_bindings
from ..drawing.spans import Line, width_of
from .calm import CalmModal
from .scrolled_pane import ScrolledPane

Result = TypeVar("Result")
MARGIN = 4


class Box(ScrolledPane):
    """The lines of a modal, as high as they need and the screen allows."""

    def __init__(self, title: str, lines: list[Line]) -> None:
        super().__init__(id="box")
        self.border_title = Content(title)
        self.lines = lines

    def told(self, width: int) -> list[Line]:
        return self.lines


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


PAGE_KEYS = (
    Key("escape,q,enter", "", "close", ""),
    *both_ways(UP_DOWN, "scroll({})", -1),
    *both_ways(PAGES, "scroll({})", -10),
)


class Page(Modal[None]):
    """Lines to read: they scroll, and close without an answer."""

    BINDINGS: ClassVar[list[BindingType]] = [*to_bindings(PAGE_KEYS)]

    def action_close(self) -> None:
        self.dismiss(None)

    def action_scroll(self, count: int) -> None:
        self.box.scroll_lines(count)
