"""The sections of the evaluation screen and its two panes: what they show, what enter opens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from textual.content import Content

from ....core.judgement.selection import Found, of_models
from ....core.metrics.results import ModelResult
from ....core.report.blocks import SECTIONS
from ....core.report.document import Report, result_of
from ....core.report.sections.answers import show_choices, show_completions
from ....core.report.sections.data import show_answers, show_texts
from ....core.report.sections.label_sets import show_label_calibration, show_label_sets
from ....core.run.history import History
from ....core.tasks import find_task
from ....core.wording.names import name_decision
from ....core.wording.text import visible
from ...drawing.format import with_minus, wrap
from ...drawing.lines import DECISION_MARKS, Line, keep_seen, moved, scrolled, width_of
from ...widgets.pane import Pane
from ..run.metric_rows import MetricTable
from .reading import block_lines, prose

POINTER = ("▸ ", "accent")
PLACES = ("top", "cursor", "kind")  # of a section, that are remembered
MOST_LINES = 1_000_000
SIDE_BY_SIDE = 110  # cells from which on two parts stand beside each other
ELSEWHERE = "This was not analysed on {split}; s shows the next split."


@dataclass(frozen=True)
class OpenReceipt:
    """The receipt of the metric in a row of the metrics section."""

    index: int


@dataclass(frozen=True)
class OpenRows:
    """Rows in the examples screen: by a query, or by their ids in a split."""

    query: str = ""
    only: tuple[int, ...] = ()
    split: str = ""
    about: str = ""


@dataclass(frozen=True)
class OpenRow:
    """One row of the examples as they are selected here."""

    index: int


Opened = OpenReceipt | OpenRows | OpenRow | None


@dataclass
class Shown:
    """What every section is made from."""

    report: Report  # whole
    part: Report  # of the split and the reference
    history: History
    split: str
    reference: str
    table: MetricTable
    ascii_only: bool = False

    @property
    def generates(self) -> bool:
        return find_task(self.report["run"]["task"]).writes

    @property
    def tuned(self) -> ModelResult | None:
        return result_of(self.report, self.split)

    def analysis(self, kind: type[Found], model: str = "tuned") -> Found | None:
        """What an analysis found on this split."""
        return of_models(self.part["analyses"], kind, self.split).get(model)


class Section:
    """Lines that scroll; subclasses with a cursor mark its line with `POINTER`."""

    title = ""
    top = 0

    def body(self, shown: Shown, width: int, height: int) -> list[Line]:
        raise NotImplementedError

    def head(self, shown: Shown, width: int) -> list[Line]:
        """Lines above that do not scroll."""
        return []

    def foot(self, shown: Shown, width: int) -> list[Line]:
        return []

    def draw(self, shown: Shown, width: int, height: int) -> list[Line]:
        head, foot = self.head(shown, width), self.foot(shown, width)
        room = max(1, height - len(head) - len(foot))
        body = self._window(self.body(shown, width, room), room)
        gap: list[Line] = [[] for _ in range(room - len(body))] if foot else []
        return [*head, *body, *gap, *foot]

    def _window(self, lines: list[Line], room: int) -> list[Line]:
        at = next((i for i, line in enumerate(lines) if line and line[0] == POINTER), None)
        if at is not None:
            self.top = 0 if at < room - 1 else keep_seen(self.top, at, room - 1)
        seen, self.top = scrolled(lines, self.top, room)
        return seen

    def move(self, shown: Shown, across: int, down: int) -> None:
        self.top = max(0, self.top + down)

    def opened(self, shown: Shown) -> Opened:
        return None

    def term(self, shown: Shown) -> str | None:
        """The word of the glossary that the cursor stands on."""
        return None

    def memory(self) -> dict[str, int]:
        """Where it is scrolled to and where its cursor is."""
        return {name: vars(self)[name] for name in PLACES if vars(self).get(name)}

    def recall(self, memory: object) -> None:
        for name in PLACES:
            value = memory.get(name) if isinstance(memory, dict) else None
            if hasattr(self, name) and type(value) is int and 0 <= value <= MOST_LINES:
                setattr(self, name, value)


class ListSection(Section):
    """A section with a cursor over things in a line."""

    cursor = 0

    def count(self, shown: Shown) -> int:
        raise NotImplementedError

    def move(self, shown: Shown, across: int, down: int) -> None:
        self.cursor = moved(self.cursor, down, self.count(shown))


class BlocksSection(Section):
    """Sections of the report as they are written there."""

    def __init__(self, title: str, show: Sequence[Any], empty: str) -> None:
        self.title, self._show, self._empty = title, show, empty
        self._kept: tuple[object, int, list[Line]] = (None, 0, [])

    def body(self, shown: Shown, width: int, height: int) -> list[Line]:
        key = (id(shown.report), shown.split, shown.reference)
        if self._kept[:2] != (key, width):
            blocks = [block for show in self._show for block in show(shown.part)]
            lines = block_lines(blocks, width) or prose(self._empty, width, "muted")
            self._kept = key, width, lines
        return self._kept[2]


def beside(left: list[Line], right: list[Line], width: int, gap: int = 3) -> list[Line]:
    """Two columns; `width` cells for the left one."""
    lines: list[Line] = []
    for y in range(max(len(left), len(right))):
        a = left[y] if y < len(left) else []
        b = right[y] if y < len(right) else []
        lines.append([*a, (" " * (width - width_of(a) + gap), ""), *b] if b else a)
    return lines


NO_TEXTS = "No held-out text was scored in this run, and no prompts were configured."
NO_SETS = "No probabilities of labels are stored for this split."
NO_ANSWERS = (
    "No answers to rows of this split are stored: only data of prompts and completions has them."
)


def answers_section() -> BlocksSection:
    """Completions of the rows, and the choices between answers."""
    return BlocksSection("Answers", (show_completions, show_choices), NO_ANSWERS)


def label_sets_section() -> BlocksSection:
    """Each label's figures at its threshold, where rows have several."""
    return BlocksSection("Labels", (show_label_sets,), NO_SETS)


def label_calibration_section() -> BlocksSection:
    """Whether the probability of each label can be believed."""
    return BlocksSection("Calibration", (show_label_calibration,), NO_SETS)


def texts_section() -> BlocksSection:
    """Held-out texts and probe prompts, base against tuned."""
    return BlocksSection("Texts", (show_texts, show_answers), NO_TEXTS)


def more_section() -> BlocksSection:
    """The sections of the report that have no pane of their own."""
    kept = [section for section in SECTIONS if section.more is not None]
    shown = sorted(kept, key=lambda section: section.more or 0)
    return BlocksSection("More", [section.show for section in shown], "Nothing else is stored.")


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
            tab = f"{i + 1} {section.title}" + " " * (i + 1 < len(self.sections))
            here = i == self.at
            parts.append((f"▸{tab}" if here else f" {tab}", "bold" if here else "dim not bold"))
        self.border_title = Content.assemble(*parts)
