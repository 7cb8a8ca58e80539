"""Screens with a title above and the keys below, and boxes over them: a question, a refusal, keys,
an entry of the glossary. No fades: each frame of one is sent over the line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Region
from textual.message import Message
from textual.reactive import Reactive
from textual.screen import ModalScreen, Screen
from textual.strip import Strip
from textual.widget import Widget

from ...core.wording.text import visible
from ..app.keys import APP_KEYS, PAGES, UP_DOWN, Key, both_ways, hints, to_bindings
from ..app.memory import REMEMBER_SECONDS, Memory, Remembering
from ..drawing.format import SMALLEST, fit, wrap
from ..drawing.lines import Line, join_fitting, justify, text_of, width_of
from ..terminal.private import FramedApp, composed
from .pane import Pane, ScrolledPane, is_too_small

if TYPE_CHECKING:
    from ...core.config.draft import Draft
    from ...core.report.glossary import Entry
    from ...core.run.runs import Run
    from ..terminal.input import KeyQueue

Result = TypeVar("Result")
MARGIN = 4  # cells of the screen below that stay to be seen
WIDTH = 60  # cells of a sentence
KEY_WIDTH = 18  # cells
EXPLAINED_WIDTH, LABEL_WIDTH = 70, 10  # cells


class CalmScreen(Screen[Result]):
    """A change of focus paints the two panes it concerns: Textual's own screen paints itself."""

    focused: Reactive[Widget | None] = Reactive(None, repaint=False)


class CalmModal(ModalScreen[Result]):
    """Something over a screen, which stays to be seen, without a veil.

    The screen below is taken as it was composed: Textual sends it through Rich, line by line, for
    every paint of the modal, which is half the time from a key to its picture.
    """

    focused: Reactive[Widget | None] = Reactive(None, repaint=False)
    _below: list[Strip] | None = None

    def refresh(self, *regions: Region, **wanted: Any) -> Self:
        self._below = None  # also called when something changes on the screen below
        return super().refresh(*regions, **wanted)

    def render_lines(self, crop: Region) -> list[Strip]:
        if self._below is None:
            stack = self.app.screen_stack
            below = composed(stack[stack.index(self) - 1], self.size)
            self._below = [strip.discard_meta() for strip in below]
        return [strip.crop(crop.x, crop.right) for strip in self._below[crop.y : crop.bottom]]


class Box(ScrolledPane):
    """The lines of a modal, as high as they need and the screen allows."""

    def __init__(self, title: str, lines: list[Line]) -> None:
        super().__init__(id="box")
        self.border_title = Content(title)
        self.lines = lines

    def all_lines(self, width: int) -> list[Line]:
        return self.lines


class Modal(CalmModal[Result]):
    """Shows `lines`; subclasses add the keys."""

    def __init__(self, title: str, lines: list[Line]) -> None:
        super().__init__()
        self.box = Box(title, lines)

    def compose(self) -> ComposeResult:
        self._size_box(self.app.size.width, self.app.size.height)
        yield self.box

    def on_resize(self, event: events.Resize) -> None:
        self._size_box(event.size.width, event.size.height)

    def _size_box(self, width: int, height: int) -> None:
        needed = max(map(width_of, self.box.lines), default=10)
        self.box.styles.width = min(needed + 6, width - MARGIN)  # border and padding, both sides
        self.box.styles.height = min(len(self.box.lines) + 2, height - 2)  # its border


PAGE_KEYS = (
    Key("escape,q,enter", "", "close", ""),
    *both_ways(UP_DOWN, "scroll({})", -1),
    *both_ways(PAGES, "scroll({})", -10),
)


class Page(Modal[None]):
    """Lines to read: they scroll, and close without an answer."""

    BINDINGS: ClassVar[list[BindingType]] = [*to_bindings(PAGE_KEYS)]

    def action_close(self) -> None:
        self.dismiss(None)

    def action_scroll(self, count: int) -> None:
        self.box.scroll_lines(count)


class Question(Modal[bool]):
    """A question whose answer is No unless `y` is pressed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y,Y", "answer(True)", show=False),
        Binding("n,N,escape,enter,q", "answer(False)", show=False),
    ]

    def __init__(self, question: str, consequence: str) -> None:
        lines: list[Line] = [[(text, "")] for text in wrap(consequence, WIDTH)]
        keys: Line = [("y", "accent"), (" yes     ", ""), ("enter", "accent"), (" no", "strong")]
        super().__init__(question, [*lines, [], keys])

    def action_answer(self, yes: bool) -> None:
        self.dismiss(yes)


class Refusal(Modal[None]):
    """A sentence that stays until `enter` or `esc`; every other key does nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter", "close", show=False)]

    def __init__(self, title: str, why: str) -> None:
        lines: list[Line] = [[(text, "")] for text in wrap(why, WIDTH)]
        super().__init__(title, [*lines, [], [("enter", "accent"), (" back", "muted")]])

    def action_close(self) -> None:
        self.dismiss(None)


class Help(Page):
    """The keys of a screen, from the table that drives them."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("question_mark,f1", "close", show=False)]

    def __init__(self, sections: Iterable[tuple[str, Iterable[Key]]]) -> None:
        super().__init__("Keys", help_lines(sections))


def help_lines(sections: Iterable[tuple[str, Iterable[Key]]]) -> list[Line]:
    """A section per title, each key beside its words."""
    lines: list[Line] = []
    for title, keys in sections:
        lines.append([(title, "strong")])
        lines += [[(fit(k.shown, KEY_WIDTH), "accent"), (k.words, "")] for k in keys if k.shown]
        lines.append([])
    return lines[:-1]


class Explain(Page):
    """What a metric, a finding or a term means: its entry of the glossary."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("question_mark", "close", show=False)]

    def __init__(self, entry: Entry) -> None:
        super().__init__(f"{entry.title} ({entry.kind})", entry_lines(entry))


def explain_screen(term: str) -> Explain | None:
    """The modal of a term, however it is spelt; None where the glossary lacks it."""
    # Most screens are left without a term having been asked about.
    from ...core.report.glossary import lookup

    entry = lookup(term)
    return Explain(entry) if entry else None


def entry_lines(entry: Entry) -> list[Line]:
    """An entry of the glossary as labelled paragraphs."""
    parts = [("meaning", entry.meaning), ("reading", entry.reading), ("trap", entry.trap)]
    parts.append(("see also", ", ".join(entry.see)))
    lines: list[Line] = []
    for label, text in parts:
        if not text:
            continue
        lines += [[]] if lines else []
        wrapped = wrap(visible(text), EXPLAINED_WIDTH - LABEL_WIDTH)
        for i, line in enumerate(wrapped):
            lines.append([(fit("" if i else label, LABEL_WIDTH), "muted"), (line, "")])
    return lines


class ScreenHost(FramedApp[int]):
    """What a screen may ask of the application, which is above all screens and imports them."""

    key_queue: KeyQueue
    opened: Run | None  # the run whose screen lies lowest
    kept_draft: Draft | None  # a form that was left before its run began
    ascii_only: bool
    runs_dir: Path

    @property
    def line_is_stalled(self) -> bool:
        raise NotImplementedError

    def recall(self, screen: Remembering) -> Memory:
        raise NotImplementedError

    def memory_of(self, of: Path) -> Memory:
        raise NotImplementedError

    def remember(self) -> None:
        raise NotImplementedError

    def remember_soon(self, every: float = REMEMBER_SECONDS) -> None:
        raise NotImplementedError

    def open_run(self, run: Run) -> None:
        raise NotImplementedError

    def go_home(self) -> None:
        raise NotImplementedError

    def new_run(self, like: Run | None) -> None:
        raise NotImplementedError


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
        # A notice that came later has a timer of its own; this one's must not take it away.
        shown = self._shown
        # Long enough to read four lines; the keys matter more after that.
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
    """Subclasses give what stands between title and keys, and what the keys everywhere ask."""

    # Textual would focus the first box to write in, and letters would no longer be keys.
    AUTO_FOCUS = ""
    app: ScreenHost

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
        # Always there and hidden by a class: mounting it on a resize would flicker.
        yield TooSmall()

    def on_resize(self, event: events.Resize) -> None:
        self.set_class(is_too_small(event.size), "-too-small")

    @property
    def is_reading(self) -> bool:
        """Whether nothing of what the screen is about was drawn yet."""
        return False

    def reads_before(self, key: str) -> bool:
        """Whether what a key is about is still being read."""
        return False

    def explained_term(self) -> str | None:
        """What stands under the cursor, as the glossary has it."""
        return None

    def help_sections(self) -> list[tuple[str, tuple[Key, ...]]]:
        """The keys of the screen with their titles, for the help and the palette."""
        return []

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

    def go_on(self) -> None:
        """What keys waited for in `reads_before` is read."""
        self.app.key_queue.go_on()

    def show_title(self, name: str, about: str, right: Line) -> None:
        self.title_line.show_ends(
            [("ftev  ", "muted"), (name, "strong"), (f"  {about}", "muted")], right
        )

    def action_out(self) -> None:
        """Back to the screen before; where this is the first one, to all runs."""
        if len(self.app.screen_stack) > 1:
            # Before the pop: afterwards the screen is no longer in the stack that is looked
            # through.
            self.app.remember()
            self.app.pop_screen()
        else:
            self.app.go_home()

    def help_sections(self) -> list[tuple[str, tuple[Key, ...]]]:
        return [(self.NAME, self.KEYS), ("Everywhere", APP_KEYS)]
