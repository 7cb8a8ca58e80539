"""The home screen: the runs, newest first."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import Screen

from ..widgets.arrangement import SMALLEST
from ..widgets.asking import RequestTold, write_report
from ..widgets.run_list import RunList, RunSummary
from ..widgets.scan import RunsListed, Scanner
from ..widgets.status import KeyLine, TwoEnds
from .keys import APP_KEYS, HOME_KEYS, Key, hints, to_bindings
from .small import TooSmall

if TYPE_CHECKING:
    from ..app import FtevApp


class HomeScreen(Screen[None]):
    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [*to_bindings(HOME_KEYS)]
    app: FtevApp

    def __init__(self, runs_dir: Path) -> None:
        super().__init__()
        self.runs_dir = runs_dir
        self.scanner = Scanner(runs_dir, self.post_message)
        self.title_line = TwoEnds("title")
        self.runs = RunList()
        self.key_line = KeyLine(hints((*HOME_KEYS, *APP_KEYS)))

    def compose(self) -> ComposeResult:
        yield self.title_line
        yield self.runs
        yield self.key_line
        yield TooSmall()

    def on_mount(self) -> None:
        self._show_title(0)
        self.scanner.start()

    def on_unmount(self) -> None:
        self.scanner.stop()

    def on_resize(self, event: events.Resize) -> None:
        too_small = event.size.width < SMALLEST.width or event.size.height < SMALLEST.height
        self.set_class(too_small, "-too-small")

    @on(RunsListed)
    def show_runs(self, message: RunsListed) -> None:
        self._show_title(len(message.runs))
        self.runs.show_runs(message.runs, time.time(), message.complete)

    def _show_title(self, count: int) -> None:
        told = f"{count} runs" if count != 1 else "1 run"
        self.title_line.show_ends(
            [("ftev  ", "muted"), ("runs", "strong"), (f"  {self.runs_dir}", "muted")],
            [(told if count else "", "muted")],
        )

    @property
    def chosen(self) -> RunSummary | None:
        return self.runs.chosen

    def action_move(self, count: int) -> None:
        self.runs.move(count)

    def action_open(self) -> None:
        if self.chosen is not None:
            self.app.open_run(self.chosen.run)

    def action_new(self) -> None:
        self.app.new_run(self.chosen.run if self.chosen is not None else None)

    def action_export(self) -> None:
        if self.chosen is not None:
            self.key_line.show_notice("writing the report …", "muted")
            write_report(self.chosen.run, self.post_message)

    @on(RequestTold)
    def show_outcome(self, message: RequestTold) -> None:
        self.key_line.show_notice(message.text, "bad" if message.failed else "good")

    def action_out(self) -> None:
        if self.app.opened is not None:
            self.app.open_run(self.app.opened)

    def help_sections(self) -> list[tuple[str, tuple[Key, ...]]]:
        return [("Runs", HOME_KEYS), ("Everywhere", APP_KEYS)]
