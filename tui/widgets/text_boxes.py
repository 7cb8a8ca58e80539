"""Boxes to write in, a line or a prompt, and what a half-written name may become."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
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

    def on_key(self, event: events.Key) -> None:
        """`enter` sends. Not as a binding with priority: that would overtake letters before it."""
        if event.key == "enter":
            event.stop()
            event.prevent_default()
            self.action_send()

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


LOOKED_AT = 2_000  # entries of a folder
LISTED = 200  # candidates
MODEL_FILES = ("config.json", "adapter_config.json")  # a folder with one is a model


@dataclass(frozen=True)
class Completion:
    """The text as far as it is certain, and every way it may go on."""

    text: str
    candidates: tuple[str, ...] = ()


def complete_path(text: str, start: Path, *, folders_only: bool = False) -> Completion:
    """Files and folders that begin so; relative ones from `start`. Hidden ones only when asked."""
    head, slash, tail = text.rpartition("/")
    folder = Path(os.path.expanduser(head + slash)) if slash else Path()
    names = _entries(folder if folder.is_absolute() else start / folder, tail, folders_only)
    return complete_value(text, [head + slash + name for name in names])


def _entries(folder: Path, prefix: str, folders_only: bool) -> list[str]:
    found: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in islice(entries, LOOKED_AT):
                hidden = entry.name.startswith(".") and not prefix.startswith(".")
                if hidden or not entry.name.startswith(prefix) or not _is_text(entry.name):
                    continue
                if _is_folder(entry):
                    found.append(
                        entry.name if _is_model(entry) and folders_only else entry.name + "/"
                    )
                elif not folders_only:
                    found.append(entry.name)
    except OSError:  # no such folder, or a closed one: nothing to offer
        return []
    return sorted(found, key=str.lower)[:LISTED]


def _is_text(name: str) -> bool:
    """A name that is not UTF-8 cannot be written into a configuration."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_model(entry: os.DirEntry[str]) -> bool:
    return any(os.path.exists(os.path.join(entry.path, name)) for name in MODEL_FILES)


def complete_value(text: str, values: Sequence[str]) -> Completion:
    """The values that begin so, and as much as they have in common."""
    fitting = tuple(value for value in values if value.startswith(text))
    return Completion(_common_start(fitting) if fitting else text, fitting)


def _common_start(texts: Sequence[str]) -> str:
    first, last = min(texts), max(texts)
    same = (i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b)
    return first[: next(same, min(len(first), len(last)))]


def complete_last(text: str, between: str, last: Completion) -> Completion:
    """A completion of the last of several items as one of the whole text."""
    head, found, _ = text.rpartition(between)
    before = head + found + (" " if found else "")
    return Completion(before + last.text, tuple(before + c for c in last.candidates))
