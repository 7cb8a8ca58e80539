"""What the evaluation screen reads: the report of a run, its part of a split and reference, and its
blocks as lines of a pane, in the report's own words."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from textual.message import Message

from ....core.config.config import RunConfig
from ....core.errors import FtevError
from ....core.judgement.selection import REFERENCES, SPLITS, clean, place, reference_model
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
from ....core.report.document import Report
from ....core.run.history import History, read_history
from ....core.run.runs import Run
from ....core.wording.names import name_decision
from ....core.wording.numbers import format_count
from ....core.wording.text import visible, visible_lines
from ...app.background import in_thread
from ...drawing.format import fit, with_minus, wrap
from ...drawing.lines import DECISION_MARKS, Line, table_lines
from ...drawing.shading import matrix_lines

CLEAN = "_clean"
MODEL_WORDS = {
    "base": "the base",
    "probe": "the linear probe",
    "majority": "the majority",
    "mean": "the mean",
}


@dataclass
class EvaluationRead(Message):
    """The report of the run, its history and configuration (None where a copy lost it)."""

    report: Report
    history: History
    config: RunConfig | None


@dataclass
class ReadingFailed(Message):
    """Why something could not be read."""

    text: str


def read_evaluation(run: Run, history: History | None, post: Callable[[Message], object]) -> None:
    """Read in a thread; a history that has ended may be given."""
    in_thread(lambda: _read(run, history, post))


def _read(run: Run, history: History | None, post: Callable[[Message], object]) -> None:
    from ....core.report.report import build_report

    try:
        history = history or read_history(run)
        report = build_report(run, history)
        config = run.config_if_kept()
        post(EvaluationRead(report, history, config))
    except FtevError as error:
        post(ReadingFailed(str(error)))


def ordered_splits(report: Report) -> list[str]:
    """The splits with results, the judged one first, each before its rows without repeats."""
    order = tuple(name for split in SPLITS for name in (split, clean(split)))
    return sorted(report["results"], key=lambda split: (place(order, split), split))


def references_of(report: Report, split: str) -> list[str]:
    """The models that the tuned one is compared with on a split, the one that counts first."""
    results = report["results"].get(split, {})
    if "tuned" not in results:
        return []
    first = reference_model(results)
    known = [model for model in REFERENCES if model in results]
    return sorted(known, key=lambda model: model != first)


def narrowed(report: Report, split: str, reference: str) -> Report:
    """The report as far as it is about one split and one reference."""
    headline = report["headline"]
    kept = headline if headline and headline["split"] == split else None
    beside = [split, clean(split)] if kept else [split]
    return {
        **report,
        "headline": kept,
        "results": {s: report["results"][s] for s in beside if s in report["results"]},
        "comparisons": [
            c
            for c in report["comparisons"]
            if c.split == split and (not reference or c.from_model == reference)
        ],
        "analyses": {
            name: found
            for name, found in report["analyses"].items()
            if name == split or name not in SPLITS
        },
    }


def stored_split(split: str) -> str:
    """The split whose predictions hold these rows."""
    return split.removesuffix(CLEAN)


def describe_split(report: Report, split: str) -> str:
    """`test, 1,115 rows`"""
    result = next(iter(report["results"].get(split, {}).values()), None)
    whole = stored_split(split)
    name = whole if whole == split else f"{whole} without repeated rows"
    return f"{name}, {format_count(result.n if result else 0, 'row')}"


PROSE = 100  # cells: longer lines are hard to read
SEVERITIES = {"error": ("✗", "bad"), "warning": ("!", "warn"), "info": ("·", "muted")}


def block_lines(blocks: Iterable[Block], width: int) -> list[Line]:
    """Blocks with an empty line between them."""
    lines: list[Line] = []
    for block in blocks:
        drawn = _lines_of(block, width)
        # Notices stand close: they come in lists, and an empty line each would push them out of
        # sight.
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
    # Signs are one cell each; what follows in later lines stands under the text.
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
            # Reports write ASCII hyphens, which diff and search; a screen shows the minus sign that
            # lines up with digits.
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
