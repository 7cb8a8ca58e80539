"""Boxes over the screen: a question, a refusal, keys, an entry of the glossary. No fades."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Region
from textual.reactive import Reactive
from textual.screen import ModalScreen, Screen
from textual.strip import Strip
from textual.widget import Widget

from ...core.wording.text import visible
from ..app.keys import PAGES, UP_DOWN, Key, both_ways, to_bindings
from ..drawing.format import fit, wrap
from ..drawing.lines import Line, width_of
from ..terminal.private import composed
from .pane import ScrolledPane

if TYPE_CHECKING:
    from ...core.report.glossary import Entry

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
        self.box.styles.width = min(needed + 6, width - MARGIN)
        self.box.styles.height = min(len(self.box.lines) + 2, height - 2)


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
