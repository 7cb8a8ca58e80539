"""The two panes of the evaluation screen: the verdict, and one section at a time."""

from __future__ import annotations

from textual.content import Content

from ....core.wording.names import name_decision
from ....core.wording.text import visible
from ...drawing.format import with_minus, wrap
from ...drawing.lines import DECISION_MARKS, Line
from ...widgets.pane import Pane
from .sections import Section, Shown

READING = "reading the evaluation …"


class VerdictPane(Pane):
    """The answer against the objective and its reasons, as many as the screen has room for."""

    decision = objective = preliminary = ""
    reasons: tuple[str, ...] = ()
    state = READING

    def needed(self, width: int, height: int) -> int:
        most = 3 if height < 32 else 8
        return max(1, min(most, len(self._lines(width))))

    def draw(self, width: int, height: int) -> list[Line]:
        lines = self._lines(width)
        if len(lines) > height and height:
            lines[height - 1] = [*lines[height - 1], (" …", "muted")]
        return lines[:height]

    @property
    def _word(self) -> str:
        return name_decision({"decision": self.decision, "preliminary": self.preliminary})

    def _lines(self, width: int) -> list[Line]:
        if not self.decision:
            return [[(text, "muted")] for text in wrap(self.state, width)]
        mark, role = DECISION_MARKS.get(self.decision, ("·", "strong"))
        lines: list[Line] = [
            [
                (f"{mark} {self._word.upper()}", f"strong {role}"),
                (f"  {with_minus(visible(self.objective))}", "strong"),
            ]
        ]
        reasons = (*filter(None, [self.preliminary]), *self.reasons)
        for reason in reasons:
            for i, text in enumerate(wrap(with_minus(visible(reason)), width - 4)):
                lines.append([("  " if i else "· ", "muted"), (text, "")])
        return lines


class SectionPane(Pane):
    """One section at a time; the others are named in the border."""

    def __init__(self) -> None:
        super().__init__(id="section")
        self.shown: Shown | None = None
        self.sections: list[Section] = []
        self.at = 0
        self.state = READING

    @property
    def section(self) -> Section | None:
        return self.sections[self.at] if self.sections else None

    def draw(self, width: int, height: int) -> list[Line]:
        if self.shown is None or self.section is None:
            return [[(text, "muted")] for text in wrap(self.state, min(width, 100))]
        return self.section.draw(self.shown, width, height)

    def show_tabs(self) -> None:
        parts: list[tuple[str, str]] = []
        for i, section in enumerate(self.sections):
            told = f"{i + 1} {section.title}" + " " * (i + 1 < len(self.sections))
            here = i == self.at
            parts.append((f"▸{told}" if here else f" {told}", "bold" if here else "dim not bold"))
        self.border_title = Content.assemble(*parts)
