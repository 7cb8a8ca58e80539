"""A box of one line that takes the focus when it is asked to, and gives it back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input

LONGEST = 4_000  # characters


class LineBox(Input):
    """What it is for is told by `purpose`; the screen that opened it hears of every change."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", show=False),
        Binding("up,down,tab,shift+tab", "stay", show=False),
    ]

    @dataclass
    class Left(Message):
        """`esc`: nothing is to come of it."""

        purpose: str

    def __init__(self, purpose: str = "", value: str = "") -> None:
        super().__init__(value, compact=True, select_on_focus=False, max_length=LONGEST)
        self.purpose = purpose
        self.cursor_blink = False

    def enter(self) -> None:
        self.cursor_position = len(self.value)
        self.focus(scroll_visible=False)

    def action_leave(self) -> None:
        self.screen.set_focus(None)  # at once: the key behind this one is no letter of the line
        self.post_message(self.Left(self.purpose))

    def action_stay(self) -> None:
        """The keys that would leave a box by accident."""
