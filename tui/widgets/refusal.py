"""Why something cannot be done. It takes what is typed meanwhile: letters meant for a box that does
not open would act as keys of the screen."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType

from ..drawing.format import wrap
from ..drawing.spans import Line
from .modal import Modal

WIDTH = 60


class Refusal(Modal[None]):
    """A sentence that stays until `enter` or `esc`; every other key does nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter", "close", show=False)]

    def __init__(self, title: str, why: str) -> None:
        lines: list[Line] = [[(text, "")] for text in wrap(why, WIDTH)]
        super().__init__(title, [*lines, [], [("enter", "accent"), (" back", "muted")]])

    def action_close(self) -> None:
        self.dismiss(None)
