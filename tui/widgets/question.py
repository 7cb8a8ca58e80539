"""A question whose answer is No unless `y` is pressed."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType

from ..drawing.format import wrap
from ..drawing.spans import Line
from .modal import Modal

WIDTH = 60


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
