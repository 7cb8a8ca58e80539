"""Lines of spans: a text and a role each; columns, tables, windows that scroll, cursors in them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from rich.cells import cell_len

from ...core.wording.text import visible
from .format import fit, fit_right, wrap

Span = tuple[str, str]  # text, role
Line = list[Span]

ROLES = (  # each a variable of the theme
    "muted",  # labels, units, what is not there yet
    "rule",  # thin lines
    "accent",  # where one is
    "good",
    "bad",
    "warn",
    "train",
    "validation",
    "reference",
    "base",
    "tuned",
)
JOINED_CELLS = 6  # equal cells between two changes that cost less than moving the cursor over them
SHADE_LEVELS = 4
# Backgrounds that deepen with a share: role -> (colour, share of it over the paper)
SHADES = {
    f"{name}-{level}": (colour, 0.10 + 0.13 * level)
    for name, colour in (("right", "good"), ("wrong", "bad"))
    for level in range(1, SHADE_LEVELS + 1)
}
COLOURLESS_ROLES = {
    "strong": "bold",  # what the eye should find first
    "cursor": "reverse",
    "under": "underline",
}

# How a run stands, and what was decided on it: a mark and its role.
STATUS_MARKS = {
    "starting": ("·", "muted"),
    "running": ("▶", "accent"),
    "paused": ("‖", "warn"),
    "finished": ("✓", "good"),
    "quiet": ("·", "muted"),
    "stopped": ("■", "warn"),
    "failed": ("✗", "bad"),
    "died": ("✗", "bad"),
    "reading": ("·", "muted"),
}
DECISION_MARKS = {"ship": ("✓", "good"), "hold": ("✗", "bad"), "no evidence": ("?", "warn")}


@dataclass(frozen=True)
class Column:
    """One column of a table; numbers stand to the right."""

    title: str
    width: int
    right: bool = True

    def place(self, text: str) -> str:
        return fit_right(text, self.width) if self.right else fit(text, self.width)


GAP = "  "


def header(columns: list[Column]) -> Line:
    """The heads of columns."""
    return [(GAP.join(c.place(c.title) for c in columns), "muted")]


def row(columns: list[Column], cells: list[Span]) -> Line:
    """Cells under their columns, each fitted to its width."""
    line: Line = []
    for column, (text, role) in zip(columns, cells, strict=True):
        if line:
            line.append((GAP, ""))
        line.append((column.place(text), role))
    return line


def table_width(columns: list[Column]) -> int:
    """Cells of a full row."""
    return sum(c.width for c in columns) + len(GAP) * (len(columns) - 1)


def text_of(line: Line) -> str:
    """The text without its roles."""
    return "".join(text for text, _ in line)


def width_of(line: Line) -> int:
    """Cells of a line in a terminal."""
    return sum([len(text) if text.isascii() else cell_len(text) for text, _ in line])


def cut(line: Line, width: int) -> Line:
    """The line in at most `width` cells, an ellipsis where something was cut."""
    if width_of(line) <= width:
        return line
    kept: Line = []
    left = width
    for text, role in line:
        size = cell_len(text)
        if size > left or (size == left and line[-1] != (text, role)):
            kept.append((fit(text + " ", left) if size >= left else text, role))
            break
        kept.append((text, role))
        left -= size
    return kept


def join_fitting(groups: Iterable[Line], gap: str, width: int) -> Line:
    """As many whole groups as fit, in their order."""
    line: Line = []
    for group in groups:
        longer = [*line, (gap, ""), *group] if line else group
        if width_of(longer) > width:
            break
        line = longer
    return line


def justify(left: Line, right: Line, width: int) -> Line:
    """`left` at the left end and `right` at the right end; the left side gives way."""
    room = width - width_of(right)
    if room < 2:
        return cut(right, width)
    left = cut(left, room - 1)
    return [*left, (" " * (room - width_of(left)), ""), *right]


def titled(text: str, note: str = "") -> Line:
    """A title, and beside it a note on everything below."""
    return [(text, "strong"), (f"  {note}", "muted")]


T = TypeVar("T")


def moved(cursor: int, count: int, of: int) -> int:
    """A cursor moved by `count` among so many things, held at both ends."""
    return min(max(0, cursor + count), max(0, of - 1))


def keep_seen(top: int, cursor: int, room: int) -> int:
    """The first line that is seen, moved no further than the cursor asks for."""
    return min(max(top, cursor - room + 1), cursor)


def scrolled(lines: list[Line], top: int, height: int) -> tuple[list[Line], int]:
    """`height` lines from `top` on, the last one says what is hidden; and the top in bounds."""
    if len(lines) <= height:
        return lines, 0
    room = max(1, height - 1)
    top = min(max(0, top), len(lines) - room)
    hidden = describe_hidden(top, len(lines) - room - top)
    return [*lines[top : top + room], [(hidden, "muted")]], top


def describe_hidden(above: int, below: int) -> str:
    """`3 lines above ↑  12 lines below ↓`, without the part that is 0."""
    counted = ((above, "above ↑"), (below, "below ↓"))
    parts = [f"{count} line{'s' * (count > 1)} {where}" for count, where in counted if count > 0]
    return "  ".join(parts)


def following(choices: Sequence[T], now: T, by: int = 1) -> T:
    """The next of some choices, round and round; the first where the present one is not offered."""
    return choices[(choices.index(now) + by) % len(choices)] if now in choices else choices[0]


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
        note = f"Not shown at this width: {', '.join(heads[kept:])}."
        lines += [[(text, "muted")] for text in wrap(note, width)]
    return lines


def place_cells(cells: Sequence[Span], widths: Sequence[int], left: Sequence[bool]) -> Line:
    """Cells in their widths, set left or right."""
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
    wrapped = [wrap(head, size) for head, size in zip(heads, widths, strict=True)]
    height = max(map(len, wrapped), default=1)
    padded = [[""] * (height - len(lines)) + lines for lines in wrapped]
    return [
        place_cells([(lines[y], "muted") for lines in padded], widths, left) for y in range(height)
    ]


def changed_spans(old: Sequence[object], new: Sequence[object]) -> list[tuple[int, int]]:
    """The ranges outside of which two sequences of the same length are equal; near ones joined."""
    spans: list[tuple[int, int]] = []
    for i, (a, b) in enumerate(zip(old, new, strict=True)):
        if a == b:
            continue
        if spans and i - spans[-1][1] <= JOINED_CELLS:
            spans[-1] = spans[-1][0], i + 1
        else:
            spans.append((i, i + 1))
    return spans
