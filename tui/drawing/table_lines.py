"""Tables of formatted cells as lines: what does not fit gives way by whole columns, and says so."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rich.cells import cell_len

from ...core.wording.text import visible
from .format import fit, fit_right, wrap
from .spans import GAP, Line, Span

LEAST_WORDS = 10  # cells that a column of words keeps


def table_lines(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    width: int,
    words: Collection[str] = (),
) -> list[Line]:
    """Header and rows in at most `width` cells; the first column and those of words stand left.

    Columns of words are narrowed first; then whole columns are left out from the right, and the
    last line names them.
    """
    seen = [[visible(cell) for cell in row] for row in rows]
    heads = [visible(name) for name in columns]
    left = [i == 0 or name in words for i, name in enumerate(columns)]
    kept = len(heads)
    while True:
        widths = _widths(heads[:kept], seen, left, width)
        if kept == 1 or sum(widths) + len(GAP) * (kept - 1) <= width:
            break
        kept -= 1
    lines = _header(heads[:kept], widths, left)
    for row in seen:
        cells: list[Span] = [(text, "") for text in row[:kept]]
        lines.append(place_cells(cells, widths, left))
    if kept < len(heads):
        told = f"Not shown at this width: {', '.join(heads[kept:])}."
        lines += [[(text, "muted")] for text in wrap(told, width)]
    return lines


def place_cells(cells: Sequence[Span], widths: Sequence[int], left: Sequence[bool]) -> Line:
    line: Line = []
    for (text, role), size, is_left in zip(cells, widths, left, strict=False):
        if line:
            line.append((GAP, ""))
        line.append((fit(text, size) if is_left else fit_right(text, size), role))
    return line


def _widths(
    heads: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[bool], width: int
) -> list[int]:
    """What each column needs, a title of several words in two lines; words narrowed to fit."""
    widths = []
    for i, head in enumerate(heads):
        longest = max((cell_len(row[i]) for row in rows if i < len(row)), default=0)
        widths.append(max(longest, *(cell_len(word) for word in head.split(" ")), 1))
    excess = sum(widths) + len(GAP) * (len(widths) - 1) - width
    while excess > 0:
        wide = [i for i, size in enumerate(widths) if left[i] and size > LEAST_WORDS]
        if not wide:
            break
        widest = max(wide, key=lambda i: widths[i])
        widths[widest] -= 1
        excess -= 1
    return widths


def _header(heads: Sequence[str], widths: Sequence[int], left: Sequence[bool]) -> list[Line]:
    told = [wrap(head, size) for head, size in zip(heads, widths, strict=True)]
    height = max(map(len, told), default=1)
    padded = [[""] * (height - len(lines)) + lines for lines in told]
    return [
        place_cells([(lines[y], "muted") for lines in padded], widths, left) for y in range(height)
    ]
