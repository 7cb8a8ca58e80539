"""Can the probabilities be believed?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ...judgement.judged import judged_analysis
from ...wording.numbers import (
    format_count,
    format_difference,
    format_difference_in_column,
    format_difference_interval,
    format_estimate,
    format_p,
    format_value,
    read_number,
)
from ..blocks import Block, Chart, Heading, Line, Paragraph, Table, section

ABOUT = (
    "A confidence is the probability of the label that a model answers. Of rows with a confidence "
    "of 90 %, nine in ten should be right. ECE is the mean gap between confidence and accuracy "
    "over 15 bins of equal width; it is never 0 on few rows, so beside it stands what a perfectly "
    "calibrated model with these confidences shows. Brier and loss need no bins; less is better."
)


@section(100, more=None)
def show_calibration(report: Mapping[str, Any]) -> list[Block]:
    split, models = judged_analysis(report.get("analyses") or {}, "calibration")
    told = {model: r for model, r in models.items() if "bins" in r}
    if not models:
        return []
    rows = next(iter(models.values()))["n"]
    blocks: list[Block] = [Heading(f"Calibration on {split} ({format_count(rows, 'row')})")]
    blocks += [
        Paragraph(f"{model}: {r['why_not']}, so nothing is said about its calibration.")
        for model, r in models.items()
        if "why_not" in r
    ]
    if told:
        blocks += [Paragraph(ABOUT), _overview(told)]
    for model in ("tuned", *(m for m in told if m != "tuned")):
        if model in told:
            caveat = told[model].get("null_caveat", "")
            blocks += [Paragraph(f"{_sentence(model, told[model])} {caveat}".rstrip())]
            blocks += [Paragraph(text) for text in _temperature(split, model, told[model])]
    if "tuned" in told:
        blocks += [
            Paragraph(f"The tuned model's reliability on {split}, by confidence:"),
            _bins(told["tuned"]),
            _diagram(split, told["tuned"]),
        ]
    return blocks


def _overview(models: Mapping[str, Mapping[str, Any]]) -> Table:
    return Table(
        ("model", "ECE (95 %)", "if calibrated", "p", "Brier (95 %)", "loss (95 %)"),
        [
            (
                model,
                format_estimate("ece", r["ece"]),
                format_value("ece", r["ece_null"]["value"]),
                format_p(r["ece_null"]["p"]),
                format_estimate("brier", r["brier"]),
                format_estimate("loss", r["loss"]),
            )
            for model, r in models.items()
        ],
    )


def _sentence(model: str, r: Mapping[str, Any]) -> str:
    ece, null = format_value("ece", r["ece"]["value"]), r["ece_null"]
    usual, most = (format_value("ece", null[k]) for k in ("value", "high"))
    rows = format_count(r["n"], "row")
    if read_number(r["ece"]["value"]) <= read_number(null["high"]):
        return (
            f"{model}: no miscalibration is shown. Its ECE is {ece}; a perfectly calibrated model "
            f"shows {usual} on {rows}, and up to {most} in 39 of 40 samples."
        )
    gap = overconfidence(r)
    lean = (
        f"on the whole it is {'over' if gap > 0 else 'under'}-confident: its mean confidence is "
        f"{format_difference('accuracy', abs(gap)).lstrip('+')} "
        f"{'above' if gap > 0 else 'below'} its accuracy"
    )
    return (
        f"{model}: its confidences are off. Its ECE is {ece}, where a perfectly calibrated model "
        f"shows {usual} on {rows}, and more than {most} in 1 of 40 samples; {lean}."
    )


def overconfidence(r: Mapping[str, Any]) -> float:
    """Mean confidence less accuracy, over all rows of a calibration result."""
    total = sum(b["rows"] * (b["confidence"] - b["accuracy"]) for b in r["bins"])
    return float(total / r["n"])


def _temperature(split: str, model: str, r: Mapping[str, Any]) -> list[str]:
    if reason := r.get("no_temperature"):
        return [f"{model}: no temperature is applied: {reason}."]
    if not (t := r.get("temperature")):
        return []
    change = t["loss_change"]
    ends = read_number(change["low"]), read_number(change["high"])
    effect = "no change of the loss is shown"
    if not math.isnan(ends[0]):
        effect = "the loss falls" if ends[1] < 0 else "the loss rises" if ends[0] > 0 else effect
    lean = "softer" if t["value"] > 1 else "sharper"
    loss, ece = t["loss"], t["ece"]
    told = (
        f"{model}: dividing the log-probabilities by a temperature of {t['value']:.3g}, fitted on "
        f"{format_count(t['rows'], 'validation row')} and frozen, makes confidences {lean} and "
        f"changes no answer. On {split} the loss goes from {format_value('loss', loss['before'])} "
        f"to {format_value('loss', loss['after'])} "
        f"({format_difference('loss', change['difference'])}, paired 95 %: "
        f"{format_difference_interval('loss', *ends)}, p {format_p(change['p'])}): {effect}. "
        f"ECE goes from {format_value('ece', ece['before'])} to "
        f"{format_value('ece', ece['after'])}; if calibrated it would be "
        f"{format_value('ece', t['ece_null']['value'])}"
    )
    return [told + "."]


def _bins(r: Mapping[str, Any]) -> Table:
    """The reliability table of the tuned model."""
    return Table(
        ("confidence", "rows", "mean confidence", "accuracy (95 %)", "gap"),
        [
            (
                f"{100 * b['low']:.1f} to {100 * b['high']:.1f} %",
                f"{b['rows']:,}",
                format_value("ece", b["confidence"]),
                format_estimate("accuracy", _accuracy(b)),
                format_difference_in_column("accuracy", b["accuracy"] - b["confidence"]),
            )
            for b in r["bins"]
        ],
    )


def _accuracy(b: Mapping[str, Any]) -> dict[str, Any]:
    return {"value": b["accuracy"], "low": b["accuracy_low"], "high": b["accuracy_high"]}


def _diagram(split: str, r: Mapping[str, Any]) -> Chart:
    x = [b["confidence"] for b in r["bins"]]
    return Chart(
        title=f"Reliability of the tuned model on {split}",
        x="mean confidence of the bin",
        y="accuracy in the bin",
        lines=(
            Line("perfectly calibrated", (0.0, 1.0), (0.0, 1.0), dashed=True),
            Line("accuracy", x, [b["accuracy"] for b in r["bins"]]),
            Line("low end, 95 %", x, [b["accuracy_low"] for b in r["bins"]], dashed=True),
            Line("high end, 95 %", x, [b["accuracy_high"] for b in r["bins"]], dashed=True),
        ),
        told="The table above holds the points of the reliability diagram.",
    )
