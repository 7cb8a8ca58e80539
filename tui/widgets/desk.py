"""Numbered panes that stand where their sizes allow, or share one place like tabs."""

from __future__ import annotations

from collections.abc import Collection

from textual.app import ComposeResult
from textual.containers import Container
from textual.content import Content
from textual.geometry import NULL_OFFSET, NULL_SPACING, Region, Size
from textual.layout import ArrangeResult, Layout, WidgetPlacement
from textual.widget import Widget

from ..app.memory import Plain
from .pane import Numbered, NumberedPane

MOST_LINES = 1_000_000  # that a pane is remembered to be scrolled by


class PaneDesk(Container):
    """Holds panes, knows which of them is in view, and asks a subclass where they stand."""

    def __init__(self, *panes: Numbered, id: str, shown: int) -> None:
        super().__init__(id=id)
        self.panes = {pane.NUMBER: pane for pane in panes}
        self.shown = shown
        self.zoomed = False
        self._desk_layout = _DeskLayout()
        self._placed: dict[int, Region] = {}  # as it was arranged last

    def regions(self, size: Size) -> dict[int, Region]:
        """The region of each visible pane."""
        raise NotImplementedError

    def sharing(self, size: Size) -> Collection[int]:
        """The panes that share one place; none where each has its own."""
        raise NotImplementedError

    @property
    def layout(self) -> Layout:
        return self._desk_layout

    def compose(self) -> ComposeResult:
        yield from self.panes.values()

    def arrange_for(self, size: Size) -> None:
        """Show the panes that have a place in a desk of this size."""
        placed, sharing = self.regions(size), self.sharing(size)
        for number, pane in self.panes.items():
            pane.display = number in placed
            title = self._tabs(number, sharing) if number in sharing else _title(pane)
            if pane.border_title != title:
                pane.border_title = title
        if placed != self._placed:  # a layout repaints the whole screen
            self._placed = placed
            self.refresh(layout=True)

    def _tabs(self, shown: int, sharing: Collection[int]) -> Content:
        """The panes that share the place, the one in view marked by more than colour."""
        parts: list[str | Content | tuple[str, str]] = []
        for number in sharing:
            title = _title(self.panes[number]).plain
            parts.append(
                (f"▸{title} ", "bold") if number == shown else (f" {title} ", "dim not bold")
            )
        return Content.assemble(*parts)

    # What it remembers

    def memory(self) -> Plain:
        """Which pane is in view, whether it is zoomed, and how far each is scrolled."""
        scrolled = {
            str(number): [pane.from_end, pane.hidden_above]
            for number, pane in self.panes.items()
            if isinstance(pane, NumberedPane) and (pane.from_end or pane.hidden_above)
        }
        return {"shown": self.shown, "zoomed": self.zoomed, "scrolled": scrolled}

    def recall(self, memory: Plain) -> None:
        shown = memory.get("shown")
        if type(shown) is int and shown in self.panes:
            self.shown = shown
            self.zoomed = memory.get("zoomed") is True
        self.recall_scrolled(memory.get("scrolled"))

    def recall_scrolled(self, scrolled: object) -> None:
        """Of panes that have their lines already, which bound how far they are scrolled."""
        for number, pane in self.panes.items():
            ends = scrolled.get(str(number)) if isinstance(scrolled, dict) else None
            if isinstance(pane, NumberedPane) and isinstance(ends, list) and _are_lines(ends):
                pane.from_end, pane.hidden_above = ends


def _are_lines(ends: list[object]) -> bool:
    return len(ends) == 2 and all(type(e) is int and 0 <= e <= MOST_LINES for e in ends)


class _DeskLayout(Layout):
    name = "desk"

    def arrange(
        self, parent: Widget, children: list[Widget], size: Size, greedy: bool = True
    ) -> ArrangeResult:
        assert isinstance(parent, PaneDesk)
        regions = parent.regions(size)
        return [
            WidgetPlacement(regions[pane.NUMBER], NULL_OFFSET, NULL_SPACING, pane)
            for pane in parent.panes.values()
            if pane in children and pane.NUMBER in regions
        ]


def _title(pane: Numbered) -> Content:
    return Content(f"{pane.NUMBER} {pane.NAME}")
