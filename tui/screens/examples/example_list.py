"""The list of scored rows: answers with their signs, confidence, loss and text, a line per row."""

from __future__ import annotations

from dataclasses import dataclass

from rich.cells import cell_len

from ....core.wording.numbers import DASH, format_value
from ....core.wording.text import BREAK, NO_PREDICTION, visible
from ...drawing.format import cut_apart, fit, fit_right, format_number, format_signed, wrap
from ...drawing.lines import GAP, Line, keep_seen, moved
from ...widgets.pane import Pane
from .example_rows import Examples, Places, Row, rows_at


class ExampleList(Pane):
    """A window over the selected rows: only what is seen is read."""

    examples: Examples | None = None
    state = "reading the rows …"

    def __init__(self) -> None:
        super().__init__(id="rows")
        self.places: Places = []
        self.cursor = self._top = 0

    def draw(self, width: int, height: int) -> list[Line]:
        examples = self.examples
        if examples is None or not len(self.places):
            return [[(text, "muted")] for text in wrap(self.state, width)]
        room = max(1, height - 1)
        self._top = keep_seen(self._top, self.cursor, room)
        sizes = example_widths(examples, width)
        rows = rows_at(examples, self.places, self._top, room)
        return [
            example_header(examples, sizes),
            *(
                example_line(examples, row, sizes, chosen=at == self.cursor)
                for at, row in enumerate(rows, self._top)
            ),
        ]

    def move(self, count: int) -> None:
        self.cursor = moved(self.cursor, count, len(self.places))
        self.show()


class Info(Pane):
    """One line: what is shown and in which order, or what was not understood."""

    def __init__(self) -> None:
        super().__init__(id="filter-line")
        self.parts: list[Line] = []
        self.fault = ""

    def show_state(self, parts: list[Line]) -> None:
        self.parts = parts
        self.show()

    def draw(self, width: int, height: int) -> list[Line]:
        if self.fault:
            return [[(visible(self.fault), "warn")]]
        line: Line = []
        for part in self.parts:
            line += [("  ·  ", "rule"), *part] if line else part
        return [line]


KIND_SIGNS = {
    "fixed": ("✓ fixed", "good"),
    "broke": ("✗ broke", "bad"),
    "wrong": ("· wrong", "warn"),
    "right": ("  right", "muted"),
    "fell": ("✓ fell", "good"),
    "rose": ("✗ rose", "bad"),
    "same": ("  same", "muted"),
}
KIND_WIDTH, NUMBER_WIDTH = 7, 7  # cells
MOST_LABEL = 16  # cells of a label in a wide terminal; 10 in a narrow one


@dataclass(frozen=True)
class Widths:
    """Cells of the columns that depend on the rows and the terminal; 0 where one gives way."""

    row: int
    label: int
    before: int
    text: int


def example_widths(examples: Examples, width: int) -> Widths:
    """The columns that fit a pane of so many cells."""
    row = max(3, len(str(examples.table["row_id"].max() or 0)))
    label = before = 0
    fixed = 2 + row + len(GAP) + 2
    fixed += KIND_WIDTH + len(GAP) if examples.kinds else 0
    if examples.labelled:
        longest = max((cell_len(visible(name)) for name in examples.labels), default=5)
        most = MOST_LABEL if width >= 110 else 10
        label = max(5, min(longest, most))
        before = label if examples.reference and width >= 110 else 0
        fixed += (2 * label + 2 * len(GAP)) + (before + len(GAP) if before else 0)
        fixed += 2 * (NUMBER_WIDTH + len(GAP))
    else:
        fixed += (3 if examples.reference else 1) * (NUMBER_WIDTH + len(GAP)) + 6 + len(GAP)
    return Widths(row, label, before, max(0, width - fixed))


def example_header(examples: Examples, widths: Widths) -> Line:
    """The names of the columns."""
    parts = [fit_right("row", widths.row)]
    if examples.kinds:
        parts.append(fit("flip", KIND_WIDTH))
    if examples.labelled:
        parts.append(fit("label", widths.label))
        if widths.before:
            parts.append(fit(examples.reference, widths.before))
        parts += [fit("tuned", widths.label), fit_right("conf.", NUMBER_WIDTH)]
        parts.append(fit_right("loss", NUMBER_WIDTH))
    else:
        if examples.reference:
            parts.append(fit_right(examples.reference, NUMBER_WIDTH))
        parts.append(fit_right("tuned", NUMBER_WIDTH))
        if examples.reference:
            parts.append(fit_right("change", NUMBER_WIDTH))
        parts.append(fit_right("tokens", 6))
    return [("  " + GAP.join(parts) + "    " + "text"[: widths.text], "muted")]


def example_line(examples: Examples, row: Row, widths: Widths, chosen: bool) -> Line:
    """A row: its number, flip, answers or losses, and its text."""
    line: Line = [
        ("▸ " if chosen else "  ", "accent"),
        (fit_right(str(row["row_id"]), widths.row) + GAP, "muted"),
    ]
    if examples.kinds:
        sign, role = KIND_SIGNS.get(row["kind"], (str(row["kind"]), "muted"))
        line.append((fit(sign, KIND_WIDTH) + GAP, role))
    line += _labelled(examples, row, widths) if examples.labelled else _written(examples, row)
    line.append(("≡ " if row["leak"] else "  ", "warn"))
    # A row is one line here, however many its text has.
    text = visible(str(row["text"]).replace("\r\n", "\n").replace("\n", f" {BREAK} "), 600)
    line.append((fit(text, widths.text), "strong" if chosen else ""))
    return line


def _labelled(examples: Examples, row: Row, widths: Widths) -> Line:
    def cut(label: object, width: int) -> str:
        if label is None:
            return fit(NO_PREDICTION, width) + GAP
        # Long labels that begin alike are cut so that they stay distinct.
        known = dict(zip(examples.labels, cut_apart(examples.labels, width), strict=True))
        return fit(known.get(str(label), visible(label)), width) + GAP

    right = row["predicted"] == row["label"]
    line: Line = [(cut(row["label"], widths.label), "")]
    if widths.before:
        line.append((cut(row["before"], widths.before), "muted"))
    line.append((cut(row["predicted"], widths.label), "tuned" if right else "bad"))
    sure = row.get("confidence")
    confidence = DASH if sure is None else format_value("accuracy", sure)
    line.append((fit_right(confidence, NUMBER_WIDTH) + GAP, ""))
    line.append((fit_right(_number(row.get("loss")), NUMBER_WIDTH) + GAP, "muted"))
    return line


def _written(examples: Examples, row: Row) -> Line:
    line: Line = []
    if examples.reference:
        line.append((fit_right(_number(row["loss_before"]), NUMBER_WIDTH) + GAP, "base"))
    line.append((fit_right(_number(row["loss"]), NUMBER_WIDTH) + GAP, "tuned"))
    if examples.reference:
        change = row["change"]
        # A change of loss: down is better.
        role = "good" if change < 0 else "bad"
        line.append((fit_right(format_signed(change, 3), NUMBER_WIDTH) + GAP, role))
    line.append((fit_right(f"{row['tokens']:,}", 6) + GAP, "muted"))
    return line


def _number(value: float | None) -> str:
    return DASH if value is None else format_number(value)
