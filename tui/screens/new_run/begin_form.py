"""What a new run begins from: nothing, a run that is there, or the form as it was left."""

from __future__ import annotations

from typing import ClassVar, Literal

from textual.binding import Binding, BindingType

from ....core.wording.text import visible
from ...drawing.lines import Line
from ...widgets.modal import Modal

Beginning = Literal["empty", "like", "left"]


class BeginForm(Modal[Beginning | None]):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "first", show=False),
        Binding("n,e", "answer('empty')", show=False),
        Binding("l", "answer('like')", show=False),
        Binding("g", "answer('left')", show=False),
        Binding("escape,q", "leave", show=False),
    ]

    def __init__(self, like: str, *, left: bool) -> None:
        """`like`: the name of a run, or nothing; `left`: whether a form waits."""
        self._offered: list[Beginning] = ["empty"]
        if like:
            self._offered.insert(0, "like")
        if left:
            self._offered.insert(0, "left")
        words = {
            "left": ("g", "go on with the form as you left it"),
            "like": ("l", f"like {visible(like, 40)}"),
            "empty": ("n", "an empty form"),
        }
        lines: list[Line] = [
            [(words[each][0], "accent"), (f"   {words[each][1]}", "")] for each in self._offered
        ]
        keys: Line = [("enter", "accent"), (" the first   ", "muted")]
        super().__init__("New run", [*lines, [], [*keys, ("esc", "accent"), (" none", "muted")]])

    def action_answer(self, beginning: Beginning) -> None:
        if beginning in self._offered:
            self.dismiss(beginning)

    def action_first(self) -> None:
        self.dismiss(self._offered[0])

    def action_leave(self) -> None:
        self.dismiss(None)
