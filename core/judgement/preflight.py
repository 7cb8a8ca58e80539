"""The pre-flight: what a config's data hold and what speaks against starting; starts nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..config.config import RunConfig, to_dict
from ..errors import Fault, RunError
from ..run.events import AnyEvent, ColumnsFound, LabelsFixed, RunStarted, SplitPrepared
from ..run.history import fold
from .findings import Finding, find

if TYPE_CHECKING:
    from subprocess import Popen

    from ..data.data import Dataset, Split
    from ..data.leakage import Leakage

# What takes the model's tokenizer and size to know.
BY_THE_ENGINE = "token lengths, truncation, masking and memory, and whether the model can be loaded"


@dataclass(frozen=True)
class SplitCheck:
    """A split as it would be used. Lengths are characters of the input."""

    rows: int
    rows_in: int  # records of its source, before bad ones and other splits were taken out
    columns: int
    sources: list[str]
    sha256: str
    labels: dict[str, int]
    skipped: int
    duplicates: int  # rows whose input stands earlier in the same split
    median_length: int
    longest: int
    line_offset: int = 0  # a row's line in its source is its id + this; 0: rows have none

    @property
    def source(self) -> str:
        return ", ".join(self.sources)


@dataclass(frozen=True)
class CheckResult:
    name: str
    task: str
    form: str  # text_label, text, prompt_completion or messages
    words: str  # what each row is, where the way in which the files write it has a name
    columns: dict[str, str]  # role to the name it has in the files
    labels: list[str]
    splits: dict[str, SplitCheck]
    leakage: dict[str, int]  # rows that repeat a row of an earlier split, by layer
    leaked: dict[str, int]  # split -> its rows that repeat a row of an earlier split, each once
    group_rows: dict[str, int]  # split -> those among them whose group stands in an earlier split
    pairs: list[tuple[str, int, str, int, str, float]]
    skipped: list[Fault]
    findings: list[Finding]
    notes: list[str]
    remarks: list[str]  # what rows hold that nobody may have meant, with counts
    how_read: list[str]  # what was done to read the files, where that is not plain
    not_checked: list[str]
    model: dict[str, Any] | None = None  # what the engine says: max_length, splits, parameters, …


def check_run(config: RunConfig) -> CheckResult:
    """Read the data as a run would; the model stays out. Raises DataError with every fault."""
    from ..data.data import read_run_data
    from ..data.leakage import find_leakage
    from ..data.row_forms import words_of

    dataset = read_run_data(config)
    leakage = find_leakage(dataset.splits, near=config.data.near_duplicates)
    return CheckResult(
        name=config.name,
        task=config.task,
        form=dataset.columns.form,
        words=words_of(dataset.columns.written),
        columns=dict(dataset.columns.sources),
        labels=list(dataset.labels),
        splits={name: _check_split(s, dataset, leakage) for name, s in dataset.splits.items()},
        leakage=dict(leakage.crossing) | {"conflicting_labels": leakage.conflicting_labels},
        leaked=leakage.as_event().leaked,
        group_rows=leakage.as_event().group_rows,
        pairs=[p for p in leakage.pairs if p.split_a != p.split_b],
        skipped=[*dataset.skipped, *(f for many in dataset.left_out.values() for f in many)],
        findings=_find(config, dataset, leakage),
        notes=list(leakage.notes),
        remarks=list(dataset.remarks),
        how_read=list(dataset.notes),
        not_checked=[BY_THE_ENGINE],
    )


def check_model(
    config: RunConfig,
    result: CheckResult,
    on_progress: Callable[[str], None],
    started: Callable[[Popen[bytes]], None] | None = None,
) -> CheckResult:
    """The result with what the model's tokenizer and size say; no weights are loaded.

    Raises ModelError where the model cannot be used. `started` gets the engine's process.
    Where the engine cannot start, the result says what was not checked and why.
    """
    from ..run.launch import ask_engine

    try:
        answer = ask_engine("preview", {"config": to_dict(config)}, on_progress, started)
    except RunError as error:
        return replace(result, not_checked=[f"{BY_THE_ENGINE}: {error}"])
    unread = ColumnsFound(form=result.form, columns={}, unread_keys=answer["unread_keys"])
    found = result.findings + _find_masking(answer["splits"]) + find(fold([unread]))
    return replace(result, model=answer, findings=found, not_checked=[])


def _find_masking(splits: dict[str, dict[str, Any]]) -> list[Finding]:
    names = ("rows", "truncated_rows", "truncated_tokens", "unscored_rows", "rows_without_eos")
    return find(
        fold(
            SplitPrepared(
                split=split, columns=-1, **{n: described[n] for n in names if n in described}
            )
            for split, described in splits.items()
        )
    )


def _check_split(split: Split, dataset: Dataset, leakage: Leakage) -> SplitCheck:
    from ..data.rows import input_of

    lengths = input_of(split.frame).str.len_chars()
    median, longest = lengths.median(), lengths.max()
    return SplitCheck(
        rows=split.frame.height,
        rows_in=split.rows_in,
        columns=split.columns_in,
        sources=list(split.sources),
        sha256=split.sha256,
        labels=split.label_counts(),
        skipped=dataset.skipped_rows.get(split.name, 0)
        + sum(dataset.not_learned.get(split.name, {}).values()),
        duplicates=leakage.counts.get((split.name, split.name, "exact"), 0),
        median_length=round(median) if isinstance(median, int | float) else 0,
        longest=longest if isinstance(longest, int) else 0,
        line_offset=dataset.facts(split.name)["line_offset"],
    )


def _find(config: RunConfig, dataset: Dataset, leakage: Leakage) -> list[Finding]:
    """The findings of a run that has recorded no more than its data."""
    from ..data.drawn import draws_as_events

    started = RunStarted(run="", name="", task=config.task, pid=0, host="", ftev_version="")
    splits: list[AnyEvent] = [
        SplitPrepared(split=s.name, rows=s.frame.height, **dataset.facts(s.name))
        for s in dataset.splits.values()
    ]
    labels = LabelsFixed(labels=list(dataset.labels))
    events = [
        dataset.columns_found(),
        *splits,
        labels,
        leakage.as_event(),
        *draws_as_events(dataset),
    ]
    return find(fold([started, *events]), config)
