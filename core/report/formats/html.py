"""The blocks of a report as one self-contained HTML page.

The template escapes every text and makes its control characters visible; nothing in it comes from
elsewhere, and the page's own policy lets it load and run nothing but its style and its script.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from itertools import accumulate
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from ...wording.numbers import DASH, format_count, format_value
from ...wording.text import visible
from ..blocks import Banner, Block, Chart, Heading, Line, Matrix, Table
from ..document import Report
from ..sections import show_all

TEMPLATES = Path(__file__).parents[1] / "templates"
# Outcomes that a cell shows by colour and sign too: the class in the style sheet.
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


def _show(value: object) -> object:
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


WIDTH, HEIGHT = 760, 340
LEFT, RIGHT, BOTTOM = 64, 20, 48
LEGEND_ROW, CHARACTER = 20, 7.2  # units of the drawing; a character of 12.5 px is about so wide
SHAPED = 24  # points up to which each is drawn
KINDS = 4  # curves that the style sheet distinguishes


@dataclass(frozen=True)
class Axis:
    """Values from `low` to `high` onto places from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float
    ticks: Sequence[float]

    def place(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def nice_ticks(low: float, high: float, count: int = 6) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten) that enclose low to high, about `count`."""
    if not low < high:
        spread = abs(low) * 0.1 or 1.0
        low, high = low - spread, high + spread
    raw = (high - low) / max(1, count - 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def format_tick(value: float, ticks: Sequence[float]) -> str:
    """With as many decimals as distinguish the ticks."""
    step = ticks[1] - ticks[0] if len(ticks) > 1 else 1.0
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value:,.{decimals}f}"


def draw(chart: Chart, name: str) -> str:
    """The chart as an <svg> element; empty where no point is finite. `name` is unique in a page."""
    points = [p for line in chart.lines for p in finite_points(line)]
    points += [(x, y) for x, y, _ in chart.marks if math.isfinite(x) and math.isfinite(y)]
    if not points:
        return ""
    legend, top = _legend(chart.lines)
    across, up = _axes(points, top)
    title, described = (escape(visible(text)) for text in (chart.title, chart.summary))
    return "".join(
        [
            f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            f'aria-labelledby="{name}-title {name}-summary">',
            f'<title id="{name}-title">{title}</title><desc id="{name}-summary">{described}</desc>',
            *_grid(chart, across, up),
            *(_curve(i, line, across, up) for i, line in _numbered(chart.lines)),
            *(_mark(mark, across, up) for mark in chart.marks),
            legend,
            "</svg>",
        ]
    )


def finite_points(line: Line) -> list[tuple[float, float]]:
    return [p for p in zip(line.x, line.y, strict=True) if math.isfinite(p[0] + p[1])]


def _axes(points: Sequence[tuple[float, float]], top: float) -> tuple[Axis, Axis]:
    """Across from the first to the last point, up from round number to round number."""
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    ticks = nice_ticks(min(xs), max(xs), 8)
    low, high = (min(xs), max(xs)) if min(xs) < max(xs) else (ticks[0], ticks[-1])
    shown = [t for t in ticks if low - 1e-9 <= t <= high + 1e-9]
    across = Axis(low, high, LEFT, WIDTH - RIGHT, shown)
    ticks = nice_ticks(min(ys), max(ys))
    return across, Axis(ticks[0], ticks[-1], HEIGHT - BOTTOM, top, ticks)


def _grid(chart: Chart, across: Axis, up: Axis) -> Iterator[str]:
    for tick in up.ticks:
        y = up.place(tick)
        yield f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>'
        yield _text(LEFT - 8, y + 4, format_tick(tick, up.ticks), "tick end")
    for tick in across.ticks:
        x = across.place(tick)
        yield f'<path class="axis" d="M{x:.1f} {up.start}v5"/>'
        yield _text(x, up.start + 20, format_tick(tick, across.ticks), "tick middle")
    yield f'<path class="axis" d="M{LEFT} {up.start}H{WIDTH - RIGHT}"/>'
    yield _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, chart.x, "label middle")
    middle = (up.start + up.end) / 2
    turned = f' transform="rotate(-90 14 {middle:.1f})"'
    yield _text(14, middle, chart.y, "label middle", turned)


def _text(x: float, y: float, text: str, kind: str, more: str = "") -> str:
    words = escape(visible(text))
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}"{more}>{words}</text>'


def _numbered(lines: Sequence[Line]) -> list[tuple[int, Line]]:
    """Curves with the number of their look; what is dashed is a reference, and has none of it."""
    numbers = accumulate((not line.dashed for line in lines), initial=0)
    return list(zip(numbers, lines, strict=False))


def _curve(i: int, line: Line, across: Axis, up: Axis) -> str:
    """A path that breaks where there is no point, and a shape on each where they are few."""
    path, pen = [], "M"
    for x, y in zip(line.x, line.y, strict=True):
        if math.isfinite(x + y):
            path.append(f"{pen}{across.place(x):.1f} {up.place(y):.1f}")
            pen = "L"
        else:
            pen = "M"
    drawn = f'<path class="{_kind(i, line)}" d="{"".join(path)}"/>'
    if not _is_shaped(line):
        return drawn
    return drawn + "".join(
        _shape(i, across.place(x), up.place(y), f"{line.name}: {x:,.6g}, {y:,.4g}")
        for x, y in finite_points(line)
    )


def _is_shaped(line: Line) -> bool:
    return not line.dashed and len(line.x) <= SHAPED


def _kind(i: int, line: Line) -> str:
    if line.dashed:
        return "line dashed"
    return f"line s{i % KINDS}{' dense' if len(line.x) > SHAPED else ''}"


def _shape(i: int, x: float, y: float, tooltip: str) -> str:
    """A circle, a square, a diamond or a triangle, with its values as a tool tip."""
    title = f"<title>{escape(visible(tooltip))}</title>" if tooltip else ""
    match i % KINDS:
        case 0:
            path = f"M{x - 2.5:.1f} {y:.1f}a2.5 2.5 0 1 0 5 0a2.5 2.5 0 1 0 -5 0z"
        case 1:
            path = f"M{x - 3:.1f} {y - 3:.1f}h6v6h-6z"
        case 2:
            path = f"M{x:.1f} {y - 4:.1f}l4 4l-4 4l-4 -4z"
        case _:
            path = f"M{x:.1f} {y - 4:.1f}l4 7h-8z"
    return f'<path class="point s{i % KINDS}" d="{path}">{title}</path>'


def _mark(mark: tuple[float, float, str], across: Axis, up: Axis) -> str:
    """A ring around a point, its word on the side where there is room."""
    x, y = across.place(mark[0]), up.place(mark[1])
    if not math.isfinite(x + y):
        return ""
    is_right = x > WIDTH * 0.8
    above = y > up.end + 24
    word = _text(
        x - 10 if is_right else x + 10,
        y - 10 if above else y + 20,
        mark[2],
        "mark end" if is_right else "mark",
    )
    return f'<circle class="ring" cx="{x:.1f}" cy="{y:.1f}" r="6.5"/>{word}'


def _legend(lines: Sequence[Line]) -> tuple[str, float]:
    """A sample and the name of each curve above the drawing, in rows, and where it may begin."""
    drawn, x, y = [], float(LEFT), 14.0
    for i, line in _numbered(lines):
        name = visible(line.name, 60)
        width = 44 + len(name) * CHARACTER
        if x + width > WIDTH and x > LEFT:
            x, y = float(LEFT), y + LEGEND_ROW
        drawn.append(f'<path class="{_kind(i, line)}" d="M{x:.1f} {y - 4}h24"/>')
        if _is_shaped(line):
            drawn.append(_shape(i, x + 12, y - 4, ""))
        drawn.append(_text(x + 32, y, name, "legend"))
        x += width + 8
    return "".join(drawn), y + 18
