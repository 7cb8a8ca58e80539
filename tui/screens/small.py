"""The one sentence that is shown where the terminal is too small for the screen."""

from __future__ import annotations

from textual.geometry import Size

from ..widgets.arrangement import SMALLEST
from ..widgets.format import wrap
from ..widgets.pane import Pane
from ..widgets.spans import Line


class TooSmall(Pane):
    def draw(self, width: int, height: int) -> list[Line]:
        told = f"ftev needs {SMALLEST.width} × {SMALLEST.height} cells; this is {width} × {height}."
        return [[(text, "")] for text in wrap(told, width)]


def is_too_small(size: Size) -> bool:
    return size.width < SMALLEST.width or size.height < SMALLEST.height
