"""What a report is made of, before it is Markdown or HTML.

Every text here is plain and untrusted; renderers escape it and make control characters visible.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Heading:
    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
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
    """Curves over one pair of axes; HTML draws them, Markdown says `told` instead."""

    title: str
    x: str
    y: str
    lines: Sequence[Line]
    told: str = ""
    marks: Sequence[tuple[float, float, str]] = ()  # points with a word beside them


Block = Heading | Paragraph | Bullets | Table | Chart
