"""Where a binary classifier cuts, who chose that, and what it does to test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...judgement.judged import judged_analysis
from ...wording.names import name_metric
from ...wording.numbers import (
    DASH,
    format_count,
    format_difference,
    format_difference_interval,
    format_estimate,
    format_p,
    format_value,
    read_number,
)
from ..blocks import Block, Chart, Heading, Line, Paragraph, Table, section


@section(110, more=None)
def show_thresholds(report: Mapping[str, Any]) -> list[Block]:
    analyses = report.get("analyses") or {}
    split, models = judged_analysis(analyses, "thresholds")
    r = models.get("tuned")
    if not r:
        return []
    blocks: list[Block] = [Heading("Threshold of the tuned model")]
    blocks += [Paragraph(text) for text in _choice(r)]
    if "at_threshold" in r:
        n = format_count(r["at_threshold"]["n"], "row")
        blocks += [Paragraph(f"On {split} ({n}), which had no part in the choice:"), _figures(r)]
        blocks += [_confusions(r), *_against(r)]
        blocks += [Paragraph(text) for text in _kept_promise(split, r)]
    elif "chosen" in r:
        blocks.append(
            Paragraph("There is no test split: nothing shows what this threshold does elsewhere.")
        )
    known = analyses.get("validation", {}).get("thresholds", {}).get("tuned", {})
    return blocks + ([_curve(known)] if "curve" in known else [])


def describe_other_threshold(report: Mapping[str, Any], split: str) -> str:
    """At which threshold the figures of a split stand, and what they would be at 0.5."""
    chosen = report["results"].get(split, {}).get("tuned", {}).get("threshold")
    found = (report.get("analyses") or {}).get(split, {}).get("thresholds", {}).get("tuned", {})
    way = found.get("at_half")
    if chosen is None or way is None:
        return ""
    figures = (
        f"{_title(m, found['positive'])} {_estimate_of(way, m)}"
        for m in ("precision", "recall", "f1")
    )
    return (
        f"The tuned model calls a row “{found['positive']}” from a probability of {chosen:.3g} on, "
        f"which the objective chose on validation: every figure of it is at that threshold. "
        f"At 0.5 it would have {', '.join(figures)}."
    )


def describe_aim(aim: Mapping[str, Any], positive: str) -> str:
    """What the objective asks of the threshold."""
    match aim["kind"]:
        case "cost":
            prices = f"{_price(aim['fp'])} for a false positive, {_price(aim['fn'])} for a miss"
            return f"the least cost ({prices})"
        case "recall_at_least":
            found = f'finding at least {_share(aim["target"])} of the rows that are "{positive}"'
            return f"{found}, with the most precision"
        case "precision_at_least":
            right = f'at least {_share(aim["target"])} right among the rows called "{positive}"'
            return f"{right}, with the most recall"
    return f'the most F1 of "{positive}"'


def _against(r: Mapping[str, Any]) -> list[Block]:
    """The chosen rule beside the constant answers and the reference at a threshold of its own."""
    if not r.get("against"):
        return []
    rows = []
    for c in r["against"]:
        name = c["metric"]
        rule = c["rule"] + (f" at {c['threshold']:.3g}" if "threshold" in c else "")
        ours, theirs = (_cost(c[k]) if name == "cost" else format_value(name, c[k]) for k in VALUES)
        rows.append(
            (
                rule,
                _title(name, r["positive"]),
                theirs,
                ours,
                _difference(name, c),
                format_p(c["p"]),
            )
        )
    return [Table(("against", "by", "it has", "tuned has", "change (paired 95 %)", "p"), rows)]


VALUES = ("value", "other")


def _choice(r: Mapping[str, Any]) -> list[str]:
    aim, asked = r["aim"], describe_aim(r["aim"], r["positive"])
    if reason := r.get("why_not"):
        return [f"Asked for: {asked}. No threshold is used: {reason}. Predictions remain at 0.5."]
    chosen = r["chosen"]
    rows = format_count(r["fitted_rows"], "validation row")
    told = (
        f'A row is called "{r["positive"]}" when its probability of that is at least '
        f"{chosen['threshold']:.3f}: on {rows} ({r['fitted_positives']:,} of them "
        f'"{r["positive"]}") this gives {asked}. There: {_point(chosen, r["positive"])}.'
    )
    if not r["in_use"]:
        told = (
            "No objective asks for a threshold, so predictions remain at 0.5. For comparison: "
            f"{told[0].lower()}{told[1:]}"
        )
    out = [told]
    if called := r.get("calls"):
        kind = "cheapest" if aim["kind"] == "cost" else "only way to reach this"
        out.append(
            f'The {kind} is to call {called} "{r["positive"]}": the probabilities of this model '
            "do not help here."
        )
    return out


def _point(p: Mapping[str, Any], positive: str) -> str:
    told = [
        f"{_title(name, positive)} {format_value(name, p[name])}"
        for name in ("precision", "recall", "f1")
        if read_number(p[name]) == read_number(p[name])
    ]
    return ", ".join(told + ([f"cost {_cost(p['cost'])} a row"] if "cost" in p else []))


def _figures(r: Mapping[str, Any]) -> Table:
    before, after = r["at_half"], r["at_threshold"]
    names = [n for n in ("precision", "recall", "f1", "cost") if n in after["metrics"]]
    rows = []
    for name in names:
        change = r["changes"].get(name)
        if name == "precision" and not (_called(before) and _called(after)):
            change = None
        rows.append(
            (
                _title(name, r["positive"]),
                _estimate_of(before, name),
                _estimate_of(after, name),
                _difference(name, change) if change else DASH,
                format_p(change["p"]) if change else DASH,
            )
        )
    threshold = f"at {r['at_threshold']['threshold']:.3f} (95 %)"
    return Table(("", "at 0.5 (95 %)", threshold, "change (paired 95 %)", "p"), rows)


def _estimate_of(way: Mapping[str, Any], name: str) -> str:
    """An estimate at 0.5 or at the threshold; precision only where a row is called positive."""
    if name == "precision" and not _called(way):
        return DASH
    return _estimate(name, way["metrics"].get(name))


def _called(way: Mapping[str, Any]) -> int:
    """Rows called positive."""
    return sum(_count_of(way, truth, 1) for truth in (0, 1))


def _estimate(name: str, estimate: Mapping[str, Any] | None) -> str:
    if name != "cost" or estimate is None:
        return format_estimate(name, estimate)
    return f"{_cost(estimate['value'])} [{_cost(estimate['low'])}, {_cost(estimate['high'])}]"


def _difference(name: str, c: Mapping[str, Any]) -> str:
    if name == "cost":
        low, high = (f"{read_number(c[k]):+.3g}" for k in ("low", "high"))
        return f"{read_number(c['difference']):+.3g} ({low} to {high})"
    ends = format_difference_interval(name, c["low"], c["high"])
    return f"{format_difference(name, c['difference'])} ({ends})"


def _confusions(r: Mapping[str, Any]) -> Table:
    """Both confusion matrices, a row a kind of answer."""
    other, positive = r["at_half"]["confusion"]["labels"]
    kinds = (
        (f'"{positive}", predicted so (true positives)', 1, 1),
        (f'"{positive}", predicted "{other}" (false negatives)', 1, 0),
        (f'"{other}", predicted "{positive}" (false positives)', 0, 1),
        (f'"{other}", predicted so (true negatives)', 0, 0),
    )
    return Table(
        ("rows that are", "at 0.5", f"at {r['at_threshold']['threshold']:.3f}"),
        [
            (told, *(f"{_count_of(r[w], truth, called):,}" for w in ("at_half", "at_threshold")))
            for told, truth, called in kinds
        ],
    )


def _count_of(way: Mapping[str, Any], truth: int, called: int) -> int:
    return int(way["confusion"]["counts"][truth][called])


def _kept_promise(split: str, r: Mapping[str, Any]) -> list[str]:
    """Whether a target that validation reached holds on the split that is judged."""
    aim = r["aim"]
    name = aim["kind"].removesuffix("_at_least")
    if "target" not in aim or name not in r["at_threshold"]["metrics"]:
        return []
    found = r["at_threshold"]["metrics"][name]
    low, high = read_number(found["low"]), read_number(found["high"])
    title = _title(name, r["positive"])
    told = f"{title} on {split} is {format_estimate(name, found)}, target {_share(aim['target'])}: "
    if low >= aim["target"]:
        return [told + "the whole interval meets it."]
    if high < aim["target"]:
        return [told + "the whole interval misses it, though validation reached it."]
    return [told + "the interval contains the target, so it is neither met nor missed for certain."]


def _curve(r: Mapping[str, Any]) -> Chart:
    curve = r["curve"]
    recall, precision = _known(curve["recall"], curve["precision"])
    marks = []
    if chosen := r.get("chosen"):
        point = read_number(chosen["recall"]), read_number(chosen["precision"])
        if point[1] == point[1]:
            marks.append((*point, f"threshold {chosen['threshold']:.3f}"))
    at = f"; at the threshold: {_point(chosen, r['positive'])}" if chosen else ""
    return Chart(
        title="Precision against recall on validation, a point per threshold",
        x=_title("recall", r["positive"]),
        y=_title("precision", r["positive"]),
        lines=(Line("tuned", recall, precision),),
        told=f"{len(recall):,} points of the precision/recall curve are in report.json{at}.",
        marks=marks,
    )


def _known(x: Sequence[Any], y: Sequence[Any]) -> tuple[list[float], list[float]]:
    """The points where both are defined."""
    pairs = [(read_number(a), read_number(b)) for a, b in zip(x, y, strict=True)]
    pairs = [(a, b) for a, b in pairs if a == a and b == b]
    return [a for a, _ in pairs], [b for _, b in pairs]


def _title(name: str, positive: str) -> str:
    return "cost per row" if name == "cost" else name_metric(name, positive)


def _share(value: float) -> str:
    return f"{100 * value:g} %"


def _price(value: float) -> str:
    return f"{value:g}"


def _cost(value: Any) -> str:
    return f"{read_number(value):.3g}"
