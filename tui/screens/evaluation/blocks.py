"""The blocks of a report as lines of a pane: the same sections, the same words."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from ....core.report.blocks import (
    Banner,
    Block,
    Bullets,
    Chart,
    Exchange,
    Figures,
    Fold,
    Heading,
    Markdown,
    Matrix,
    Notice,
    Paragraph,
    Table,
)
from ....core.wording.names import name_decision
from ....core.wording.text import visible, visible_lines
from ...drawing.format import fit, with_minus, wrap
from ...drawing.heat import matrix_lines
from ...drawing.lines import DECISION_MARKS, Line, table_lines

PROSE = 100  # cells: longer lines are hard to read
SEVERITIES = {"error": ("✗", "bad"), "warning": ("!", "warn"), "info": ("·", "muted")}


def block_lines(blocks: Iterable[Block], width: int) -> list[Line]:
    """Blocks with an empty line between them."""
    lines: list[Line] = []
    for block in blocks:
        drawn = _lines_of(block, width)
        if drawn and lines and not (isinstance(block, Notice) and lines[-1]):
            lines.append([])
        lines += drawn
    return lines


def prose(text: str, width: int, role: str = "", indent: str = "") -> list[Line]:
    """Wrapped text of untrusted content; `indent` before each line but the first."""
    wrapped = wrap(visible(text), max(1, min(PROSE, width) - len(indent)))
    return [[(indent * (i > 0) + line, role)] for i, line in enumerate(wrapped)]


def marked(mark: str, role: str, text: str, width: int, text_role: str = "") -> list[Line]:
    """A sign before the first line, the others set under its text."""
    indent = " " * (len(mark) + 1)
    room = max(1, min(PROSE, width) - len(indent))
    wrapped = [part for line in visible_lines(text) for part in wrap(line, room)] or [""]
    first: Line = [(f"{mark} ", role), (wrapped[0], text_role)]
    return [first, *([(indent + line, text_role)] for line in wrapped[1:])]


def _lines_of(block: Block, width: int) -> list[Line]:
    match block:
        case Heading(text, level):
            return [[(fit(visible(text), min(width, len(text) + 4)).rstrip(), _heading(level))]]
        case Paragraph(text, quiet):
            return prose(with_minus(text), width, "muted" if quiet else "")
        case Bullets(items):
            texts = map(with_minus, items)
            return [line for item in texts for line in marked("·", "muted", item, width)]
        case Table(columns, rows, words):
            return table_lines(columns, _figures(columns, rows, words), width, words)
        case Chart():
            return prose(block.summary, width, "muted")
        case Banner(decision, objective, reasons, to_come):
            mark, role = DECISION_MARKS.get(decision, ("·", "strong"))
            word = name_decision({"decision": decision, "preliminary": to_come}).upper()
            lines = marked(mark, role, f"{word}  {objective}", width, f"strong {role}")
            lines += marked("·", "muted", to_come, width) if to_come else []
            texts = map(with_minus, reasons)
            return lines + [line for r in texts for line in marked("·", "muted", r, width)]
        case Figures(items):
            figures = _figures(("", "value", ""), items, ("",))
            return table_lines(("", "value", ""), figures, width, words=("",))
        case Notice(severity, code, text):
            mark, role = SEVERITIES.get(severity, ("·", "muted"))
            return marked(mark, role, with_minus(f"{code}: {text}"), width)
        case Matrix(labels, counts):
            return matrix_lines(labels, counts, width)
        case Exchange():
            return _exchange_lines(block, width)
        case Fold(title, blocks):
            return block_lines([Heading(title, 3), *blocks], width)
        case Markdown(text):
            return [[(line, "")] for line in visible_lines(text)]


def _figures(
    columns: Sequence[str], rows: Iterable[Sequence[str]], words: Collection[str]
) -> list[list[str]]:
    """The rows with − in their figures; the first column and those of words stay as they are."""
    return [
        [
            with_minus(cell) if i and name not in words else cell
            for i, (name, cell) in enumerate(zip(columns, row, strict=False))
        ]
        for row in rows
    ]


def _heading(level: int) -> str:
    return "strong accent" if level < 3 else "strong"


def _exchange_lines(block: Exchange, width: int) -> list[Line]:
    lines = prose(block.prompt, width, "strong")
    for model, answer in block.answers:
        role = model if model in ("base", "tuned") else "muted"
        lines += marked(fit(visible(model), 6), role, answer.strip() or "nothing", width)
    return lines
