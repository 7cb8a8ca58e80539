"""The rows that the tuned model fixed and broke, with their text; one key a kind."""

from __future__ import annotations

from typing import Any

from ....core.metrics.analyses import Flips
from ....core.report.sections.flips import tell_counts
from ...drawing.lines import Line, keep_seen
from ..examples.example_list import example_header, example_line, example_widths
from ..examples.example_rows import Examples, Query, rows_at, select
from .block_lines import prose
from .evaluation_read import MODEL_WORDS
from .sections import ListSection, Opened, OpenRow, Shown

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
        e = self.examples
        return e is not None and (e.split, e.reference) == (shown.split, shown.reference)

    def places(self) -> Any:
        """The rows of the kind, the report's order: most confident, or largest change, first."""
        e = self.examples
        if e is None or not e.kinds:
            return []
        key = (id(e), self.kind)
        if self._kept[0] != key:
            found = select(e, Query(), e.kinds[min(self.kind, len(e.kinds) - 1)], "flip", ())
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
        lines = prose(tell_counts(found, shown.split), width) if found else []
        return [*lines, *([[]] if lines else []), self._tabs(shown), []]

    def _tabs(self, shown: Shown) -> Line:
        e = self.examples
        if e is None or not self.fits(shown):
            return [("", "")]
        line: Line = []
        keys = ("f", "b", "w", "g")
        for i, kind in enumerate(e.kinds):
            n = len(e.table.filter(e.table["kind"] == kind))
            here = i == self.kind
            line += [
                (f"{keys[i]} ", "accent"),
                (f"{'▸' if here else ''}{KIND_WORDS[kind]} {n:,}", "strong" if here else "muted"),
                ("    ", ""),
            ]
        return line

    def body(self, shown: Shown, width: int, height: int) -> list[Line]:
        e = self.examples
        if self.failed:
            return prose(self.failed, width, "warn")
        if e is None or not self.fits(shown):
            return [[("reading the rows …", "muted")]]
        if not e.reference:
            return prose("There is no model to compare the tuned one with here.", width, "muted")
        places = self.places()
        if not len(places):
            kind = KIND_WORDS[e.kinds[self.kind]]
            against = MODEL_WORDS.get(e.reference, e.reference)
            return prose(f"No row: {kind} against {against}.", width, "muted")
        room = max(1, height - 1)
        self.top = keep_seen(self.top, self.cursor, room)
        sizes = example_widths(e, width)
        rows = rows_at(e, places, self.top, room)
        return [
            example_header(e, sizes),
            *(
                example_line(e, row, sizes, chosen=at == self.cursor)
                for at, row in enumerate(rows, self.top)
            ),
        ]

    def _window(self, lines: list[Line], room: int) -> list[Line]:
        return lines[:room]  # the body is a window already
