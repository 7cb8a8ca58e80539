"""What part of the charts is looked at, and how."""

from __future__ import annotations

from dataclasses import dataclass

from .chart_data import ChartData
from .plot import BRAILLE, Marker
from .series import Chart

GUTTER = 8  # cells of the y-axis with its labels


@dataclass
class View:
    """One view for every chart: they share the x-range, the cursor and the way they are drawn."""

    name: str = "loss"  # of the chart in front
    axis: str = "step"
    window: tuple[float, float] | None = None
    cursor: int | None = None  # index of a step
    smoothing: float = 0.0
    log: bool = False
    clip_outliers: bool = False
    marker: Marker = BRAILLE

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
        full_left, full_right = data.full_range(self.axis)
        left, right = self.range(data)
        xs = data.xs(self.axis)
        index = self.cursor if self.cursor is not None else len(data) - 1
        centre = xs[index] if len(data) else right
        if not left <= centre <= right:
            centre = (left + right) / 2
        span = (right - left) * factor
        if span >= full_right - full_left:
            self.window = None
            return
        if span < (full_right - full_left) / max(4.0, float(len(data))):
            return
        start = centre - (centre - left) / (right - left) * span
        start = min(max(full_left, start), full_right - span)
        self.window = start, start + span

    def keep_in_sight(self, data: ChartData) -> None:
        """Move the window along with the cursor."""
        if self.window is None or self.cursor is None:
            return
        left, right = self.window
        x = data.xs(self.axis)[self.cursor]
        if not left <= x <= right:
            shift = x - (right if x > right else left)
            self.window = left + shift, right + shift

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
        self.cursor = min(max(0, target), len(data) - 1)
        self.keep_in_sight(data)


def plot_width(width: int) -> int:
    return max(1, width - GUTTER)
