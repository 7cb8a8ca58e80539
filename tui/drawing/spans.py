"""Lines of text with roles instead of colours: what a pane draws, before a theme colours it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rich.cells import cell_len

from .format import fit, fit_right

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
    return [(GAP.join(c.place(c.title) for c in columns), "muted")]


def row(columns: list[Column], cells: list[Span]) -> Line:
    line: Line = []
    for column, (text, role) in zip(columns, cells, strict=True):
        if line:
            line.append((GAP, ""))
        line.append((column.place(text), role))
    return line


def table_width(columns: list[Column]) -> int:
    return sum(c.width for c in columns) + len(GAP) * (len(columns) - 1)


def text_of(line: Line) -> str:
    return "".join(text for text, _ in line)


def width_of(line: Line) -> int:
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
