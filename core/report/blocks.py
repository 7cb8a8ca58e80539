"""What a report is made of, before it is Markdown or HTML.

Every text here is plain and untrusted; renderers escape it and make control characters visible.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .document import Report


@dataclass(frozen=True)
class Heading:
    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    text: str
    quiet: bool = False  # how a number was made: set smaller


@dataclass(frozen=True)
class Markdown:
    """What the author of a model card wrote: it stands as it is, in a card alone."""

    text: str


@dataclass(frozen=True)
class Bullets:
    items: Sequence[str]


@dataclass(frozen=True)
class Table:
    """Cells are formatted already; the first column and those named in `words` are set left."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: Sequence[str] = ()


@dataclass(frozen=True)
class Line:
    """One curve of a chart: points in the units of the axes, NaN where there is none."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    dashed: bool = False


@dataclass(frozen=True)
class Chart:
    """Curves over one pair of axes; HTML draws them, Markdown prints `summary` instead."""

    title: str
    x: str
    y: str
    lines: Sequence[Line]
    summary: str = ""
    marks: Sequence[tuple[float, float, str]] = ()  # points with a word beside them


@dataclass(frozen=True)
class Banner:
    """The verdict: the first thing that is read. `preliminary`: what is still to come."""

    decision: str
    objective: str
    reasons: Sequence[str]
    preliminary: str = ""


@dataclass(frozen=True)
class Figures:
    """The few numbers a reader takes away: (name, value, note). Markdown leaves them to the
    sentences of the verdict, which say the same."""

    items: Sequence[tuple[str, str, str]]


@dataclass(frozen=True)
class Notice:
    """A finding: error, warning or info, its code and its sentences."""

    severity: str
    code: str
    text: str


@dataclass(frozen=True)
class Matrix:
    """Counts of truth (rows) against predictions (columns), shaded by the share of the truth."""

    labels: Sequence[str]
    counts: Sequence[Sequence[int]]


@dataclass(frozen=True)
class Exchange:
    """A prompt and what each model answered: (model, answer)."""

    prompt: str
    answers: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Fold:
    """What few readers need: HTML shows its title until it is opened, Markdown shows it whole."""

    title: str
    blocks: Sequence[Block]


Block = (
    Heading
    | Paragraph
    | Markdown
    | Bullets
    | Table
    | Chart
    | Banner
    | Figures
    | Notice
    | Matrix
    | Exchange
    | Fold
)

Show = Callable[[Report], list[Block]]
LAST = 1_000


@dataclass(frozen=True)
class Section:
    """A part of the report: `ftev.report/1` to blocks."""

    show: Show
    place: int  # in the order in which a report is read
    more: int | None  # place among what the evaluation screen shows last; None: not there


SECTIONS: list[Section] = []


def section(place: int = LAST, more: int | None = LAST) -> Callable[[Show], Show]:
    """Register a section: every format and the evaluation screen have it."""

    def register(show: Show) -> Show:
        SECTIONS.append(Section(show, place, more))
        return show

    return register
