"""Help for a screen, made from the table that drives its keys."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import Binding, BindingType

from ..widgets.format import fit
from ..widgets.spans import Line
from .keys import Key
from .modal import Modal

KEY_WIDTH = 18


class Help(Modal[None]):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,f1,enter", "close", show=False),
        Binding("up", "scroll_box(-1)", show=False),
        Binding("down", "scroll_box(1)", show=False),
        Binding("pageup", "scroll_box(-10)", show=False),
        Binding("pagedown", "scroll_box(10)", show=False),
    ]

    def __init__(self, sections: Iterable[tuple[str, Iterable[Key]]]) -> None:
        super().__init__("Keys", help_lines(sections))

    def action_close(self) -> None:
        self.dismiss(None)

    def action_scroll_box(self, count: int) -> None:
        self.box.scroll_by(count)


def help_lines(sections: Iterable[tuple[str, Iterable[Key]]]) -> list[Line]:
    lines: list[Line] = []
    for title, keys in sections:
        lines.append([(title, "strong")])
        lines += [[(fit(k.shown, KEY_WIDTH), "accent"), (k.words, "")] for k in keys if k.shown]
        lines.append([])
    return lines[:-1]
