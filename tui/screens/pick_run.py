"""A list of runs to choose one from; the choice is the screen's result."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType

from ...core.run_facts import RunEntry
from ...core.run_order import arrange
from ...core.runs import Run
from ..widgets.run_columns import Marks
from ..widgets.run_list import RunList, empty_lines
from ..widgets.scan import RunsListed, Scanner
from ..widgets.spans import Line
from ..widgets.status import KeyLine, TwoEnds
from .calm import CalmScreen
from .keys import APP_KEYS, PICK_KEYS, Key, hints, to_bindings
from .small import TooSmall, is_too_small

if TYPE_CHECKING:
    from ..app import FtevApp


class PickRun(CalmScreen[RunEntry]):
    """Every run of the folder but `without`, those of its task first."""

    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [*to_bindings(PICK_KEYS)]
    app: FtevApp

    def __init__(self, title: Line, folder: Path, without: Run, task: str) -> None:
        super().__init__()
        self._title, self._without, self._first = title, without, task
        self.scanner = Scanner(folder, self.post_message)
        self.title_line = TwoEnds("title")
        self.runs = RunList()
        self.key_line = KeyLine(hints((*PICK_KEYS, *APP_KEYS)))

    def compose(self) -> ComposeResult:
        yield self.title_line
        yield self.runs
        yield self.key_line
        yield TooSmall()

    def on_mount(self) -> None:
        self.title_line.show_ends(self._title, [])
        self.scanner.start()

    def on_unmount(self) -> None:
        self.scanner.stop()

    def on_resize(self, event: events.Resize) -> None:
        self.set_class(is_too_small(event.size), "-too-small")

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
