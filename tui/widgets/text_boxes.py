"""Boxes to write in, a line or a prompt: they take the focus when asked to, and give it back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input, TextArea

LONGEST = 4_000  # characters


class LineBox(Input):
    """`purpose` says what it is for; the screen that opened it hears of every change."""

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


class PromptBox(TextArea):
    """Where a prompt is written. It takes the focus only when it is asked to."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+j,alt+enter", "break_line", show=False),
        Binding("up", "recall(-1)", show=False),
        Binding("down", "recall(1)", show=False),
        Binding("escape", "leave", show=False),
    ]

    @dataclass
    class Sent(Message):
        text: str

    class Left(Message):
        """`esc` in the box."""

    def __init__(self) -> None:
        super().__init__(
            soft_wrap=True, show_line_numbers=False, highlight_cursor_line=False, compact=True
        )
        self.cursor_blink = False
        self.can_focus = False
        self._sent: list[str] = []
        self._recalled = 0

    def enter(self) -> None:
        self.can_focus = True
        self.focus(scroll_visible=False)

    async def _on_key(self, event: events.Key) -> None:
        """`enter` sends. Not as a binding with priority: that would overtake letters before it."""
        if event.key == "enter":
            event.stop()
            event.prevent_default()
            self.action_send()
        else:
            await super()._on_key(event)

    def on_blur(self, event: events.Blur) -> None:
        self.can_focus = False

    def on_mouse_down(self, event: events.MouseDown) -> None:
        self.can_focus = True

    def action_send(self) -> None:
        text = self.text.strip("\n")
        if not text.strip():
            return
        self._sent.append(text)
        self._recalled = len(self._sent)
        self.clear()
        self.post_message(self.Sent(text))

    def action_break_line(self) -> None:
        self.insert("\n")

    def action_recall(self, direction: int) -> None:
        """Earlier prompts, where the cursor is on the first or last line already."""
        row, _ = self.cursor_location
        edge = 0 if direction < 0 else self.document.line_count - 1
        if row != edge:
            self.action_cursor_up() if direction < 0 else self.action_cursor_down()
            return
        target = self._recalled + direction
        if 0 <= target < len(self._sent):
            self._recalled = target
            self.load_text(self._sent[target])
            self.move_cursor(self.document.end)

    def action_leave(self) -> None:
        self.screen.set_focus(None)  # at once: the key behind this one is no letter of the prompt
        self.post_message(self.Left())
