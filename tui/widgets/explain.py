"""What a metric, a finding or a term means: its entry of the glossary."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType

from ...core.report.glossary import Entry, lookup
from ...core.wording.text import visible
from ..drawing.format import fit, wrap
from ..drawing.spans import Line
from .modal import Page

WIDTH, LABEL_WIDTH = 70, 10


class Explain(Page):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("question_mark", "close", show=False)]

    def __init__(self, entry: Entry) -> None:
        super().__init__(f"{entry.title} ({entry.kind})", entry_lines(entry))


def explain_screen(term: str) -> Explain | None:
    """The modal of a term, however it is spelt; None where the glossary lacks it."""
    entry = lookup(term)
    return Explain(entry) if entry else None


def entry_lines(entry: Entry) -> list[Line]:
    parts = [("meaning", entry.meaning), ("reading", entry.reading), ("trap", entry.trap)]
    parts.append(("see also", ", ".join(entry.see)))
    lines: list[Line] = []
    for label, text in parts:
        if not text:
            continue
        lines += [[]] if lines else []
        wrapped = wrap(visible(text), WIDTH - LABEL_WIDTH)
        for i, told in enumerate(wrapped):
            lines.append([(fit("" if i else label, LABEL_WIDTH), "muted"), (told, "")])
    return lines
