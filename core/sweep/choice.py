"""The run that validation chooses, and how much that choice can be trusted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..compare.compare import compare_runs
from ..errors import FtevError
from ..judgement.verdict import judge
from ..metrics.analyses import TestReadings
from ..metrics.metric import METRICS
from ..metrics.results import Estimate
from ..run.history import History
from ..wording.names import name_metric
from ..wording.numbers import (
    format_count,
    format_difference,
    format_difference_interval,
    format_estimate,
)
from .runs import (
    CAN_GO_ON,
    NO_RESULT,
    OTHER_ROWS,
    Entry,
    describe_change,
    find_test_run,
    other_runs,
)
from .sweep_file import Sweep

SPLIT = "validation"  # test chooses nothing
Document = dict[str, Any]


def measured(history: History | None, metric: str, split: str = SPLIT) -> Estimate | None:
    """The tuned model's metric with its interval, of a run that finished; None without one."""
    if history is None or history.finished is None or history.finished.status != "finished":
        return None
    result = history.result(split)
    return result.metrics.get(metric) if result else None


def rank(histories: Sequence[History | None], metric: str) -> list[int]:
    """Places of the runs with a validation value, the best first; equals by their loss, then order.

    NaN is never best, and is left out. Only validation is looked at.
    """
    sign = -1 if METRICS[metric].higher_is_better else 1

    def key(place: int) -> tuple[float, float]:
        loss = _value(histories[place], "loss")
        return sign * _value(histories[place], metric), math.inf if math.isnan(loss) else loss

    places = [i for i, h in enumerate(histories) if not math.isnan(_value(h, metric))]
    return sorted(places, key=key)


def _value(history: History | None, metric: str) -> float:
    found = measured(history, metric)
    return found.value if found else math.nan


def describe_sweep(sweep: Sweep, entries: Sequence[Entry], folder: Path) -> Document:
    """The document of `sweep --json`."""
    ranked = [entries[i] for i in rank([e.comparable for e in entries], sweep.metric)]
    over = all(e.status == "finished" or e.status in NO_RESULT for e in entries)
    chosen = ranked[0] if ranked and over else None
    test = find_test_run(sweep, folder, chosen) if chosen and sweep.base.data.test else None
    against = _compare(ranked[0], ranked[1], sweep.metric) if chosen and len(ranked) > 1 else None
    return {
        "sweep": sweep.name,
        "tag": sweep.tag,
        "method": sweep.config.method,
        "metric": sweep.metric,
        "direction": METRICS[sweep.metric].direction,
        "split": SPLIT,
        "settings": list(sweep.combinations[0].settings),
        "runs": [_describe(entry, sweep.metric) for entry in entries],
        "chosen": chosen.name if chosen else None,
        "next": against,
        "test": _describe_test(test, sweep.metric) if test else None,
        "why": _why(sweep, chosen, ranked, entries, test) if chosen else _why_none(entries),
        "notes": _notes(sweep, entries, against, folder),
    }


def _describe(entry: Entry, metric: str) -> Document:
    history = entry.history
    seconds = max(0.0, history.last_time - history.created) if history else 0.0
    return {
        "number": entry.combination.number,
        "name": entry.name,
        "id": entry.run.id if entry.run else None,
        "path": str(entry.run.path.resolve()) if entry.run else None,
        "status": entry.status,
        "settings": entry.combination.settings,
        SPLIT: measured(entry.comparable, metric),
        "seconds": round(seconds, 3) if entry.run else None,
        "error": entry.error or None,
    }


def _describe_test(entry: Entry, metric: str) -> Document:
    history = entry.history
    result = measured(history, metric, "test")
    document: Document = {"run": entry.name, "id": entry.run.id if entry.run else None}
    document |= {"status": entry.status, "error": entry.error or None}
    document |= {"result": result, "verdict": None}
    if history is not None and result is not None:
        verdict = judge(history, entry.combination.config)
        document["verdict"] = verdict.to_dict()
        document["read_before"] = _read_before(history)
    return document


def _compare(best: Entry, second: Entry, metric: str) -> Document:
    """The paired difference on validation from the next best run to the best."""
    assert best.run is not None
    assert second.run is not None
    try:
        found = compare_runs([second.run, best.run], SPLIT, metric)
    except FtevError as error:
        return {"run": second.name, "comparison": None, "reason": str(error)}
    paired = next((c for c in found["comparisons"] if c.metric == metric), None)
    reason = next((u["reason"] for u in found["unpaired"]), None)
    return {"run": second.name, "comparison": paired, "reason": reason}


def _why(
    sweep: Sweep,
    chosen: Entry,
    ranked: Sequence[Entry],
    entries: Sequence[Entry],
    test: Entry | None,
) -> str:
    metric, named = sweep.metric, name_metric(sweep.metric)
    value = format_estimate(metric, measured(chosen.history, metric))
    if len(ranked) == 1:
        choice = f"{chosen.name} was chosen: no other run has a result ({named} on validation "
        choice += f"{value})"
    else:
        choice = (
            f"{chosen.name} was chosen on validation among {format_count(len(ranked), 'run')}: its "
            f"{named} there, {value}, is {_how_good(ranked, metric)}. The best of several is in "
            "part the luckiest, so this value is optimistic"
        )
    return f"{choice}. {_why_test(sweep, entries, test)}"


def _how_good(ranked: Sequence[Entry], metric: str) -> str:
    best = "the highest" if METRICS[metric].higher_is_better else "the lowest"
    values = [_value(entry.history, metric) for entry in ranked]
    if values.count(values[0]) == 1:
        return best
    return f"{best}, which {ranked[1].name} has too: the lower validation loss decided"


def _why_test(sweep: Sweep, entries: Sequence[Entry], test: Entry | None) -> str:
    if not sweep.base.data.test:
        return "There is no test split: nothing here says by how much"
    if test is None:
        return "Test has not been read yet"
    result = measured(test.history, sweep.metric, "test")
    if result is None:
        why = f" ({test.error})" if test.error else ""
        return f"Its evaluation on test ended as {test.status}{why}: `--retry` repeats it"
    value = format_estimate(sweep.metric, result)
    assert test.history is not None
    before = _read_before(test.history)
    runs = f"all {len(entries):,} runs" if len(entries) > 1 else "it"
    line = f"Test was held back from {runs}: on it, {value}"
    if before:
        return (
            f"{line}. These test rows had been scored by {format_count(before, 'earlier run')} of "
            "this folder: a choice made after looking at them would make this value optimistic too"
        )
    return f"{line}, which this choice did not touch"


def _read_before(history: History) -> int:
    """Earlier runs that have scored the same test rows."""
    found = history.analysis(TestReadings, "test")
    return found.runs if found else 0


def _why_none(entries: Sequence[Entry]) -> str:
    waiting = sum(e.status == "waiting" for e in entries)
    at_work = sum(e.status not in ("waiting", "finished", *NO_RESULT) for e in entries)
    if waiting or at_work:
        return f"Nothing is chosen before every run has ended: {at_work} at work, {waiting} to come"
    return "No run has a result on validation: nothing can be chosen"


def _notes(
    sweep: Sweep, entries: Sequence[Entry], against: Document | None, folder: Path
) -> list[str]:
    notes = [doubt] if against and (doubt := _doubt(against, sweep.metric)) else []
    without = [e for e in entries if e.status in NO_RESULT]
    if without:
        names = ", ".join(f"{e.name} ({e.status})" for e in without)
        remedy = ""
        if any(e.status in CAN_GO_ON for e in without):
            remedy += ". `--retry` resumes them"
        if any(e.status == OTHER_ROWS for e in without):
            remedy += ". The same command repeats every run on the rows as they are then"
        notes.append(
            f"{format_count(len(without), 'run')} of {len(entries):,} ended without a result and "
            f"cannot be chosen: {names}{remedy}"
        )
    of_settings, of_rows = other_runs(sweep, folder, entries)
    if of_settings:
        notes.append(
            f"{format_count(len(of_settings), 'run')} of this name in {folder} "
            f"{'has' if len(of_settings) == 1 else 'have'} other settings than the file names: not "
            "compared here, though looking at them was a choice too"
        )
    if of_rows:
        notes.append(f"{describe_change(of_rows)}: not compared here")
    return notes


def _doubt(against: Document, metric: str) -> str:
    """The warning that the best and the next may be equally good; empty where they are not."""
    c = against["comparison"]
    if c is None:
        return f"The next best run, {against['run']}, is not paired with it: {against['reason']}"
    low, high = sorted((c.low, c.high))
    ends = format_difference_interval(metric, c.low, c.high)
    line = f"{format_difference(metric, c.difference)} (paired 95 %: {ends})"
    if low <= 0 <= high or math.isnan(low):
        return (
            f"The next best run, {against['run']}, is within noise of it: {line} on the same "
            "validation rows. Another draw of rows could have chosen the other"
        )
    return ""
