"""The preview beside the form: drawn for its width, scrolled by lines."""

from __future__ import annotations

from .pane import Pane
from .preview_lines import Preview, preview_lines
from .scrolling import told_hidden
from .spans import Line


class PreviewPane(Pane):
    def __init__(self) -> None:
        super().__init__(id="preview")
        self.preview = Preview()
        self.top = 0

    def draw(self, width: int, height: int) -> list[Line]:
        lines = preview_lines(self.preview, width)
        if len(lines) <= height:
            self.top = 0
            return lines
        room = height - 1
        self.top = max(0, min(self.top, len(lines) - room))
        below = len(lines) - room - self.top
        return [*lines[self.top : self.top + room], [(told_hidden(self.top, below), "muted")]]

    def scroll_lines(self, count: int) -> None:
        self.top = max(0, self.top + count)
        self.show()
