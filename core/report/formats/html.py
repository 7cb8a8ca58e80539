"""The blocks of a report as one self-contained HTML page.

The template escapes every text and makes its control characters visible; nothing in it comes from
elsewhere, and the page's own policy lets it load and run nothing but its style and its script.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from ...wording.numbers import DASH, format_count, format_value
from ...wording.text import visible
from ..blocks import Banner, Block, Heading, Matrix, Table
from ..document import Report
from ..sections import show_all
from ..svg import draw

TEMPLATES = Path(__file__).parents[1] / "templates"
# Words of a cell that are told in a colour and a sign too: the class of the style sheet.
TONES = {"better": " better", "worse": " worse", "the same": " cannot", "cannot tell": " cannot"}
SHADES = 8  # classes of the style sheet, from white to full


@dataclass(frozen=True)
class Part:
    """A chapter of the page: its heading and what stands beneath it."""

    id: str
    title: str
    blocks: Sequence[Block]


def render(report: Report) -> str:
    """The page of a `ftev.report/1` document."""
    names = _Names()
    style, script = (_source(name) for name in ("report.css", "report.js"))
    page = _template().render(
        run=report["run"],
        parts=parts_of(show_all(report), names),
        chart=lambda block: Markup(draw(block, names.new("chart"))),
        style=style,
        script=script,
        policy=_policy(style, script),
    )
    return _without_blank_lines(page)


@cache
def _template() -> Template:
    """Compiled once: that takes as long as filling it in."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        autoescape=True,
        finalize=_show,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        kind=lambda block: type(block).__name__.lower(),
        matrix=matrix_rows,
        breakable=breakable,
        columns=column_kinds,
        tones=TONES,
        sortable=lambda table: len(table.rows) > 2,
        count=format_count,
    )
    return environment.get_template("report.html.jinja")


def _without_blank_lines(text: str) -> str:
    return re.sub(r"\n\s*\n+", "\n", text)


def _show(value: Any) -> Any:
    """Every text that the template puts into the page, made visible; it is escaped after."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def breakable(name: str) -> Markup:
    """A long name that may break after its underscores."""
    return Markup("_<wbr>").join(visible(name).split("_"))


class _Names:
    """Names that occur once in a page."""

    def __init__(self) -> None:
        self._used: set[str] = set()

    def new(self, title: str) -> str:
        stem = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "part"
        numbered = (stem if n == 1 else f"{stem}-{n}" for n in range(1, len(self._used) + 2))
        name = next(n for n in numbered if n not in self._used)
        self._used.add(name)
        return name


def parts_of(blocks: Sequence[Block], names: _Names) -> list[Part]:
    """Chapters, cut at the headings of the second level; what comes before them is the verdict."""
    cut: list[tuple[str, list[Block]]] = []
    for block in blocks:
        if isinstance(block, Heading) and block.level <= 2:
            cut.append((block.text, []))
        else:
            if not cut:
                cut.append(("Verdict" if isinstance(block, Banner) else "Run", []))
            cut[-1][1].append(block)
    return [Part(names.new(title), title, inside) for title, inside in cut]


def column_kinds(table: Table) -> list[str]:
    """Words are set left, figures right."""
    return ["word" if i == 0 or c in table.words else "n" for i, c in enumerate(table.columns)]


def matrix_rows(matrix: Matrix) -> list[tuple[str, list[tuple[str, str]], str]]:
    """Each label with its cells, (count, class), and its recall; the class shades by share."""
    rows = []
    for i, (label, line) in enumerate(zip(matrix.labels, matrix.counts, strict=True)):
        total = sum(line)
        cells = [
            (f"{n:,}", f"{'right' if i == j else 'wrong'} shade{_shade(n, total)}")
            for j, n in enumerate(line)
        ]
        recall = format_value("recall", line[i] / total) if total else DASH
        rows.append((label, cells, recall))
    return rows


def _shade(n: int, total: int) -> int:
    """0 for an empty cell alone: a single wrong row is seen too."""
    return 0 if not n else max(1, round(SHADES * n / total))


def _source(name: str) -> Markup:
    """As it stands in the page: the policy names its hash."""
    return Markup(_without_blank_lines((TEMPLATES / name).read_text(encoding="utf-8")))


def _policy(style: str, script: str) -> str:
    allowed = f"style-src '{_digest(style)}'; script-src '{_digest(script)}'"
    return f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"


def _digest(source: str) -> str:
    digest = hashlib.sha256(source.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
