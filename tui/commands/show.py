"""How a command prints: one JSON document, tables, labelled lines, messages on stderr."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ...core.wording.text import visible

Rows = Sequence[Sequence[str]]
Document = dict[str, Any]  # of `--json`: plain values, as the rooms below make them


def is_terminal() -> bool:
    """Whether stdout is a terminal that knows escape codes."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("", "dumb", "unknown")


def can_draw_screen() -> bool:
    """Whether a screen can be drawn, which is done on stderr, and keys be read."""
    ends = (sys.stdin, sys.stderr)
    return is_terminal() and all(end is not None and end.isatty() for end in ends)


def let_interrupt() -> None:
    """Ctrl-C ends a wait for input. Some of what is imported puts its own handler there."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)


def say(text: str) -> None:
    """A message to the person, on stderr: stdout is for what was asked for."""
    print(visible(text), file=sys.stderr, flush=True)


def print_json(document: object) -> None:
    """One JSON document on stdout, NaN and infinities spelled as in a report."""
    from ...core.report.formats.json import render

    sys.stdout.write(render(document))
    sys.stdout.flush()


def print_table(columns: Sequence[str], rows: Rows, words: Sequence[str] = ()) -> None:
    """A table; the columns named in `words` are set left, the others right."""
    cells = [[visible(cell) for cell in row] for row in rows]
    if is_terminal():
        _draw_table(columns, cells, words)
    else:
        for line in format_rows(columns, cells, words):
            print(line)


def _draw_table(columns: Sequence[str], rows: Rows, words: Sequence[str]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(Text(name), justify="left" if name in words else "right")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console(highlight=False).print(table)


def format_rows(columns: Sequence[str], rows: Rows, words: Sequence[str] = ()) -> list[str]:
    """The table as plain lines, in columns."""
    lines = [list(columns), *map(list, rows)]
    widths = [max(_width(line[i]) for line in lines) for i in range(len(columns))]
    return [
        "  ".join(
            _pad(cell, width, left=name in words)
            for cell, width, name in zip(line, widths, columns, strict=True)
        ).rstrip()
        for line in lines
    ]


def _pad(cell: str, width: int, *, left: bool) -> str:
    space = " " * (width - _width(cell))
    return cell + space if left else space + cell


def _width(text: str) -> int:
    """Cells in a terminal."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) > 0 for c in text)


MOST_COLUMNS = 100  # longer lines are hard to read


def columns() -> int:
    """Columns of the terminal, at most 100: longer lines are hard to read."""
    return min(MOST_COLUMNS, shutil.get_terminal_size((MOST_COLUMNS, 24)).columns)


def labelled(lines: Iterable[tuple[str, str]], width: int) -> Iterator[str]:
    """Each text beside its label, its further lines beneath it."""
    pairs = [(visible(label), visible(text)) for label, text in lines]
    indent = max((len(label) for label, _ in pairs), default=0) + 2
    for label, text in pairs:
        first, *rest = paragraph(text, max(20, width - indent)) or [""]
        yield f"{label:<{indent}}{first}".rstrip()
        yield from (" " * indent + more for more in rest)


def paragraph(text: str, width: int) -> list[str]:
    """Lines of the text; a number stays with its per cent sign."""
    import textwrap

    together = text.replace(" %", "\0%")
    lines = textwrap.wrap(together, width, break_on_hyphens=False)
    return [line.replace("\0", " ") for line in lines]
