"""The metrics of the evaluation screen: a line each, the one under the cursor told in sentences."""

from __future__ import annotations

from ....core.report.sections.thresholds import describe_other_threshold
from ....core.wording.names import name_class
from ...drawing.lines import Line
from .block_lines import prose
from .evaluation_metrics import (
    Row,
    metric_lines,
    metric_rows,
    tell_changed,
    tell_doubt,
    tell_metric,
)
from .sections import ListSection, Opened, OpenReceipt, Shown


class MetricsSection(ListSection):
    title = "Metrics"

    def rows(self, shown: Shown) -> list[Row]:
        return metric_rows(shown.report, shown.split, shown.reference, shown.table)

    def count(self, shown: Shown) -> int:
        return len(shown.table.rows)

    def head(self, shown: Shown, width: int) -> list[Line]:
        told = [
            tell_changed(self.rows(shown), shown.reference),
            self._class(shown),
            describe_other_threshold(shown.report, shown.split),
        ]
        lines = [line for text in told if text for line in prose(text, width)]
        return [*lines, []] if lines else []

    def _class(self, shown: Shown) -> str:
        """Whose precision, recall and F1 the table has."""
        named = name_class((row.metric for row in shown.table.rows), shown.table.positive)
        return f"In the table: {named}." if named else ""

    def body(self, shown: Shown, width: int, height: int) -> list[Line]:
        models = list(shown.report["results"].get(shown.split, {}))
        rows = self.rows(shown)
        return metric_lines(rows, shown.reference, models, width, self.cursor)

    def foot(self, shown: Shown, width: int) -> list[Line]:
        rows = self.rows(shown)
        if not rows:
            return []
        doubt = tell_doubt(rows)
        lines = prose(doubt, width, "muted") if doubt else []
        return [[], *lines, *tell_metric(rows[self.cursor], shown.reference, width)]

    def opened(self, shown: Shown) -> Opened:
        return OpenReceipt(self.cursor) if self.count(shown) else None

    def term(self, shown: Shown) -> str | None:
        return shown.table.rows[self.cursor].metric if self.count(shown) else None
