"""The sections of the evaluation about what to know before its numbers are believed."""

from __future__ import annotations

from typing import Any

from ....core.metrics.analyses import Slice, Slices
from ....core.report.blocks import Heading, Table
from ....core.report.sections.findings import sentences_of, tell_listed, tell_listed_of
from ....core.report.sections.slices import name_slice, show_slices
from ....core.wording.text import visible
from ...drawing.format import fit, with_minus
from ...drawing.lines import Line
from ..examples.example_rows import label_query
from .block_lines import SEVERITIES, block_lines, prose
from .sections import ELSEWHERE, POINTER, ListSection, Opened, OpenRows, Shown


class FindingsSection(ListSection):
    title = "Findings"

    def count(self, shown: Shown) -> int:
        return len(shown.report["findings"])

    def head(self, shown: Shown, width: int) -> list[Line]:
        n = self.count(shown)
        if not n:
            return prose("No pitfall was found in this run.", width, "good")
        told = "One thing" if n == 1 else f"{n} things"
        return [*prose(f"{told} to know before these numbers are believed.", width), []]

    def body(self, shown: Shown, width: int, height: int) -> list[Line]:
        lines: list[Line] = []
        for i, found in enumerate(shown.report["findings"]):
            chosen = i == self.cursor
            mark, role = SEVERITIES.get(found["severity"], ("·", "muted"))
            rows = f"   listed: {visible(tell_listed(found))}" if found["rows"] else ""
            title: Line = [
                POINTER if chosen else ("  ", ""),
                (f"{mark} {found['severity']}  ", role),
                (visible(found["code"]), "strong" if chosen else ""),
                (rows, "muted"),
            ]
            lines.append(title)
            if chosen:
                told = with_minus(sentences_of(found, shown.report["data"]))
                sentences = prose(told, width - 4)
                lines += [[("    ", ""), *line] for line in sentences]
                if found["evidence"]:
                    lines += [[("    ", ""), *line] for line in _evidence(found, width - 4)]
            else:
                told = with_minus(visible(found["message"]))
                lines.append([("    ", ""), (fit(told, width - 4), "muted")])
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
        about = f"the {tell_listed_of(found, split)} listed under {found['code']}"
        return OpenRows(only=ids, split=split, about=about)

    def term(self, shown: Shown) -> str | None:
        return str(shown.report["findings"][self.cursor]["code"]) if self.count(shown) else None


def _evidence(found: Any, width: int) -> list[Line]:
    parts = [f"{name} {_told(value)}" for name, value in found["evidence"].items()]
    return prose(with_minus("evidence: " + ", ".join(parts)), width, "muted")


def _told(value: Any) -> str:
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
            told = block_lines([block], width - 2)
            if isinstance(block, Table):
                first = next((i for i, line in enumerate(told) if self._is_row(line, shown)), 1)
                told = [
                    [POINTER if i - first == self.cursor else ("  ", ""), *line]
                    for i, line in enumerate(told)
                ]
            lines += [*([[]] if lines else []), *told]
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
