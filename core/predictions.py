"""The stored predictions of a run, a frame a split and model, and the texts of their rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from .analyses import Frames
from .errors import FtevError, RunError
from .history import History
from .runs import Run

INPUT_CHARACTERS = 500  # of a row's input text that are stored beside its predictions


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


def read_predictions(run: Run, split: str) -> Frames:
    """The predictions of every model on a split. Raises RunError where there are none."""
    models = stored_splits(run).get(split)
    if not models:
        known = ", ".join(stored_splits(run)) or "none"
        raise RunError(
            f"{run.id}: no predictions on {split} are stored (splits that are: {known}). "
            "They are written at the end of a run"
        )
    return {model: _read(run.predictions / f"{split}.{model}.parquet") for model in models}


def _read(path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise RunError(f"{path}: cannot be read: {error}. Evaluate again to rewrite it") from None


def read_inputs(run: Run, history: History, split: str, frame: pl.DataFrame) -> Inputs:
    """The input of each row: as stored beside it, else from the data file if it still fits."""
    if "input" in frame.columns and frame["input"].null_count() < frame.height:
        known = frame.drop_nulls("input")
        return Inputs(dict(zip(known["row_id"], known["input"], strict=True)))
    try:
        return _inputs_of_data(run, history, split, frame)
    except FtevError as error:
        return Inputs({}, f"the data file cannot be read: {error.faults[0]}")


def _inputs_of_data(run: Run, history: History, split: str, frame: pl.DataFrame) -> Inputs:
    from .data import read_dataset
    from .reading.inputs import input_of

    config, told = run.config(), history.splits.get(split)
    dataset = read_dataset(config.data, config.task, config.train.seed, Path(config.folder))
    found = dataset.splits.get(split)
    if found is None or told is None or found.sha256 != told.sha256:
        return Inputs({}, "the data file has changed since the run (its sha256 is another)")
    if dataset.columns.form == "text" and found.frame.height != frame.height:
        return Inputs({}, "the rows are windows of longer documents")
    rows = found.frame.select("row_id", "content", input_of(found.frame).alias("input"))
    joined = frame.select("row_id", "content").join(rows, on=["row_id", "content"])
    texts = joined["input"].str.slice(0, INPUT_CHARACTERS)
    return Inputs(dict(zip(joined["row_id"], texts, strict=True)))
