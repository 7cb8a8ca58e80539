"""The report as CSV: every metric of every model, and every scored row with what became of it.

Texts come from data files and models, and spreadsheets run what begins like a formula. Control
characters are shown as pictures of themselves, and a text that begins with = + - @ (or their wide
forms) gets an apostrophe before it. Numbers are written in full and never changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl

from ...analysis.predictions import read_frame, reference_of
from ...data.data import Dataset, read_dataset
from ...data.rows import input_of
from ...errors import FtevError
from ...metrics.label_sets.rows import as_one_label
from ...run.history import History, read_history
from ...run.runs import Run
from ...wording.text import visible
from ..document import Report
from . import File

FORMULA = r"^\s*[=+\-@＝＋－＠]"
PLAIN = r"^[ -~]*$"  # printable ASCII
OWN_COLUMNS = frozenset(
    ("row_id", "label", "predicted", "probabilities", "confidence", "content", "input", "cluster")
)
POINT_COLUMNS = {"step": pl.Int64, "value": pl.Float64}
METRIC_COLUMNS = {
    "split": pl.String,
    "model": pl.String,
    "metric": pl.String,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "n": pl.Int64,
    "method": pl.String,
}


def files(run: Run, report: Report, out: Path | None) -> Iterator[File]:
    """`report.csv`, and `rows.SPLIT.csv` of each split with stored predictions.

    `logged.csv` where another loop logged: every figure, step and value.
    """
    folder = out or run.path
    yield folder / "report.csv", metrics_frame(report).write_csv
    if "origin" in report["run"]:
        yield folder / "logged.csv", logged_frame(read_history(run)).write_csv
    for split, rows in row_frames(run, report).items():
        yield folder / f"rows.{split}.csv", rows.write_csv


def metrics_frame(report: Report) -> pl.DataFrame:
    """One row per split, model and metric; low and high are NaN where there is no interval."""
    rows = [
        {
            "split": split,
            "model": model,
            "metric": name,
            "value": estimate.value,
            "low": estimate.low,
            "high": estimate.high,
            "n": result.n,
            "method": estimate.method,
        }
        for split, models in report["results"].items()
        for model, result in models.items()
        for name, estimate in result.metrics.items()
    ]
    return safe_texts(pl.DataFrame(rows, schema=METRIC_COLUMNS))


def logged_frame(history: History) -> pl.DataFrame:
    """One row per figure and step, in full."""
    steps = history.steps
    named = {"train/loss": (steps.step, steps.loss)}
    named |= {name: (s.step, s.value) for name, s in history.scalars.series.items()}
    frames = [
        pl.DataFrame({"step": list(step), "value": list(value)}, schema=POINT_COLUMNS).select(
            pl.lit(name).alias("name"), "step", "value"
        )
        for name, (step, value) in named.items()
    ]
    return safe_texts(pl.concat(frames))


def row_frames(run: Run, report: Report) -> dict[str, pl.DataFrame]:
    """For each split its scored rows with every model's answer, by ascending row id."""
    dataset = _dataset(run)
    joined = {}
    for split, models in report["results"].items():
        paths = {model: run.predictions / f"{split}.{model}.parquet" for model in models}
        frames = {
            m: read_frame(path, report["run"]["task"]) for m, path in paths.items() if path.exists()
        }
        if frames:
            first = next(iter(frames.values()))
            rows = _with_input(_joined(frames), first, dataset, split)
            joined[split] = safe_texts(rows.sort("row_id"))
    return joined


def _joined(frames: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """The columns of each model beside each other; a row that a model lacks is empty there."""
    frames = {model: as_one_label(frame) for model, frame in frames.items()}
    first = next(iter(frames.values()))
    shared = [c for c in ("label", "content") if c in first.columns]
    rows = first.select("row_id", *shared).rename({"label": "truth"}, strict=False)
    for model, frame in frames.items():
        rows = rows.join(_columns_of(model, frame), on="row_id", how="left")
    reference = reference_of(frames)
    if reference and {f"{m}_correct" for m in (reference, "tuned")} <= set(rows.columns):
        rows = rows.with_columns(_flip(reference))
    return rows


def _columns_of(model: str, frame: pl.DataFrame) -> pl.DataFrame:
    found = [pl.col("row_id")]
    if {"label", "predicted"} <= set(frame.columns):
        found.append(pl.col("predicted").alias(f"{model}_prediction"))
        if "confidence" in frame.columns:
            found.append(pl.col("confidence").alias(f"{model}_confidence"))
        elif "probabilities" in frame.columns:
            found.append(pl.col("probabilities").list.max().alias(f"{model}_confidence"))
        right = (pl.col("predicted") == pl.col("label")).fill_null(False)
        found.append(right.alias(f"{model}_correct"))
    others = [c for c in frame.columns if c not in OWN_COLUMNS and not frame[c].dtype.is_nested()]
    names = {"correct": "correct_tokens"} if "tokens" in others else {}
    return frame.select(*found, *(pl.col(c).alias(f"{model}_{names.get(c, c)}") for c in others))


def _flip(reference: str) -> pl.Expr:
    """What became of each row from the reference to the tuned model."""
    before, after = pl.col(f"{reference}_correct"), pl.col("tuned_correct")
    kind = (
        pl.when(before & after)
        .then(pl.lit("both right"))
        .when(before)
        .then(pl.lit("broke"))
        .when(after)
        .then(pl.lit("fixed"))
        .otherwise(pl.lit("both wrong"))
    )
    return kind.alias(f"{reference}_to_tuned")


def _with_input(
    rows: pl.DataFrame, frame: pl.DataFrame, dataset: Dataset | None, split: str
) -> pl.DataFrame:
    """The input beside each row: whole, from the data file, where its content hash still fits;
    else its beginning, where that was stored; else nothing."""
    missing = [pl.lit(None, pl.String).alias("whole")]
    if dataset is not None and split in dataset.splits and "content" in rows.columns:
        source = dataset.splits[split].frame
        texts = source.select("row_id", "content", input_of(source).alias("whole"))
        rows, missing = rows.join(texts, on=["row_id", "content"], how="left"), []
    if "input" in frame.columns:
        rows = rows.join(frame.select("row_id", "input"), on="row_id", how="left")
    else:
        missing.append(pl.lit(None, pl.String).alias("input"))
    rows = rows.with_columns(*missing)
    return rows.with_columns(input=pl.coalesce("whole", "input")).drop(
        "whole", "content", strict=False
    )


def _dataset(run: Run) -> Dataset | None:
    """The data of the run, where its files are still there."""
    try:
        config = run.config()
        where = config.task, config.train.seed, Path(config.folder)
        return read_dataset(config.data, *where, separated=config.separated)
    except FtevError:
        return None


def safe_texts(frame: pl.DataFrame) -> pl.DataFrame:
    """Every text visible, and none that a spreadsheet would run."""
    texts = [name for name, dtype in frame.schema.items() if dtype == pl.String]
    return frame.with_columns(_safe(frame[name]) for name in texts)


def _safe(texts: pl.Series) -> pl.Series:
    """Few texts have anything in them to change: only those leave Polars."""
    strange = (~texts.str.contains(PLAIN) | texts.str.contains(FORMULA)).fill_null(False)
    at = strange.arg_true()
    return texts.scatter(at, [safe_text(text) for text in texts.gather(at)])


def safe_text(text: str) -> str:
    cell = visible(text)
    return f"'{cell}" if re.match(FORMULA, cell) else cell
