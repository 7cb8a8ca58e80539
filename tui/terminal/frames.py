"""Frames in fewer bytes: only the cells that changed, and no colour sent twice.

Textual draws a changed span from the left edge of its widget, resets the style after every piece
of text, and paints the whole screen after every change of layout, of focus rules and of screens:
37 kB at 200 × 50, most of it what already stands there. Over SSH that is most of what is sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.cells import cell_len
from rich.color import ColorSystem
from rich.console import COLOR_SYSTEMS, Console, ConsoleOptions, RenderableType, RenderResult
from rich.style import Style
from textual.strip import Strip

from ..drawing.lines import changed_spans
from .private import CompositorUpdate, strips_of

_PLAIN: Codes = ("", "", "")


class FrameDiff(CompositorUpdate):
    """A frame of Textual's as what it changes of the screen buffer."""

    def __init__(
        self,
        frame: RenderableType,
        strips: Iterable[tuple[int, int, Strip]],
        buffer: ScreenBuffer,
    ) -> None:
        self.frame, self.strips, self.buffer = frame, strips, buffer

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.frame

    def render_segments(self, console: Console) -> str:
        colours = COLOR_SYSTEMS[console.color_system or "truecolor"]
        writer, changes = CodeWriter(), self.buffer.changes
        for x, y, strip in self.strips:
            for start, pieces in changes(x, y, pieces_of(strip, colours)):
                writer.put(start, y, pieces)
        return writer.finish()


def diff_of(frame: RenderableType | None, buffer: ScreenBuffer) -> RenderableType | None:
    """A frame as what it changes of what the terminal shows; anything else as it is."""
    strips = strips_of(frame)
    return frame if frame is None or strips is None else FrameDiff(frame, strips, buffer)


def pieces_of(strip: Strip, colours: ColorSystem) -> list[Piece]:
    """The texts of a strip with their codes; control segments are no text."""
    return [
        (text, codes_of(style, colours)) for text, style, control in strip if text and not control
    ]


class CodeWriter:
    """Text for the terminal; remembers where the cursor is and what style is on."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._at: tuple[int, int] | None = None
        self._on = _PLAIN

    def put(self, x: int, y: int, pieces: Iterable[Piece]) -> None:
        # The cursor stands there already where spans follow each other: six bytes or more saved.
        if self._at != (x, y):
            self._parts.append(f"\x1b[{y + 1};{x + 1}H")
        for text, codes in pieces:
            self._switch(codes)
            self._parts.append(text)
            x += cell_len(text)
        self._at = (x, y)

    def _switch(self, wanted: Codes) -> None:
        if wanted == self._on:
            return
        attributes, foreground, background = wanted
        # A colour or attribute has no code of its own that ends it alone; only 0 ends all of them.
        lost = any(before and not after for before, after in zip(self._on, wanted, strict=True))
        if lost or attributes != self._on[0]:
            codes = ["0", attributes, foreground, background]
        else:
            codes = [
                foreground if foreground != self._on[1] else "",
                background if background != self._on[2] else "",
            ]
        self._parts.append(f"\x1b[{';'.join(code for code in codes if code)}m")
        self._on = wanted

    def finish(self) -> str:
        # What others write to the terminal after a frame must not take its colours.
        self._switch(_PLAIN)
        return "".join(self._parts)


_CODES: dict[tuple[Style, ColorSystem], Codes] = {}


def codes_of(style: Style | None, colours: ColorSystem) -> Codes:
    """The codes that switch a style on, remembered: most cells share a few styles."""
    if style is None:
        return _PLAIN
    key = style, colours
    if key not in _CODES:
        # Shades and themes make new styles for hours: the table must not grow without end.
        if len(_CODES) > 4096:
            _CODES.clear()
        _CODES[key] = _make_codes(style, colours)
    return _CODES[key]


def _make_codes(style: Style, colours: ColorSystem) -> Codes:
    def coloured(foreground: bool) -> str:
        colour = style.color if foreground else style.bgcolor
        if colour is None:
            return ""
        return ";".join(colour.downgrade(colours).get_ansi_codes(foreground))

    return _attributes(style), coloured(True), coloured(False)


_ATTRIBUTES = (
    ("bold", "1"),
    ("dim", "2"),
    ("italic", "3"),
    ("underline", "4"),
    ("blink", "5"),
    ("reverse", "7"),
    ("conceal", "8"),
    ("strike", "9"),
)


def _attributes(style: Style) -> str:
    return ";".join(code for name, code in _ATTRIBUTES if getattr(style, name))


Codes = tuple[str, str, str]  # attributes, foreground, background
Piece = tuple[str, Codes]  # a text in one style
Cell = tuple[str, Codes]  # the character of a column; "" behind one that is wider than a column
_UNKNOWN: Cell = ("\0", ("", "", ""))


class ScreenBuffer:
    """The cells as they were sent last. Forgotten, everything is sent again."""

    def __init__(self) -> None:
        self._rows: dict[int, list[Cell]] = {}

    def forget(self) -> None:
        self._rows.clear()

    def changes(self, x: int, y: int, pieces: Sequence[Piece]) -> Iterator[tuple[int, list[Piece]]]:
        """The columns and texts to be sent for `pieces` to stand at x, y; counted as sent."""
        cells = cells_of(pieces)
        end = x + len(cells)
        row = self._rows.setdefault(y, [])
        if len(row) < end:
            row.extend([_UNKNOWN] * (end - len(row)))
        before = row[x:end]
        if before == cells:
            return
        row[x:end] = cells
        # Nothing is known of these cells: to search them for what changed would find all.
        if before[0] is _UNKNOWN and before[-1] is _UNKNOWN:
            yield x, list(pieces)
            return
        for start, stop in changed_spans(before, cells):
            # Half of a wide character cannot be sent: begin with its first column, end behind its
            # last.
            while start > 0 and not cells[start][0]:
                start -= 1
            while stop < len(cells) and not cells[stop][0]:
                stop += 1
            yield x + start, cells[start:stop]


def cells_of(pieces: Sequence[Piece]) -> list[Cell]:
    """One entry per column. A character without a width belongs to the one before it."""
    cells: list[Cell] = []
    for text, codes in pieces:
        width = cell_len(text)
        # The fast way: ASCII and other single-cell text, nearly all of what is sent.
        if width == len(text) and text.isprintable():
            cells += [(character, codes) for character in text]
            continue
        if sum(map(cell_len, text)) != width:  # a sequence that is drawn as one sign
            cells += [(text, codes), *[("", codes)] * (width - 1)] if width else []
            continue
        for character in text:
            wide = cell_len(character)
            if wide:
                cells += [(character, codes), *[("", codes)] * (wide - 1)]
            elif cells:
                cells[-1] = (cells[-1][0] + character, cells[-1][1])
    return cells
