"""A pane that draws lines of roles and repaints only the cells that changed; and the desk on which
numbered panes stand where their sizes allow, or share one place like tabs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.color import Color
from textual.containers import Container
from textual.content import Content
from textual.geometry import NULL_OFFSET, NULL_SPACING, Region, Size
from textual.layout import ArrangeResult, Layout, WidgetPlacement
from textual.strip import Strip
from textual.widget import Widget

from ..app.memory import Plain
from ..drawing.format import SMALLEST
from ..drawing.lines import (
    COLOURLESS_ROLES,
    ROLES,
    SHADES,
    Line,
    Span,
    changed_spans,
    cut,
    describe_hidden,
    scrolled,
    width_of,
)
from ..terminal.private import keeps_lines


class Pane(Widget):
    """Subclasses say what to draw; this class colours it and finds what changed."""

    ALLOW_SELECT = False

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._strips: list[Strip] = []
        self._drawn_size = (-1, -1)
        self._role_styles: dict[str, Style] = {}
        self._made: list[tuple[tuple[Span, ...], Strip]] = []  # the lines drawn last
        self._made_width = -1
        self._rendered: tuple[Region, list[Strip]] = Region(), []
        # held while drawing, which a key asks for at any time, while a thread writes
        self.guard: AbstractContextManager[object] = nullcontext()

    def draw(self, width: int, height: int) -> list[Line]:
        """At most `height` lines of at most `width` cells."""
        raise NotImplementedError

    def show(self) -> None:
        """Draw again, and have the changed spans repainted."""
        size = self.content_size
        if not self.is_attached or not self.display or not size.width or not size.height:
            self._drawn_size = (-1, -1)
            return
        before, self._strips = self._strips, self._make_strips(size.width, size.height)
        if self._drawn_size != tuple(size):
            self._drawn_size = (size.width, size.height)
            self.refresh()
        # Spans, not lines: a clock that moves on costs a few bytes over the line, not a row.
        elif regions := changed_regions(before, self._strips):
            self.refresh(*regions)

    def render_line(self, y: int) -> Strip:
        size = self.content_size
        if self._drawn_size != (size.width, size.height):
            self._strips = self._make_strips(size.width, size.height)
            self._drawn_size = (size.width, size.height)
        if y < len(self._strips):
            return self._strips[y]
        return Strip.blank(size.width, self.rich_style)

    def render_lines(self, crop: Region) -> list[Strip]:
        """Textual asks every pane for all of its lines where one of them has changed anywhere."""
        if self._rendered[0] != crop or not keeps_lines(self, crop.height):
            self._rendered = crop, super().render_lines(crop)
        return self._rendered[1]

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._role_styles = {}
        self._made = []
        self._drawn_size = (-1, -1)

    def _make_strips(self, width: int, height: int) -> list[Strip]:
        with self.guard:
            lines = self.draw(width, height)[:height] if width and height else []
        if width != self._made_width:
            self._made, self._made_width = [], width
        made = [self._make_or_keep(y, line, width) for y, line in enumerate(lines)]
        self._made, strips = made, [strip for _, strip in made]
        # Painted too: below a shorter text the terminal still shows the longer one.
        blank = Strip.blank(width, self._style_of(""))
        return strips + [blank] * (height - len(strips))

    def _make_or_keep(self, y: int, line: Line, width: int) -> tuple[tuple[Span, ...], Strip]:
        """Most lines are as they were: made again, they would be half the cost of a picture."""
        spans = tuple(line)
        if y < len(self._made) and self._made[y][0] == spans:
            return self._made[y]
        return spans, self._make_strip(line, width)

    def _make_strip(self, line: Line, width: int) -> Strip:
        line = cut(line, width)
        segments = [Segment(text, self._style_of(role)) for text, role in line if text]
        missing = width - width_of(line)
        if missing > 0:
            segments.append(Segment(" " * missing, self._style_of("")))
        return Strip(segments, width)

    def _style_of(self, role: str) -> Style:
        """The style of one role, or of several with spaces between them."""
        if role not in self._role_styles:
            variables = self.app.theme_variables
            style = self.rich_style
            for part in role.split():
                style += role_style(part, variables)
            self._role_styles[role] = style
        return self._role_styles[role]


def role_style(role: str, variables: Mapping[str, str]) -> Style:
    """A role as the theme colours it. Resolved here and not as a component class of each pane:
    matching thirteen classes for each of ten panes costs a sixth of the time to the first paint.
    """
    if role in COLOURLESS_ROLES:
        return Style.parse(COLOURLESS_ROLES[role])
    if role in SHADES:
        return shade_style(role, variables)
    assert role in ROLES, role
    return Style(color=Color.parse(variables[role]).rich_color)


def shade_style(role: str, variables: Mapping[str, str]) -> Style:
    """A background between the paper and a colour; the colour as text where they do not mix."""
    colour, share = SHADES[role]
    paper, ink = Color.parse(variables["paper"]), Color.parse(variables[colour])
    # The terminal's own colours: what they look like is not known, so nothing can lie between them.
    if paper.ansi is not None or ink.ansi is not None:
        return Style(color=ink.rich_color)
    return Style(bgcolor=paper.blend(ink, share).rich_color)


def changed_regions(before: list[Strip], after: list[Strip]) -> list[Region]:
    """The spans of cells in which two pictures of the same size differ."""
    regions = []
    for y, (old, new) in enumerate(zip(before, after, strict=False)):
        # Kept strips are the same objects: most lines need no comparison of their cells.
        if old is new or old == new:
            continue
        if old.cell_length != len(old.text) or new.cell_length != len(new.text):
            spans = [(0, new.cell_length)]  # a wide character: cells are not characters
        else:
            spans = changed_spans(_styled_cells(old), _styled_cells(new))
        regions += [Region(start, y, end - start, 1) for start, end in spans]
    return regions


def _styled_cells(strip: Strip) -> list[tuple[str, Style | None]]:
    return [(character, style) for text, style, _ in strip for character in text]


def is_too_small(size: Size) -> bool:
    """Whether a terminal has no room for any screen."""
    return size.width < SMALLEST[0] or size.height < SMALLEST[1]


class Numbered(Widget):
    """What has a number on a desk of panes, which is the key that goes there, and a name."""

    NUMBER: ClassVar[int]
    NAME: ClassVar[str]


class NumberedPane(Numbered, Pane, can_focus=True):
    """A pane of a desk: a border with its number and name, and the keys that scroll it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "scroll_lines(-1)", show=False),
        Binding("down", "scroll_lines(1)", show=False),
        Binding("pageup", "scroll_lines(-10)", show=False),
        Binding("pagedown", "scroll_lines(10)", show=False),
        Binding("home", "scroll_lines(-1000000)", show=False),
        Binding("end", "scroll_lines(1000000)", show=False),
    ]

    def __init__(self) -> None:
        super().__init__(id=f"pane-{self.NUMBER}")
        self.border_title = Content(f"{self.NUMBER} {self.NAME}")
        self.from_end = 0  # lines below the last one that is seen
        self.hidden_above = 0

    def lines(self, width: int, height: int) -> list[Line]:
        """Everything the pane shows; more than `height` lines scroll."""
        raise NotImplementedError

    @property
    def keeps_head(self) -> int:
        """Lines at the top that do not scroll."""
        return 0

    @property
    def follows_end(self) -> bool:
        return False

    def draw(self, width: int, height: int) -> list[Line]:
        lines = self.lines(width, height)
        if len(lines) <= height:
            self.from_end = self.hidden_above = 0
            return lines
        head, body = lines[: self.keeps_head], lines[self.keeps_head :]
        room = max(1, height - len(head) - 1)
        top = self._top_line(len(body), room)
        more: Line = [(describe_hidden(top, len(body) - top - room), "muted")]
        return [*head, *body[top : top + room], more]

    def _top_line(self, count: int, room: int) -> int:
        last = count - room
        if self.follows_end:
            self.from_end = min(max(0, self.from_end), last)
            return last - self.from_end
        self.hidden_above = min(max(0, self.hidden_above), last)
        return self.hidden_above

    def action_scroll_lines(self, count: int) -> None:
        if self.follows_end:
            self.from_end = max(0, self.from_end - count)
        else:
            self.hidden_above = max(0, self.hidden_above + count)
        self.show()


class ScrolledPane(Pane):
    """A pane with more lines than room: subclasses give all of them, and they scroll."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.top = 0  # lines above the first one that is seen

    def all_lines(self, width: int) -> list[Line]:
        """Everything the pane shows, whatever its height."""
        raise NotImplementedError

    @property
    def keeps_head(self) -> int:
        """Lines at the top that do not scroll."""
        return 0

    def draw(self, width: int, height: int) -> list[Line]:
        lines, kept = self.all_lines(width), self.keeps_head
        rest, self.top = scrolled(lines[kept:], self.top, height - kept)
        return [*lines[:kept], *rest]

    def scroll_lines(self, count: int) -> None:
        self.top = max(0, self.top + count)
        self.show()


MOST_LINES = 1_000_000  # that a pane is remembered to be scrolled by


class PaneDesk(Container):
    """Holds panes, knows which of them is in view, and asks a subclass where they stand."""

    def __init__(self, *panes: Numbered, id: str, shown: int) -> None:
        super().__init__(id=id)
        self.panes = {pane.NUMBER: pane for pane in panes}
        self.shown = shown
        self.zoomed = False
        self._desk_layout = _DeskLayout()
        self._placed: dict[int, Region] = {}  # as it was arranged last

    def regions(self, size: Size) -> dict[int, Region]:
        """The region of each visible pane."""
        raise NotImplementedError

    def sharing(self, size: Size) -> Collection[int]:
        """The panes that share one place; none where each has its own."""
        raise NotImplementedError

    @property
    def layout(self) -> Layout:
        return self._desk_layout

    def compose(self) -> ComposeResult:
        yield from self.panes.values()

    def arrange_for(self, size: Size) -> None:
        """Show the panes that have a place in a desk of this size."""
        placed, sharing = self.regions(size), self.sharing(size)
        for number, pane in self.panes.items():
            pane.display = number in placed
            title = self._tabs(number, sharing) if number in sharing else _title(pane)
            # Setting it repaints the border, also where it is the same.
            if pane.border_title != title:
                pane.border_title = title
        if placed != self._placed:  # a layout repaints the whole screen
            self._placed = placed
            self.refresh(layout=True)

    def _tabs(self, shown: int, sharing: Collection[int]) -> Content:
        """The panes that share the place, the one in view marked by more than colour."""
        parts: list[str | Content | tuple[str, str]] = []
        for number in sharing:
            title = _title(self.panes[number]).plain
            parts.append(
                (f"▸{title} ", "bold") if number == shown else (f" {title} ", "dim not bold")
            )
        return Content.assemble(*parts)

    # What it remembers

    def memory(self) -> Plain:
        """Which pane is in view, whether it is zoomed, and how far each is scrolled."""
        scrolled = {
            str(number): [pane.from_end, pane.hidden_above]
            for number, pane in self.panes.items()
            if isinstance(pane, NumberedPane) and (pane.from_end or pane.hidden_above)
        }
        return {"shown": self.shown, "zoomed": self.zoomed, "scrolled": scrolled}

    def recall(self, memory: Plain) -> None:
        shown = memory.get("shown")
        if type(shown) is int and shown in self.panes:
            self.shown = shown
            # Only with a pane that is known: zoomed, it is all that is seen.
            self.zoomed = memory.get("zoomed") is True
        self.recall_scrolled(memory.get("scrolled"))

    def recall_scrolled(self, scrolled: object) -> None:
        """Of panes that have their lines already, which bound how far they are scrolled."""
        for number, pane in self.panes.items():
            ends = scrolled.get(str(number)) if isinstance(scrolled, dict) else None
            if isinstance(pane, NumberedPane) and isinstance(ends, list) and _are_lines(ends):
                pane.from_end, pane.hidden_above = ends


def _are_lines(ends: list[object]) -> bool:
    return len(ends) == 2 and all(type(e) is int and 0 <= e <= MOST_LINES for e in ends)


class _DeskLayout(Layout):
    name = "desk"

    def arrange(
        self, parent: Widget, children: list[Widget], size: Size, greedy: bool = True
    ) -> ArrangeResult:
        assert isinstance(parent, PaneDesk)
        regions = parent.regions(size)
        return [
            WidgetPlacement(regions[pane.NUMBER], NULL_OFFSET, NULL_SPACING, pane)
            for pane in parent.panes.values()
            if pane in children and pane.NUMBER in regions
        ]


def _title(pane: Numbered) -> Content:
    return Content(f"{pane.NUMBER} {pane.NAME}")
