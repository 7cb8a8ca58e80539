"""One line to write a path in, over the screen; tab completes it."""

from __future__ import annotations

from pathlib import Path

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content

from ..drawing.lines import Line
from ..screens.new_run.form import FieldBox
from ..screens.new_run.form_lines import candidate_lines
from .modal import CalmModal
from .pane import Pane

WIDTH, CANDIDATE_LINES = 72, 3


class Candidates(Pane):
    """What the path may become, else how to get on."""

    candidates: tuple[str, ...] = ()
    chosen = ""

    def draw(self, width: int, height: int) -> list[Line]:
        if self.candidates:
            return candidate_lines(self.candidates, self.chosen, width, height)
        keys: Line = [("tab", "accent"), (" completes   ", "muted"), ("enter", "accent")]
        return [[], [*keys, (" goes on   ", "muted"), ("esc", "accent"), (" leaves", "muted")]]


class AskPath(CalmModal[str | None]):
    """Gives what was written, or None."""

    def __init__(self, title: str, text: str = "") -> None:
        super().__init__()
        self._title, self._text = title, text
        self.box, self.candidates = FieldBox(), Candidates()

    def compose(self) -> ComposeResult:
        frame = Vertical(self.box, self.candidates, id="ask-path")
        frame.border_title = Content(self._title)
        frame.styles.width = min(WIDTH, self.app.size.width - 4)
        self.candidates.styles.height = CANDIDATE_LINES
        yield frame

    def on_mount(self) -> None:
        self.box.begin(self._text, "file", (), Path())

    @on(FieldBox.Offered)
    def show_candidates(self, message: FieldBox.Offered) -> None:
        self.candidates.candidates = message.candidates
        self.candidates.chosen = message.chosen
        self.candidates.show()

    @on(FieldBox.Written)
    def take(self, message: FieldBox.Written) -> None:
        if not message.move:
            self.dismiss(message.text.strip() or None)

    @on(FieldBox.Left)
    def leave(self) -> None:
        self.dismiss(None)
