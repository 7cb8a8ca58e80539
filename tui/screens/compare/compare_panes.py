"""The three panes of the compare screen, and where they stand."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

from textual.binding import BindingType
from textual.geometry import Region, Size

from ....core.compare.compared import ComparedRuns
from ....core.wording.text import visible
from ...drawing.axes import plot_width
from ...drawing.format import wrap
from ...drawing.lines import Line, following
from ...drawing.plot import ASCII, BRAILLE
from ...widgets.desk import PaneDesk
from ...widgets.pane import NumberedPane
from ...widgets.plot_pane import PlotPane
from .compare_rows import metric_lines, setting_lines
from .overlay import SHOWN, Curve, OverlayView, overlay_lines

WIDE, TALL = 140, 30  # cells of the desk from which on all three are seen at once


class OverlayPane(PlotPane):
    NUMBER, NAME = 1, "Loss"
    BINDINGS: ClassVar[list[BindingType]] = []  # filled from the table of keys by the screen

    def __init__(self, *, ascii_only: bool = False) -> None:
        super().__init__()
        self.view: OverlayView = OverlayView(marker=ASCII if ascii_only else BRAILLE)
        self.curves: list[Curve] = []
        self.failed: list[str] = []

    def show_curves(self, curves: list[Curve], failed: list[str]) -> None:
        self.curves, self.failed = curves, failed
        self.show()

    def draw(self, width: int, height: int) -> list[Line]:
        faults: list[Line] = [[(visible(told), "bad")] for told in self.failed]
        if not self.curves:
            return faults or [[("reading the runs …", "muted")]]
        return [*faults, *overlay_lines(self.curves, self.view, width, height - len(faults))]

    def action_cursor(self, cells: int) -> None:
        self.view.move_cursor(self.curves, cells, plot_width(self.content_size.width))
        self.show()

    def action_zoom(self, direction: int) -> None:
        self.view.zoom(self.curves, 0.5 if direction > 0 else 2.0)
        self.show()

    def action_axis(self) -> None:
        self.view.cursor = None  # a place on the axis before
        super().action_axis()

    def action_lines(self) -> None:
        self.view.shown = following(SHOWN, self.view.shown)
        self.show()


class PairedPane(NumberedPane):
    NUMBER, NAME = 2, "Metrics"

    def __init__(self) -> None:
        super().__init__()
        self.told: ComparedRuns | None = None
        self.refused: list[str] = []

    def show_told(self, told: ComparedRuns) -> None:
        self.told = told
        self.show()

    def show_refused(self, reasons: list[str]) -> None:
        self.refused = reasons
        self.show()

    def lines(self, width: int, height: int) -> list[Line]:
        if self.told is not None:
            return metric_lines(self.told, width)
        if not self.refused:
            return [[("comparing row by row …", "muted")]]
        told = [part for reason in self.refused for part in wrap(visible(reason), width)]
        head = "The runs cannot stand in one table:"
        return [[(head, "strong")], [], *([(part, "")] for part in told)]


class SettingsPane(NumberedPane):
    NUMBER, NAME = 3, "Settings that differ"

    def __init__(self) -> None:
        super().__init__()
        self.config: Mapping[str, Sequence[Any]] | None = None
        self.names: Sequence[str] = ()

    def show_config(self, config: Mapping[str, Sequence[Any]], names: Sequence[str]) -> None:
        self.config, self.names = config, names
        self.show()

    @property
    def keeps_head(self) -> int:
        return 1 if self.config else 0

    def lines(self, width: int, height: int) -> list[Line]:
        if self.config is None:
            return [[("comparing the settings …", "muted")]]
        return setting_lines(self.config, self.names, width)


class CompareDesk(PaneDesk):
    """All three panes where there is room, else one of them like a tab."""

    def __init__(self, *panes: NumberedPane) -> None:
        super().__init__(*panes, id="compare-desk", shown=2)

    def regions(self, size: Size) -> dict[int, Region]:
        return place_panes(size.width, size.height, self.shown, zoomed=self.zoomed)

    def sharing(self, size: Size) -> Collection[int]:
        return self.panes if len(self.regions(size)) == 1 and not self.zoomed else ()


def place_panes(width: int, height: int, shown: int, *, zoomed: bool) -> dict[int, Region]:
    """The region of each visible pane: the chart above the settings, the metrics beside them."""
    if zoomed or width < WIDE or height < TALL:
        return {shown: Region(0, 0, width, height)}
    left = width * 11 // 20
    upper = height * 3 // 5
    return {
        1: Region(0, 0, left, upper),
        3: Region(0, upper, left, height - upper),
        2: Region(left, 0, width - left, height),
    }
