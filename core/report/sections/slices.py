"""Where the tuned model is weak: its figures by label, by length and by columns."""

from __future__ import annotations

from collections.abc import Sequence

from ...judgement.judged import judged_analysis
from ...metrics.analyses import Slice, SliceDifference, Slices
from ...metrics.results import Estimate
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
from ..document import Report

SHOWN = 20  # slices in the table; the rest are in report.json
LEVEL = 0.05
NAMED = 5
UNITS = ("characters", "scored tokens")


@section(120, more=None)
def show_slices(report: Report) -> list[Block]:
    split, models = judged_analysis(report["analyses"], Slices)
    r = models.get("tuned")
    if not r:
        return []
    judged = [s for s in r.slices if s.judged]
    few = [s for s in r.slices if not s.judged]
    blocks: list[Block] = [Heading(f"Slices of {split} ({format_count(r.n, 'row')})")]
    if judged:
        blocks += [Paragraph(_finding(r, judged)), _table(r, judged[:SHOWN])]
    if len(judged) > SHOWN:
        rest = format_count(len(judged) - SHOWN, "slice")
        blocks.append(Paragraph(f"{rest} that did better are in report.json."))
    if few:
        named = ", ".join(f"{name_slice(s)} ({s.rows:,})" for s in few[:NAMED])
        more = f", and {len(few) - NAMED:,} more" if len(few) > NAMED else ""
        least = "10 clusters of rows" if r.clusters is not None else "10 rows"
        blocks.append(Paragraph(f"Too few to judge, under {least}: {named}{more}."))
    return blocks + [Paragraph(f"{note[:1].upper()}{note[1:]}.") for note in r.notes or ()]


def name_slice(s: Slice) -> str:
    """`label "spam"`, `5 to 13 characters`, `source "web"`."""
    if s.by in UNITS:
        return f"{s.value} {s.by}"
    return f'{s.column or s.by} "{s.value}"'


def worse_slices(r: Slices) -> list[tuple[Slice, SliceDifference]]:
    """The slices that are worse than the rest beyond chance, the worst first, and that rest."""
    sign = 1 if r.metric == "accuracy" else -1
    return [
        (s, s.rest)
        for s in r.slices
        if s.rest and s.rest.p_corrected < LEVEL and sign * s.rest.difference < 0
    ]


def figure_of(s: Slice, metric: str) -> Estimate | None:
    """The slice's own value of the metric that slices are judged by."""
    return s.accuracy if metric == "accuracy" else s.loss


def _finding(r: Slices, judged: Sequence[Slice]) -> str:
    metric, worse = r.metric, worse_slices(r)
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
        f"{name_slice(s)} ({_value(metric, figure_of(s, metric))} against "
        f"{format_value(metric, rest.value)} elsewhere)"
        for s, rest in worse[:NAMED]
    )
    more = f", and {len(worse) - NAMED:,} more" if len(worse) > NAMED else ""
    return f"Worse than the rest beyond chance: {named}{more}. Looked at: {looked}."


def _value(metric: str, estimate: Estimate | None) -> str:
    return DASH if estimate is None else format_value(metric, estimate.value)


def _table(r: Slices, table: Sequence[Slice]) -> Table:
    metric, reference = r.metric, r.reference or ""
    columns = ["slice", "rows", f"{name_metric(metric)} (95 %)"]
    columns += [reference] if reference else []
    columns += ["against the rest (95 %)", "p, corrected"]
    return Table(columns, [_row(metric, bool(reference), s) for s in table])


def _row(metric: str, has_reference: bool, s: Slice) -> list[str]:
    cells = [name_slice(s), f"{s.rows:,}", format_estimate(metric, figure_of(s, metric))]
    if has_reference:
        cells.append(format_value(metric, s.reference.value) if s.reference else DASH)
    if s.rest is None:
        return [*cells, DASH, DASH]
    ends = format_difference_interval(metric, s.rest.low, s.rest.high)
    difference = f"{format_difference_in_column(metric, s.rest.difference)} ({ends})"
    return [*cells, difference, format_p(s.rest.p_corrected)]
