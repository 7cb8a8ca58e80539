"""Boxes over the screen: lines to read, a question, a refusal, and the keys that answer them."""

from __future__ import annotations

from typing import ClassVar, TypeVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content

from ..app.keys import PAGES, UP_DOWN, Key, both_ways, to_bindings
from ..drawing.format import wrap
from ..drawing.spans import Line, width_of
from .calm import CalmModal
from .scrolled_pane import ScrolledPane

Result = TypeVar("Result")
MARGIN = 4
WIDTH = 60  # cells of a sentence


class Box(ScrolledPane):
    """The lines of a modal, as high as they need and the screen allows."""

    def __init__(self, title: str, lines: list[Line]) -> None:
        super().__init__(id="box")
        self.border_title = Content(title)
        self.lines = lines

    def all_lines(self, width: int) -> list[Line]:
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


class Question(Modal[bool]):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y,Y", "answer(True)", show=False),
        Binding("n,N,escape,enter,q", "answer(False)", show=False),
    ]

    def __init__(self, question: str, consequence: str) -> None:
        lines: list[Line] = [[(text, "")] for text in wrap(consequence, WIDTH)]
        keys: Line = [("y", "accent"), (" yes     ", ""), ("enter", "accent"), (" no", "strong")]
        super().__init__(question, [*lines, [], keys])

    def action_answer(self, yes: bool) -> None:
        self.dismiss(yes)


class Refusal(Modal[None]):
    """A sentence that stays until `enter` or `esc`; every other key does nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter", "close", show=False)]

    def __init__(self, title: str, why: str) -> None:
        lines: list[Line] = [[(text, "")] for text in wrap(why, WIDTH)]
        super().__init__(title, [*lines, [], [("enter", "accent"), (" back", "muted")]])

    def action_close(self) -> None:
        self.dismiss(None)
