"""Screens with a title above, the keys below, and a sentence where there is no room."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual import events, on
from textual.app import ComposeResult
from textual.message import Message
from textual.widget import Widget

from ...core.wording.text import visible
from ..app.keys import APP_KEYS, Key, hints
from ..drawing.format import SMALLEST, wrap
from ..drawing.lines import Line, join_fitting, justify, text_of, width_of
from .modal import CalmScreen, Result
from .pane import Pane, is_too_small

if TYPE_CHECKING:
    from ..app.app import FtevApp

HINT_GAP = "   "


@dataclass
class Notice(Message):
    """A sentence for the line of keys."""

    text: str
    role: str = ""


@dataclass
class Outcome(Message):
    """What became of something that was asked for, for the line of keys."""

    text: str
    failed: bool = False


class TwoEnds(Pane):
    """One line with something at the left and something at the right: the left gives way."""

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self._left: Line = []
        self._right: Line = []

    def show_ends(self, left: Line, right: Line) -> None:
        self._left, self._right = left, right
        self.show()

    def draw(self, width: int, height: int) -> list[Line]:
        return [justify(self._left, self._right, width)]


class KeyLine(Pane):
    """The keys that matter here; a notice takes their place for a while, whole: in more lines
    where one is too short for it."""

    NOTICE_SECONDS = 12.0
    MOST_LINES = 4

    def __init__(self, hints: list[Line]) -> None:
        super().__init__(id="keys")
        self.hints = hints
        self.notice: Line = []
        self._shown = 0

    def show_hints(self, hints: list[Line]) -> None:
        self.hints = hints
        self.show()

    def show_notice(self, text: str, role: str = "") -> None:
        self.notice = [(visible(text), role or "strong")]
        self._shown += 1
        shown = self._shown
        self.set_timer(self.NOTICE_SECONDS, lambda: self._drop_notice(shown))
        self._take_room()
        self.show()

    def _drop_notice(self, shown: int) -> None:
        if shown == self._shown:
            self.drop_notice()

    def drop_notice(self) -> None:
        self.notice = []
        self._take_room()
        self.show()

    def on_resize(self) -> None:
        self._take_room()

    def _take_room(self) -> None:
        self.styles.height = max(1, len(self._notice_lines(self.size.width)))

    def _notice_lines(self, width: int) -> list[Line]:
        if not self.notice or not width:
            return []
        role = self.notice[0][1]
        return [[(t, role)] for t in wrap(text_of(self.notice), width)[: self.MOST_LINES]]

    def draw(self, width: int, height: int) -> list[Line]:
        if not self.notice:
            return [hint_line(self.hints, width)]
        return self._notice_lines(width)


def hint_line(hints: list[Line], width: int) -> Line:
    """As many hints as fit, in their order; the way to all of them, `?`, always."""
    line = join_fitting(hints, HINT_GAP, width)
    last = next((hint for hint in hints if hint[0][0] == "?"), None)
    if last is None or last[0] in line:
        return line
    room = width - width_of(last) - len(HINT_GAP)
    others = [hint for hint in hints if hint is not last]
    return [*join_fitting(others, HINT_GAP, room), (HINT_GAP, ""), *last]


class TooSmall(Pane):
    """While it is shown, keys do nothing but leave: what they would do cannot be seen."""

    def draw(self, width: int, height: int) -> list[Line]:
        needs = f"ftev needs {SMALLEST[0]} × {SMALLEST[1]} cells"
        sentence = f"{needs}; this is {width} × {height}. q leaves."
        return [[(text, "")] for text in wrap(sentence, width)]


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

    @on(Notice)
    def show_notice(self, message: Notice) -> None:
        self.key_line.show_notice(message.text, message.role)

    @on(Outcome)
    def show_outcome(self, message: Outcome) -> None:
        self.key_line.show_notice(message.text, "bad" if message.failed else "good")


class ReadingScreen(FramedScreen[None]):
    """Subclasses give the keys and the panes between title and keys."""

    KEYS: tuple[Key, ...] = ()
    NAME = ""

    def __init__(self) -> None:
        super().__init__((*self.KEYS, *APP_KEYS))

    def reads_before(self, key: str) -> bool:
        """Whether what a key is about is still being read; `go_on` says that it was."""
        return False

    def go_on(self) -> None:
        self.app.key_queue.go_on()

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
