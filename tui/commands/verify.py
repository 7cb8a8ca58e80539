"""`ftev-tui verify RUN`: every headline number recomputed from the stored rows."""

from __future__ import annotations

import argparse
import sys

from ...core.report.verify.stored import Check
from ...core.report.verify.verify import verify
from ...core.run.runs import open_run, runs_folder
from ...core.wording.numbers import format_count
from ...core.wording.text import visible
from .show import print_json, print_table

OK = {True: "yes", False: "NO", None: "unchecked"}
FAILED = 1


def run(options: argparse.Namespace) -> int:
    """1 where a number differs; what could not be checked is printed with its reason."""
    found = open_run(options.run, runs_folder(options.runs_dir))
    checks = verify(found)
    wrong = [c for c in checks if c.ok is False]
    if options.json:
        print_json(_document(found.id, checks))
    else:
        rows = [[c.what, c.stored, c.again, OK[c.ok]] for c in checks]
        print_table(["what", "stored", "recomputed", "ok"], rows, words=("what", "ok"))
        print(_sum_up(checks))
        for c in checks:
            if c.ok is None:
                many = f" ({format_count(c.unchecked, 'number')})" if c.unchecked else ""
                print(f"unchecked{many}: {visible(c.message)}")
    sys.stdout.flush()
    for c in wrong:
        print(f"ftev: {visible(c.message)}", file=sys.stderr)
    return FAILED if wrong else 0


def _document(run: str, checks: list[Check]) -> dict[str, object]:
    return {
        "run": run,
        "ok": all(c.ok is not False for c in checks),
        "checks": [
            {
                "what": c.what,
                "stored": c.stored,
                "recomputed": c.again,
                "ok": c.ok,
                "told": c.message,
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
