"""Predictions of a scored split as analyses see them and as a run stores them, and their texts."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from ..config.config import RunConfig
from ..data.formats.parquet import read_parquet
from ..errors import DataError, Fault, FtevError, RunError
from ..judgement.selection import first_reference
from ..metrics.analyses import NAMES
from ..metrics.results import Estimate, ModelResult, Record
from ..run.events import AnalysisComputed
from ..run.history import History
from ..run.runs import Run
from ..tasks import TASKS
from ..wording.numbers import format_count

Frames = dict[str, pl.DataFrame]  # predictions by model, as they are stored
INPUT_CHARACTERS = 500  # of a row's input text that are stored beside its predictions
REWRITE = "Run the evaluation again to rewrite it"
# What may stand beside the columns that a task stores; of those only `predicted` may be null,
# where a model gave no prediction.
OPTIONAL = {
    "nll": "numbers",
    "end_nll": "numbers",
    "probabilities": "lists of numbers",
    "thresholds": "lists of numbers",
    "content": "hashes",
    "cluster": "whole numbers",
    **dict.fromkeys(("input", "prompt", "completion", "reference", "method"), "text"),
}


@dataclass(frozen=True)
class Evaluation:
    """A scored split: every model's predictions, the rows they were made from, and the run's terms.

    `source` has row_id and every column of the file; `validation` the predictions on validation,
    from which thresholds and temperatures are fitted (empty where there is none). `windows` has
    row_id and input (how it begins) where the rows are windows of documents, not the source's own.
    """

    split: str
    frames: Frames
    source: pl.DataFrame
    config: RunConfig
    labels: tuple[str, ...] = ()
    positive: str | None = None
    validation: Frames = field(default_factory=dict)
    windows: pl.DataFrame | None = None
    measured: dict[str, ModelResult] = field(default_factory=dict, repr=False)  # by model

    def result(self, model: str) -> ModelResult:
        """Its metrics with their intervals, which every table shows alike. Raises DataError."""
        if model not in self.measured:
            measure = self.config.task_type.evaluate
            self.measured[model] = measure(self.frames[model], self.labels, self.positive)
        return self.measured[model]

    @property
    def reference(self) -> str | None:
        return reference_of(self.frames)

    def found(self, result: Record, model: str = "") -> AnalysisComputed:
        """An analysis of this split as it is written down; `model` is empty where it is about
        several."""
        name = NAMES[type(result)]
        return AnalysisComputed(split=self.split, name=name, model=model, result=result)


def reference_of(frames: Mapping[str, pl.DataFrame]) -> str | None:
    """What the tuned model is set against; a frame with a method is of a zero-shot base."""
    base = frames.get("base")
    return first_reference(frames, zero_shot=base is not None and "method" in base.columns)


def as_in_results(estimate: Estimate) -> Estimate:
    """One number has one interval, wherever it stands; its sums stand with the results."""
    return Estimate(estimate.value, estimate.low, estimate.high, estimate.method)


@dataclass(frozen=True)
class Inputs:
    """Input texts by row id; where there are none, `missing` says why."""

    texts: dict[int, str]
    missing: str = ""


def stored_splits(run: Run) -> dict[str, list[str]]:
    """The models whose predictions are stored, by split."""
    found: dict[str, list[str]] = {}
    for path in sorted(run.predictions.glob("*.*.parquet")):
        split, model, _ = path.name.split(".", 2)
        found.setdefault(split, []).append(model)
    return found


def read_predictions(
    run: Run, history: History, split: str, models: Sequence[str] | None = None
) -> Frames:
    """The predictions of the models named, by default of every one, on a split.

    Raises RunError where there are none, or a file of them cannot be used.
    """
    stored = stored_splits(run).get(split)
    if not stored:
        known = ", ".join(stored_splits(run)) or "none"
        raise RunError(
            f"{run.id}: no predictions on {split} are stored (splits that are: {known}). "
            "They are written at the end of a run"
        )
    task = task_of(run, history)
    wanted = stored if models is None else [m for m in stored if m in models]
    paths = {model: run.predictions / f"{split}.{model}.parquet" for model in wanted}
    return {m: read_frame(path, task, history.labels) for m, path in paths.items()}


def task_of(run: Run, history: History) -> str:
    """What the run was started for. Raises FtevError where neither events nor config name it."""
    return history.task if history.task in TASKS else run.config().task


def read_frame(path: Path, task: str, labels: Sequence[str] = ()) -> pl.DataFrame:
    """One file of predictions, one row per example, with the columns of its task.

    Raises RunError with everything that is wrong with it: that it cannot be read, columns that are
    missing or of another type, rows without a value, rows that stand in it twice.
    """
    if task not in TASKS:
        raise RunError(
            Fault(str(path), f"there is no task {task!r}", "The run names no known task")
        )
    if not os.path.isfile(path):  # a closed folder is no exception here
        what = "cannot be read: it is no file" if os.path.exists(path) else "there is no such file"
        raise RunError(Fault(str(path), what, REWRITE))
    try:
        frame = read_parquet(path)
    except DataError as error:
        [fault] = error.faults
        raise RunError(Fault(str(path), fault.what, fault.remedy)) from None
    except (Exception, pl.exceptions.PanicException) as error:  # damaged bytes fail in many ways
        reason = (str(error).splitlines() or ["it is damaged"])[0]
        raise RunError(Fault(str(path), f"cannot be read: {reason}", REWRITE)) from None
    if faults := _column_faults(frame, task) or _row_faults(frame, task, len(labels)):
        raise RunError(*(Fault(str(path), what, REWRITE) for what in faults))
    return frame.with_columns(pl.col("row_id").cast(pl.Int64))


def _column_faults(frame: pl.DataFrame, task: str) -> list[str]:
    found = []
    for name, kind in (OPTIONAL | TASKS[task].stored).items():
        dtype = frame.schema.get(name)
        if dtype is None:
            if name in TASKS[task].stored:
                found.append(f"there is no column {name!r}, which {task} needs")
        elif not _is_of(dtype, kind):
            found.append(f"column {name!r} holds {dtype}, not {kind}")
    return found


def _is_of(dtype: pl.DataType, kind: str) -> bool:
    if isinstance(dtype, pl.List):
        inner = dtype.inner
        return (kind == "lists of numbers" and inner.is_float()) or (
            kind == "lists of text" and inner == pl.String
        )
    fits = {
        "text": dtype == pl.String,
        "numbers": dtype.is_float(),
        "whole numbers": dtype.is_integer(),
        "hashes": dtype in (pl.UInt64, pl.Null),
    }
    return fits.get(kind, False)


def _row_faults(frame: pl.DataFrame, task: str, labels: int) -> list[str]:
    needed = [
        *(c for c in TASKS[task].stored if c != "predicted"),
        *(c for c in ("nll", "probabilities") if c in frame.columns),
    ]
    empty = {name: frame[name].null_count() for name in dict.fromkeys(needed)}
    found = [
        f"column {name!r} has no value in {format_count(count, 'row')}"
        for name, count in empty.items()
        if count
    ]
    if twice := frame.height - frame["row_id"].n_unique():
        found.append(f"{format_count(twice, 'row')} stand in it again under a row_id already used")
    if frame["row_id"].cast(pl.Int64, strict=False).null_count() > empty["row_id"]:
        found.append("column 'row_id' holds numbers that are no row's")
    if "probabilities" in frame.columns and not empty.get("probabilities"):
        lists = frame["probabilities"]
        lengths = lists.list.len().unique().sort().to_list()
        if len(lengths) > 1 or (labels and lengths not in ([], [labels])):
            found.append(
                f"column 'probabilities' holds lists of {', '.join(map(str, lengths[:5]))} "
                "numbers, "
                + (f"and there are {labels} labels" if labels else "not all of one length")
            )
        elif lists.explode().null_count() and lengths != [0]:
            found.append("column 'probabilities' holds lists with no number in a place")
    return found


def read_inputs(run: Run, history: History, split: str, frame: pl.DataFrame) -> Inputs:
    """The input of each row: as stored beside it, else from the data file if it still fits."""
    if "input" in frame.columns and frame["input"].null_count() < frame.height:
        known = frame.drop_nulls("input")
        return Inputs(dict(zip(known["row_id"], known["input"], strict=True)))
    try:
        return _inputs_of_data(run, history, split, frame)
    except FtevError as error:
        return Inputs({}, f"the data file cannot be read: {error.faults[0]}")


def read_whole_input(
    run: Run, history: History, split: str, frame: pl.DataFrame, row_id: int
) -> str:
    """The uncut input of one row of a split's predictions; empty where the data file lacks it."""
    try:
        found = _inputs_of_data(run, history, split, frame, None)
    except FtevError:
        return ""
    return found.texts.get(row_id, "")


def _inputs_of_data(
    run: Run,
    history: History,
    split: str,
    frame: pl.DataFrame,
    most: int | None = INPUT_CHARACTERS,
) -> Inputs:
    from ..data.data import read_dataset
    from ..data.rows import input_of

    config, prepared = run.config(), history.splits.get(split)
    where = config.task, config.train.seed, Path(config.folder)
    dataset = read_dataset(config.data, *where, separated=config.separated)
    found = dataset.splits.get(split)
    if found is None or prepared is None or found.sha256 != prepared.sha256:
        return Inputs({}, "the data file has changed since the run (its sha256 is another)")
    if dataset.columns.form == "text" and found.frame.height != frame.height:
        return _windows(found.frame["text"], frame, most)
    rows = found.frame.select("row_id", "content", input_of(found.frame).alias("input"))
    joined = frame.select("row_id", "content").join(rows, on=["row_id", "content"])
    texts = joined["input"].str.slice(0, most)
    return Inputs(dict(zip(joined["row_id"], texts, strict=True)))


def _windows(documents: pl.Series, frame: pl.DataFrame, most: int | None) -> Inputs:
    """The text of each window: they lie one behind the other, and each counted its bytes."""
    text, start = "".join(documents.to_list()).encode(), 0
    rows = frame.sort("row_id")
    if rows["bytes"].sum() != len(text):
        reason = "the rows are windows of longer documents, and some of these were not scored"
        return Inputs({}, reason)
    texts: dict[int, str] = {}
    for row_id, size in zip(rows["row_id"], rows["bytes"], strict=True):
        texts[row_id] = text[start : start + size].decode(errors="ignore")[:most]
        start += size
    return Inputs(texts)
