"""The list of the examples screen, and the line above it."""

from __future__ import annotations

from typing import Any

from ....core.wording.text import visible
from ...drawing.format import wrap
from ...drawing.scrolling import keep_seen, moved
from ...drawing.spans import Line
from ...widgets.pane import Pane
from .example_lines import example_header, example_line, example_widths
from .example_rows import Examples, rows_at


class ExampleList(Pane):
    """A window over the selected rows: only what is seen is read."""

    examples: Examples | None = None
    state = "reading the rows …"

    def __init__(self) -> None:
        super().__init__(id="rows")
        self.places: Any = []
        self.cursor = self._top = 0

    def draw(self, width: int, height: int) -> list[Line]:
        e = self.examples
        if e is None or not len(self.places):
            return [[(text, "muted")] for text in wrap(self.state, width)]
        room = max(1, height - 1)
        self._top = keep_seen(self._top, self.cursor, room)
        sizes = example_widths(e, width)
        rows = rows_at(e, self.places, self._top, room)
        return [
            example_header(e, sizes),
            *(
                example_line(e, row, sizes, chosen=at == self.cursor)
                for at, row in enumerate(rows, self._top)
            ),
        ]

    def move(self, count: int) -> None:
        self.cursor = moved(self.cursor, count, len(self.places))
        self.show()


class Info(Pane):
    """One line: what is shown and in which order, or what was not understood."""

    def __init__(self) -> None:
        super().__init__(id="filter-line")
        self.parts: list[Line] = []
        self.fault = ""

    def show_state(self, parts: list[Line]) -> None:
        self.parts = parts
        self.show()

    def draw(self, width: int, height: int) -> list[Line]:
        if self.fault:
            return [[(visible(self.fault), "warn")]]
        line: Line = []
        for part in self.parts:
            line += [("  ·  ", "rule"), *part] if line else part
        return [line]
