"""`ftev-tui check RUN.toml`: the pre-flight, as a readable page."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

from ...core.config.config_file import load_config
from ...core.data.joined import columns_in
from ...core.errors import Fault, FtevError
from ...core.judgement.preflight import CheckResult, check_model, check_run
from ...core.judgement.selection import NOT_COMPARED, describe_leaked, was_compared
from ...core.wording.names import name_row
from ...core.wording.numbers import DASH, format_count
from ...core.wording.text import visible
from .show import Document, print_json, print_table, say

LISTED_LABELS = 20  # the most frequent in train first
LISTED_PAIRS = 10  # report.json lists up to 500
FORMS = {
    "text_label": "a text and its label",
    "text_labels": "a text and its labels",
    "text_numbers": "a text and its number",
    "text": "running text",
    "prompt_completion": "a prompt and its completion",
    "messages": "chats",
    "preference": "two answers to a prompt, one of them preferred",
    "preference_chats": "two chats, one of them preferred",
}


def run(options: argparse.Namespace) -> int:
    """Prints what was found, also where faults follow. Raises FtevError with all of them."""
    result: CheckResult | None = None
    try:
        config = load_config(Path(options.config), options.overrides)
        result = check_run(config)
        if not options.json:
            show_data(result)
        say("ftev: starting the engine, to look at lengths, masks and memory …")
        result = check_model(config, result, lambda progress: say(f"  {progress}"))
    # What was found before the fault is printed: it often explains it.
    except FtevError as error:
        if options.json:
            _print_document(result, error.faults)
        elif result:
            _show_findings(result)
            sys.stdout.flush()
        raise
    if options.json:
        _print_document(result, ())
    else:
        show_judgement(result)
    return 0


def _row_in_words(result: CheckResult) -> str:
    if "text_pair" in result.columns:
        return "a pair of texts and its label"
    return result.words or FORMS[result.form]


def _print_document(result: CheckResult | None, faults: tuple[Fault, ...]) -> None:
    document = {"ok": not faults, "faults": [asdict(fault) for fault in faults]}
    print_json(document | (asdict(result) if result else {}))


def show_data(result: CheckResult) -> None:
    """What the files hold."""
    print(f"{visible(result.name)}: {result.task}, every row is {_row_in_words(result)}")
    for role, column in result.columns.items():
        kind = "columns joined as" if columns_in(column) else "column"
        if role == "label" and columns_in(column):  # one of yes and no for each label
            named = ", ".join(repr(visible(name)) for name in columns_in(column))
            print(f"  labels: columns {named}")
            continue
        print(f"  {role}: {kind} {visible(column)!r}")
    for note in result.how_read:
        print(f"  {visible(note)}")
    print()
    _show_splits(result)
    _show_labels(result)
    if result.remarks:
        print("\nin the rows:")
    for remark in result.remarks:
        print(f"  {visible(remark)}")
    _show_leakage(result)
    sys.stdout.flush()


def show_judgement(result: CheckResult) -> None:
    """What the engine found, and what speaks against starting."""
    if result.model:
        _show_model(result.model)
    _show_findings(result)
    for what in result.not_checked:
        print(f"\nnot checked: {visible(what)}")
    grave = any(finding.severity == "error" for finding in result.findings)
    but = ", but see to the errors above first" if grave else ""
    print(f"\nthe data can be used: nothing here stops the run{but}")


def _show_splits(result: CheckResult) -> None:
    columns = ("split", "rows", "duplicates", "left out", "median length", "longest", "from")
    rows = [
        [
            name,
            f"{s.rows:,}",
            f"{s.duplicates:,}",
            f"{s.skipped:,}",
            f"{s.median_length:,}",
            f"{s.longest:,}",
            ", ".join(s.sources),
        ]
        for name, s in result.splits.items()
    ]
    print_table(columns, rows, words=("split", "from"))
    print("lengths are characters of the input; duplicates repeat an earlier row of their split")
    for fault in result.skipped:
        print(f"  left out: {visible(str(fault))}")


def _show_labels(result: CheckResult) -> None:
    if not result.labels:
        return
    print(f"\n{format_count(len(result.labels), 'label')}:")
    counts = {name: s.labels for name, s in result.splits.items()}
    # 1: shares of an empty split are 0
    totals = {name: s.rows or 1 for name, s in result.splits.items()}
    first = next(iter(counts.values()))
    # By the training split, which comes first: what is rare there is learned badly.
    ordered = sorted(result.labels, key=lambda label: -first.get(label, 0))
    shown = ordered[:LISTED_LABELS]
    rows = [
        [
            label,
            *(
                f"{of.get(label, 0):,} ({of.get(label, 0) / totals[n]:.1%})"
                for n, of in counts.items()
            ),
        ]
        for label in shown
    ]
    print_table(("label", *counts), rows, words=("label",))
    if rest := len(ordered) - len(shown):
        least = ordered[-1]
        fewest = f"{first.get(least, 0):,} rows of {visible(least)!r}"
        print(f"and {format_count(rest, 'label')} more, down to {fewest}")


def _show_leakage(result: CheckResult) -> None:
    n = result.leakage
    if not was_compared([*result.splits]):
        print(f"\n{NOT_COMPARED}")
    else:
        leaked = (
            describe_leaked(result.leaked, result.group_rows)
            or "rows that repeat a row of an earlier split"
        )
        print(
            f"\n{leaked}: {n['exact']:,} exactly, {n['near']:,} nearly, "
            f"{n['ngram']:,} by 13 words in a row"
        )
    if n["conflicting_labels"]:
        print(f"rows whose input stands earlier with another label: {n['conflicting_labels']:,}")
    splits = result.splits
    if result.pairs:
        rows = [
            [name_row(splits, b, j), name_row(splits, a, i), layer, f"{likeness:.2f}"]
            for a, i, b, j, layer, likeness in result.pairs[:LISTED_PAIRS]
        ]
        print_table(("row", "repeats", "layer", "similarity"), rows, ("row", "repeats", "layer"))
    for note in result.notes:
        print(f"  {visible(note)}")


def _show_model(model: Document) -> None:
    """What the tokenizer and the model's size say."""
    print(f"\ntokens per row, truncated at {model['max_length']:,}:")
    names: tuple[str, ...] = (
        "tokens",
        "median",
        "p95",
        "longest",
        "truncated_rows",
        "truncated_tokens",
    )
    if any("scored_tokens" in counts for counts in model["splits"].values()):
        names += ("scored_tokens", "unscored_rows", "rows_without_eos")
    rows = [
        [split, *(f"{counts.get(name, 0):,}" for name in names)]
        for split, counts in model["splits"].items()
    ]
    print_table(("split", *(n.replace("_", " ") for n in names)), rows, words=("split",))
    for counts in list(model["splits"].values())[:1]:
        _show_first_row(counts.get("first_row", []))
    for note in model.get("notes", ()):
        print(f"  {visible(note)}")
    state = model["state_bytes"] / 2**20  # MiB
    print(
        f"the model has {model['parameters']:,} parameters: {state:,.0f} MiB of weights, gradients "
        "and optimizer; activations come on top"
    )


def _show_first_row(tokens: list[tuple[str, bool]]) -> None:
    """The beginning of the first row, cut where it turns from masked to scored or back."""
    if tokens:
        print(f"the first {len(tokens):,} tokens of the first row:")
    for scored, group in groupby(tokens, key=lambda token: bool(token[1])):
        print(f"  {'scored' if scored else 'masked'}: {visible(' '.join(t for t, _ in group))}")


def _show_findings(result: CheckResult) -> None:
    print("\nfindings:" if result.findings else f"\nfindings: {DASH}")
    for finding in result.findings:
        print(f"  {finding.severity}: {visible(finding.message)}. {visible(finding.remedy)}")
