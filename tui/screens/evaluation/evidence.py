"""Sections on rows: flips against a reference, slices, and findings with the rows they list."""

from __future__ import annotations

from typing import Any

from ....core.metrics.analyses import Flips, Slice, Slices
from ....core.report.blocks import Heading, Table
from ....core.report.sections.rows import describe_counts, name_slice, show_slices
from ....core.report.sections.verdict import describe_listed, describe_listed_of, sentences_of
from ....core.wording.text import visible
from ...drawing.format import fit, with_minus
from ...drawing.lines import Line, keep_seen
from ..examples.example_list import example_header, example_line, example_widths
from ..examples.example_rows import Examples, Query, label_query, rows_at, select
from .reading import MODEL_WORDS, SEVERITIES, block_lines, prose
from .sections import ELSEWHERE, POINTER, ListSection, Opened, OpenRow, OpenRows, Shown


class FindingsSection(ListSection):
    """The findings, worst first; enter lists the rows of one."""

    title = "Findings"

    def count(self, shown: Shown) -> int:
        return len(shown.report["findings"])

    def head(self, shown: Shown, width: int) -> list[Line]:
        n = self.count(shown)
        if not n:
            return prose("No pitfall was found in this run.", width, "good")
        findings = "One finding" if n == 1 else f"{n} findings"
        return [*prose(f"{findings} to read before relying on these numbers.", width), []]

    def body(self, shown: Shown, width: int, height: int) -> list[Line]:
        lines: list[Line] = []
        for i, found in enumerate(shown.report["findings"]):
            chosen = i == self.cursor
            mark, role = SEVERITIES.get(found["severity"], ("·", "muted"))
            rows = f"   listed: {visible(describe_listed(found))}" if found["rows"] else ""
            title: Line = [
                POINTER if chosen else ("  ", ""),
                (f"{mark} {found['severity']}  ", role),
                (visible(found["code"]), "strong" if chosen else ""),
                (rows, "muted"),
            ]
            lines.append(title)
            if chosen:
                text = with_minus(sentences_of(found, shown.report["data"]))
                sentences = prose(text, width - 4)
                lines += [[("    ", ""), *line] for line in sentences]
                if found["evidence"]:
                    lines += [[("    ", ""), *line] for line in _evidence(found, width - 4)]
            else:
                text = with_minus(visible(found["message"]))
                lines.append([("    ", ""), (fit(text, width - 4), "muted")])
            lines.append([])
        return lines[:-1]

    def opened(self, shown: Shown) -> Opened:
        if not self.count(shown):
            return None
        found = shown.report["findings"][self.cursor]
        if not found["rows"]:
            return None
        splits = [split for split, _ in found["rows"]]
        split = shown.split if shown.split in splits else splits[0]
        ids = tuple(int(row) for at, row in found["rows"] if at == split)
        about = f"the {describe_listed_of(found, split)} listed under {found['code']}"
        return OpenRows(only=ids, split=split, about=about)

    def term(self, shown: Shown) -> str | None:
        return str(shown.report["findings"][self.cursor]["code"]) if self.count(shown) else None


def _evidence(found: Any, width: int) -> list[Line]:
    parts = [f"{name} {_evidence_value(value)}" for name, value in found["evidence"].items()]
    return prose(with_minus("evidence: " + ", ".join(parts)), width, "muted")


def _evidence_value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


class SlicesSection(ListSection):
    """The report's table, worst first; enter lists the rows of a label."""

    title = "Slices"

    def count(self, shown: Shown) -> int:
        return len(self._slices(shown))

    def _slices(self, shown: Shown) -> list[Slice]:
        found = shown.analysis(Slices)
        return [s for s in found.slices if s.judged][:20] if found else []

    def body(self, shown: Shown, width: int, height: int) -> list[Line]:
        blocks = [b for b in show_slices(shown.part) if not isinstance(b, Heading)]
        if not blocks:
            return prose(ELSEWHERE.format(split=shown.split), width, "muted")
        lines: list[Line] = []
        for block in blocks:
            if isinstance(block, Table):
                block = _reference_last(block)
            text = block_lines([block], width - 2)
            if isinstance(block, Table):
                first = next((i for i, line in enumerate(text) if self._is_row(line, shown)), 1)
                text = [
                    [POINTER if i - first == self.cursor else ("  ", ""), *line]
                    for i, line in enumerate(text)
                ]
            lines += [*([[]] if lines else []), *text]
        return lines

    def _is_row(self, line: Line, shown: Shown) -> bool:
        slices = self._slices(shown)
        return bool(line and slices and line[0][1] == "")

    def opened(self, shown: Shown) -> Opened:
        slices = self._slices(shown)
        if not slices:
            return None
        chosen = slices[self.cursor]
        if chosen.by == "label":
            return OpenRows(label_query(truth=chosen.value), about=name_slice(chosen))
        low, found, high = chosen.value.replace(",", "").partition(" to ")
        column = {"characters": "length", "scored tokens": "tokens"}.get(chosen.by)
        if column and found:
            return OpenRows(f"{column}>={low} {column}<={high}", about=name_slice(chosen))
        return None

    def term(self, shown: Shown) -> str | None:
        return "slices"


def _reference_last(table: Table) -> Table:
    """What is found against the other rows goes before the figure of the other model."""
    if len(table.columns) < 6:
        return table
    order = (0, 1, 2, 4, 5, 3)
    rows = [[row[i] for i in order] for row in table.rows]
    return Table([table.columns[i] for i in order], rows, table.words)


KIND_WORDS = {
    "fixed": "fixed",
    "broke": "broken",
    "wrong": "still wrong",
    "right": "still right",
    "fell": "loss fell",
    "rose": "loss rose",
    "same": "loss the same",
}


TALL, TEXT_LINES = 26, 6


class FlipSection(ListSection):
    """Rows fixed and broken against the reference, with their text; a key per kind."""

    title = "Flips"

    def __init__(self) -> None:
        self.examples: Examples | None = None
        self.kind = 0
        self.failed = ""
        self._tall = False
        self._kept: tuple[object, Any] = (None, None)

    def choose(self, kind: int) -> None:
        self.kind, self.cursor, self.top = kind, 0, 0

    def fits(self, shown: Shown) -> bool:
        examples = self.examples
        return examples is not None and (examples.split, examples.reference) == (
            shown.split,
            shown.reference,
        )

    def places(self) -> Any:
        """The rows of the kind, the report's order: most confident, or largest change, first."""
        examples = self.examples
        if examples is None or not examples.kinds:
            return []
        key = (id(examples), self.kind)
        if self._kept[0] != key:
            found = select(
                examples,
                Query(),
                examples.kinds[min(self.kind, len(examples.kinds) - 1)],
                "flip",
                (),
            )
            self._kept = key, found
        return self._kept[1]

    def count(self, shown: Shown) -> int:
        return len(self.places()) if self.fits(shown) else 0

    def opened(self, shown: Shown) -> Opened:
        return OpenRow(self.cursor) if self.count(shown) else None

    def term(self, shown: Shown) -> str | None:
        return "fixed and broke"

    def draw(self, shown: Shown, width: int, height: int) -> list[Line]:
        self._tall = height >= TALL
        return super().draw(shown, width, height)

    def foot(self, shown: Shown, width: int) -> list[Line]:
        """Where there is room, the chosen row's text in full."""
        if not self._tall or not self.count(shown) or self.examples is None:
            return []
        rows = rows_at(self.examples, self.places(), self.cursor, 1)
        lines = prose(str(rows[0]["text"]), width) if rows else []
        return [[("─" * width, "rule")], *lines[:TEXT_LINES]] if lines else []

    def head(self, shown: Shown, width: int) -> list[Line]:
        found = shown.analysis(Flips)
        if found is not None and found.from_model != shown.reference:
            found = None
        lines = prose(describe_counts(found, shown.split), width) if found else []
        return [*lines, *([[]] if lines else []), self._tabs(shown), []]

    def _tabs(self, shown: Shown) -> Line:
        examples = self.examples
        if examples is None or not self.fits(shown):
            return [("", "")]
        line: Line = []
        keys = ("f", "b", "w", "g")
        for i, kind in enumerate(examples.kinds):
            n = len(examples.table.filter(examples.table["kind"] == kind))
            here = i == self.kind
            line += [
                (f"{keys[i]} ", "accent"),
                (f"{'▸' if here else ''}{KIND_WORDS[kind]} {n:,}", "strong" if here else "muted"),
                ("    ", ""),
            ]
        return line

    def body(self, shown: Shown, width: int, height: int) -> list[Line]:
        examples = self.examples
        if self.failed:
            return prose(self.failed, width, "warn")
        if examples is None or not self.fits(shown):
            return [[("reading the rows …", "muted")]]
        if not examples.reference:
            return prose("There is no model to compare the tuned one with here.", width, "muted")
        places = self.places()
        if not len(places):
            kind = KIND_WORDS[examples.kinds[self.kind]]
            against = MODEL_WORDS.get(examples.reference, examples.reference)
            return prose(f"No rows of this kind ({kind}) against {against}.", width, "muted")
        room = max(1, height - 1)
        self.top = keep_seen(self.top, self.cursor, room)
        sizes = example_widths(examples, width)
        rows = rows_at(examples, places, self.top, room)
        return [
            example_header(examples, sizes),
            *(
                example_line(examples, row, sizes, chosen=at == self.cursor)
                for at, row in enumerate(rows, self.top)
            ),
        ]

    def _window(self, lines: list[Line], room: int) -> list[Line]:
        return lines[:room]  # the body is a window already
