"""Help for a screen, made from the table that drives its keys."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import Binding, BindingType

from ..app.keys import Key
from ..drawing.format import fit
from ..drawing.spans import Line
from .modal import Page

KEY_WIDTH = 18


class Help(Page):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("question_mark,f1", "close", show=False)]

    def __init__(self, sections: Iterable[tuple[str, Iterable[Key]]]) -> None:
        super().__init__("Keys", help_lines(sections))


def help_lines(sections: Iterable[tuple[str, Iterable[Key]]]) -> list[Line]:
    lines: list[Line] = []
    for title, keys in sections:
        lines.append([(title, "strong")])
        lines += [[(fit(k.shown, KEY_WIDTH), "accent"), (k.words, "")] for k in keys if k.shown]
        lines.append([])
    return lines[:-1]
