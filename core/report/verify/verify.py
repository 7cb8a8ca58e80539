"""Every headline number of a run computed again from its stored rows, without a model.

The same functions that the worker called are called on predictions/*.parquet, with the same seed;
what they give must be what events.jsonl and report.json say. Nothing is taken on trust that can be
computed; what cannot be is said to be unchecked.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from ...analysis.predictions import REWRITE, read_frame, task_of
from ...data.data import read_dataset
from ...errors import FtevError, RunError
from ...metrics.evaluate import majority_frame
from ...metrics.label_sets.results import majority_sets
from ...run.event_lines import use_history
from ...run.events import why_unreadable
from ...run.history import History
from ...run.runs import Run, file_sha256
from ...wording.numbers import format_count
from .analysed import check_analyses
from .recomputed import check_comparisons, check_results, check_sums
from .reported import check_rendered, check_report
from .stored import (
    BROKEN,
    CLEAN,
    UNCHECKED,
    Check,
    Contradiction,
    StoredRun,
    cannot,
    contradictions_between,
    contradictions_within,
    differing_predictions,
)


def verify(run: Run) -> list[Check]:
    """Every check of a run, in the order of its report. Raises RunError where it has no
    results, or where they cannot be read."""
    return use_history(run, lambda history: _verify(run, history))


def _verify(run: Run, history: History) -> list[Check]:
    if not history.results:
        raise RunError(f"{run.id}: there are no results to check. The run must finish first")
    stored = StoredRun(run, history)
    checks = [*_check_lines(stored), *_check_files(stored)]
    checks += _check_sources(stored)
    checks += _check_rows(stored)
    checks += check_sums(stored)
    checks += check_results(stored)
    checks += check_comparisons(stored)
    checks += check_analyses(stored)
    checks += check_report(stored)
    checks += check_rendered(stored)
    return checks


def _check_lines(stored: StoredRun) -> Iterator[Check]:
    """Whole lines of events.jsonl that hold no event: something in them was changed."""
    if not stored.history.unreadable_lines:
        return
    for number, line in enumerate(stored.run.events_path.read_bytes().splitlines(), 1):
        if reason := why_unreadable(line):
            what = f"events.jsonl line {number:,}"
            yield Check(what, "as written", "unreadable", False, f"{what}: {reason}")


def _check_files(stored: StoredRun) -> Iterator[Check]:
    """Each file is there, can be read, and is the one that the worker wrote."""
    for split, models in stored.history.results.items():
        for model in [] if split.endswith(CLEAN) else models:
            path = stored.run.predictions / f"{split}.{model}.parquet"
            yield _check_file(stored, path, split, model)


def _check_file(stored: StoredRun, path: Path, split: str, model: str) -> Check:
    name = path.relative_to(stored.run.path).as_posix()
    if not os.path.exists(path):
        return Check(name, "rows", "missing", False, f"{name} is missing: copy the whole run")
    try:
        frame = read_frame(path, task_of(stored.run, stored.history), stored.history.labels)
        digest = file_sha256(path)
    except RunError as error:
        first, *more = (fault.what for fault in error.faults)
        again = "unreadable" if first.startswith("cannot be read") else "cannot be used"
        message = "; ".join(
            [f"{name} {first}" if again == "unreadable" else f"{name}: {first}", *more]
        )
        return Check(name, "rows", again, False, f"{message}. {REWRITE}")
    except OSError as error:
        message = f"{name} cannot be read: {error.strerror}. {REWRITE}"
        return Check(name, "rows", "unreadable", False, message)
    stored.frames.setdefault(split, {})[model] = frame
    written = stored.history.stored.get(name)
    if written is None:
        message = f"{name}: the worker wrote no sha256, so a row that moves no number is not seen"
        return Check(name, UNCHECKED, digest[:12], None, message)
    ok = digest == written.sha256
    message = "" if ok else f"{name} is not the file that the worker stored: its sha256 is another"
    return Check(name, f"sha256 {written.sha256[:12]}", f"sha256 {digest[:12]}", ok, message)


def _check_sources(stored: StoredRun) -> Iterator[Check]:
    """The rows' content against the data files, where they are still there."""
    try:
        c = stored.run.config()
        slices = dict.fromkeys(c.evaluate.slices, "evaluate.slices")
        where = c.task, c.train.seed, Path(c.folder)
        stored.dataset = read_dataset(c.data, *where, slices, c.separated)
    except FtevError as error:
        why = str(error).splitlines()[0]
        yield Check(
            "data files", UNCHECKED, UNCHECKED, None, f"rows not held to their source: {why}"
        )
        return
    for split, s in stored.dataset.splits.items():
        prepared = stored.history.splits.get(split)
        if prepared is None or not prepared.sha256:
            continue
        ok = s.sha256 == prepared.sha256
        message = "" if ok else f"{prepared.source}: the data of {split} have changed since the run"
        was, now = (f"sha256 {x[:12]}" for x in (prepared.sha256, s.sha256))
        yield Check(f"data of {split}", was, now, ok, message)


def _check_rows(stored: StoredRun) -> Iterator[Check]:
    for split, frames in stored.frames.items():
        for model, frame in frames.items():
            name = f"predictions/{split}.{model}.parquet"
            try:
                found = [*_contradictions(stored, split, model, frame)]
            except BROKEN as error:
                yield cannot(f"rows of {split} {model}", name, error)
                continue
            message = "; ".join(f"{name}, {c}" for c in found)
            bad = len({row for c in found for row in c.rows})
            rows = format_count(frame.height, "row")
            again = f"{bad:,} contradict" if bad else f"{frame.height:,} agree"
            yield Check(f"rows of {split} {model}", rows, again, not found, message)


def _contradictions(
    stored: StoredRun, split: str, model: str, frame: pl.DataFrame
) -> Iterator[Contradiction]:
    frames = stored.frames[split]
    yield from contradictions_within(frame, stored.labels)
    first = next(iter(frames))
    if first != model:
        yield from contradictions_between(frame, frames[first], f"{split}.{first}.parquet")
    if stored.dataset and split in stored.dataset.splits:
        source = stored.dataset.splits[split].frame
        names = ("row_id", "label", "labels", "content")
        source = source.select([c for c in names if c in source.columns])
        if frame["row_id"].is_in(source["row_id"].implode()).all():  # windows of a text are no rows
            yield from contradictions_between(frame, source, "the data file")
    train = stored.history.splits.get("train")
    if model == "majority" and train:
        if "labels" in frame.columns:
            expected = majority_sets(frame, stored.labels, train.labels, train.rows)
        else:
            expected = majority_frame(frame, stored.labels, train.labels)
        if rows := differing_predictions(frame, expected):
            answer = expected["predicted"][0]
            given = repr(answer) if isinstance(answer, str) else ", ".join(answer) or "none"
            yield Contradiction(rows, f"the commonest label of train is {given}")
