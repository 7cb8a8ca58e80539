"""Runs side by side: paired where their rows agree, else refused or marked unpaired."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import polars as pl
from msgspec.structs import replace

from ..analysis.predictions import read_predictions, stored_splits
from ..catalog.run_facts import flatten
from ..catalog.summary import headline, run_status
from ..config.config import RunConfig, to_dict
from ..errors import ConfigError, Fault, FtevError
from ..files.reading import misfits_named
from ..judgement.selection import SPLITS, primary_metric
from ..judgement.verdict import judge
from ..metrics.metric import METRICS, names_positive
from ..metrics.results import Comparison, ModelResult
from ..metrics.statistics import COVERS, holm
from ..run.event_lines import use_history
from ..run.history import History
from ..run.runs import Run
from ..tasks import find_task
from ..wording.names import name_metric
from ..wording.numbers import format_count, format_time
from .compared import ComparedRun, ComparedRuns

NOT_COMPARED = ("name", "folder")  # settings that say nothing about what a run did


@dataclass(frozen=True)
class Side:
    """One of the runs compared, with the model and split that speak for it."""

    name: str
    run: Run
    history: History
    config: RunConfig | None
    frame: pl.DataFrame = field(default_factory=pl.DataFrame)
    result: ModelResult | None = None

    @property
    def positive(self) -> str | None:
        return self.result.positive if self.result else None

    @property
    def task(self) -> str:
        return self.history.task or (self.config.task if self.config else "")


def compare_runs(
    runs: Sequence[Run], split: str | None = None, metric: str | None = None, model: str = "tuned"
) -> ComparedRuns:
    """The document of `compare --json`; the first run is the baseline.

    Raises ConfigError with every reason why the runs cannot stand in one table: fewer than two,
    another task, labels, split or metric; RunError for a run whose facts do not fit together.
    """
    sides = _open(runs)
    with misfits_named(sides[-1].run.path):
        return _compare(sides, split, metric, model)


def _compare(sides: list[Side], split: str | None, metric: str | None, model: str) -> ComparedRuns:
    split = _common_split(sides, split, model)
    sides = [_with_rows(side, split, model) for side in sides]
    _check_labels(sides)
    metrics, notes = _common_metrics(sides)
    metric = _primary(sides, metric, metrics)
    compared = [_pair(sides[0], side, split, metrics) for side in sides[1:]]
    compared = _adjusted(compared, metric)
    notes += _token_notes(sides, compared)
    if any(comparisons for comparisons, _ in compared):
        notes.append(f"An interval {COVERS}")
    return {
        "split": split,
        "model": model,
        "metric": metric,
        "positive": sides[0].positive,
        "metrics": metrics,
        "baseline": sides[0].name,
        "runs": [_describe(side, metrics) for side in sides],
        "comparisons": [c for comparisons, _ in compared for c in comparisons],
        "unpaired": [
            {"run": side.name, "reason": reason}
            for side, (_, reason) in zip(sides[1:], compared, strict=True)
            if reason
        ],
        "config": config_differences(sides),
        "notes": notes,
    }


def _open(runs: Sequence[Run]) -> list[Side]:
    if len(runs) < 2:
        raise ConfigError(Fault("compare", "needs two runs or more", "Name them one after another"))
    ids = [run.id for run in runs]
    sides = []
    for i, run in enumerate(runs):
        name = run.id if ids.count(run.id) == 1 else f"{run.id} ({i + 1})"
        sides.append(use_history(run, partial(_side, name, run)))
    first = sides[0]
    faults = [
        Fault(side.name, f"is a {side.task} run, {first.name} a {first.task} run")
        for side in sides[1:]
        if side.task != first.task
    ]
    if faults:
        raise ConfigError(*faults)
    return sides


def _side(name: str, run: Run, history: History) -> Side:
    """A run with its verdict tried: one that cannot be judged is named before it is compared."""
    config = _config(run)
    headline(run, history, config)
    if config is not None and history.results:
        judge(history, config)
    return Side(name, run, history, config)


def _config(run: Run) -> RunConfig | None:
    try:
        return run.config()
    except FtevError:
        return None


def _common_split(sides: Sequence[Side], split: str | None, model: str) -> str:
    """The split asked for, else the first on which every run stored this model's predictions."""
    stored = {side.name: stored_splits(side.run) for side in sides}
    scored = {name: [s for s in splits if model in splits[s]] for name, splits in stored.items()}
    wanted = [split] if split else [s for s in SPLITS if all(s in x for x in scored.values())]
    missing = {name: x for name, x in scored.items() if not wanted or wanted[0] not in x}
    if not missing:
        return wanted[0]
    what = f"no predictions of {model} on {split}" if split else "no split that every run has"
    raise ConfigError(
        *(
            Fault(name, what, f"{model} was scored on: {', '.join(x) or _models(stored[name])}")
            for name, x in missing.items()
        )
    )


def _models(splits: Mapping[str, list[str]]) -> str:
    known = sorted({model for models in splits.values() for model in models})
    return f"nothing (models: {', '.join(known)})" if known else "nothing"


def _with_rows(side: Side, split: str, model: str) -> Side:
    frame = read_predictions(side.run, side.history, split, [model])[model]
    result = side.history.result(split, model)
    return Side(side.name, side.run, side.history, side.config, frame, result)


def _check_labels(sides: Sequence[Side]) -> None:
    first, faults = sides[0], []
    for side in sides[1:]:
        ours, theirs = side.history.labels, first.history.labels
        if ours == theirs:
            continue
        parts = [
            f"{', '.join(map(repr, only[:SHOWN_IDS]))}{' …' if len(only) > SHOWN_IDS else ''} "
            f"only in {name}"
            for name, only in (
                (side.name, [x for x in ours if x not in theirs]),
                (first.name, [x for x in theirs if x not in ours]),
            )
            if only
        ]
        difference = " and ".join(parts) or "the same labels in another order"
        faults.append(
            Fault(
                side.name,
                f"other labels than {first.name}: {difference}",
                "Set [data] labels in both",
            )
        )
    if faults:
        raise ConfigError(*faults)


def _common_metrics(sides: Sequence[Side]) -> tuple[list[str], list[str]]:
    """The metrics that every run has, and what is to be said about those left out."""
    known = [side.result.metrics if side.result else {} for side in sides]
    metrics = [name for name in METRICS if all(name in found for found in known)]
    positives = {side.positive for side in sides}
    left = [name for name in metrics if names_positive(name)]
    if len(positives) < 2 or not left:
        return metrics, []
    named = " and ".join(sorted(f'"{p}"' for p in positives))
    names = ", ".join(map(name_metric, left))
    note = f"The positive class is {named}: {names} are left out, as they are of one class"
    return [name for name in metrics if name not in left], [note]


def _primary(sides: Sequence[Side], metric: str | None, metrics: Sequence[str]) -> str:
    declared = metric or primary_metric(sides[0].run, sides[0].history)
    if declared in metrics:
        return declared
    where = "--metric" if metric else f"objective of {sides[0].name}"
    raise ConfigError(
        Fault(where, f"not every run has {declared!r}", f"All have: {', '.join(metrics) or 'none'}")
    )


def _pair(
    first: Side, side: Side, split: str, metrics: Sequence[str]
) -> tuple[list[Comparison], str]:
    """Paired differences from the baseline to a run, or why its rows cannot be paired."""
    same_file = _same_file(first, side, split)
    if reason := why_unpaired(
        first.frame, side.frame, (first.name, side.name), first.task, same_file
    ):
        return [], reason
    sides = (first.name, first.frame), (side.name, side.frame)
    positive = first.positive
    found = find_task(first.task).compare(split, *sides, first.history.labels, positive)
    return [c for c in found if c.metric in metrics], ""


def _same_file(first: Side, side: Side, split: str) -> bool:
    sums = [s.history.splits[split].sha256 for s in (first, side) if split in s.history.splits]
    return len(sums) == 2 and bool(sums[0]) and sums[0] == sums[1]


def _token_notes(
    sides: Sequence[Side], compared: Sequence[tuple[list[Comparison], str]]
) -> list[str]:
    """What cannot be set against the baseline: values per token, where texts have other tokens."""
    if not find_task(sides[0].task).writes:
        return []
    other = [
        side.name
        for side, (_, reason) in zip(sides[1:], compared, strict=True)
        if not reason and not same_tokens(sides[0].frame, side.frame)
    ]
    if not other:
        return []
    return [
        f"The texts have other tokens in {', '.join(other)} than in {sides[0].name}: only "
        "bits per byte can be compared, whatever stands side by side (--metric bits_per_byte)"
    ]


def _adjusted(
    compared: Sequence[tuple[list[Comparison], str]], metric: str
) -> list[tuple[list[Comparison], str]]:
    """Holm over the runs compared, for the primary metric alone: it is one question asked often."""
    asked = {c.to_model: c.p for found, _ in compared for c in found if c.metric == metric}
    adjusted = holm(asked)

    def adjust(c: Comparison) -> Comparison:
        return replace(c, p_holm=adjusted[c.to_model]) if c.metric == metric else c

    return [([adjust(c) for c in found], reason) for found, reason in compared]


def _describe(side: Side, metrics: Sequence[str]) -> ComparedRun:
    shown = headline(side.run, side.history)
    document: ComparedRun = {
        "name": side.name,
        "path": str(side.run.path),
        "status": run_status(side.run, side.history),
        "created": format_time(side.history.created),
        "headline": shown.text if shown else None,
        "n": side.result.n if side.result else 0,
        "metrics": {name: side.result.metrics[name] for name in metrics} if side.result else {},
        "verdict": None,
    }
    if side.config is not None:
        verdict = judge(side.history, side.config)
        document["verdict"] = verdict.to_dict()
    return document


def config_differences(sides: Sequence[Side]) -> dict[str, list[object]]:
    """Settings, data files and versions that differ: one value per run, None for none."""
    tables = [_facts(side) for side in sides]
    names = dict.fromkeys(name for table in tables for name in table)
    rows = {name: [table.get(name) for table in tables] for name in names}
    return {name: row for name, row in rows.items() if any(value != row[0] for value in row)}


def _facts(side: Side) -> dict[str, object]:
    facts = flatten(to_dict(side.config)) if side.config else {}
    facts = {name: value for name, value in facts.items() if name not in NOT_COMPARED}
    for name, s in side.history.splits.items():
        facts[f"rows of {name}"] = s.rows
        facts[f"sha256 of {name}"] = s.sha256[:12]
    if device := side.history.device:
        facts |= {"device": device.name, "precision": device.precision}
        facts |= {f"version of {name}": version for name, version in device.packages.items()}
    return facts


SHOWN_IDS = 5
WORDS = {"content": "the input", "label": "the label", "bytes": "the scored text"}


def why_unpaired(
    a: pl.DataFrame, b: pl.DataFrame, names: tuple[str, str], task: str, same_file: bool = False
) -> str:
    """Why two runs' rows are not the same rows; empty where they are.

    `same_file` says that both were read from the same bytes: windows of documents have no content
    hash and are known by nothing else.
    """
    if reason := _other_ids(a, b, names):
        return reason
    unknown = [name for name, frame in zip(names, (a, b), strict=True) if "content" not in frame]
    if unknown:
        return f"no content hash is stored with the rows of {' and '.join(unknown)}"
    truth = find_task(task).truth
    both = a.select("row_id", "content", truth).join(
        b.select("row_id", "content", truth), on="row_id", suffix="_other"
    )
    for column in ("content", truth):
        other = both.filter(pl.col(column).ne_missing(pl.col(f"{column}_other")))
        if other.height:
            return f"{WORDS[column]} differs on {list_ids(other['row_id'])}"
    if both["content"].null_count() and not same_file:
        return "the rows are windows of documents, and the files differ (by their sha256)"
    return ""


def same_tokens(a: pl.DataFrame, b: pl.DataFrame) -> bool:
    """Whether two models counted the same tokens in every text."""
    return a.sort("row_id")["tokens"].equals(b.sort("row_id")["tokens"])


def _other_ids(a: pl.DataFrame, b: pl.DataFrame, names: tuple[str, str]) -> str:
    only = [
        (name, mine.join(other, on="row_id", how="anti")["row_id"].sort())
        for name, mine, other in zip(names, (a, b), (b, a), strict=True)
    ]
    if not any(len(ids) for _, ids in only):
        return ""
    return " and ".join(f"{list_ids(ids)} only in {name}" for name, ids in only if len(ids))


def list_ids(ids: pl.Series) -> str:
    """ "1 row (7)", "9 rows (1, 4, 5, 8, 9, …)" """
    named = ", ".join(map(str, ids.head(SHOWN_IDS))) + (", …" if len(ids) > SHOWN_IDS else "")
    return f"{format_count(len(ids), 'row')} ({named})"
