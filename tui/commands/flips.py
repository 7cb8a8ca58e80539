"""What the stored rows of a run say: `ftev-tui flips RUN`, those that the tuned model fixed and
broke, and `verify RUN`, every headline number recomputed from them."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass

import msgspec
from msgspec.structs import replace

from ...core.analysis.flips import (
    CHANGED,
    LABEL_KINDS,
    changes_of,
    describe_flips,
    list_rows,
)
from ...core.analysis.predictions import (
    read_inputs,
    read_predictions,
    reference_of,
    stored_splits,
)
from ...core.errors import ConfigError, Fault
from ...core.judgement.selection import SPLITS
from ...core.metrics.analyses import Flips
from ...core.metrics.clusters import read_clusters
from ...core.report.sections.rows import MODELS, describe_counts, flip_table
from ...core.report.verify.stored import Check
from ...core.report.verify.verify import verify
from ...core.run.event_lines import use_history
from ...core.run.foreign.imported import find_run
from ...core.run.history import History
from ...core.run.runs import Run, runs_folder
from ...core.wording.numbers import format_count, name_unit
from ...core.wording.text import visible
from .show import print_json, print_table

TEXT = 100  # characters of an input in a table
LOSS_SHOWN = ("fell", "rose")  # where rows have no label, by their loss


@dataclass(frozen=True)
class FlipList:
    """The flips of a split with the texts of the rows, or why there are none."""

    run: str
    split: str
    flips: Flips
    text_missing: str = ""

    def to_dict(self) -> dict[str, object]:
        """The document of `flips --json`."""
        document = {"run": self.run, "split": self.split, **msgspec.to_builtins(self.flips)}
        return document | ({"text_missing": self.text_missing} if self.text_missing else {})


def run(options: argparse.Namespace) -> int:
    """Raises ConfigError where a run has no two models of a split."""
    found = find_run(options.run, runs_folder(options.runs_dir))
    flips = flip_list(found, options.kind, options.split, options.limit)
    if options.json:
        print_json(flips.to_dict())
    else:
        show_flips(flips)
    return 0


def flip_list(
    run: Run, kind: str | None = None, split: str | None = None, limit: int = 20
) -> FlipList:
    """What `flips` shows: counts, and the rows of one kind or of those that changed.

    Raises ConfigError for a kind that the task lacks, RunError where nothing is stored.
    """
    return use_history(run, lambda h: _flip_list(run, h, kind, split, limit))


def _flip_list(
    run: Run, history: History, kind: str | None, split: str | None, limit: int
) -> FlipList:
    known = stored_splits(run)
    if split is not None and known and split not in known:
        what = f"no predictions on {split!r} are stored"
        raise ConfigError(Fault("--split", what, f"Known: {', '.join(known)}"))
    split = split or next((s for s in SPLITS if s in known), "test")
    frames = read_predictions(run, history, split)
    reference = reference_of(frames)
    if reference is None or "tuned" not in frames:
        there = ", ".join(frames)
        raise ConfigError(
            Fault(run.id, f"only {there} was scored on {split}", "Flips need a model before it")
        )
    labelled = bool({"label", "labels"} & set(frames["tuned"].columns))
    kinds = _kinds(kind, labelled)
    rows = changes_of(frames[reference], frames["tuned"])
    inputs = read_inputs(run, history, split, frames["tuned"])
    listed = {
        k: [replace(row, input=inputs.texts.get(row.row_id)) for row in list_rows(rows, k, limit)]
        for k in kinds
    }
    found = describe_flips(rows, 0, read_clusters(frames[reference]), reference)
    return FlipList(run.id, split, replace(found, rows=listed), inputs.missing)


def _kinds(kind: str | None, labelled: bool) -> list[str]:
    known = LABEL_KINDS if labelled else LOSS_SHOWN
    if kind is None:
        return [k for k in known if k in CHANGED]
    if kind not in known:
        task = "a classifier" if labelled else "a language model"
        raise ConfigError(
            Fault("--kind", f"there is no {kind!r} for {task}", f"Known: {', '.join(known)}")
        )
    return [kind]


def show_flips(listed: FlipList) -> None:
    found = listed.flips
    print(f"{listed.run}, {listed.split}: tuned against {MODELS[found.from_model]}")
    print(describe_counts(found, listed.split))
    for kind, rows in found.rows.items():
        order = (
            "most confident first"
            if kind in LABEL_KINDS
            else f"in {name_unit(found.unit)}, largest change first"
        )
        if not rows:
            print(f"\n{kind}: no row")
            continue
        print(f"\n{kind}: {len(rows):,} of {format_count(found.counts[kind], 'row')}, {order}")
        table = flip_table(rows, found.from_model, TEXT)
        print_table(table.columns, table.rows, words=("row", *table.words))
    if listed.text_missing:
        print(f"\nWithout the rows' text: {listed.text_missing}.")


OK = {True: "yes", False: "NO", None: "unchecked"}
FAILED = 1


def verify_run(options: argparse.Namespace) -> int:
    """1 where a number differs; what could not be checked is printed with its reason."""
    found = find_run(options.run, runs_folder(options.runs_dir))
    checks = verify(found)
    wrong = [c for c in checks if c.ok is False]
    if options.json:
        print_json(_checks_document(found.id, checks))
    else:
        rows = [[c.what, c.stored, c.again, OK[c.ok]] for c in checks]
        print_table(["what", "stored", "recomputed", "ok"], rows, words=("what", "ok"))
        print(_sum_up(checks))
        for c in checks:
            if c.ok is None:
                many = f" ({format_count(c.unchecked, 'number')})" if c.unchecked else ""
                print(f"unchecked{many}: {visible(c.message)}")
    # Before stderr: on a terminal both go to one place, in this order.
    sys.stdout.flush()
    for c in wrong:
        print(f"ftev: {visible(c.message)}", file=sys.stderr)
    return FAILED if wrong else 0


def _checks_document(run: str, checks: list[Check]) -> dict[str, object]:
    return {
        "run": run,
        "ok": all(c.ok is not False for c in checks),
        "checks": [
            {
                "what": c.what,
                "stored": c.stored,
                "recomputed": c.again,
                "ok": c.ok,
                "told": c.message,  # a promised key of `--json`
                "numbers": c.numbers,
                "differing": c.differing,
                "unchecked": c.unchecked,
            }
            for c in checks
        ],
        "numbers": {
            name: sum(getattr(c, name) for c in checks)
            for name in ("numbers", "differing", "unchecked")
        },
    }


def _sum_up(checks: list[Check]) -> str:
    agreed, wrong = (sum(c.ok is value for c in checks) for value in (True, False))
    unchecked = len(checks) - agreed - wrong
    line = f"{format_count(len(checks), 'check')}: {agreed:,} agree, {wrong:,} do not"
    line += f", {unchecked:,} could not be made" if unchecked else ""
    numbers, differing, left = (
        sum(getattr(c, name) for c in checks) for name in ("numbers", "differing", "unchecked")
    )
    line += f". {format_count(numbers, 'number')} compared, {differing:,} of them differ"
    return f"{line}; {left:,} could not be checked, for the reasons below." if left else f"{line}."
