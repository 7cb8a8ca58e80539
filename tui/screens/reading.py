"""What the screens over one run have in common: title, one pane, keys, and the way back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from textual import events
from textual.app import ComposeResult

from ..widgets.pane import Pane
from ..widgets.spans import Line
from ..widgets.status import KeyLine, TwoEnds
from .calm import CalmScreen
from .keys import APP_KEYS, Key, hints
from .small import TooSmall, is_too_small

if TYPE_CHECKING:
    from ..app import FtevApp


class ReadingScreen(CalmScreen[None]):
    """Subclasses give the keys and the panes between title and keys."""

    AUTO_FOCUS = ""
    KEYS: tuple[Key, ...] = ()
    NAME = ""
    app: FtevApp

    def __init__(self) -> None:
        super().__init__()
        self.title_line = TwoEnds("title")
        self.key_line = KeyLine(hints((*self.KEYS, *APP_KEYS)))

    def panes(self) -> Iterable[Pane]:
        return ()

    def compose(self) -> ComposeResult:
        yield self.title_line
        yield from self.panes()
        yield self.key_line
        yield TooSmall()

    def on_resize(self, event: events.Resize) -> None:
        self.set_class(is_too_small(event.size), "-too-small")

    def show_title(self, name: str, about: str, right: Line) -> None:
        self.title_line.show_ends(
            [("ftev  ", "muted"), (name, "strong"), (f"  {about}", "muted")], right
        )

    def action_out(self) -> None:
        """Back to the screen before; where this is the first one, to all runs."""
        if len(self.app.screen_stack) > 1:
            self.app.remember()
            self.app.pop_screen()
        else:
            self.app.go_home()

    def help_sections(self) -> list[tuple[str, tuple[Key, ...]]]:
        return [(self.NAME, self.KEYS), ("Everywhere", APP_KEYS)]
