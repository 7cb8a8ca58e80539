"""Shades: tokens by how likely a model found them, and a confusion matrix as a heat map.

Pure functions: width and view are passed in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from ...core.run.control import ScoredToken
from ...core.wording.numbers import DASH, format_value
from ...core.wording.text import BREAK, visible, visible_lines
from .format import cut_apart, fit, fit_right, format_share
from .lines import SHADE_LEVELS, Line, Span

DIVERGES = "◆"  # where two answers diverge
NO_TOKEN = -1


@dataclass(frozen=True)
class Step:
    """From which probability on a token looks like this. Without colours the marks still differ."""

    least: float
    role: str
    word: str


# Steps of ten: a model's probabilities of tokens spread over many orders of magnitude.
STEPS = (
    Step(0.5, "", "likely"),
    Step(0.1, "under", "≥ 10 %"),
    Step(0.01, "warn strong", "≥ 1 %"),
    Step(0.0, "bad strong under", "rarer"),
)


def step_of(log_likelihood: float | None) -> Step:
    """The step of a token; one that was ruled out altogether is the rarest."""
    share = 0.0 if log_likelihood is None else math.exp(log_likelihood)
    return next(step for step in STEPS if share >= step.least or step is STEPS[-1])


def legend() -> Line:
    """What the shades mean, each in its own."""
    line: Line = [("tokens: likely (≥ 50 %)", "")]
    for step in STEPS[1:]:
        line += [("  ", ""), (step.word, step.role)]
    return line


@dataclass
class Shaded:
    """Lines, and for each token the line that it begins on."""

    lines: list[Line]
    line_of: list[int]


def shade_tokens(
    tokens: Sequence[ScoredToken],
    width: int,
    *,
    shaded: bool = True,
    cursor: int | None = None,
    mark_at: int | None = None,
) -> Shaded:
    """The tokens as wrapped text. `mark_at`: the token before which a sign stands."""
    cells: list[tuple[str, int]] = []
    for index, token in enumerate(tokens):
        first, *rest = visible_lines(token.text)
        if index == mark_at:  # before the word, not before the space that leads to it
            spaces = len(first) - len(first.lstrip(" "))
            cells += [(character, index) for character in first[:spaces]]
            cells.append((DIVERGES, NO_TOKEN))
            first = first[spaces:]
        cells += [(character, index) for character in first]
        for line in rest:
            if shaded:
                cells.append((BREAK, index))
            cells.append(("\n", index))
            cells += [(character, index) for character in line]
    roles = [_role(token, shaded, index == cursor) for index, token in enumerate(tokens)]
    wrapped = wrap_cells(cells, width)
    while len(wrapped) > 1 and not wrapped[-1]:  # after a last line break
        wrapped.pop()
    line_of = [0] * len(tokens)
    # From the end: what stays is the first line of each token.
    for number in range(len(wrapped) - 1, -1, -1):
        for _, index in wrapped[number]:
            if index != NO_TOKEN:
                line_of[index] = number
    return Shaded([_spans(line, roles) for line in wrapped], line_of)


def _role(token: ScoredToken, shaded: bool, chosen: bool) -> str:
    role = step_of(token.log_likelihood).role if shaded else ""
    return f"{role} cursor".strip() if chosen else role


def _spans(line: Sequence[tuple[str, int]], roles: Sequence[str]) -> Line:
    spans: list[Span] = []
    for character, index in line:
        role = "accent strong" if index == NO_TOKEN else roles[index]
        # A span per character would be a style code per character on the line.
        if spans and spans[-1][1] == role:
            spans[-1] = (spans[-1][0] + character, role)
        else:
            spans.append((character, role))
    return spans


def wrap_cells(cells: Sequence[tuple[str, int]], width: int) -> list[list[tuple[str, int]]]:
    """Lines of at most `width` cells, broken at spaces where there are some."""
    lines: list[list[tuple[str, int]]] = []
    line: list[tuple[str, int]] = []
    used, space = 0, -1
    for cell in cells:
        character = cell[0]
        if character == "\n":
            lines.append(line)
            line, used, space = [], 0, -1
            continue
        size = cell_len(character)
        if used + size > width and line:
            if character == " ":
                # A space at the end of a full line is left out; elsewhere the cursor may stand on
                # it.
                lines.append([*line, cell] if used < width else line)
                line, used, space = [], 0, -1
                continue
            cut = space + 1 if space >= 0 else len(line)
            lines.append(line[:cut])
            line, space = line[cut:], -1
            used = sum(cell_len(c) for c, _ in line)
        if character == " ":
            space = len(line)
        line.append(cell)
        used += size
    return [*lines, line]


def first_difference(a: str, b: str, *, done: bool) -> int | None:
    """The first character in which two answers differ; a longer one differs once both are done."""
    for index, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return index
    return min(len(a), len(b)) if done and len(a) != len(b) else None


def token_at(tokens: Sequence[ScoredToken], place: int) -> int | None:
    """The token that holds a character of the joined text."""
    end = 0
    for index, token in enumerate(tokens):
        end += len(token.text)
        if place < end:
            return index
    return None


def split_at(text: str, place: int | None) -> list[ScoredToken]:
    """A text without scores as one or two pieces."""
    if place is None or not 0 < place < len(text):
        return [ScoredToken(text, None, None)]
    return [ScoredToken(text[:place], None, None), ScoredToken(text[place:], None, None)]


def describe_share(token: ScoredToken) -> str:
    """`43.1 %, rank 2`"""
    share = 0.0 if token.log_likelihood is None else math.exp(token.log_likelihood)
    return format_share(share) + (f", rank {token.rank:,}" if token.rank else "")


NAME_WIDTH = 16  # cells of a label before a row
LEAST_NAME, MOST_NAME = 5, 12  # of a label above a column; where less fits, columns are numbered
RECALL_WIDTH = 9  # cells of the last column
ROOMY = 10  # cells of a column where there are few labels
CORNER = "truth ↓"  # rows; the columns are what was answered


@dataclass
class MatrixView:
    """Where one is in a matrix, and which part of it is seen. Rows are truth, columns answers."""

    row: int = 0
    column: int = 0
    top: int = 0
    left: int = 0

    def move(self, across: int, down: int, labels: int) -> None:
        self.row = min(max(0, self.row + down), max(0, labels - 1))
        self.column = min(max(0, self.column + across), max(0, labels - 1))


@dataclass(frozen=True)
class Confusion:
    """So many rows of one label that were given another."""

    rows: int
    truth: int
    predicted: int


def worst_cells(counts: Sequence[Sequence[int]]) -> list[Confusion]:
    """Every cell off the diagonal that holds rows, the most first; equal ones in label order."""
    found = [
        Confusion(n, i, j)
        for i, line in enumerate(counts)
        for j, n in enumerate(line)
        if n and i != j
    ]
    return sorted(found, key=lambda c: (-c.rows, c.truth, c.predicted))


def cell_shade(count: int, total: int, right: bool) -> str:
    """The role of a cell by its share of the truth: one family for right, one for wrong."""
    if not count or not total:
        return "muted"
    # By the truth's share, so that a rare label's errors are as dark as a frequent one's.
    level = 1 + min(SHADE_LEVELS - 1, int(count / total * SHADE_LEVELS))
    return f"{'right' if right else 'wrong'}-{level}"


def matrix_lines(
    labels: Sequence[str],
    counts: Sequence[Sequence[int]],
    width: int,
    height: int = 10_000,
    view: MatrixView | None = None,
) -> list[Line]:
    """A header, one line per label and, where there is more, where this part lies in the whole.

    The diagonal stands in brackets, the cell of `view` is reversed, and each row ends in the
    recall of its label.
    """
    if not labels:
        return []
    seen = [visible(label) for label in labels]
    names = max(len(CORNER), min(NAME_WIDTH, max(map(cell_len, seen))))
    cell, numbered = _cell_width(seen, counts, width - names - RECALL_WIDTH)
    number = len(str(len(labels))) + 1 if numbered else 0
    across = max(1, min(len(labels), (width - names - number - RECALL_WIDTH) // cell))
    down = max(1, min(len(labels), height - 1 if len(labels) <= height - 1 else height - 2))
    at = view or MatrixView()
    _keep_seen(at, across, down, len(labels))
    rows, columns = range(at.top, at.top + down), range(at.left, at.left + across)
    shown = cut_apart(tuple(labels), names)
    above = cut_apart(tuple(labels), cell - 1)
    heads = [str(j + 1) if numbered else above[j] for j in columns]
    corner = fit(CORNER, names + number)
    lines: list[Line] = [
        [
            (corner, "muted"),
            *(
                (fit_right(h, cell), _head_role(view, j))
                for j, h in zip(columns, heads, strict=True)
            ),
            (fit_right("recall", RECALL_WIDTH), "muted"),
        ]
    ]
    for i in rows:
        lines.append(_row_line(i, shown[i], counts[i], columns, (names, number, cell), view))
    if across < len(labels) or down < len(labels):
        lines.append([(_describe_part(at, across, down, len(labels)), "muted")])
    return lines


def _cell_width(
    labels: Sequence[str], counts: Sequence[Sequence[int]], room: int
) -> tuple[int, bool]:
    """Cells of a column, and whether columns have numbers instead of names."""
    digits = max(len(f"{n:,}") for line in counts for n in line) + 3  # brackets and a space
    named = min(MOST_NAME, max(map(cell_len, labels))) + 2
    if max(digits, named, ROOMY) * len(labels) <= room:
        return max(digits, named, ROOMY), False
    if max(digits, named) * len(labels) <= room:
        return max(digits, named), False
    if max(digits, LEAST_NAME + 2) * len(labels) <= room:
        return room // len(labels), False
    return max(digits, len(str(len(labels))) + 1), True


def _row_line(
    i: int,
    label: str,
    line: Sequence[int],
    columns: range,
    sizes: tuple[int, int, int],
    view: MatrixView | None,
) -> Line:
    names, number, cell = sizes
    here = view is not None and view.row == i
    total = sum(line)
    spans: Line = [(fit(label, names), "strong" if here else "")]
    if number:
        spans.append((fit_right(str(i + 1), number), "muted"))
    for j in columns:
        text = f"[{line[j]:,}]" if i == j else f"{line[j]:,} " if line[j] else "· "
        role = cell_shade(line[j], total, right=i == j)
        is_cursor = here and view is not None and view.column == j
        spans += [(" ", ""), (fit_right(text, cell - 1), "cursor" if is_cursor else role)]
    recall = format_value("recall", line[i] / total) if total else DASH
    return [*spans, (fit_right(recall, RECALL_WIDTH), "muted")]


def _head_role(view: MatrixView | None, column: int) -> str:
    return "strong" if view is not None and view.column == column else "muted"


def _keep_seen(view: MatrixView, across: int, down: int, labels: int) -> None:
    view.left = min(max(view.left, view.column - across + 1), view.column, labels - across)
    view.top = min(max(view.top, view.row - down + 1), view.row, labels - down)


def _describe_part(view: MatrixView, across: int, down: int, labels: int) -> str:
    return (
        f"truth {view.top + 1}–{view.top + down}, answers {view.left + 1}–{view.left + across} "
        f"of {labels}"
    )


def describe_cell(
    labels: Sequence[str], counts: Sequence[Sequence[int]], truth: int, predicted: int
) -> str:
    """`7 rows of "card" predicted as "cash": 17.5 % of its 40.`"""
    n, total = counts[truth][predicted], sum(counts[truth])
    rows = f"{n:,} row" if n == 1 else f"{n:,} rows"
    share = format_value("recall", n / total) if total else DASH
    of = f"{share} of its {total:,}"
    if truth == predicted:
        return f'{rows} of "{visible(labels[truth])}" rightly called so: {of}.'
    return (
        f'{rows} of "{visible(labels[truth])}" predicted as "{visible(labels[predicted])}": {of}.'
    )
