"""Labelled text in plain lines, broken to the width of the terminal."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Iterator

from ...core.wording.text import visible

MOST_COLUMNS = 100


def columns() -> int:
    return min(MOST_COLUMNS, shutil.get_terminal_size((MOST_COLUMNS, 24)).columns)


def labelled(lines: Iterable[tuple[str, str]], width: int) -> Iterator[str]:
    """Each text beside its label, its further lines beneath it."""
    told = [(visible(label), visible(text)) for label, text in lines]
    indent = max((len(label) for label, _ in told), default=0) + 2
    for label, text in told:
        first, *rest = paragraph(text, max(20, width - indent)) or [""]
        yield f"{label:<{indent}}{first}".rstrip()
        yield from (" " * indent + more for more in rest)


def paragraph(text: str, width: int) -> list[str]:
    """Lines of the text; a number stays with its per cent sign."""
    together = text.replace(" %", "\0%")
    lines = textwrap.wrap(together, width, break_on_hyphens=False)
    return [line.replace("\0", " ") for line in lines]
