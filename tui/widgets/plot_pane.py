"""How charts are looked at: axis, window, smoothing and marker; and the panes whose keys set it."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from ..app.memory import Plain
from ..drawing.lines import following
from ..drawing.plot import BRAILLE, MARKERS, Marker
from ..drawing.series import SMOOTHINGS
from .pane import NumberedPane

AXES = ("step", "epoch", "time", "tokens")
OF_THE_DATA = ("name", "shown", "window", "cursor", "marker")  # right only if they are there


@dataclass
class Look:
    """How a chart is looked at; places on the x-axis are in the axis's unit."""

    axis: str = "step"
    window: tuple[float, float] | None = None
    cursor: float | None = None
    smoothing: float = 0.0
    log: bool = False
    clip_outliers: bool = False
    marker: Marker = BRAILLE

    def zoom_around(
        self, centre: float, factor: float, full: tuple[float, float], least: float
    ) -> None:
        """`least`: how narrow a window may become."""
        full_left, full_right = full
        left, right = self.window or full
        span = (right - left) * factor
        if span >= full_right - full_left:
            self.window = None
        elif span >= least:
            start = centre - (centre - left) / (right - left) * span
            start = min(max(full_left, start), full_right - span)
            self.window = start, start + span

    def keep_in_sight(self, x: float) -> None:
        """Move the window along with a place."""
        if self.window is not None and not self.window[0] <= x <= self.window[1]:
            left, right = self.window
            shift = x - (right if x > right else left)
            self.window = left + shift, right + shift

    def memory(self) -> Plain:
        """The look as plain values; the marker as its place among the markers."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {**values, "marker": MARKERS.index(self.marker)}

    def recall(self, memory: Plain) -> None:
        """What does not fit is left as it is."""
        for f in fields(self):
            value = memory.get(f.name)
            if f.name not in OF_THE_DATA and _is_offered(value, getattr(self, f.name)):
                setattr(self, f.name, value)
        window, marker = memory.get("window"), memory.get("marker")
        if isinstance(window, list) and len(window) == 2 and all(map(is_finite, window)):
            self.window = (window[0], window[1]) if window[0] < window[1] else None
        if type(marker) is int and 0 <= marker < len(MARKERS) and self.marker in MARKERS[:-1]:
            self.marker = MARKERS[marker]  # an ASCII screen stays one


def _is_offered(value: object, now: object) -> bool:
    """Whether a value is of the type it is now, and one of the axes or smoothings there are."""
    if isinstance(now, str):
        return value in AXES
    if isinstance(now, bool):
        return isinstance(value, bool)
    return isinstance(now, float) and value in SMOOTHINGS


def is_finite(value: object) -> bool:
    """Whether a stored value is a finite number."""
    return isinstance(value, int | float) and type(value) is not bool and math.isfinite(value)


class PlotPane(NumberedPane):
    """A pane with a chart, and the keys that change how it is looked at."""

    view: Look

    def action_smooth(self) -> None:
        self.view.smoothing = following(SMOOTHINGS, self.view.smoothing)
        self.show()

    def action_log(self) -> None:
        self.view.log = not self.view.log
        self.show()

    def action_axis(self) -> None:
        self.view.axis = following(AXES, self.view.axis)
        self.view.window = None
        self.show()

    def action_outliers(self) -> None:
        self.view.clip_outliers = not self.view.clip_outliers
        self.show()

    def action_marker(self) -> None:
        self.view.marker = following(MARKERS, self.view.marker)
        self.show()

    def action_reset(self) -> None:
        self.view = type(self.view)(marker=self.view.marker)
        self.from_end = 0
        self.show()

    def drop_cursor(self) -> bool:
        had = self.view.cursor is not None
        self.view.cursor = None
        self.show()
        return had
