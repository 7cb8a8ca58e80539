"""The rows that the tuned model fixed and broke, or whose loss changed most."""

from __future__ import annotations

from collections.abc import Sequence

from ...judgement.selection import SPLITS, higher_is_better, judged_analysis, of_models
from ...metrics.analyses import (
    ABSOLUTE_ERROR,
    Flip,
    Flips,
    LabelErrors,
    Slice,
    SliceDifference,
    Slices,
    SuspectRow,
)
from ...metrics.results import Estimate
from ...wording.names import name_metric
from ...wording.numbers import (
    DASH,
    format_count,
    format_difference_in_column,
    format_difference_interval,
    format_estimate,
    format_interval,
    format_p,
    format_point,
    format_value,
    name_unit,
    read_number,
)
from ...wording.text import visible
from ..blocks import Block, Heading, Paragraph, Table, section
from ..document import Report

SHOWN = 10  # rows of each changed kind
TEXT = 120  # characters of an input
MODELS = {
    "base": "the base",
    "probe": "the linear probe",
    "majority": "the majority label",
    "mean": "the mean",
}
LOSS_WORDS = {"fell": "fell most", "rose": "rose most"}


@section(70, more=None)
def show_flips(report: Report) -> list[Block]:
    blocks: list[Block] = []
    analyses = report["analyses"]
    for split in sorted(analyses, key=lambda s: SPLITS.index(s) if s in SPLITS else len(SPLITS)):
        for found in of_models(analyses, Flips, split).values():
            blocks += _split_blocks(split, found)
    if not blocks:
        return []
    return [Heading("Which rows changed"), *blocks]


def _split_blocks(split: str, r: Flips) -> list[Block]:
    against = MODELS.get(r.from_model, r.from_model)
    blocks: list[Block] = [Heading(f"{split}, the tuned model against {against}", 3)]
    blocks.append(Paragraph(describe_counts(r, split)))
    labelled = "fixed" in r.counts
    for kind, rows in r.rows.items():
        if not rows:
            continue
        most = min(SHOWN, len(rows))
        title = f"{kind.capitalize()}, the tuned model's most confident first"
        if not labelled:
            title = f"Rows whose {_what_changed(r)} {LOSS_WORDS[kind]}{_in_unit(r, ', in ')}"
        rest = f": {most} of {r.counts[kind]:,}" if r.counts[kind] > most else ""
        blocks += [Paragraph(f"{title}{rest}."), flip_table(rows[:SHOWN], r.from_model, TEXT)]
    return blocks


def describe_counts(r: Flips, split: str) -> str:
    """The counts of every kind in words, and what they say and do not say."""
    counts, n, before = r.counts, r.n, r.from_model
    if "fixed" in counts:
        text = (
            f"Of {format_count(n, 'row')} of {split}, the tuned model fixed {counts['fixed']:,} "
            f"({before} wrong, tuned right) and broke {counts['broke']:,} ({before} right, tuned "
            f"wrong); {counts['wrong']:,} are wrong in both and {counts['right']:,} right in both."
        )
        if r.wrong_otherwise:
            text += f" Of those wrong in both, {r.wrong_otherwise:,} got another wrong label."
        return text
    text = (
        f"Of {format_count(n, 'row')} of {split}, the {_what_changed(r)} under the tuned model is "
        f"lower than "
        f"under {before} on {counts['fell']:,}, higher on {counts['rose']:,} and the same on "
        f"{counts['same']:,} ({_sign_test(r)} p {format_p(r.p)})."
    )
    if r.quartiles:
        low, middle, high = (f"{q:+.3f}" for q in r.quartiles)
        text += f" The middle change is {middle}{_in_unit(r, ' ')}; half lie from {low} to {high}."
    for kind, words in (
        ("unscored", "no scored tokens"),
        ("undefined", "a loss that is not finite"),
    ):
        if counts.get(kind):
            text += f" {format_count(counts[kind], 'row')} had {words}."
    return text + " The change of a single row is no evidence of its own: it may be chance."


def _what_changed(r: Flips) -> str:
    return ABSOLUTE_ERROR if r.unit == ABSOLUTE_ERROR else "loss"


def _in_unit(r: Flips, before: str) -> str:
    return "" if r.unit == ABSOLUTE_ERROR else f"{before}{name_unit(r.unit)}"


def _sign_test(r: Flips) -> str:
    if r.clusters is not None:
        return f"sign test of {format_count(r.clusters, 'cluster')} of rows,"
    return "exact sign test"


def flip_table(rows: Sequence[Flip], before: str, most: int) -> Table:
    """Rows as a table: row, label, both answers with confidence; or the losses; and the input."""
    texts = any(row.input is not None for row in rows)
    if rows[0].label is not None:
        columns = ["row", "label", before, "tuned"]
        cells = [
            [
                str(r.row_id),
                r.label or "",
                _answer(r.before, r.before_confidence),
                _answer(r.after, r.after_confidence),
            ]
            for r in rows
        ]
        words = ["label", before, "tuned", "input"]
    else:
        columns, words = ["row", before, "tuned", "change", "tokens"], ["input"]
        cells = [
            [
                str(r.row_id),
                *(f"{read_number(loss):.3f}" for loss in (r.before, r.after)),
                f"{read_number(r.change):+.3f}",
                f"{r.tokens or 0:,}",
            ]
            for r in rows
        ]
    if texts:
        columns.append("input")
        for row, line in zip(rows, cells, strict=True):
            line.append(visible(DASH if row.input is None else row.input, most))
    return Table(columns, cells, words)


def _answer(label: str | float | None, confidence: float | None) -> str:
    shown = f" ({format_value('accuracy', confidence)})" if confidence is not None else ""
    return f"{DASH if label is None else label}{shown}"


SHOWN_SLICES = 20  # slices in the table; the rest are in report.json
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
        blocks += [Paragraph(_finding(r, judged)), _table(r, judged[:SHOWN_SLICES])]
    if len(judged) > SHOWN_SLICES:
        rest = format_count(len(judged) - SHOWN_SLICES, "slice")
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
    sign = 1 if higher_is_better(r.metric) else -1
    return [
        (s, s.rest)
        for s in r.slices
        if s.rest and s.rest.p_corrected < LEVEL and sign * s.rest.difference < 0
    ]


def figure_of(s: Slice, metric: str) -> Estimate | None:
    """The slice's own value of the metric that slices are judged by."""
    return s.accuracy if s.loss is None else s.loss


def _finding(r: Slices, judged: Sequence[Slice]) -> str:
    metric, worse = r.metric, worse_slices(r)
    looked = (
        f"{name_metric(metric)} of the tuned model in {format_count(len(judged), 'slice')} "
        "of at least 10 rows, each against the other rows of the split, with p adjusted for the "
        "number of slices (Holm)"
    )
    if not worse:
        return (
            f"No slice is shown to be worse than the rest: {looked}. The worst-looking come first."
        )
    named = ", ".join(
        f"{name_slice(s)} ({format_point(metric, figure_of(s, metric))} against "
        f"{format_value(metric, rest.value)} elsewhere)"
        for s, rest in worse[:NAMED]
    )
    more = f", and {len(worse) - NAMED:,} more" if len(worse) > NAMED else ""
    return f"Worse than the rest beyond chance: {named}{more}. Looked at: {looked}."


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


HELD_OUT = ("test", "validation")
JUDGES = {"tuned": "tuned model", "probe": "linear probe"}
SHOWN_ROWS = 20
SHOWN_CELLS = 10
TEXT_LENGTH = 120  # characters


@section(130, more=20)
def show_label_errors(report: Report) -> list[Block]:
    """For each held-out split: how many labels are suspect, in which cells, and the first rows."""
    blocks: list[Block] = []
    for split in HELD_OUT:
        for found in of_models(report["analyses"], LabelErrors, split).values():
            if found.suspected:
                blocks += _of_split(split, found)
    return [Heading("Labels that may be wrong"), *blocks] if blocks else []


def _of_split(split: str, found: LabelErrors) -> list[Block]:
    counts = (
        f"{format_count(found.suspected, 'label')} of the {found.n:,} rows of {split} "
        f"{'is' if found.suspected == 1 else 'are'} suspect."
    )
    if found.share is not None:
        counts += (
            f" By the errors where the {JUDGES[found.model or 'tuned']} is sure, "
            f"{format_value('accuracy', found.share)} of the labels are wrong (95 %: "
            f"{format_interval('accuracy', found.low, found.high)})."
        )
    if found.probe_agrees is not None:
        counts += f" In {found.probe_agrees:,} of them the linear probe gives the same answer."
    rows, cells = (found.rows or [])[:SHOWN_ROWS], (found.cells or [])[:SHOWN_CELLS]
    blocks: list[Block] = [
        Heading(f"{split}", 3),
        Paragraph(f"{counts} {found.caveat or ''}"),
        Table(
            ("given label", "looks like", "suspect rows"),
            [(c.label, c.suggested, f"{c.rows:,}") for c in cells],
            words=("looks like",),
        ),
        _listing(rows),
    ]
    if len(rows) < found.suspected:
        more = found.suspected - len(rows)
        blocks.append(Paragraph(f"{format_count(more, 'more row')} not shown here."))
    return blocks


def _listing(rows: Sequence[SuspectRow]) -> Table:
    return Table(
        ("row", "given label", "its probability", "looks like", "probability", "text"),
        [
            (
                f"{row.row_id}",
                row.label,
                format_value("accuracy", row.label_probability),
                row.suggested,
                format_value("accuracy", row.probability),
                visible(row.text, TEXT_LENGTH),
            )
            for row in rows
        ],
        words=("given label", "looks like", "text"),
    )
