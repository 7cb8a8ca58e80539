"""The blocks of a report as Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ...wording.numbers import DASH, format_value
from ...wording.text import BREAK, visible
from ..blocks import (
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
from ..document import Report
from ..sections import show_all

TEXT_LENGTH = 400  # characters of a cell, an answer or a prompt
SENTENCES_LENGTH = 4_000

# An interval of numbers stays as it is; then marks that begin something anywhere, underscores at
# the edge of a word, and what begins something at the head of a line.
_MARKUP = re.compile(
    r"(?P<interval>\[[-+\d.,∞% ]+\](?![(\[:]))"
    r"|[\\`*{}\[\]|~$]|(?<![^\W_])_|_(?![^\W_])"
    r"|^\s*(?:[-+](?=[\s-]|$)|#)|^\s*\d+[.)](?=\s|$)"
)

_TAG = re.compile(r"<(?=[A-Za-z/!?])")  # "< 0.0001" begins none


def render(report: Report) -> str:
    """Markdown of a `ftev.report/1` document."""
    return render_blocks([Heading(report["run"]["name"], 1), *show_all(report)])


def render_blocks(blocks: Sequence[Block]) -> str:
    """Blocks with an empty line between them; findings and answers make one list."""
    text, before = "", None
    for block in blocks:
        if not (rendered := render_block(block)):
            continue
        listed = isinstance(block, Notice | Exchange) and type(block) is before
        text += rendered if not text else ("\n" if listed else "\n\n") + rendered
        before = type(block)
    return text + "\n"


def render_block(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {escape(text)}"
        case Paragraph(text):
            return escape(text, SENTENCES_LENGTH)
        case Bullets(items):
            return "\n".join(f"- {escape(item, SENTENCES_LENGTH)}" for item in items)
        case Table():
            return _table(block)
        case Chart():
            return escape(block.summary, SENTENCES_LENGTH)
        case Banner():
            return _banner(block)
        case Notice(severity, code, text):
            return f"- **{severity}**, `{code}`: {escape(text, SENTENCES_LENGTH)}"
        case Matrix():
            return _matrix(block)
        case Exchange(prompt, answers):
            lines = (f"\n  - {escape(model)}: {escape(answer)}" for model, answer in answers)
            return f"- {escape(prompt)}{''.join(lines)}"
        case Fold(title, blocks):
            parts = [Heading(title, 3), *blocks]
            return "\n\n".join(filter(None, map(render_block, parts)))
        case Markdown(text):
            return text
        case Figures():
            return ""


def escape(text: object, limit: int = TEXT_LENGTH) -> str:
    """Text of a user's file or a model as Markdown that shows it as it is, on one line."""
    escaped = str(text).replace("\r\n", "\n").replace("\n", f" {BREAK} ")
    escaped = _MARKUP.sub(_escape_mark, visible(escaped, limit).replace("&", "&amp;"))
    return _TAG.sub("&lt;", escaped).replace(">", "&gt;")


def _escape_mark(match: re.Match[str]) -> str:
    mark = match[0]
    return mark if match["interval"] else f"{mark[:-1]}\\{mark[-1]}"


def _table(table: Table) -> str:
    """The first column and those of words are set left, figures right."""
    left = [i == 0 or name in table.words for i, name in enumerate(table.columns)]
    cells = [[escape(cell) for cell in line] for line in (table.columns, *table.rows)]
    return _join([cells[0], [":--" if is_left else "--:" for is_left in left], *cells[1:]])


def _join(lines: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _banner(banner: Banner) -> str:
    reasons = "\n".join(f"- {escape(reason, SENTENCES_LENGTH)}" for reason in banner.reasons)
    title = f"## {'Preliminary verdict' if banner.preliminary else 'Verdict'}: "
    parts = [title + escape(banner.decision), f"Objective: {escape(banner.objective)}"]
    if banner.preliminary:
        parts.append(f"Preliminary: {escape(banner.preliminary)}.")
    return "\n\n".join([*parts, reasons]).strip()


def _matrix(matrix: Matrix) -> str:
    labels = [escape(label) for label in matrix.labels]
    lines = [["truth \\ predicted", *labels, "recall"], [":--", *["--:"] * (len(labels) + 1)]]
    for i, line in enumerate(matrix.counts):
        cells = [f"**{n:,}**" if i == j else f"{n:,}" for j, n in enumerate(line)]
        recall = format_value("recall", line[i] / sum(line)) if sum(line) else DASH
        lines.append([labels[i], *cells, recall])
    return _join(lines)
