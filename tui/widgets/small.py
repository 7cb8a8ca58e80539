"""The one sentence that is shown where the terminal is too small for the screen."""

from __future__ import annotations

from textual.geometry import Size

from ..drawing.format import wrap
from ..drawing.spans import Line
from ..screens.run.arrangement import SMALLEST
from .pane import Pane


class TooSmall(Pane):
    """While it is shown, keys do nothing but leave: what they would do cannot be seen."""

    def draw(self, width: int, height: int) -> list[Line]:
        needs = f"ftev needs {SMALLEST.width} × {SMALLEST.height} cells"
        told = f"{needs}; this is {width} × {height}. q leaves."
        return [[(text, "")] for text in wrap(told, width)]


def is_too_small(size: Size) -> bool:
    return size.width < SMALLEST.width or size.height < SMALLEST.height
