"""What every pane with a chart does with the keys that say how it is looked at."""

from __future__ import annotations

from ..drawing.plot import MARKERS
from ..drawing.scrolling import following
from ..drawing.series import SMOOTHINGS
from ..screens.run.look import AXES, Look
from .pane import NumberedPane


class PlotPane(NumberedPane):
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
