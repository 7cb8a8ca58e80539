"""The loss chart: training and validation over the whole planned run, every spike kept."""

from __future__ import annotations

from typing import ClassVar, TypeVar

from textual.binding import BindingType

from ...core.history import History
from .chart_table import table_lines
from .loss_data import AXES, SMOOTHINGS, LossData
from .loss_plot import View, cursor_line, legend, plot_lines, plot_width
from .pane import NumberedPane
from .plot import ASCII, BRAILLE, MARKERS
from .spans import Line, cut

T = TypeVar("T")


class ChartPane(NumberedPane):
    NUMBER, NAME = 4, "Loss"
    BINDINGS: ClassVar[list[BindingType]] = []  # filled from the table of keys by the run screen

    def __init__(self, *, ascii_only: bool = False) -> None:
        super().__init__()
        self.data = LossData()
        self.view = View(marker=ASCII if ascii_only else BRAILLE)
        self.as_table = False

    def show_history(self, history: History) -> None:
        self.data.update(history)
        self.show()

    @property
    def follows_end(self) -> bool:
        return True

    def draw(self, width: int, height: int) -> list[Line]:
        if len(self.data.history.steps) != len(self.data):  # a key came between two readings
            self.data.update(self.data.history)
        if not len(self.data) and not self.data.validation:
            return [[("The loss is drawn here from the first step on.", "muted")]]
        if self.as_table:
            lines, self.from_end = table_lines(self.data, height, self.from_end)
            return lines
        if self.view.cursor is None:
            top = legend(self.data, self.view, width)
        else:
            top = cursor_line(self.data, self.view, width)
        return [cut(top, width), *plot_lines(self.data, self.view, width, height - 1)]

    def action_cursor(self, cells: int) -> None:
        """Move by so many cells; the first press sets the cursor on the last step."""
        if self.as_table or not len(self.data):
            return
        if self.view.cursor is None:
            self.view.cursor = len(self.data) - 1
        else:
            self._move_cursor(cells)
        self.show()

    def _move_cursor(self, cells: int) -> None:
        view, index = self.view, self.view.cursor or 0
        left, right = view.range(self.data)
        a_cell = (right - left) / plot_width(self.content_size.width)
        x = self.data.xs(view.axis)[index] + cells * a_cell
        target = self.data.index_at(x, view.axis)
        if target == index:  # several cells between two steps
            target += 1 if cells > 0 else -1
        view.cursor = min(max(0, target), len(self.data) - 1)
        view.keep_in_sight(self.data)

    def action_zoom(self, direction: int) -> None:
        self.view.zoom(self.data, 0.5 if direction > 0 else 2.0)
        self.show()

    def action_smooth(self) -> None:
        self.view.smoothing = _next(SMOOTHINGS, self.view.smoothing)
        self.show()

    def action_log(self) -> None:
        self.view.log = not self.view.log
        self.show()

    def action_axis(self) -> None:
        self.view.axis = _next(AXES, self.view.axis)
        self.view.window = None
        self.show()

    def action_outliers(self) -> None:
        self.view.clip_outliers = not self.view.clip_outliers
        self.show()

    def action_marker(self) -> None:
        self.view.marker = _next(MARKERS, self.view.marker)
        self.show()

    def action_table(self) -> None:
        self.as_table = not self.as_table
        self.from_end = 0
        self.show()

    def action_reset(self) -> None:
        self.view = View(marker=self.view.marker)
        self.from_end = 0
        self.show()

    def drop_cursor(self) -> bool:
        had = self.view.cursor is not None
        self.view.cursor = None
        self.show()
        return had


def _next(choices: tuple[T, ...], now: T) -> T:
    return choices[(choices.index(now) + 1) % len(choices)]
