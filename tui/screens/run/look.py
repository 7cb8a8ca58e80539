"""How charts are looked at: the axis, the part of it in sight, what is drawn and with what."""

from __future__ import annotations

from dataclasses import dataclass

from ...drawing.plot import BRAILLE, Marker

AXES = ("step", "epoch", "time", "tokens")


@dataclass
class Look:
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
