"""Threads of the compare screen: histories are read, then the runs are compared row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from textual.message import Message

from ....core.compare.compared import ComparedRuns
from ....core.errors import FtevError
from ....core.run.history import read_history
from ....core.run.runs import Run
from ...app.background import Post, in_thread
from ...widgets.framed import Outcome
from .overlay import HANDS, Curve

Named = tuple[str, Run]  # the name to show, and the run


@dataclass
class CurvesRead(Message):
    """The losses of every run; `failed` says which could not be read, and why."""

    curves: list[Curve]
    failed: list[str]


@dataclass
class RunsCompared(Message):
    """The document of `compare --json`, with the names that are shown."""

    told: ComparedRuns


@dataclass
class ComparisonRefused(Message):
    """Why the runs cannot stand in one table, and in what settings they differ."""

    reasons: list[str]
    config: dict[str, list[Any]]


def start_comparing(named: Sequence[Named], post: Post) -> None:
    in_thread(lambda: _compare(named, post))


def _compare(named: Sequence[Named], post: Post) -> None:
    curves, failed = [], []
    for (name, run), hand in zip(named, HANDS, strict=False):
        try:
            curves.append(Curve(name, hand, read_history(run)))
        except FtevError as error:
            failed.append(str(error))
    post(CurvesRead(curves, failed))
    from ....core.compare.compare import compare_runs

    try:
        told = compare_runs([run for _, run in named])
    except FtevError as error:
        shown = {run.id: name for name, run in named}
        faults = [_renamed(str(fault), shown) for fault in error.faults] or [str(error)]
        post(ComparisonRefused(faults, _settings_that_differ(named)))
        return
    post(RunsCompared(_with_names(told, [name for name, _ in named])))


def _settings_that_differ(named: Sequence[Named]) -> dict[str, list[Any]]:
    from ....core.catalog.run_facts import read_settings

    tables = [read_settings(run) for _, run in named]
    names = dict.fromkeys(name for table in tables for name in table)
    rows = {name: [table.get(name) for table in tables] for name in names}
    return {
        name: row
        for name, row in rows.items()
        if name not in ("name", "folder") and any(value != row[0] for value in row)
    }


def _with_names(told: ComparedRuns, names: Sequence[str]) -> ComparedRuns:
    """The document with the names people gave the runs, where they tell them apart."""
    ids = [r["name"] for r in told["runs"]]
    shown = dict(zip(ids, names if len(set(names)) == len(names) else ids, strict=True))
    return {
        **told,
        "baseline": shown[told["baseline"]],
        "runs": [{**r, "name": shown[r["name"]]} for r in told["runs"]],
        "comparisons": [
            replace(c, from_model=shown[c.from_model], to_model=shown[c.to_model])
            for c in told["comparisons"]
        ],
        "unpaired": [
            {"run": shown[u["run"]], "reason": _renamed(u["reason"], shown)}
            for u in told["unpaired"]
        ],
        "notes": [_renamed(note, shown) for note in told["notes"]],
    }


def _renamed(text: str, shown: Mapping[str, str]) -> str:
    for run_id in sorted(shown, key=len, reverse=True):
        text = text.replace(run_id, shown[run_id])
    return text


def write_comparison(told: ComparedRuns, path: Path, post: Post) -> None:
    in_thread(lambda: _write(told, path, post))


def _write(told: ComparedRuns, path: Path, post: Post) -> None:
    from ....core.compare.compared import comparison_blocks
    from ....core.files.disk import write_whole
    from ....core.report.formats.md import render_blocks

    try:
        write_whole(path, render_blocks(comparison_blocks(told)).encode())
        post(Outcome(f"written: {path}"))
    except FtevError as error:
        post(Outcome(str(error), failed=True))
