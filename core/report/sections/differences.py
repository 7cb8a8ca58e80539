"""Paired differences: every metric of the tuned model against each reference, on the same rows."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ...judgement.outcome import read_difference
from ...judgement.selection import REFERENCES, SPLITS, clean, place
from ...metrics.results import Comparison
from ...wording.names import name_metric, positive_label_of
from ...wording.numbers import (
    DASH,
    format_count,
    format_difference,
    format_difference_interval,
    format_p,
)
from ..blocks import Block, Fold, Heading, Paragraph, Table, section
from ..document import Report
from ..methods import describe_clusters, without_clusters

Rows = Mapping[str, Comparison]  # by the name of the metric

SHOWN_SPLITS = tuple(name for split in SPLITS for name in (split, clean(split)))
HOW = (
    "Both models were scored on the same rows, and every resample takes the same rows of both. "
    "“Better” and “worse” stand where the whole interval lies on one side of 0 and p is at most "
    "0.05{corrected}; “the same” stands where no digit of the difference is left to show. {p} "
    "“Smallest detectable” is the difference that so many rows would have shown in 80 of 100 "
    "cases. The intervals cover the choice of these rows, not another fine-tuning run."
)
ALONE = "p belongs to one metric by itself: only the primary metric was declared before the run."
HOLM = (
    "p belongs to one metric by itself. “p (Holm)” is adjusted for multiple comparisons: among the "
    "metrics that were not declared before the run, as many as are truly unchanged, the chance "
    "that any of them falls below 0.05 is at most 5 %. The primary metric was declared, and its p "
    "stands as it is."
)


@section(40, more=None)
def show_differences(report: Report) -> list[Block]:
    groups: dict[tuple[str, str, str], list[Comparison]] = {}
    for c in report["comparisons"]:
        groups.setdefault((c.split, c.from_model, c.to_model), []).append(c)
    if not groups:
        return []
    ordered = sorted(groups, key=lambda k: (place(SHOWN_SPLITS, k[0]), place(REFERENCES, k[1])))
    told: list[Block] = [Heading("Paired differences")]
    for key in ordered:
        split, before, after = key
        positive = positive_label_of(report["results"].get(split, {}).values())
        named = {name_metric(c.metric, positive): c for c in groups[key]}
        title, blocks = f"{before} → {after} on {split}", _group(named)
        told += [Heading(title, 3), *blocks] if key == ordered[0] else [Fold(title, blocks)]
    holm = any(c.p_holm is not None for c in report["comparisons"])
    corrected = ", p (Holm) where there is one" if holm else ""
    return [*told, Paragraph(HOW.format(corrected=corrected, p=HOLM if holm else ALONE))]


def _group(rows: Rows) -> list[Block]:
    told: list[Block] = []
    for name, c in rows.items():
        if c.fixed is None or c.broke is None:
            continue
        fixed, broke = format_count(c.fixed, "row"), format_count(c.broke, "row")
        by = "" if c.metric == "accuracy" else f"By {name}, "
        words = f"fixed {fixed} (wrong before, right after), broke {broke} (right before, wrong"
        words = f"{by}{words} after)."
        told.append(Paragraph(words[0].upper() + words[1:]))
        break
    return [*told, _table(rows), Paragraph(_methods(rows), quiet=True)]


def _table(rows: Rows) -> Table:
    holm = ["p (Holm)"] if any(c.p_holm is not None for c in rows.values()) else []
    columns = ["metric", "difference", "95 % interval", "p", *holm, "result", "smallest detectable"]
    return Table(
        columns, [_row(name, c, bool(holm)) for name, c in rows.items()], words=("result",)
    )


def _row(name: str, c: Comparison, holm: bool) -> list[str]:
    least = math.nan if c.smallest_detectable is None else abs(c.smallest_detectable)
    return [
        name,
        format_difference(c.metric, c.difference),
        format_difference_interval(c.metric, c.low, c.high),
        format_p(c.p),
        *([format_p(c.p_holm)] if holm else []),
        read_difference(c),
        DASH if math.isnan(least) else format_difference(c.metric, least).lstrip("+"),
    ]


def _methods(rows: Rows) -> str:
    """How p and interval were made; the method of most metrics is said once, for the others."""
    by_method: dict[str, list[str]] = {}
    for name, c in rows.items():
        by_method.setdefault(without_clusters(c.method), []).append(name)
    ordered = sorted(by_method, key=lambda method: len(by_method[method]))
    told = []
    for method in ordered:
        last = method == ordered[-1] and len(ordered) > 1 and len(by_method[method]) > 2
        names = "All others" if last else ", ".join(by_method[method])
        told.append(f"{names}: {method}.")
    if clusters := describe_clusters(c.method for c in rows.values()):
        told.append(f"Rows that belong together are one unit: {clusters}.")
    return " ".join(told)
