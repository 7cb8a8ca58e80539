"""The five stages, each with its shape before and after."""

from __future__ import annotations

from ...wording.numbers import format_seconds, format_shape
from ..blocks import Block, Heading, Table, section
from ..document import Report


@section(210, more=90)
def show_stages(report: Report) -> list[Block]:
    if not report["stages"]:
        return []
    rows = [
        [
            str(number),
            s["name"],
            s["note"],
            format_shape(s["rows_in"], s["columns_in"]),
            format_shape(s["rows_out"], s["columns_out"]),
            format_seconds(s["seconds"]),
        ]
        for number, s in enumerate(report["stages"], 1)
    ]
    columns = ["no.", "stage", "found", "rows × columns before", "after", "time"]
    return [Heading("Stages"), Table(columns, rows, words=("stage", "found"))]
