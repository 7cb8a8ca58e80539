"""How the numbers were computed: each metric's full name, formula and interval."""

from __future__ import annotations

from collections.abc import Mapping

from ...metrics.metric import METRICS
from ...metrics.results import ModelResult
from ...wording.names import positive_label_of, title_metric
from ...wording.numbers import DASH
from ..blocks import Block, Heading, Table, section
from ..document import Report
from ..methods import without_clusters


@section(220, more=100)
def show_computed(report: Report) -> list[Block]:
    methods = _methods(report["results"])
    positive = positive_label_of(
        r for models in report["results"].values() for r in models.values()
    )
    rows = [
        [
            name,
            title_metric(name, positive),
            METRICS[name].formula,
            METRICS[name].direction,
            "; ".join(sorted({without_clusters(m) for m in methods[name] if m})) or DASH,
        ]
        for name in METRICS
        if name in methods
    ]
    if not rows:
        return []
    columns = ["metric", "is", "formula", "better", "interval"]
    return [Heading("How the numbers were computed"), Table(columns, rows, words=columns)]


def _methods(results: Mapping[str, Mapping[str, ModelResult]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for models in results.values():
        for result in models.values():
            for name, estimate in result.metrics.items():
                found.setdefault(name, set()).add(estimate.method)
    return found
