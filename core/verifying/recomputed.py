"""Sums, metrics, differences and analyses, each made from the stored rows once more."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import polars as pl

from ..analyses import Evaluation, analyse
from ..errors import FtevError
from ..events import AnalysisComputed, Evaluated, spell_numbers
from ..reporting.numbers import format_difference, format_estimate
from ..results import compare, evaluate_classification, evaluate_text
from .agreement import ABSENT, find_disagreements
from .stored import UNCHECKED, Check, StoredRun, agreed, rows_behind


def check_sums(stored: StoredRun) -> Iterator[Check]:
    """The sums and confusion cells that the worker wrote of its last evaluations."""
    for e in stored.history.evaluations:
        frame = stored.frames.get(e.split, {}).get(e.model)
        if e.epoch != -1.0 or frame is None:
            continue
        was, now = _sums_of(e), _sums_again(frame, stored.labels)
        found = [*find_disagreements({k: was[k] for k in now}, now)]
        what = f"sums of {e.split} {e.model}"
        yield agreed(what, f"loss sum {was['loss_sum']:.6g}", found, f"events.jsonl, {what}")


def _sums_of(e: Evaluated) -> dict[str, Any]:
    plain = msgspec.structs.asdict(e)
    return plain | {"confusion": {f"{t},{p}": n for t, p, n in e.confusion}}


def _sums_again(frame: pl.DataFrame, labels: Sequence[str]) -> dict[str, Any]:
    told: dict[str, Any] = {"rows": frame.height, "loss_sum": math.fsum(frame["nll"].to_list())}
    if "tokens" in frame.columns:
        sums = {name: int(frame[name].sum()) for name in ("tokens", "correct", "bytes")}
        told |= {"loss_count": sums["tokens"], "count": sums["tokens"]}
        told |= {"correct": sums["correct"], "bytes": sums["bytes"]}
        return told | {"unscored_rows": int((frame["tokens"] == 0).sum())}
    codes = {label: i for i, label in enumerate(labels)}
    cells = frame.group_by("label", "predicted").len()
    told |= {"loss_count": frame.height, "count": frame.height}
    told["correct"] = int((frame["label"] == frame["predicted"]).sum())
    return told | {
        "confusion": {f"{codes.get(t, t)},{codes.get(p, p)}": n for t, p, n in cells.iter_rows()}
    }


def check_results(stored: StoredRun) -> Iterator[Check]:
    for split, models in stored.history.results.items():
        for model, result in models.items():
            frame = rows_behind(stored, split, model)
            if frame is None:
                told = f"{split} {model}: its rows are not known, so its metrics are not checked"
                yield Check(f"{split} {model}", UNCHECKED, UNCHECKED, None, told)
                continue
            try:
                again = _measure(stored, frame)
            except FtevError as error:
                told = f"predictions/{split}.{model}.parquet: {error}"
                yield Check(f"{split} {model}", "metrics", "cannot be computed", False, told)
                continue
            yield from _compare_results(f"{split} {model}", result, again)


def _measure(stored: StoredRun, frame: pl.DataFrame) -> dict[str, Any]:
    if stored.history.task == "classification":
        result = evaluate_classification(frame, stored.labels, stored.history.positive)
    else:
        result = evaluate_text(frame)
    plain: dict[str, Any] = spell_numbers(msgspec.to_builtins(result))
    return plain


def _compare_results(what: str, was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Check]:
    """A check for each metric with its interval, and one for everything else."""
    for name, estimate in was["metrics"].items():
        again = now["metrics"].get(name)
        shown = format_estimate(name, estimate)
        if again is None:
            told = f"{what} {name}: is not made from these rows alone"
            yield Check(f"{what} {name}", shown, UNCHECKED, None, told)
            continue
        same = {key: estimate.get(key, ABSENT) for key in again}
        found = [*find_disagreements(same, again)]
        again_shown = format_estimate(name, again)
        yield agreed(f"{what} {name}", shown, found, f"{what} {name}", again_shown)
    if lost := [name for name in now["metrics"] if name not in was["metrics"]]:
        told = f"{what}: {', '.join(lost)} can be computed, but were not written down"
        yield Check(f"{what} {lost[0]} …", "absent", "computed", None, told)
    rest = {key: was.get(key, ABSENT) for key in now if key != "metrics"}
    found = [*find_disagreements(rest, {key: now[key] for key in rest})]
    counted = ", ".join(key.replace("_", " ") for key in rest)
    yield agreed(f"{what} {counted}", f"{rest['n']:,} rows", found, f"{what} result")


def check_comparisons(stored: StoredRun) -> Iterator[Check]:
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for c in stored.history.comparisons:
        groups.setdefault((c["split"], c["from"], c["to"]), []).append(c)
    for (split, before, after), rows in groups.items():
        frames = [rows_behind(stored, split, model) for model in (before, after)]
        title = f"{split} {before} → {after}"
        if frames[0] is None or frames[1] is None:
            told = f"{title}: the rows of both are needed"
            yield Check(title, UNCHECKED, UNCHECKED, None, told)
            continue
        labels = stored.labels if stored.history.task == "classification" else None
        try:
            found = compare(
                split, before, frames[0], after, frames[1], labels, stored.history.positive
            )
        except FtevError as error:
            yield Check(title, "differences", "cannot be computed", False, f"{title}: {error}")
            continue
        again = {c.metric: spell_numbers(msgspec.to_builtins(c)) for c in found}
        for row in rows:
            yield _compare_difference(title, row, again.get(row["metric"]))


def _compare_difference(title: str, was: dict[str, Any], now: dict[str, Any] | None) -> Check:
    name = was["metric"]
    what, shown = f"{title} {name}", format_difference(name, was["difference"])
    if now is None:
        told = f"{what}: is not made from these rows alone"
        return Check(what, shown, UNCHECKED, None, told)
    found = [*find_disagreements({key: was.get(key, ABSENT) for key in now}, now)]
    return agreed(what, shown, found, what, format_difference(name, now["difference"]))


def check_analyses(stored: StoredRun) -> Iterator[Check]:
    """What the rows say beyond the metrics, where the data files are still there."""
    for split, analyses in stored.history.analyses.items():
        again = {(f.name, f.model): f.result for f in _analyse_again(stored, split)}
        for name, models in analyses.items():
            for model, result in models.items():
                what = f"{split} {name} {model}".strip()
                if (name, model) not in again:
                    told = f"{what}: needs the data files or a model, and is not checked"
                    yield Check(what, UNCHECKED, UNCHECKED, None, told)
                    continue
                now = json.loads(json.dumps(again[name, model]))
                yield agreed(what, "result", [*find_disagreements(result, now)], what)


def _analyse_again(stored: StoredRun, split: str) -> list[AnalysisComputed]:
    frames = stored.frames.get(split)
    if stored.dataset is None or frames is None or split not in stored.dataset.splits:
        return []
    evaluation = Evaluation(
        split=split,
        frames=frames,
        source=stored.dataset.splits[split].frame,
        config=stored.run.config(),
        labels=tuple(stored.labels),
        positive=stored.history.positive,
        validation=stored.frames.get("validation", {}),
    )
    return [*analyse(evaluation)]
