"""The chart pane: any metric of the run over the whole planned run, every spike kept."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import ClassVar

from textual.binding import BindingType
from textual.content import Content

from ....core.run.history import History
from ....core.run.runs import Run
from ...app.keys import CHART_KEYS, to_bindings
from ...app.memory import Plain
from ...drawing.format import format_count, format_number
from ...drawing.lines import Column, Line, header, row, table_width
from ...drawing.plot import ASCII, BRAILLE
from ...drawing.series import SMOOTHINGS, Average
from ...widgets.framed import Notice
from ...widgets.plot_pane import PlotPane
from .data import ChartData
from .plot import View, chart_lines, cursor_line, legend, small_charts

_NOT_YET = "The loss is plotted here from the first step on."
_NEVER = "This run evaluates two given models: there is no training to plot."


class ChartPane(PlotPane):
    """A chart in front, small ones beneath where there is room, or the steps as a table."""

    NUMBER, NAME = 4, "Charts"
    BINDINGS: ClassVar[list[BindingType]] = [*to_bindings(CHART_KEYS)]

    def __init__(self, run: Run, *, ascii_only: bool = False) -> None:
        super().__init__()
        self.followed = run
        self.data = ChartData()
        self.view: View = View(marker=ASCII if ascii_only else BRAILLE)
        self.as_table = False
        self._prepared: ChartData | None = None  # by the thread, until the next frame
        self._place = ""  # as it stands in the border: setting it repaints the whole border

    def prepare(self, history: History) -> None:
        """Bring the series of a long history up to date. In the thread that read it, once."""
        data, config = ChartData(), self.followed.config_if_kept()
        if config is not None:
            data.take_rules(config)
        data.update(history)
        data.make_all()
        self._prepared = data

    @property
    def newest_data(self) -> ChartData:
        """What is shown, or will be with the next picture."""
        return self.data if self._prepared is None else self._prepared

    def take_up(self, history: History) -> None:
        """What was prepared of it is not made again here."""
        self.data, self._prepared = self.newest_data, None
        self.data.update(history)

    def show_history(self, history: History) -> None:
        self.take_up(history)
        self.show()

    def show(self) -> None:
        super().show()
        self._show_place()

    @property
    def follows_end(self) -> bool:
        return True

    def draw(self, width: int, height: int) -> list[Line]:
        self._forget_steps_taken_back()
        if not len(self.data) and not self.data.validation:
            return [[(_NOT_YET if self.data.history.trains else _NEVER, "muted")]]
        # Only the rows in sight are formatted: a million of them would take seconds.
        if self.as_table:
            lines, self.from_end = table_lines(self.data, width, height, self.from_end)
            return lines
        above = legend if self.view.cursor is None or not len(self.data) else cursor_line
        top = above(self.data, self.view, width)
        return chart_lines(self.data, self.view, top, width, height)

    def _forget_steps_taken_back(self) -> None:
        """A worker that resumed may have just been read: its steps are fewer than were drawn."""
        with self.guard:
            if self.data.is_stale:
                self.data.update(self.data.history)

    def _show_place(self) -> None:
        """Which chart is in front, in the lower border."""
        names, chart = self.data.names, self.view.chart(self.data)
        at = names.index(chart.name) + 1 if chart.name in names else 1
        place = f"{chart.title}, {at} of {len(names)}  [ ]" if len(names) > 1 else ""
        if place != self._place:
            self._place = place
            self.border_subtitle = Content(place)

    def action_write(self) -> None:
        """What is shown as files, the chart in front first; `Outcome` says where they are."""
        from .export import write_charts

        front = self.view.chart(self.data).name
        names = [front, *small_charts(self.data, self.view, self.content_size.height)]
        self.post_message(Notice("writing the chart …", "muted"))
        write_charts(self.followed, self.data, replace(self.view), names, self.post_message)

    @property
    def cursor_step(self) -> int | None:
        """The step under the cursor."""
        if self.view.cursor is None or not len(self.data):
            return None
        return self.data.history.steps.step[min(self.view.cursor, len(self.data) - 1)]

    def put_cursor(self, step: int) -> None:
        """On a step, or the one before it."""
        if len(self.data):
            index = bisect_right(self.data.history.steps.step, step) - 1
            self.view.put_cursor(self.data, index)
            self.show()

    def memory(self) -> Plain:
        """The view, with the cursor as the step it stands on, and whether it is a table."""
        view = self.view.memory()
        # An index means another step once a resumed run has taken steps back.
        del view["cursor"]
        return {"view": {**view, "cursor_step": self.cursor_step}, "as_table": self.as_table}

    def recall(self, memory: Plain) -> None:
        """It has its data already."""
        self.as_table = memory.get("as_table") is True
        if not isinstance(view := memory.get("view"), dict):
            return
        if view.get("name") in self.data.names:
            self.view.name = view["name"]
        self.view.recall(view)
        if type(step := view.get("cursor_step")) is int and len(self.data):
            self.view.cursor = self.data.index_at(step, "step")

    def action_cursor(self, cells: int) -> None:
        """Move by so many cells; the first press sets the cursor on the last step."""
        self._forget_steps_taken_back()
        if not self.as_table:
            self.view.move_cursor(self.data, cells, self.content_size.width)
            self.show()

    def action_turn(self, direction: int) -> None:
        self.view.turn(self.data, direction)
        self.show()

    def action_zoom(self, direction: int) -> None:
        self._forget_steps_taken_back()
        self.view.zoom(self.data, 0.5 if direction > 0 else 2.0)
        self.show()

    def action_table(self) -> None:
        self.as_table = not self.as_table
        self.from_end = 0
        self.show()


COLUMNS = [
    Column("step", 8),
    Column("epoch", 6),
    Column("training", 10),
    Column("validation", 10),
    Column("learning rate", 13),
    Column("grad. norm", 10),
    Column("tokens/s", 9),
]


def table_lines(data: ChartData, width: int, height: int, from_end: int) -> tuple[list[Line], int]:
    """Header and the rows up to `from_end` before the last; also `from_end`, kept in bounds."""
    columns = _fitting(width)
    room = max(1, height - 1)
    from_end = min(max(0, from_end), max(0, len(data) - room))
    end = len(data) - from_end
    measured = {
        e.step: loss for e, loss in zip(data.validation, data.validation_loss.values, strict=True)
    }
    lines = [header(columns)]
    lines += [_row(data, i, measured, columns) for i in range(max(0, end - room), end)]
    return lines, from_end


def _fitting(width: int) -> list[Column]:
    """The columns that are whole: a figure without its end would be another figure."""
    count = len(COLUMNS)
    while count > 1 and table_width(COLUMNS[:count]) > width:
        count -= 1
    return COLUMNS[:count]


def _row(data: ChartData, i: int, measured: dict[int, float], columns: list[Column]) -> Line:
    steps = data.history.steps
    step, seconds = steps.step[i], steps.seconds[i]
    return row(
        columns,
        [
            (format_count(step), ""),
            (f"{steps.epoch[i]:.2f}", "muted"),
            (format_number(steps.loss[i]), "train"),
            (format_number(measured[step]) if step in measured else "", "validation"),
            (format_number(steps.learning_rate[i], 3), "muted"),
            (format_number(steps.grad_norm[i], 3), "muted"),
            (format_count(steps.tokens[i] / seconds) if seconds > 0 else "", "muted"),
        ][: len(columns)],
    )


LONG = 50_000  # steps; fewer are made within a frame
BLOCK = 1 << 14  # points made under one hold of the lock: a few milliseconds
REST_SECONDS = 0.001  # without a rest the loop would hardly ever get the lock


def make_ahead(
    data: ChartData, lock: AbstractContextManager[object], wanted: Callable[[], bool]
) -> None:
    """Until all is made, or no longer wanted. Under `lock` the data is read and written."""
    if len(data) < LONG:
        return
    with lock:
        growing = list(_growing(data))
    for grow in growing:
        # Each block is made under the lock of the follower, which goes on adding points.
        made = -1
        while wanted():
            with lock:
                before, made = made, grow()
            if made <= before:
                break
            time.sleep(REST_SECONDS)


def _growing(data: ChartData) -> Iterator[Callable[[], int]]:
    """Each adds a block to something and returns how much of it there is."""
    yield partial(data.grow_axes, BLOCK)
    for share in SMOOTHINGS:
        for name in data.names:
            for series in data.chart(name).series:
                if share and series.noisy:
                    yield partial(_grow, series.average(share))


def _grow(average: Average) -> int:
    return len(average.catch_up(BLOCK))
