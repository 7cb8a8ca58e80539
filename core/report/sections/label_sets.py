"""Rows with several labels each: every label's figures at its threshold and at 0.5, and whether its
probabilities can be believed."""

from __future__ import annotations

from collections.abc import Mapping

from ...judgement.selection import judged_analysis, of_models
from ...metrics.analyses import Flips, LabelCalibrations, LabelThreshold, LabelThresholds
from ...metrics.results import Estimate, LabelScores
from ...wording.names import MODELS, name_metric
from ...wording.numbers import DASH, format_count, format_estimate, format_value
from ..blocks import Block, Bullets, Heading, Paragraph, Table, section
from ..document import Report, result_of
from .thresholds import describe_aim

SHOWN = ("macro_f1", "micro_f1", "samples_f1", "subset_accuracy", "hamming_loss")
OF_POSITIVE = ("precision", "recall", "f1")


@section(60, more=None)
def show_label_sets(report: Report) -> list[Block]:
    split, models = judged_analysis(report["analyses"], LabelThresholds)
    found, tuned = models.get("tuned"), result_of(report, split)
    if found is None or tuned is None:
        return []
    rows = [_label_row(one, _changed(report, split, one.label)) for one in found.labels]
    columns = ["label", "threshold", "precision", "recall", "F1", "rows", "F1 at 0.5"]
    blocks: list[Block] = [
        Heading(f"Labels (tuned, {split})"),
        Table([*columns, "fixed", "broke"], rows),
        *(Paragraph(text) for text in _choice(found)),
        *_not_chosen(found),
        _at_half(found, tuned.metrics),
    ]
    if tuned.undefined:
        named = ", ".join(tuned.undefined)
        blocks.append(
            Paragraph(f"In neither truth nor predictions, and so in no average: {named}.")
        )
    return blocks


def _changed(report: Report, split: str, label: str) -> tuple[str, str]:
    """Rows whose decision on a label was put right, and those where it was put wrong."""
    flips = of_models(report["analyses"], Flips, split).get("tuned")
    if flips is None or flips.by_label is None:
        return DASH, DASH
    found = flips.by_label.get(label)
    return (f"{found.fixed:,}", f"{found.broke:,}") if found else ("0", "0")


def _label_row(one: LabelThreshold, changed: tuple[str, str]) -> list[str]:
    scores = one.at_threshold
    figures = [DASH] * 4 if scores is None else _figures(scores)
    half = DASH if one.at_half is None else format_value("f1", one.at_half.f1)
    mark = "" if one.why_not is None else " (not fitted)"
    return [one.label, f"{one.threshold:.3g}{mark}", *figures, half, *changed]


def _figures(scores: LabelScores) -> list[str]:
    values = {"precision": scores.precision, "recall": scores.recall, "f1": scores.f1}
    return [*(format_value(name, v) for name, v in values.items()), f"{scores.support:,}"]


def _choice(found: LabelThresholds) -> list[str]:
    if all(one.why_not for one in found.labels):
        return ["Every label is given from a probability of 0.5: no threshold could be fitted."]
    rows = "" if found.fitted_rows is None else f" ({format_count(found.fitted_rows, 'row')})"
    texts = [
        f"A label is given where its own probability reaches its threshold. The thresholds were "
        f"chosen on {found.fitted_on}{rows} for the most F1 of each label and are frozen: all "
        "figures of the tuned model are at them. While training they are at 0.5."
    ]
    if found.aim.kind != "f1" and found.positive is not None:
        aim = describe_aim(found.aim, found.positive)
        texts.append(f'That of "{found.positive}" was chosen for {aim}, as the objective asks.')
    return texts


def _not_chosen(found: LabelThresholds) -> list[Block]:
    """Labels that stay at 0.5, and thresholds that do nothing, each with the reason."""
    notes = [f"{one.label}: 0.5, as {one.why_not}" for one in found.labels if one.why_not]
    notes += [
        f"{one.label}: the threshold calls {one.calls} of validation"
        for one in found.labels
        if one.calls
    ]
    return [Bullets(notes)] if notes else []


def _at_half(found: LabelThresholds, own: Mapping[str, Estimate]) -> Table:
    """The figures at the thresholds beside those at 0.5."""
    names = [*SHOWN, *(OF_POSITIVE if found.positive else ())]
    rows = [
        [
            name_metric(name, found.positive),
            format_estimate(name, own[name]),
            format_estimate(name, found.at_half[name]),
        ]
        for name in names
        if name in own and name in found.at_half
    ]
    return Table(["metric", "at the thresholds", "at 0.5"], rows)


@section(105, more=None)
def show_label_calibration(report: Report) -> list[Block]:
    split, models = judged_analysis(report["analyses"], LabelCalibrations)
    known = {model: found for model, found in models.items() if found.labels}
    if not known:
        return []
    blocks: list[Block] = [Heading(f"Calibration of the labels ({split})")]
    for model, found in known.items():
        rows = [
            [
                label,
                f"{c.brier:.4f}",
                f"{c.base_rate_brier:.4f}",
                format_value("ece", c.ece),
                format_value("ece", c.ece_null.value),
                "no more than chance" if c.ece <= c.ece_null.high else "more than chance",
            ]
            for label, c in (found.labels or {}).items()
        ]
        columns = ["label", "Brier score", "of its share", "ECE", "of chance", "result"]
        mean = format_value("ece", found.mean_ece or 0.0)
        sentence = f"{MODELS.get(model, model)}: mean calibration error over the labels {mean}."
        blocks += [Paragraph(sentence), Table(columns, rows, words=("result",))]
    why = (
        "Each label has a probability of its own, and they need not add up to 1. “Of its share” is "
        "the Brier score of always saying the share of rows with the label; “of chance” the "
        "calibration error (ECE) that perfectly calibrated probabilities would show on these rows."
    )
    return [*blocks, Paragraph(why, quiet=True)]
