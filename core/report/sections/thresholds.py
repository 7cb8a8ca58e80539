"""Where a binary classifier cuts, who chose that, and what it does to test."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ...judgement.selection import judged_analysis, of_models
from ...metrics.analyses import Change, OperatingPoint, Operation, Rival, ThresholdAim, Thresholds
from ...metrics.results import Estimate
from ...wording.names import name_metric
from ...wording.numbers import (
    DASH,
    format_count,
    format_difference,
    format_difference_interval,
    format_estimate,
    format_p,
    format_value,
)
from ..blocks import Block, Chart, Heading, Line, Paragraph, Table, section
from ..document import Report, result_of


@section(110, more=None)
def show_thresholds(report: Report) -> list[Block]:
    analyses = report["analyses"]
    split, models = judged_analysis(analyses, Thresholds)
    r = models.get("tuned")
    if not r:
        return []
    blocks: list[Block] = [Heading("Threshold of the tuned model")]
    blocks += [Paragraph(text) for text in _choice(r)]
    if r.at_half and r.at_threshold:
        n = format_count(r.at_threshold.n, "row")
        both = r.at_half, r.at_threshold
        blocks.append(Paragraph(f"On {split} ({n}), which had no part in the choice:"))
        blocks += [_figures(r, *both), _confusions(*both), *_against(r)]
        blocks += [Paragraph(text) for text in _kept_promise(split, r, r.at_threshold)]
    elif r.chosen:
        blocks.append(
            Paragraph("There is no test split: nothing shows what this threshold does elsewhere.")
        )
    known = of_models(analyses, Thresholds, "validation").get("tuned")
    return blocks + ([_curve(known, known.curve)] if known and known.curve else [])


def describe_other_threshold(report: Report, split: str) -> str:
    """At which threshold the figures of a split stand, and what they would be at 0.5."""
    tuned = result_of(report, split)
    found = of_models(report["analyses"], Thresholds, split).get("tuned")
    if tuned is None or tuned.threshold is None or found is None or found.at_half is None:
        return ""
    figures = (
        f"{_title(m, found.positive)} {_estimate_of(found.at_half, m)}"
        for m in ("precision", "recall", "f1")
    )
    return (
        f"The tuned model labels a row “{found.positive}” when its probability is at least "
        f"{tuned.threshold:.3g}, chosen on validation by the objective; all its figures use "
        f"this threshold. "
        f"At 0.5 it would have {', '.join(figures)}."
    )


def describe_aim(aim: ThresholdAim, positive: str) -> str:
    """What the objective asks of the threshold."""
    match aim.kind:
        case "cost":
            prices = f"{aim.fp:g} for a false positive, {aim.fn:g} for a miss"
            return f"the least cost ({prices})"
        case "recall_at_least":
            found = f'finding at least {_share(aim.target)} of the rows that are "{positive}"'
            return f"{found}, with the most precision"
        case "precision_at_least":
            right = f'at least {_share(aim.target)} right among the rows labelled "{positive}"'
            return f"{right}, with the most recall"
    return f'the most F1 of "{positive}"'


def _against(r: Thresholds) -> list[Block]:
    """The chosen rule beside the constant answers and the reference at a threshold of its own."""
    if not r.against:
        return []
    rows = []
    for c in r.against:
        rule = c.rule + (f" at {c.threshold:.3g}" if c.threshold is not None else "")
        ours, theirs = (
            _cost(value) if c.metric == "cost" else format_value(c.metric, value)
            for value in (c.value, c.other)
        )
        change = _difference(c.metric, c)
        rows.append((rule, _title(c.metric, r.positive), theirs, ours, change, format_p(c.p)))
    return [Table(("against", "by", "it has", "tuned has", "change (paired 95 %)", "p"), rows)]


def _choice(r: Thresholds) -> list[str]:
    asked, chosen = describe_aim(r.aim, r.positive), r.chosen
    if r.why_not or chosen is None:
        return [
            f"Asked for: {asked}. No threshold is used: {r.why_not}. Predictions remain at 0.5."
        ]
    rows = format_count(r.fitted_rows or 0, "validation row")
    sentence = (
        f'A row is labelled "{r.positive}" when its probability of that is at least '
        f"{chosen.threshold:.3f}: on {rows} ({r.fitted_positives or 0:,} of them "
        f'"{r.positive}") this gives {asked}. There: {_point(chosen, r.positive)}.'
    )
    if not r.in_use:
        sentence = (
            "No objective asks for a threshold, so predictions remain at 0.5. For comparison: "
            f"{sentence[0].lower()}{sentence[1:]}"
        )
    out = [sentence]
    if r.calls:
        kind = "cheapest" if r.aim.kind == "cost" else "only way to reach this"
        out.append(
            f'The {kind} is to call {r.calls} "{r.positive}": the probabilities of this model '
            "do not help here."
        )
    return out


def _point(p: OperatingPoint, positive: str) -> str:
    values = {"precision": p.precision, "recall": p.recall, "f1": p.f1}
    parts = [
        f"{_title(name, positive)} {format_value(name, value)}"
        for name, value in values.items()
        if not math.isnan(value)
    ]
    return ", ".join(parts + ([] if p.cost is None else [f"cost {_cost(p.cost)} per row"]))


def _figures(r: Thresholds, before: Operation, after: Operation) -> Table:
    names = [n for n in ("precision", "recall", "f1", "cost") if n in after.metrics]
    rows = []
    for name in names:
        change = (r.changes or {}).get(name)
        if name == "precision" and not (_called(before) and _called(after)):
            change = None
        rows.append(
            (
                _title(name, r.positive),
                _estimate_of(before, name),
                _estimate_of(after, name),
                _difference(name, change) if change else DASH,
                format_p(change.p) if change else DASH,
            )
        )
    threshold = f"at {after.threshold:.3f} (95 %)"
    return Table(("", "at 0.5 (95 %)", threshold, "change (paired 95 %)", "p"), rows)


def _estimate_of(way: Operation, name: str) -> str:
    """An estimate at 0.5 or at the threshold; precision only where a row is called positive."""
    if name == "precision" and not _called(way):
        return DASH
    return _estimate(name, way.metrics.get(name))


def _called(way: Operation) -> int:
    """Rows called positive."""
    return sum(_count_of(way, truth, 1) for truth in (0, 1))


def _estimate(name: str, estimate: Estimate | None) -> str:
    if name != "cost" or estimate is None:
        return format_estimate(name, estimate)
    return f"{_cost(estimate.value)} [{_cost(estimate.low)}, {_cost(estimate.high)}]"


def _difference(name: str, c: Change | Rival) -> str:
    if name == "cost":
        return f"{c.difference:+.3g} ({c.low:+.3g} to {c.high:+.3g})"
    ends = format_difference_interval(name, c.low, c.high)
    return f"{format_difference(name, c.difference)} ({ends})"


def _confusions(before: Operation, after: Operation) -> Table:
    """Both confusion matrices, a row per kind of answer."""
    other, positive = before.confusion.labels
    kinds = (
        (f'"{positive}", predicted so (true positives)', 1, 1),
        (f'"{positive}", predicted "{other}" (false negatives)', 1, 0),
        (f'"{other}", predicted "{positive}" (false positives)', 0, 1),
        (f'"{other}", predicted so (true negatives)', 0, 0),
    )
    return Table(
        ("rows that are", "at 0.5", f"at {after.threshold:.3f}"),
        [
            (kind, *(f"{_count_of(way, truth, called):,}" for way in (before, after)))
            for kind, truth, called in kinds
        ],
    )


def _count_of(way: Operation, truth: int, called: int) -> int:
    return way.confusion.counts[truth][called]


def _kept_promise(split: str, r: Thresholds, applied: Operation) -> list[str]:
    """Whether a target that validation reached holds on the split that is judged."""
    name, target = r.aim.kind.removesuffix("_at_least"), r.aim.target
    if target is None or name not in applied.metrics:
        return []
    found, title = applied.metrics[name], _title(name, r.positive)
    figure = f"{title} on {split} is {format_estimate(name, found)}, target {_share(target)}: "
    if found.low >= target:
        return [figure + "the whole interval meets it."]
    if found.high < target:
        return [figure + "the whole interval misses it, though validation reached it."]
    return [
        figure + "the interval contains the target, so it is neither met nor missed for certain."
    ]


def _curve(r: Thresholds, curve: Mapping[str, Sequence[float]]) -> Chart:
    recall, precision = _known(curve["recall"], curve["precision"])
    marks = []
    if (chosen := r.chosen) and not math.isnan(chosen.precision):
        marks.append((chosen.recall, chosen.precision, f"threshold {chosen.threshold:.3f}"))
    at = f"; at the threshold: {_point(chosen, r.positive)}" if chosen else ""
    return Chart(
        title="Precision against recall on validation, a point per threshold",
        x=_title("recall", r.positive),
        y=_title("precision", r.positive),
        lines=(Line("tuned", recall, precision),),
        summary=f"{len(recall):,} points of the precision/recall curve are in report.json{at}.",
        marks=marks,
    )


def _known(x: Sequence[float], y: Sequence[float]) -> tuple[list[float], list[float]]:
    """The points where both are defined."""
    pairs = [(a, b) for a, b in zip(x, y, strict=True) if not math.isnan(a + b)]
    return [a for a, _ in pairs], [b for _, b in pairs]


def _title(name: str, positive: str) -> str:
    return "cost per row" if name == "cost" else name_metric(name, positive)


def _share(value: float | None) -> str:
    return DASH if value is None else f"{100 * value:g} %"


def _cost(value: float) -> str:
    return f"{value:.3g}"
