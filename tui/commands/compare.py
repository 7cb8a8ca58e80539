"""`ftev-tui compare RUN RUN …`: runs side by side, paired where their rows agree."""

from __future__ import annotations

import argparse
import math

from ...core.compare.compare import compare_runs
from ...core.compare.compared import ComparedRun, ComparedRuns, name_in, not_adjusted
from ...core.metrics.metric import METRICS, repeats
from ...core.metrics.results import Comparison
from ...core.run.foreign.imported import find_run
from ...core.run.runs import runs_folder
from ...core.wording.names import name_decision
from ...core.wording.numbers import (
    DASH,
    format_count,
    format_difference,
    format_difference_interval,
    format_estimate,
    format_p,
)
from ...core.wording.text import visible
from .show import print_json, print_table

VALUE = 40  # characters of a setting's value


def run(options: argparse.Namespace) -> int:
    """Raises FtevError where runs cannot be set side by side."""
    folder = runs_folder(options.runs_dir)
    runs = [find_run(name, folder) for name in options.runs]
    comparison = compare_runs(runs, options.split, options.metric, options.model)
    if options.json:
        print_json(comparison)
    else:
        show_comparison(comparison)
    return 0


def show_comparison(comparison: ComparedRuns) -> None:
    metric, runs = comparison["metric"], comparison["runs"]
    direction, named = METRICS[metric].direction, name_in(comparison, metric)
    print(
        f"{named} of {comparison['model']} on {comparison['split']}, 95 % intervals "
        f"({direction} is better); the baseline is {visible(comparison['baseline'])}\n"
    )
    rows = [_run_row(r, metric) for r in runs]
    print_table(("run", "rows", named, "verdict"), rows, words=("run", named, "verdict"))
    _show_paired(comparison, metric)
    for unpaired in comparison["unpaired"]:
        print(
            f"\n{visible(unpaired['run'])} is not paired with the baseline: {unpaired['reason']}. "
            "Its figures stand beside the others, but the rows are not the same rows: a difference "
            "between them is no evidence that one model is better."
        )
    _show_others(comparison, metric)
    _show_settings(comparison)
    for note in comparison["notes"]:
        print(f"\n{visible(note)}.")


def _run_row(run: ComparedRun, metric: str) -> list[str]:
    verdict = run["verdict"]
    words = f"{name_decision(verdict)}: {verdict['objective']}" if verdict else "no configuration"
    return [run["name"], f"{run['n']:,}", format_estimate(metric, run["metrics"][metric]), words]


def _show_paired(comparison: ComparedRuns, metric: str) -> None:
    found = [c for c in comparison["comparisons"] if c.metric == metric]
    if not found:
        return
    named = name_in(comparison, metric)
    print(f"\nPaired differences in {named} from the baseline, on the same rows\n")
    several = len(found) > 1
    counted = ["fixed", "broke"] if found[0].fixed is not None else []
    columns = ["run", "difference", "95 % interval", "p", *["p (Holm)"] * several]
    columns += [*counted, "smallest detectable"]
    rows = [
        [
            c.to_model,
            format_difference(metric, c.difference),
            format_difference_interval(metric, c.low, c.high),
            format_p(c.p),
            *([format_p(c.p_holm)] * several),
            *(f"{count:,}" for count in (c.fixed, c.broke) if counted),
            _smallest(c),
        ]
        for c in found
    ]
    print_table(columns, rows, words=("run",))
    if several:
        print(
            f"p (Holm) is adjusted for the {format_count(len(found), 'run')} set against the "
            "baseline."
        )
    if counted:
        print("Fixed: rows wrong in the baseline and right in the run; broke: the reverse.")
    for method in dict.fromkeys(c.method for c in found):
        print(f"Method: {method}.")


def _smallest(comparison: Comparison) -> str:
    least = comparison.smallest_detectable
    if least is None or math.isnan(least):
        return DASH
    return format_difference(comparison.metric, abs(least)).lstrip("+")


def _show_others(comparison: ComparedRuns, metric: str) -> None:
    """The other metrics, one table per run: the values, and the difference where it is paired."""
    first, *rest = comparison["runs"]
    among = comparison["metrics"]
    others = [m for m in among if m != metric and not repeats(m, among)]
    pairs = {(c.to_model, c.metric): c for c in comparison["comparisons"]}
    for r in rest if others else []:
        print(f"\nOther metrics, {visible(r['name'])} against the baseline\n")
        columns = ("metric", "baseline", "this run", "difference", "95 % interval", "p")
        rows = [
            [name_in(comparison, name), *_other_row(name, first, r, pairs.get((r["name"], name)))]
            for name in others
        ]
        print_table(columns, rows, words=("metric",))
        if pairs:
            print(not_adjusted(comparison))


def _other_row(
    name: str, first: ComparedRun, run: ComparedRun, comparison: Comparison | None
) -> list[str]:
    values = [format_estimate(name, side["metrics"][name]) for side in (first, run)]
    if comparison is None:
        return [*values, DASH, DASH, DASH]
    interval = format_difference_interval(name, comparison.low, comparison.high)
    return [
        *values,
        format_difference(name, comparison.difference),
        interval,
        format_p(comparison.p),
    ]


def _show_settings(comparison: ComparedRuns) -> None:
    names = [r["name"] for r in comparison["runs"]]
    if not comparison["config"]:
        print("\nThe runs were configured alike, on the same files.")
        return
    print("\nWhat differs between the runs\n")
    rows = [[name, *map(_value, row)] for name, row in comparison["config"].items()]
    print_table(("", *names), rows, words=("", *names))


def _value(value: object) -> str:
    return DASH if value is None else visible(value, VALUE)
