"""Tokens shaded by how likely a model found them, wrapped into lines. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from ...core.run.control import ScoredToken
from ...core.wording.text import BREAK, visible_lines
from .format import format_share
from .lines import Line, Span

DIVERGES = "◆"  # where two answers diverge
NO_TOKEN = -1


@dataclass(frozen=True)
class Step:
    """From which probability on a token looks like this. Without colours the marks still differ."""

    least: float
    role: str
    word: str


STEPS = (
    Step(0.5, "", "likely"),
    Step(0.1, "under", "≥ 10 %"),
    Step(0.01, "warn strong", "≥ 1 %"),
    Step(0.0, "bad strong under", "rarer"),
)


def step_of(log_likelihood: float | None) -> Step:
    """The step of a token; one that was ruled out altogether is the rarest."""
    share = 0.0 if log_likelihood is None else math.exp(log_likelihood)
    return next(step for step in STEPS if share >= step.least or step is STEPS[-1])


def legend() -> Line:
    """What the shades mean, each in its own."""
    line: Line = [("tokens: likely (≥ 50 %)", "")]
    for step in STEPS[1:]:
        line += [("  ", ""), (step.word, step.role)]
    return line


@dataclass
class Shaded:
    """Lines, and for each token the line that it begins on."""

    lines: list[Line]
    line_of: list[int]


def shade(
    tokens: Sequence[ScoredToken],
    width: int,
    *,
    shaded: bool = True,
    cursor: int | None = None,
    mark_at: int | None = None,
) -> Shaded:
    """The tokens as wrapped text. `mark_at`: the token before which a sign stands."""
    cells: list[tuple[str, int]] = []
    for index, token in enumerate(tokens):
        first, *rest = visible_lines(token.text)
        if index == mark_at:  # before the word, not before the space that leads to it
            spaces = len(first) - len(first.lstrip(" "))
            cells += [(character, index) for character in first[:spaces]]
            cells.append((DIVERGES, NO_TOKEN))
            first = first[spaces:]
        cells += [(character, index) for character in first]
        for line in rest:
            if shaded:
                cells.append((BREAK, index))
            cells.append(("\n", index))
            cells += [(character, index) for character in line]
    roles = [_role(token, shaded, index == cursor) for index, token in enumerate(tokens)]
    wrapped = wrap_cells(cells, width)
    while len(wrapped) > 1 and not wrapped[-1]:  # after a last line break
        wrapped.pop()
    line_of = [0] * len(tokens)
    for number in range(len(wrapped) - 1, -1, -1):
        for _, index in wrapped[number]:
            if index != NO_TOKEN:
                line_of[index] = number
    return Shaded([_spans(line, roles) for line in wrapped], line_of)


def _role(token: ScoredToken, shaded: bool, chosen: bool) -> str:
    role = step_of(token.log_likelihood).role if shaded else ""
    return f"{role} cursor".strip() if chosen else role


def _spans(line: Sequence[tuple[str, int]], roles: Sequence[str]) -> Line:
    spans: list[Span] = []
    for character, index in line:
        role = "accent strong" if index == NO_TOKEN else roles[index]
        if spans and spans[-1][1] == role:
            spans[-1] = (spans[-1][0] + character, role)
        else:
            spans.append((character, role))
    return spans


def wrap_cells(cells: Sequence[tuple[str, int]], width: int) -> list[list[tuple[str, int]]]:
    """Lines of at most `width` cells, broken at spaces where there are some."""
    lines: list[list[tuple[str, int]]] = []
    line: list[tuple[str, int]] = []
    used, space = 0, -1
    for cell in cells:
        character = cell[0]
        if character == "\n":
            lines.append(line)
            line, used, space = [], 0, -1
            continue
        size = cell_len(character)
        if used + size > width and line:
            if character == " ":
                lines.append([*line, cell] if used < width else line)
                line, used, space = [], 0, -1
                continue
            cut = space + 1 if space >= 0 else len(line)
            lines.append(line[:cut])
            line, space = line[cut:], -1
            used = sum(cell_len(c) for c, _ in line)
        if character == " ":
            space = len(line)
        line.append(cell)
        used += size
    return [*lines, line]


def first_difference(a: str, b: str, *, done: bool) -> int | None:
    """The first character in which two answers differ; a longer one differs once both are done."""
    for index, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return index
    return min(len(a), len(b)) if done and len(a) != len(b) else None


def token_at(tokens: Sequence[ScoredToken], place: int) -> int | None:
    """The token that holds a character of the joined text."""
    end = 0
    for index, token in enumerate(tokens):
        end += len(token.text)
        if place < end:
            return index
    return None


def split_at(text: str, place: int | None) -> list[ScoredToken]:
    """A text without scores as one or two pieces."""
    if place is None or not 0 < place < len(text):
        return [ScoredToken(text, None, None)]
    return [ScoredToken(text[:place], None, None), ScoredToken(text[place:], None, None)]


def describe_share(token: ScoredToken) -> str:
    """`43.1 %, rank 2`"""
    share = 0.0 if token.log_likelihood is None else math.exp(token.log_likelihood)
    return format_share(share) + (f", rank {token.rank:,}" if token.rank else "")
