"""The preview beside the form: drawn for its width, scrolled by lines."""

from __future__ import annotations

from ...drawing.lines import Line
from ...widgets.pane import ScrolledPane
from .preview_lines import Preview, preview_lines


class PreviewPane(ScrolledPane):
    def __init__(self) -> None:
        super().__init__(id="preview")
        self.preview = Preview()

    def all_lines(self, width: int) -> list[Line]:
        return preview_lines(self.preview, width)
