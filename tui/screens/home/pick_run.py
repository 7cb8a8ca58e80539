"""A list of runs to choose one from; the choice is the screen's result."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.binding import BindingType
from textual.widget import Widget

from ....core.catalog.run_facts import RunEntry
from ....core.catalog.run_order import arrange
from ....core.run.runs import Run
from ...app.keys import APP_KEYS, PICK_KEYS, Key, to_bindings
from ...drawing.spans import Line
from ...widgets.framed import FramedScreen
from .run_columns import Marks
from .run_list import RunList, empty_lines
from .scan import RunsListed, Scanner


class PickRun(FramedScreen[RunEntry]):
    """Every run of the folder but `without`, those of its task first."""

    BINDINGS: ClassVar[list[BindingType]] = [*to_bindings(PICK_KEYS)]

    def __init__(self, title: Line, folder: Path, without: Run, task: str) -> None:
        super().__init__((*PICK_KEYS, *APP_KEYS))
        self._title, self._without, self._first = title, without, task
        self.scanner = Scanner(folder, self.post_message)
        self.runs = RunList()

    def panes(self) -> Iterable[Widget]:
        return (self.runs,)

    def on_mount(self) -> None:
        self.title_line.show_ends(self._title, [])
        self.scanner.start()

    def on_unmount(self) -> None:
        self.scanner.stop()

    @on(RunsListed)
    def show_listed(self, message: RunsListed) -> None:
        others = [
            e for e in message.entries if e.run.path.resolve() != self._without.path.resolve()
        ]
        others.sort(key=lambda e: e.facts.task != self._first)  # newest first among each
        self.runs.empty = empty_lines(complete=message.complete)
        if message.complete and not others:
            self.runs.empty = [[("There is no other run here to compare with.", "muted")]]
        self.runs.show_groups(arrange(others, "newest", ""), "", Marks(), time.time())

    def action_move(self, count: int) -> None:
        self.runs.move(count)

    def action_pick(self) -> None:
        if self.runs.chosen is not None:
            self.dismiss(self.runs.chosen)

    @on(RunList.Opened)
    def pick_clicked(self, message: RunList.Opened) -> None:
        self.dismiss(message.entry)

    def action_out(self) -> None:
        self.dismiss(None)

    def help_sections(self) -> list[tuple[str, tuple[Key, ...]]]:
        return [("A run to choose", PICK_KEYS), ("Everywhere", APP_KEYS)]
