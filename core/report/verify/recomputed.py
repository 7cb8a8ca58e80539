"""Sums, metrics and differences, each made from the stored rows once more."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence

import msgspec
import polars as pl

from ...judgement.selection import primary_metric
from ...metrics.comparisons import adjust_secondary
from ...metrics.label_sets.rows import read_label_sets
from ...metrics.results import Comparison, ModelResult
from ...run.events import Evaluated, spell_numbers
from ...wording.numbers import format_difference, format_estimate
from .stored import (
    ABSENT,
    BROKEN,
    UNCHECKED,
    Check,
    Disagreement,
    StoredRun,
    agreed,
    cannot,
    count_numbers,
    find_disagreements,
    rows_behind,
    suspects,
)

# What every version has written: these may not be absent, and what was added later may.
ALWAYS = frozenset(
    [
        "value",
        "low",
        "high",
        "method",
        "n",
        "loss",
        "per_class",
        "confusion",
        "positive",
        "undefined",
        "unscored",
        "difference",
        "p",
    ]
)
BY_METHOD = ("method", "low", "high", "p", "p_holm", "smallest_detectable")


def disagreements_of(was: Mapping[str, object], now: Mapping[str, object]) -> list[Disagreement]:
    """Where a stored record differs from the one computed again, in what both speak of."""
    spoken = [key for key in now if key in was or key in ALWAYS]
    stored = {key: was.get(key, ABSENT) for key in spoken}
    return [*find_disagreements(stored, {key: now[key] for key in spoken})]


def check_sums(stored: StoredRun) -> Iterator[Check]:
    """The sums and confusion cells that the worker wrote of its last evaluations."""
    for e in stored.history.evaluations:
        frame = stored.frames.get(e.split, {}).get(e.model)
        if e.epoch != -1.0 or frame is None:
            continue
        what = f"sums of {e.split} {e.model}"
        try:
            was, now = _sums_of(e), _sums_again(frame, stored.labels)
        except pl.exceptions.PolarsError as error:
            yield cannot(what, f"predictions/{e.split}.{e.model}.parquet", error)
            continue
        found = [*find_disagreements({k: was[k] for k in now}, now)]
        where, shown = f"events.jsonl, {what}", f"loss sum {was['loss_sum']:.6g}"
        yield agreed(what, shown, found, where, of={k: was[k] for k in now})


def _sums_of(e: Evaluated) -> dict[str, object]:
    plain = msgspec.structs.asdict(e)
    return plain | {"confusion": {f"{t},{p}": n for t, p, n in e.confusion}}


def _sums_again(frame: pl.DataFrame, labels: Sequence[str]) -> dict[str, object]:
    sums_of_rows: dict[str, object] = {
        "rows": frame.height,
        "loss_sum": math.fsum(frame["nll"].to_list()),
    }
    if "tokens" in frame.columns:
        sums = {name: int(frame[name].sum()) for name in ("tokens", "correct", "bytes")}
        sums_of_rows |= {"loss_count": sums["tokens"], "count": sums["tokens"]}
        sums_of_rows |= {"correct": sums["correct"], "bytes": sums["bytes"]}
        return sums_of_rows | {"unscored_rows": int((frame["tokens"] == 0).sum())}
    if "labels" in frame.columns:
        exact = read_label_sets(frame, labels).exact
        counted = {"loss_count": frame.height, "count": frame.height}
        return sums_of_rows | counted | {"correct": int(exact.sum())}
    if "targets" in frame.columns:
        return sums_of_rows | {"loss_count": frame.height}
    codes: dict[str | None, int] = {label: i for i, label in enumerate(labels)}
    cells = frame.group_by("label", "predicted").len()
    sums_of_rows |= {"loss_count": frame.height, "count": frame.height}
    sums_of_rows["correct"] = int((frame["label"] == frame["predicted"]).sum())
    codes[None] = len(labels)  # no prediction
    return sums_of_rows | {
        "confusion": {f"{codes.get(t, t)},{codes.get(p, p)}": n for t, p, n in cells.iter_rows()}
    }


def check_results(stored: StoredRun) -> Iterator[Check]:
    for split, models in stored.history.results.items():
        for model, result in models.items():
            frame = rows_behind(stored, split, model)
            if frame is None:
                message = f"{split} {model}: its rows are not known, so its metrics are not checked"
                yield _unchecked(f"{split} {model}", UNCHECKED, message, spell_numbers(result))
                continue
            try:
                measured = stored.measured.setdefault(split, {})[model] = _measure(stored, frame)
            except BROKEN as error:
                yield cannot(f"{split} {model}", f"predictions/{split}.{model}.parquet", error)
                continue
            yield from _compare_results(f"{split} {model}", result, measured)


def _measure(stored: StoredRun, frame: pl.DataFrame) -> ModelResult:
    history = stored.history
    return history.task_type.evaluate(frame, stored.labels, history.positive)


def _compare_results(what: str, result: ModelResult, measured: ModelResult) -> Iterator[Check]:
    """A check for each metric with its interval, and one for everything else."""
    was, now = spell_numbers(result), spell_numbers(measured)
    for name, estimate in result.metrics.items():
        again = measured.metrics.get(name)
        shown = format_estimate(name, estimate)
        if again is None:
            message = f"{what} {name}: is not made from these rows alone"
            yield _unchecked(f"{what} {name}", shown, message, was["metrics"][name])
            continue
        both, pair = (shown, format_estimate(name, again)), (was["metrics"], now["metrics"])
        yield _agreed_number(f"{what} {name}", both, *(metrics[name] for metrics in pair))
    if lost := [name for name in now["metrics"] if name not in was["metrics"]]:
        message = f"{what}: {', '.join(lost)} can be computed, but were not written down"
        yield Check(f"{what} {lost[0]} …", "absent", "computed", None, message)
    rest = {key: value for key, value in was.items() if key in now and key != "metrics"}
    found = disagreements_of(rest, {key: value for key, value in now.items() if key != "metrics"})
    counted = ", ".join(key.replace("_", " ") for key in rest)
    yield agreed(f"{what} {counted}", f"{rest['n']:,} rows", found, f"{what} result", of=rest)


def check_comparisons(stored: StoredRun) -> Iterator[Check]:
    groups: dict[tuple[str, str, str], list[Comparison]] = {}
    for c in stored.history.comparisons:
        groups.setdefault((c.split, c.from_model, c.to_model), []).append(c)
    for (split, before, after), rows in groups.items():
        frames = [rows_behind(stored, split, model) for model in (before, after)]
        title = f"{split} {before} → {after}"
        if frames[0] is None or frames[1] is None:
            message = f"{title}: the rows of both are needed"
            yield _unchecked(title, UNCHECKED, message, spell_numbers(rows))
            continue
        try:
            names, metrics = (split, before, after), [row.metric for row in rows]
            found = _compare_again(stored, names, (frames[0], frames[1]), metrics)
        except BROKEN as error:
            files = suspects(stored, split, (before, after))
            yield cannot(title, f"{title}: {files}", error)
            continue
        if any(row.p_holm is not None for row in rows):  # an older run has none
            found = adjust_secondary(found, primary_metric(stored.run, stored.history))
        again = {c.metric: c for c in found}
        for row in rows:
            yield _compare_difference(title, row, again.get(row.metric))


def _compare_again(
    stored: StoredRun,
    names: tuple[str, str, str],
    frames: tuple[pl.DataFrame, pl.DataFrame],
    metrics: Sequence[str],
) -> list[Comparison]:
    """Of the stored metrics alone: one that is newer than the run would add to Holm's family."""
    split, before, after = names
    sides = (before, frames[0]), (after, frames[1])
    history = stored.history
    return history.task_type.compare(split, *sides, stored.labels, history.positive, metrics)


def _compare_difference(title: str, was: Comparison, now: Comparison | None) -> Check:
    name = was.metric
    what, shown = f"{title} {name}", format_difference(name, was.difference)
    if now is None:
        message = f"{what}: is not made from these rows alone"
        return _unchecked(what, shown, message, spell_numbers(was))
    both = shown, format_difference(name, now.difference)
    return _agreed_number(what, both, spell_numbers(was), spell_numbers(now))


def _agreed_number(
    what: str, shown: tuple[str, str], was: Mapping[str, object], now: Mapping[str, object]
) -> Check:
    """A number with its interval. An interval that another version made by another method cannot
    be made again: its number is held to the rows, and the rest is said to be unchecked."""
    found = disagreements_of(was, now)
    if found and _kind(was) != _kind(now) and all(d.place in BY_METHOD for d in found):
        message = (
            f"{what}: the number agrees; its interval was made by another method ({was['method']})"
        )
        rest = sum(count_numbers(d.stored) for d in found)
        return Check(what, *shown, None, message, count_numbers(was) - rest, unchecked=rest)
    return agreed(what, shown[0], found, what, shown[1], of=was)


def _unchecked(what: str, shown: str, message: str, of: object) -> Check:
    return Check(what, shown, UNCHECKED, None, message, unchecked=count_numbers(of))


def _kind(record: Mapping[str, object]) -> str:
    """The method without its numbers."""
    return re.sub(r"[\d.,e+-]+", "#", str(record.get("method")))
