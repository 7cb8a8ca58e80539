"""What every screen has: a title above, the keys below, and a sentence where there is no room."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from textual import events, on
from textual.app import ComposeResult
from textual.widget import Widget

from ..app.keys import Key, hints
from ..screens.prompt.asking import RequestTold
from ..screens.run.status import KeyLine, TwoEnds
from .calm import CalmScreen, Result
from .small import TooSmall, is_too_small

if TYPE_CHECKING:
    from ..app.app import FtevApp


class FramedScreen(CalmScreen[Result]):
    """Subclasses give what stands between title and keys."""

    AUTO_FOCUS = ""
    app: FtevApp

    def __init__(self, hinted: Iterable[Key]) -> None:
        """`hinted`: the keys whose hints stand below, in their order."""
        super().__init__()
        self.title_line = TwoEnds("title")
        self.key_line = KeyLine(hints(hinted))

    def panes(self) -> Iterable[Widget]:
        raise NotImplementedError

    def compose(self) -> ComposeResult:
        yield self.title_line
        yield from self.panes()
        yield self.key_line
        yield TooSmall()

    def on_resize(self, event: events.Resize) -> None:
        self.set_class(is_too_small(event.size), "-too-small")

    @on(RequestTold)
    def show_outcome(self, message: RequestTold) -> None:
        self.key_line.show_notice(message.text, "bad" if message.failed else "good")
