"""report.json against the events: what it says must follow from them.

Three things are told apart: another number, which is wrong; other words, which are not; and what
another version of ftev judged by other rules, which cannot be judged again by this one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

from ...errors import RunError
from ...files.reading import read_json
from ..report import build_report, render_json, version
from .agreement import ABSENT, Disagreement, count_numbers, find_disagreements
from .stored import UNCHECKED, Check, StoredRun, agreed

# Parts that every report.json has; others were added later, and an older file may lack them.
PROMISED = ("schema", "run", "data", "stages", "epochs", "results", "comparisons", "findings")
JUDGED = ("findings", "verdict", "headline")  # by rules that a later version may better
UNDER_WAY = ("starting", "running", "paused")
SKIPPED = ("reviews", "written_by")  # people may have judged more since
WHERE = "report.json, against events.jsonl"


def check_report(stored: StoredRun) -> Iterator[Check]:
    """A check for each part of it."""
    path = stored.run.path / "report.json"
    if not os.path.exists(path):
        told = "report.json is not there: `ftev-tui report RUN --format json` writes it"
        yield Check("report.json", "absent", UNCHECKED, None, told)
        return
    try:
        was = read_json(path, dict[str, Any])
    except RunError as error:
        told = f"report.json {error.faults[0].what}"
        yield Check("report.json", "unreadable", UNCHECKED, False, told)
        return
    now = json.loads(render_json(build_report(stored.run, stored.history)))
    if (status := _written_under_way(was, now)) is not None:
        told = (
            f"report.json was written while the run was {status}: "
            f"`ftev-tui report {stored.run.id}` writes it again"
        )
        yield Check("report.json", status, UNCHECKED, None, told, unchecked=count_numbers(was))
        return
    earlier = was.get("written_by") != version()
    for part in dict.fromkeys((*PROMISED, *was)):
        if part not in SKIPPED:
            yield _check_part(part, was.get(part, ABSENT), now.get(part, ABSENT), earlier)


def _written_under_way(was: Any, now: Any) -> str | None:
    """How the run stood when the report was written, where it has ended since."""
    status = was.get("run", {}).get("status") if isinstance(was, dict) else None
    return str(status) if status in UNDER_WAY and now["run"]["status"] != status else None


def _check_part(part: str, was: Any, now: Any, earlier: bool) -> Check:
    found = [d for d in find_disagreements(was, now, part) if not _is_allowed(d)]
    wrong = [d for d in found if not _is_of_another_version(part, d, earlier)]
    rest = sum(count_numbers(d.stored) for d in found if d not in wrong and d.stored != ABSENT)
    check = agreed(f"report.json {part}", "as written", wrong, WHERE, of=was, unchecked=rest)
    if wrong or len(found) == len(wrong):
        return check
    what = f"report.json {part}"
    told = f"{what}: {_in_words(found, earlier)}; {rest:,} of its numbers are not checked"
    return Check(what, "as written", "otherwise", None, told, check.numbers, unchecked=rest)


def _in_words(found: list[Disagreement], earlier: bool) -> str:
    if all(d.is_wording for d in found):
        return "the same is said in other words"
    who = "an earlier version of ftev" if earlier else "another version of ftev"
    return f"written by {who}, in another form ({found[0].place} is the first difference)"


def _is_allowed(d: Disagreement) -> bool:
    """A folder may have any name, and an older report may know less of run and data."""
    later = ("run.", "data.", "stages[", "verdict.evidence")
    return d.place == "run.id" or (d.stored == ABSENT and d.place.startswith(later))


def _is_of_another_version(part: str, d: Disagreement, earlier: bool) -> bool:
    if d.place == part:  # the whole of it is missing, or was not meant to be there
        return earlier and part not in PROMISED
    return d.is_wording or (earlier and (d.is_absence or part in JUDGED))
