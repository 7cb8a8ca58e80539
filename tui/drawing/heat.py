"""A confusion matrix as a heat map: shades with the number in each cell, any number of labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from ...core.wording.numbers import DASH, format_value
from ...core.wording.text import visible
from .format import cut_apart, fit, fit_right
from .lines import SHADE_LEVELS, Line

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


def shade(count: int, total: int, right: bool) -> str:
    """The role of a cell by its share of the truth: one family for right, one for wrong."""
    if not count or not total:
        return "muted"
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
    digits = max(len(f"{n:,}") for line in counts for n in line) + 3
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
        role = shade(line[j], total, right=i == j)
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
