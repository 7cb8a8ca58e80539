"""Calibration on the evaluation screen: can confidence be believed, and where to cut."""

from __future__ import annotations

from ....core.metrics.analyses import Bin, Calibration
from ....core.report.blocks import Paragraph
from ....core.report.sections.calibration import show_calibration
from ....core.report.sections.thresholds import show_thresholds
from ....core.wording.text import visible
from ...drawing.axes import reliability_lines
from ...drawing.lines import Line
from .block_lines import block_lines, prose
from .sections import ELSEWHERE, SIDE_BY_SIDE, Section, Shown, beside
from .thresholds import Thresholds, curve_lines, threshold_lines


class CalibrationSection(Section):
    """Can the probabilities be believed, and where to cut."""

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
        panel = self.panel if self.panel_split == shown.split else None
        bins = self.bins(shown)
        if panel is None and bins and width >= SIDE_BY_SIDE:
            left = width // 2 - 2
            lines = self._window(self._text(shown, width - left - 3), height)
            return beside(self._reliability(shown, left, height, told=False), lines, left)
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
        told = self._text(shown, width)
        bins = self.bins(shown)
        if bins and width < SIDE_BY_SIDE and told:
            size = min(width, 60)
            diagram = reliability_lines(bins, size, 12, ascii_only=shown.ascii_only)
            told = [*told[:2], *diagram, *told[1:]]
        return told or prose(ELSEWHERE.format(split=shown.split), width, "muted")

    def _text(self, shown: Shown, width: int) -> list[Line]:
        """What the report says of it."""
        return block_lines([*show_calibration(shown.part), *show_thresholds(shown.part)], width)

    def _reliability(
        self, shown: Shown, width: int, height: int, *, told: bool = True
    ) -> list[Line]:
        """The diagram, and under it what the report says of the tuned model."""
        blocks = [b for b in show_calibration(shown.part) if isinstance(b, Paragraph)]
        about = [b for b in blocks if told and b.text.startswith("tuned: ")]
        sentences = block_lines(about, width)
        room = max(8, min(24, height - len(sentences) - 4))
        return [
            [("Can its confidence be believed?", "strong")],
            [("● tuned, with 95 %   ", "tuned"), ("dots: perfectly calibrated", "muted")],
            *reliability_lines(self.bins(shown), width, room, ascii_only=shown.ascii_only),
            [],
            *sentences,
        ]

    def _threshold(self, shown: Shown, panel: Thresholds, width: int, height: int) -> list[Line]:
        lines: list[Line] = [[(f'Where to cut for "{visible(panel.positive, 30)}"?', "strong")]]
        lines += [*self._advice(shown, width), [], *threshold_lines(panel, width), []]
        room = min(14, height - len(lines))
        return [*lines, *curve_lines(panel, width, room, ascii_only=shown.ascii_only)]

    def _advice(self, shown: Shown, width: int) -> list[Line]:
        panel = self.panel
        assert panel is not None
        here = panel.threshold
        if here == panel.chosen:
            where = "This is the threshold of the best F1 on validation; predictions are at 0.5."
            if panel.in_use:
                where = (
                    "This is the threshold that the objective chose on validation; "
                    "predictions and all figures are at it."
                )
        else:
            where = "0 goes back to the chosen one."
            if shown.split != "validation":
                where += (
                    f" A threshold picked on {shown.split} flatters itself: choose on validation."
                )
        return prose(f"← → move the threshold. {where}", width)
