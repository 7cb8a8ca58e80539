"""A comparison of runs in words: the sentence that says what came out, and a page of Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypedDict

from ..judgement.selection import Outcome, read_difference
from ..judgement.verdict import VerdictPart
from ..metrics.metric import METRICS, repeats
from ..metrics.results import Comparison, Estimate
from ..report.blocks import Block, Bullets, Heading, Paragraph, Table
from ..wording.names import name_decision, name_metric
from ..wording.numbers import (
    DASH,
    format_difference,
    format_difference_interval,
    format_estimate,
    format_p,
)

GROUPS: dict[Outcome, str] = {
    "better": "better",
    "worse": "worse",
    "the same": "the same in every digit shown",
    "cannot tell": "no difference shown",
}


class ComparedRun(TypedDict):
    """One of the runs that are set side by side."""

    name: str
    path: str
    status: str
    created: str | None
    headline: str | None
    n: int  # rows
    metrics: dict[str, Estimate]
    verdict: VerdictPart | None


class Unpaired(TypedDict):
    run: str
    reason: str


class ComparedRuns(TypedDict):
    """The document of `compare --json`, as `core.compare.compare_runs` makes it."""

    split: str
    model: str
    metric: str
    positive: str | None
    metrics: list[str]
    baseline: str
    runs: list[ComparedRun]
    comparisons: list[Comparison]
    unpaired: list[Unpaired]
    config: dict[
        str, list[object]
    ]  # settings, data files and versions that differ: a value per run
    notes: list[str]


def describe_outcome(compared: ComparedRuns) -> str:
    """One or two sentences: which runs are shown to be better or worse than the baseline."""
    metric, split, baseline = compared["metric"], compared["split"], compared["baseline"]
    named = name_in(compared, metric)
    found = primary_comparisons(compared)
    reasons = {u["run"]: u["reason"] for u in compared["unpaired"]}
    if len(compared["runs"]) == 2:
        name = compared["runs"][1]["name"]
        if found:
            return _describe_one(found[0], baseline, named)
        why = "" if name in reasons else f": {named} cannot be paired"
        return f"No evidence either way: {name} is not paired with {baseline}{why}."
    groups: dict[Outcome, list[str]] = {}
    for c in found:
        change = f"{c.to_model} ({format_difference(metric, c.difference)})"
        groups.setdefault(read_difference(c), []).append(change)
    parts = [f"{word}: {', '.join(groups[o])}" for o, word in GROUPS.items() if o in groups]
    parts += [f"not paired: {', '.join(reasons)}"] * bool(reasons)
    return f"{named} on {split} against {baseline}: {'; '.join(parts)}."


def _describe_one(c: Comparison, baseline: str, named: str) -> str:
    metric, name = c.metric, c.to_model
    change = format_difference(metric, c.difference)
    ends = format_difference_interval(metric, c.low, c.high)
    where = f"{change} in {named} on {c.split}"
    difference = f"{where} (paired 95 %: {ends}, p {_p(c.p)})"
    counted = ""
    if c.fixed is not None and c.broke is not None:
        counted = f"; it fixed {c.fixed:,} rows and broke {c.broke:,}"
    match read_difference(c):
        case "better" | "worse" as read:
            return f"{name} is {read} than {baseline}: {difference}{counted}."
        case "the same":
            same = f"{name} and {baseline} are the same in every digit shown"
            return f"{same}: {where} (paired 95 %: {ends})."
    return f"No difference is shown between {name} and {baseline}: {difference}{_could_show(c)}."


def _p(value: float) -> str:
    shown = format_p(value)
    return shown if shown.startswith("<") else f"= {shown}"


def _could_show(c: Comparison) -> str:
    if c.smallest_detectable is None or math.isnan(c.smallest_detectable):
        return ""
    least = format_difference(c.metric, abs(c.smallest_detectable)).lstrip("+")
    return f"; detectable with these rows: {least} or more"


def primary_comparisons(compared: ComparedRuns) -> list[Comparison]:
    return [c for c in compared["comparisons"] if c.metric == compared["metric"]]


def comparison_blocks(compared: ComparedRuns) -> list[Block]:
    """The page that `e` writes."""
    metric, names = compared["metric"], [r["name"] for r in compared["runs"]]
    direction, named = METRICS[metric].direction, name_in(compared, metric)
    blocks: list[Block] = [
        Heading("Runs side by side", 1),
        Paragraph(describe_outcome(compared)),
        Heading(f"{named} of {compared['model']} on {compared['split']} ({direction} is better)"),
        Table(("run", "rows", named, "verdict"), [_run_row(r, metric) for r in compared["runs"]]),
    ]
    if found := primary_comparisons(compared):
        blocks += [Heading("Paired differences from the baseline"), _paired_table(found)]
        methods = dict.fromkeys(c.method for c in found)
        blocks.append(Paragraph(f"Method: {'; '.join(methods)}.", quiet=True))
    blocks += [
        Paragraph(f"{u['run']} is not paired with the baseline: {u['reason']}.")
        for u in compared["unpaired"]
    ]
    blocks += _other_tables(compared)
    if compared["config"]:
        rows = [[name, *map(format_setting, row)] for name, row in compared["config"].items()]
        blocks += [Heading("What differs between the runs"), Table(("", *names), rows, names)]
    else:
        blocks.append(Paragraph("The runs were configured alike, on the same files."))
    return [*blocks, Bullets([f"{note}." for note in compared["notes"]])]


def _run_row(r: ComparedRun, metric: str) -> list[str]:
    verdict = r["verdict"]
    decision = f"{name_decision(verdict)}: {verdict['objective']}" if verdict else DASH
    return [r["name"], f"{r['n']:,}", format_estimate(metric, r["metrics"][metric]), decision]


def _paired_table(found: Sequence[Comparison]) -> Table:
    columns = ("run", "difference", "95 % interval", "p", "p (Holm)", "fixed", "broke")
    rows = [
        [
            c.to_model,
            format_difference(c.metric, c.difference),
            format_difference_interval(c.metric, c.low, c.high),
            format_p(c.p),
            format_p(c.p_holm),
            *(DASH if count is None else f"{count:,}" for count in (c.fixed, c.broke)),
        ]
        for c in found
    ]
    return Table(columns, rows)


def _other_tables(compared: ComparedRuns) -> list[Block]:
    first, *rest = compared["runs"]
    blocks: list[Block] = []
    for r in rest:
        rows = [
            [
                name_in(compared, name),
                format_estimate(name, first["metrics"][name]),
                format_estimate(name, r["metrics"][name]),
                *([DASH] * 3 if c is None else _change(c)),
            ]
            for name, c in other_metrics(compared, r["name"])
        ]
        if rows:
            columns = ("metric", "baseline", "this run", "difference", "95 % interval", "p")
            title = f"Other metrics, {r['name']} against the baseline"
            note = not_adjusted(compared)
            blocks += [Heading(title), Table(columns, rows), Paragraph(note, quiet=True)]
    return blocks


def _change(c: Comparison) -> list[str]:
    ends = format_difference_interval(c.metric, c.low, c.high)
    return [format_difference(c.metric, c.difference), ends, format_p(c.p)]


def name_in(compared: ComparedRuns, metric: str) -> str:
    """A metric's name, with the positive label of the runs where it is of one."""
    return name_metric(metric, compared["positive"])


def not_adjusted(compared: ComparedRuns) -> str:
    named = name_in(compared, compared["metric"])
    return f"These p are not adjusted: {named} is the one question that was asked."


def other_metrics(compared: ComparedRuns, run: str) -> list[tuple[str, Comparison | None]]:
    """Every metric but the primary and those equal to another, with a run's paired difference."""
    pairs = {c.metric: c for c in compared["comparisons"] if c.to_model == run}
    among = compared["metrics"]
    names = [m for m in among if m != compared["metric"] and not repeats(m, among)]
    return [(name, pairs.get(name)) for name in names]


def format_setting(value: object) -> str:
    return DASH if value is None else str(value)
