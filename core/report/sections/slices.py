"""Where the tuned model is weak: its figures by label, by length and by columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...judgement.judged import judged_analysis
from ...wording.names import name_metric
from ...wording.numbers import (
    DASH,
    format_count,
    format_difference_in_column,
    format_difference_interval,
    format_estimate,
    format_p,
    format_value,
)
from ..blocks import Block, Heading, Paragraph, Table, section

SHOWN = 20  # slices in the table; the rest are in report.json
LEVEL = 0.05
NAMED = 5
UNITS = ("characters", "scored tokens")


@section(120, more=None)
def show_slices(report: Mapping[str, Any]) -> list[Block]:
    split, models = judged_analysis(report.get("analyses") or {}, "slices")
    r = models.get("tuned")
    if not r:
        return []
    judged = [s for s in r["slices"] if s["judged"]]
    few = [s for s in r["slices"] if not s["judged"]]
    blocks: list[Block] = [Heading(f"Slices of {split} ({format_count(r['n'], 'row')})")]
    if judged:
        blocks += [Paragraph(_finding(r, judged)), _table(r, judged[:SHOWN])]
    if len(judged) > SHOWN:
        rest = format_count(len(judged) - SHOWN, "slice")
        blocks.append(Paragraph(f"{rest} that did better are in report.json."))
    if few:
        named = ", ".join(f"{name_slice(s)} ({s['rows']:,})" for s in few[:NAMED])
        more = f", and {len(few) - NAMED:,} more" if len(few) > NAMED else ""
        least = "10 clusters of rows" if "clusters" in r else "10 rows"
        blocks.append(Paragraph(f"Too few to judge, under {least}: {named}{more}."))
    return blocks + [Paragraph(f"{note[:1].upper()}{note[1:]}.") for note in r.get("notes", ())]


def name_slice(s: Mapping[str, Any]) -> str:
    """`label "spam"`, `5 to 13 characters`, `source "web"`."""
    if s["by"] in UNITS:
        return f"{s['value']} {s['by']}"
    return f'{s.get("column") or s["by"]} "{s["value"]}"'


def worse_slices(r: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The slices that are worse than the rest beyond chance, the worst first."""
    sign = 1 if r["metric"] == "accuracy" else -1
    return [
        s
        for s in r["slices"]
        if s["judged"] and s["rest"]["p_corrected"] < LEVEL and sign * s["rest"]["difference"] < 0
    ]


def _finding(r: Mapping[str, Any], judged: list[Mapping[str, Any]]) -> str:
    metric, worse = r["metric"], worse_slices(r)
    looked = (
        f"{name_metric(metric)} of the tuned model in {format_count(len(judged), 'slice')} "
        "of at least 10 rows, each against the other rows of the split, with p adjusted for the "
        "number of slices (Holm)"
    )
    if not worse:
        return (
            f"No slice is shown to be worse than the rest: {looked}. The worst-looking stand first."
        )
    named = ", ".join(
        f"{name_slice(s)} ({format_value(metric, s[metric]['value'])} against "
        f"{format_value(metric, s['rest']['value'])} elsewhere)"
        for s in worse[:NAMED]
    )
    more = f", and {len(worse) - NAMED:,} more" if len(worse) > NAMED else ""
    return f"Worse than the rest beyond chance: {named}{more}. Looked at: {looked}."


def _table(r: Mapping[str, Any], table: list[Mapping[str, Any]]) -> Table:
    metric, reference = r["metric"], r.get("reference", "")
    columns = ["slice", "rows", f"{name_metric(metric)} (95 %)"]
    columns += [reference] if reference else []
    columns += ["against the rest (95 %)", "p, corrected"]
    return Table(columns, [_row(metric, bool(reference), s) for s in table])


def _row(metric: str, has_reference: bool, s: Mapping[str, Any]) -> list[str]:
    rest = s["rest"]
    ends = format_difference_interval(metric, rest["low"], rest["high"])
    cells = [name_slice(s), f"{s['rows']:,}", format_estimate(metric, s[metric])]
    if has_reference:
        before = s.get("reference")
        cells.append(format_value(metric, before["value"]) if before else DASH)
    difference = f"{format_difference_in_column(metric, rest['difference'])} ({ends})"
    return [*cells, difference, format_p(rest["p_corrected"])]
