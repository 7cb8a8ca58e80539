"""Sections of a task with labels: the confusion matrix, each label's figures, and calibration."""

from __future__ import annotations

import math

from ....core.metrics.analyses import Bin, Calibration
from ....core.metrics.results import LabelScores
from ....core.report.blocks import Paragraph
from ....core.report.sections.calibration import show_calibration
from ....core.report.sections.thresholds import show_thresholds
from ....core.wording.numbers import format_value
from ....core.wording.text import visible
from ...drawing.axes import reliability_lines
from ...drawing.format import cut_apart, fit, fit_right
from ...drawing.lines import Line
from ...drawing.shading import MatrixView, describe_cell, matrix_lines, worst_cells
from ..examples.example_rows import label_query
from .reading import block_lines, prose
from .sections import ELSEWHERE, POINTER, SIDE_BY_SIDE, Opened, OpenRows, Section, Shown, beside
from .thresholds import Thresholds, curve_lines, threshold_lines

MATRIX, WORST, LABELS = range(3)
VIEWS = ("matrix", "worst cells", "labels")
LIST_WIDTH = 56


class LabelsSection(Section):
    """The matrix, its worst cells and the labels; `view` says where the cursor is."""

    title = "Labels"

    def __init__(self) -> None:
        self.matrix = MatrixView()
        self.view, self.worst, self.label = MATRIX, 0, 0

    def next_view(self, shown: Shown) -> None:
        self.view = (self.view + 1) % len(VIEWS)
        self.top = 0
        if self.view == WORST:
            self._point_at_worst(self._confusion(shown)[1])

    def _confusion(self, shown: Shown) -> tuple[list[str], list[list[int]]]:
        found = shown.tuned.confusion if shown.tuned else None
        return (found.labels, found.counts) if found else ([], [])

    def move(self, shown: Shown, across: int, down: int) -> None:
        labels, counts = self._confusion(shown)
        if self.view == MATRIX:
            self.matrix.move(across, down, len(labels))
        elif self.view == WORST:
            cells = worst_cells(counts)
            self.worst = min(max(0, self.worst + down), max(0, len(cells) - 1))
            self._point_at_worst(counts)
        else:
            self.label = min(max(0, self.label + down), max(0, len(labels) - 1))

    def _point_at_worst(self, counts: list[list[int]]) -> None:
        """The cursor of the matrix goes along with the list of worst cells."""
        if cells := worst_cells(counts):
            self.matrix.row, self.matrix.column = (
                cells[self.worst].truth,
                cells[self.worst].predicted,
            )

    def _cell(self, shown: Shown) -> tuple[int, int] | None:
        """Truth and prediction under the cursor."""
        labels, counts = self._confusion(shown)
        if self.view == WORST:
            cells = worst_cells(counts)
            return (cells[self.worst].truth, cells[self.worst].predicted) if cells else None
        return (self.matrix.row, self.matrix.column) if labels else None

    def opened(self, shown: Shown) -> Opened:
        labels, _ = self._confusion(shown)
        if self.view == LABELS and labels:
            name = self._ordered(shown)[self.label][0]
            return OpenRows(label_query(truth=name))
        cell = self._cell(shown)
        if cell is None:
            return None
        return OpenRows(label_query(labels[cell[0]], labels[cell[1]]))

    def term(self, shown: Shown) -> str | None:
        return "recall" if self.view == LABELS else "confusion matrix"

    def draw(self, shown: Shown, width: int, height: int) -> list[Line]:
        labels, counts = self._confusion(shown)
        if not labels:
            return prose("The tuned model has no labels on this split.", width, "muted")
        head = [*self._sentence(shown, width), []]
        room = height - len(head)
        worst = self._worst_lines(shown, min(LIST_WIDTH, width))
        table = self._label_lines(shown, min(LIST_WIDTH, width))
        if width >= SIDE_BY_SIDE:
            side = LIST_WIDTH
            left = matrix_lines(labels, counts, width - side - 3, room, self._view_of_matrix())
            # The table of few labels leaves the list of worst cells more than its half.
            upper = min(len(table), room // 2)
            right = [
                *self._part(table, upper, LABELS),
                [],
                *self._part(worst, room - upper - 1, WORST),
            ]
            return [*head, *beside(left, right, width - side - 3)]
        if self.view == LABELS:
            return [*head, *self._part(table, room, LABELS)]
        if self.view == WORST:
            return [*head, *self._part(worst, room, WORST)]
        lines = matrix_lines(labels, counts, width, room, self._view_of_matrix())
        # Head, two labels and an empty line: less of a table says nothing.
        if room - len(lines) > 4:
            lines += [[], *self._part(table, room - len(lines) - 1, LABELS)]
        return [*head, *lines]

    def _view_of_matrix(self) -> MatrixView | None:
        return self.matrix

    def _part(self, lines: list[Line], room: int, view: int) -> list[Line]:
        """The head of a list, or the part around its cursor."""
        if view == self.view:
            return [lines[0], *self._window(lines[1:], max(1, room - 1))]
        if len(lines) <= room:
            return lines
        more = f"{len(lines) - room + 1} more: o goes there"
        return [*lines[: max(1, room - 1)], [(more, "muted")]]

    def _sentence(self, shown: Shown, width: int) -> list[Line]:
        labels, counts = self._confusion(shown)
        cell = self._cell(shown)
        text = describe_cell(labels, counts, *cell) if cell and self.view != LABELS else ""
        if self.view == LABELS:
            name, row = self._ordered(shown)[self.label]
            text = (
                f'"{visible(name)}": recall {format_value("recall", row.recall)} of '
                f"{row.support:,} rows, precision {format_value('precision', row.precision)}."
            )
        return prose(text, width)

    def _ordered(self, shown: Shown) -> list[tuple[str, LabelScores]]:
        """The labels, the lowest F1 first; a label without one comes last."""
        per_class = (shown.tuned.per_class if shown.tuned else None) or {}

        def f1(item: tuple[str, LabelScores]) -> float:
            # Above every F1: what cannot be computed is no weak label.
            return 2.0 if math.isnan(item[1].f1) else item[1].f1

        return sorted(per_class.items(), key=f1)

    def _label_lines(self, shown: Shown, width: int) -> list[Line]:
        names = ("precision", "recall", "f1")
        size = max(8, width - 2 - 3 * 10 - 6)  # pointer, three figures, rows
        head = "lowest F1"
        line: Line = [("  ", ""), (fit(head, size), "muted")]
        line += [(fit_right("F1" if n == "f1" else n, 10), "muted") for n in names]
        lines: list[Line] = [[*line, (fit_right("rows", 6), "muted")]]
        ordered = self._ordered(shown)
        # Cut at their ends, long labels with a common start would look the same.
        names_shown = cut_apart(tuple(label for label, _ in ordered), size)
        for i, (_, row) in enumerate(ordered):
            chosen = self.view == LABELS and i == self.label
            cells: Line = [
                POINTER if chosen else ("  ", ""),
                (fit(names_shown[i], size), "strong" if chosen else ""),
            ]
            values = zip(names, (row.precision, row.recall, row.f1), strict=True)
            cells += [(fit_right(format_value(n, value), 10), "") for n, value in values]
            lines.append([*cells, (fit_right(f"{row.support:,}", 6), "muted")])
        return lines

    def _worst_lines(self, shown: Shown, width: int) -> list[Line]:
        labels, counts = self._confusion(shown)
        cells = worst_cells(counts)
        if not cells:
            return [[("No row is misclassified.", "good")]]
        size = max(6, (width - 2 - 7 - 9 - 3) // 2)  # pointer, rows, share, arrow
        lines: list[Line] = [
            [
                ("  ", ""),
                (fit("truth", size), "muted"),
                ("   ", ""),
                (fit("predicted", size), "muted"),
                (fit_right("rows", 7), "muted"),
                (fit_right("of truth", 9), "muted"),
            ]
        ]
        names = cut_apart(tuple(labels), size)
        for i, cell in enumerate(cells):
            chosen = self.view == WORST and i == self.worst
            share = format_value("recall", cell.rows / sum(counts[cell.truth]))
            role = "strong" if chosen else ""
            lines.append(
                [
                    POINTER if chosen else ("  ", ""),
                    (fit(names[cell.truth], size), role),
                    (" → ", "muted"),
                    (fit(names[cell.predicted], size), role),
                    (fit_right(f"{cell.rows:,}", 7), "bad"),
                    (fit_right(share, 9), "muted"),
                ]
            )
        return lines


class CalibrationSection(Section):
    """Whether probabilities are calibrated, and which threshold to use."""

    title = "Calibration"

    def __init__(self) -> None:
        self.panel: Thresholds | None = None
        self.panel_split = ""

    def move(self, shown: Shown, across: int, down: int) -> None:
        if across and self.panel is not None:
            self.panel.move(across)
        self.top = max(0, self.top + down)

    def reset(self) -> None:
        if self.panel is not None:
            self.panel.reset()

    def term(self, shown: Shown) -> str | None:
        return "ece"

    def bins(self, shown: Shown) -> list[Bin]:
        found = shown.analysis(Calibration)
        return (found.bins if found else None) or []

    def draw(self, shown: Shown, width: int, height: int) -> list[Line]:
        # After a change of split the old panel stands until the rows of the new one are read.
        panel = self.panel if self.panel_split == shown.split else None
        bins = self.bins(shown)
        if panel is None and bins and width >= SIDE_BY_SIDE:
            left = width // 2 - 2
            lines = self._window(self._text(shown, width - left - 3), height)
            return beside(self._reliability(shown, left, height, sentences=False), lines, left)
        if panel is None:
            return super().draw(shown, width, height)
        if width >= SIDE_BY_SIDE:
            left = width // 2 - 2
            diagram = self._reliability(shown, left, height)
            right = self._threshold(shown, panel, width - left - 3, height)
            return beside(diagram, right, left) if bins else right
        side = 40
        figures = threshold_lines(panel, side)
        sentence = self._advice(shown, width)
        room = height - len(sentence) - 1
        if bins:
            diagram = reliability_lines(
                bins, width - side - 2, min(room, 16), ascii_only=shown.ascii_only
            )
            return [*sentence, [], *beside(figures, diagram, side, 2)]
        return [*sentence, [], *figures]

    def body(self, shown: Shown, width: int, height: int) -> list[Line]:
        lines = self._text(shown, width)
        bins = self.bins(shown)
        if bins and width < SIDE_BY_SIDE and lines:
            size = min(width, 60)
            diagram = reliability_lines(bins, size, 12, ascii_only=shown.ascii_only)
            lines = [*lines[:2], *diagram, *lines[1:]]  # under its title
        return lines or prose(ELSEWHERE.format(split=shown.split), width, "muted")

    def _text(self, shown: Shown, width: int) -> list[Line]:
        """What the report says of it."""
        return block_lines([*show_calibration(shown.part), *show_thresholds(shown.part)], width)

    def _reliability(
        self, shown: Shown, width: int, height: int, *, sentences: bool = True
    ) -> list[Line]:
        """The diagram, and under it what the report says of the tuned model."""
        blocks = [b for b in show_calibration(shown.part) if isinstance(b, Paragraph)]
        # The base's sentences would need its diagram beside this one.
        about = [b for b in blocks if sentences and b.text.startswith("tuned: ")]
        text = block_lines(about, width)
        room = max(8, min(24, height - len(text) - 4))
        return [
            [("Is its confidence calibrated?", "strong")],
            [("● tuned, with 95 %   ", "tuned"), ("dots: perfectly calibrated", "muted")],
            *reliability_lines(self.bins(shown), width, room, ascii_only=shown.ascii_only),
            [],
            *text,
        ]

    def _threshold(self, shown: Shown, panel: Thresholds, width: int, height: int) -> list[Line]:
        lines: list[Line] = [[(f'Which threshold for "{visible(panel.positive, 30)}"?', "strong")]]
        lines += [*self._advice(shown, width), [], *threshold_lines(panel, width), []]
        room = min(14, height - len(lines))
        return [*lines, *curve_lines(panel, width, room, ascii_only=shown.ascii_only)]

    def _advice(self, shown: Shown, width: int) -> list[Line]:
        panel = self.panel
        assert panel is not None
        here = panel.threshold
        if here == panel.chosen:
            where = "This threshold has the best F1 on validation; predictions use 0.5."
            if panel.in_use:
                where = (
                    "The objective chose this threshold on validation; predictions and all "
                    "figures use it."
                )
        else:
            where = "0 returns to the chosen threshold."
            if shown.split != "validation":
                where += f" One chosen on {shown.split} would be optimistic: choose on validation."
        return prose(f"← → move the threshold. {where}", width)
