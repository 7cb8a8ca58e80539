"""A pane with more lines than it has room for."""

from __future__ import annotations

from ..drawing.scrolling import scrolled
from ..drawing.spans import Line
from .pane import Pane


class ScrolledPane(Pane):
    """Subclasses give all their lines; those that have no room scroll."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.top = 0  # lines above the first one that is seen

    def all_lines(self, width: int) -> list[Line]:
        """Everything the pane shows, whatever its height."""
        raise NotImplementedError

    @property
    def keeps_head(self) -> int:
        """Lines at the top that do not scroll."""
        return 0

    def draw(self, width: int, height: int) -> list[Line]:
        lines, kept = self.all_lines(width), self.keeps_head
        rest, self.top = scrolled(lines[kept:], self.top, height - kept)
        return [*lines[:kept], *rest]

    def scroll_lines(self, count: int) -> None:
        self.top = max(0, self.top + count)
        self.show()
