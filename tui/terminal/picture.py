"""What the terminal shows, cell by cell: a layout that moves nothing then sends nothing.

Textual paints the whole screen after every change of layout, of focus rules and of screens: 37 kB
at 200 × 50, most of it what already stands there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.cells import cell_len

from ..widgets.pane import changed_spans

Codes = tuple[str, str, str]  # attributes, foreground, background
Piece = tuple[str, Codes]  # a text in one style
Cell = tuple[str, Codes]  # the character of a column; "" behind one that is wider than a column
_UNKNOWN: Cell = ("\0", ("", "", ""))


class Picture:
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
        if before[0] is _UNKNOWN and before[-1] is _UNKNOWN:
            yield x, list(pieces)
            return
        for start, stop in changed_spans(before, cells):
            while start > 0 and not cells[start][0]:
                start -= 1
            while stop < len(cells) and not cells[stop][0]:
                stop += 1
            yield x + start, cells[start:stop]


def cells_of(pieces: Sequence[Piece]) -> list[Cell]:
    """One entry a column. A character without a width belongs to the one before it."""
    cells: list[Cell] = []
    for text, codes in pieces:
        width = cell_len(text)
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
