"""What part of the charts is looked at, and how."""

from __future__ import annotations

from dataclasses import dataclass

from ...drawing.chart_frame import plot_width
from ...drawing.series import Chart
from ..run.look import Look
from .chart_data import ChartData


@dataclass
class View(Look):
    """One view for every chart: they share the x-range, the cursor and the way they are drawn."""

    name: str = "loss"  # of the chart in front
    cursor: int | None = None  # index of a step

    def chart(self, data: ChartData) -> Chart:
        return data.chart(self.name if self.name in data.names else "loss")

    def turn(self, data: ChartData, direction: int) -> None:
        """The next or the previous chart, round and round."""
        names = data.names
        at = names.index(self.name) if self.name in names else 0
        self.name = names[(at + direction) % len(names)]

    def range(self, data: ChartData) -> tuple[float, float]:
        return self.window or data.full_range(self.axis)

    def zoom(self, data: ChartData, factor: float) -> None:
        """Around the cursor, else around the newest step."""
        left, right = self.range(data)
        index = self.cursor if self.cursor is not None else len(data) - 1
        centre = data.xs(self.axis)[index] if len(data) else right
        if not left <= centre <= right:
            centre = (left + right) / 2
        full = data.full_range(self.axis)
        self.zoom_around(centre, factor, full, (full[1] - full[0]) / max(4.0, float(len(data))))

    def put_cursor(self, data: ChartData, index: int) -> None:
        """On a step; the window follows it."""
        self.cursor = min(max(0, index), len(data) - 1)
        self.keep_in_sight(data.xs(self.axis)[self.cursor])

    def move_cursor(self, data: ChartData, cells: int, width: int) -> None:
        """By so many cells of a pane so wide; the first move sets the cursor on the last step."""
        if not len(data):
            return
        if self.cursor is None:
            self.cursor = len(data) - 1
            return
        index = min(self.cursor, len(data) - 1)
        left, right = self.range(data)
        x = data.xs(self.axis)[index] + cells * (right - left) / plot_width(width)
        target = data.index_at(x, self.axis)
        if target == index:  # several cells between two steps
            target += 1 if cells > 0 else -1
        self.put_cursor(data, target)
