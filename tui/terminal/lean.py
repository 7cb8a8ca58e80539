"""Frames in fewer bytes: only the cells that changed, and no colour said twice.

Textual draws a changed span from the left edge of its widget, resets the style after every piece
of text, and knows of a layout only that everything may have moved. Over SSH that is most of what
is sent.
"""

from __future__ import annotations

from collections.abc import Iterable

from rich.cells import cell_len
from rich.color import ColorSystem
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.style import Style
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.strip import Strip

from .picture import Codes, Picture, Piece

_PLAIN: Codes = ("", "", "")


class LeanUpdate(CompositorUpdate):
    """The same picture as Textual's update, said shorter."""

    def __init__(self, update: ChopsUpdate | LayoutUpdate, picture: Picture) -> None:
        self.update, self.picture = update, picture

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.update

    def render_segments(self, console: Console) -> str:
        colours, writer = console._color_system or ColorSystem.TRUECOLOR, LeanWriter()
        update, changes = self.update, self.picture.changes
        for x, y, strip in _strips(update):
            for start, pieces in changes(x, y, pieces_of(strip, colours)):
                writer.put(start, y, pieces)
        return writer.finish()


def lean(update: RenderableType | None, picture: Picture) -> RenderableType | None:
    """An update as what it changes of the picture that the terminal shows."""
    return LeanUpdate(update, picture) if isinstance(update, ChopsUpdate | LayoutUpdate) else update


def pieces_of(strip: Strip, colours: ColorSystem) -> list[Piece]:
    return [
        (text, codes_of(style, colours))
        for text, style, control in strip._segments
        if text and not control
    ]


def _strips(update: ChopsUpdate | LayoutUpdate) -> Iterable[tuple[int, int, Strip]]:
    return _all_cells(update) if isinstance(update, LayoutUpdate) else _changed_cells(update)


def _changed_cells(update: ChopsUpdate) -> Iterable[tuple[int, int, Strip]]:
    for y, start, end in update.spans:
        for chop_end, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
            if strip is None or x >= end or chop_end <= start:
                continue
            left, right = max(x, start), min(chop_end, end)
            yield left, y, strip.crop(left - x, right - x)


def _all_cells(update: LayoutUpdate) -> Iterable[tuple[int, int, Strip]]:
    left, top = update.region.offset
    for y, strips in enumerate(update.strips, top):
        x = left
        for strip in strips:
            yield x, y, strip
            x += strip.cell_length


class LeanWriter:
    """Text for the terminal; remembers where the cursor is and what style is on."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._at: tuple[int, int] | None = None
        self._on = _PLAIN

    def put(self, x: int, y: int, pieces: Iterable[Piece]) -> None:
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
        self._switch(_PLAIN)
        return "".join(self._parts)


_CODES: dict[tuple[Style, ColorSystem], Codes] = {}


def codes_of(style: Style | None, colours: ColorSystem) -> Codes:
    if style is None:
        return _PLAIN
    key = style, colours
    if key not in _CODES:
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
