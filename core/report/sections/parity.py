"""Can the numbers be repeated: in other batches, and with the weights that ship?"""

from __future__ import annotations

from collections.abc import Sequence

from ...judgement.selection import of_models
from ...metrics.analyses import NotTested, Parity, SelfTest
from ...wording.names import name_metric, positive_label_of
from ...wording.numbers import format_count, format_drift, format_value
from ..blocks import Block, Bullets, Heading, Paragraph, Table, section
from ..document import Report

Repeated = SelfTest | Parity
WORDS = ("layout", "weights", "dtype")


@section(150, more=10)
def show_parity(report: Report) -> list[Block]:
    """Self-test and deploy parity of every split that has them."""
    blocks: list[Block] = []
    analyses = report["analyses"]
    for split in analyses:
        positive = positive_label_of(report["results"].get(split, {}).values())
        for model, test in of_models(analyses, SelfTest, split).items():
            blocks += _self_test(split, model, test)
        for parity in of_models(analyses, Parity, split).values():
            blocks += _parity(split, parity, positive)
    return [Heading("Can these numbers be repeated?"), *blocks] if blocks else []


def _self_test(split: str, model: str, r: SelfTest) -> list[Block]:
    columns = ("layout", "largest loss drift", "largest NLL drift", "changed predictions")
    return [
        Heading(f"Self-test: {model} on {split}", 3),
        Paragraph(f"{self_test_sentence(model, split, r)} {_units(r)}"),
        Table(columns, layout_rows(r), WORDS),
        *_left_out(r.left_out),
    ]


def layout_rows(r: SelfTest) -> list[list[str]]:
    """A row per layout: its name, largest drift of a loss and of an NLL, changed predictions."""
    return [
        [
            x.layout,
            format_drift(x.largest_loss_drift),
            format_drift(x.largest_nll_drift),
            f"{x.changed_predictions:,}",
        ]
        for x in r.layouts
    ]


def self_test_sentence(model: str, split: str, r: SelfTest) -> str:
    """The outcome in a sentence or two."""
    how = f"scored again by the {model} model in other batches and paddings"
    return f"{_sampled(r, split)}, {how}: {_verdict(r)}"


def _parity(split: str, r: Parity, positive: str | None) -> list[Block]:
    named = name_metric(r.metric, positive)
    rows = [
        [
            x.weights,
            format_drift(x.largest_loss_drift),
            format_drift(x.tolerance),
            f"{x.changed_predictions:,}",
            format_value(r.metric, x.metric),
            x.dtype,
        ]
        for x in r.weights
    ]
    columns = (
        "weights",
        "largest loss drift",
        "tolerance",
        "changed predictions",
        f"{named}, sample",
        "dtype",
    )
    scored = format_value(r.metric, r.scored)
    as_stored = f"In the stored scores, {named} of these rows is {scored}."
    return [
        Heading(f"Deploy parity on {split}", 3),
        Paragraph(f"{parity_sentence(split, r)} {as_stored} {_units(r)}"),
        *([Table(columns, rows, WORDS)] if rows else []),
        *_left_out(r.skipped),
        Paragraph(_about_weights(r)),
    ]


def parity_sentence(split: str, r: Parity) -> str:
    """The outcome in a sentence or two."""
    forms = "; ".join(x.weights for x in r.weights) or "none"
    return f"{_sampled(r, split)}, scored again with the tuned weights ({forms}): {_verdict(r)}"


def _sampled(r: Repeated, split: str) -> str:
    return f"{r.rows:,} of the {format_count(r.of, 'row')} of {split}, of all lengths"


def _verdict(r: Repeated) -> str:
    drift = format_drift(r.largest_loss_drift)
    if r.passed:
        agreement = (
            f"they agree with the stored scores. The largest drift of a row's loss is {drift}"
        )
        return f"{agreement}; {_changed(r)}." if r.changed_predictions else f"{agreement}."
    failed = [x for x in r.skipped if x.failed] if isinstance(r, Parity) else []
    if failed and not r.changed_predictions and not _drifted(r):
        return f"{failed[0].weights} could not be scored."
    return (
        f"THEY DO NOT AGREE with the stored scores. The largest drift of a row's loss is {drift}, "
        f"{format_drift(r.tolerance)} is allowed; {_changed(r)}."
    )


def _changed(r: Repeated) -> str:
    if r.unit == "row":
        return f"{format_count(r.changed_predictions, 'label')} changed"
    rows = format_count(r.changed_predictions, "row")
    return f"in {rows} another number of tokens was the first choice"


def _drifted(r: Repeated) -> bool:
    return not r.largest_loss_drift <= r.tolerance


def _units(r: Repeated) -> str:
    unit = "per row" if r.unit == "row" else "per scored token"
    answer = "the label" if r.unit == "row" else "the number of tokens that were the first choice"
    return (
        f"Drift is in nats {unit}, on {r.device} in {r.precision}; a prediction is changed "
        f"where {answer} differs."
    )


def _left_out(parts: Sequence[NotTested]) -> list[Block]:
    if not parts:
        return []
    return [Bullets([f"{x.layout or x.weights}: not tested, {x.reason}." for x in parts])]


def _about_weights(r: Parity) -> str:
    kind = "an adapter" if r.adapter else "whole weights"
    table = "tied to" if r.tied_embeddings else "separate from"
    weights = f"model/ holds {kind} in {r.stored_dtype or 'no safetensors file'}"
    if r.adapter_base is not None:
        weights += f", to be put on {r.adapter_base}"
    if r.unit == "row":
        return f"{weights}."
    return f"{weights}. The output layer is {table} the input embeddings."
