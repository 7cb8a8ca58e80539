"""Can the probabilities be believed?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...judgement.selection import judged_analysis
from ...metrics.analyses import Bin, Calibration, NullEce
from ...metrics.results import Estimate
from ...wording.numbers import (
    format_count,
    format_difference,
    format_difference_in_column,
    format_difference_interval,
    format_estimate,
    format_p,
    format_value,
)
from ..blocks import Block, Chart, Heading, Line, Paragraph, Table, section
from ..document import Report

ABOUT = (
    "A confidence is the probability of the label that a model answers. Of rows with a confidence "
    "of 90 %, nine in ten should be right. ECE is the mean gap between confidence and accuracy "
    "over 15 bins of equal width; it is never 0 on few rows, so beside it stands what a perfectly "
    "calibrated model with these confidences shows. Brier and loss need no bins; less is better."
)


@section(100, more=None)
def show_calibration(report: Report) -> list[Block]:
    split, models = judged_analysis(report["analyses"], Calibration)
    known = {model: m for model, r in models.items() if (m := _measured(r))}
    if not models:
        return []
    rows = next(iter(models.values())).n
    blocks: list[Block] = [Heading(f"Calibration on {split} ({format_count(rows, 'row')})")]
    blocks += [
        Paragraph(f"{model}: {r.why_not}, so its calibration is not assessed.")
        for model, r in models.items()
        if r.why_not
    ]
    if known:
        blocks += [Paragraph(ABOUT), _overview(known)]
    for model in ("tuned", *(m for m in known if m != "tuned")):
        if model in known:
            caveat = models[model].null_caveat or ""
            blocks += [Paragraph(f"{_sentence(model, known[model])} {caveat}".rstrip())]
            blocks += [Paragraph(text) for text in _temperature(split, model, models[model])]
    if "tuned" in known:
        blocks += [
            Paragraph(f"The tuned model's reliability on {split}, by confidence:"),
            _bins(known["tuned"].bins),
            _diagram(split, known["tuned"].bins),
        ]
    return blocks


@dataclass(frozen=True)
class _Measured:
    """A calibration that has its numbers."""

    n: int
    brier: Estimate
    loss: Estimate
    ece: Estimate
    null: NullEce
    bins: list[Bin]


def _measured(r: Calibration) -> _Measured | None:
    if not (r.brier and r.loss and r.ece and r.ece_null) or r.bins is None:
        return None
    return _Measured(r.n, r.brier, r.loss, r.ece, r.ece_null, r.bins)


def _overview(models: Mapping[str, _Measured]) -> Table:
    return Table(
        ("model", "ECE (95 %)", "if calibrated", "p", "Brier (95 %)", "loss (95 %)"),
        [
            (
                model,
                format_estimate("ece", r.ece),
                format_value("ece", r.null.value),
                format_p(r.null.p),
                format_estimate("brier", r.brier),
                format_estimate("loss", r.loss),
            )
            for model, r in models.items()
        ],
    )


def _sentence(model: str, r: _Measured) -> str:
    ece = format_value("ece", r.ece.value)
    usual, most = (format_value("ece", value) for value in (r.null.value, r.null.high))
    rows = format_count(r.n, "row")
    if r.ece.value <= r.null.high:
        return (
            f"{model}: no miscalibration is shown. Its ECE is {ece}; a perfectly calibrated model "
            f"shows {usual} on {rows}, and up to {most} in 39 of 40 samples."
        )
    gap = overconfidence(r.bins, r.n)
    lean = (
        f"on the whole it is {'over' if gap > 0 else 'under'}-confident: its mean confidence is "
        f"{format_difference('accuracy', abs(gap)).lstrip('+')} "
        f"{'above' if gap > 0 else 'below'} its accuracy"
    )
    return (
        f"{model}: its confidences are off. Its ECE is {ece}, where a perfectly calibrated model "
        f"shows {usual} on {rows}, and more than {most} in 1 of 40 samples; {lean}."
    )


def overconfidence(bins: Sequence[Bin], n: int) -> float:
    """Mean confidence less accuracy, over all n rows."""
    return sum(b.rows * (b.confidence - b.accuracy) for b in bins) / n


def _temperature(split: str, model: str, r: Calibration) -> list[str]:
    if r.no_temperature:
        return [f"{model}: no temperature is applied: {r.no_temperature}."]
    if (t := r.temperature) is None:
        return []
    change = t.loss_change
    ends = change.low, change.high
    effect = "no change of the loss is shown"
    if not math.isnan(ends[0]):
        effect = "the loss falls" if ends[1] < 0 else "the loss rises" if ends[0] > 0 else effect
    lean = "softer" if t.value > 1 else "sharper"
    sentence = (
        f"{model}: dividing the log-probabilities by a temperature of {t.value:.3g}, fitted on "
        f"{format_count(t.rows, 'validation row')} and frozen, makes confidences {lean} and "
        f"changes no answer. On {split} the loss goes from {format_value('loss', t.loss.before)} "
        f"to {format_value('loss', t.loss.after)} "
        f"({format_difference('loss', change.difference)}, paired 95 %: "
        f"{format_difference_interval('loss', *ends)}, p {format_p(change.p)}): {effect}. "
        f"ECE goes from {format_value('ece', t.ece.before)} to "
        f"{format_value('ece', t.ece.after)}; if calibrated it would be "
        f"{format_value('ece', t.ece_null.value)}"
    )
    return [sentence + "."]


def _bins(bins: Sequence[Bin]) -> Table:
    """The reliability table of the tuned model."""
    return Table(
        ("confidence", "rows", "mean confidence", "accuracy (95 %)", "gap"),
        [
            (
                f"{100 * b.low:.1f} to {100 * b.high:.1f} %",
                f"{b.rows:,}",
                format_value("ece", b.confidence),
                format_estimate("accuracy", _accuracy(b)),
                format_difference_in_column("accuracy", b.accuracy - b.confidence),
            )
            for b in bins
        ],
    )


def _accuracy(b: Bin) -> Estimate:
    return Estimate(b.accuracy, b.accuracy_low, b.accuracy_high, "Wilson 95 %")


def _diagram(split: str, bins: Sequence[Bin]) -> Chart:
    x = [b.confidence for b in bins]
    return Chart(
        title=f"Reliability of the tuned model on {split}",
        x="mean confidence of the bin",
        y="accuracy in the bin",
        lines=(
            Line("perfectly calibrated", (0.0, 1.0), (0.0, 1.0), dashed=True),
            Line("accuracy", x, [b.accuracy for b in bins]),
            Line("low end, 95 %", x, [b.accuracy_low for b in bins], dashed=True),
            Line("high end, 95 %", x, [b.accuracy_high for b in bins], dashed=True),
        ),
        summary="The table above holds the points of the reliability diagram.",
    )
