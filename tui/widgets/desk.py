"""Numbered panes that stand where their sizes allow, or share one place like tabs."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Container
from textual.content import Content
from textual.geometry import NULL_OFFSET, NULL_SPACING, Region, Size
from textual.layout import ArrangeResult, Layout, WidgetPlacement
from textual.widget import Widget

if TYPE_CHECKING:
    from ..screens.prompt.prompt import SixPanes


class PaneDesk(Container):
    """Holds panes, knows which of them is in view, and asks a subclass where they stand."""

    def __init__(self, *panes: SixPanes, id: str, shown: int) -> None:
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
            told = _title(self.panes[number]).plain
            parts.append(
                (f"▸{told} ", "bold") if number == shown else (f" {told} ", "dim not bold")
            )
        return Content.assemble(*parts)


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


def _title(pane: SixPanes) -> Content:
    return Content(f"{pane.NUMBER} {pane.NAME}")
