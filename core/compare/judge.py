"""Predictions of models that were trained and served anywhere, made into a run and judged.

The run's directory is that of our own worker: the screens, report, verify, compare, review and quiz
need nothing new. Nothing here needs torch.
"""

from __future__ import annotations

import os
import socket
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ... import __version__
from ..analysis import Evaluation, Frames, measure
from ..analysis.predictions import INPUT_CHARACTERS
from ..config.config import DataConfig, ModelConfig, RunConfig
from ..config.objective import GuardrailConfig, ObjectiveConfig
from ..data.labels import find_variants, is_scale, sort_labels
from ..data.rows import CHARACTERS, SLICE, with_content
from ..data.splits import rows_together
from ..errors import ConfigError, DataError, Fault
from ..files.disk import make_folder, replacing
from ..metrics.counts import default_positive
from ..metrics.values.answers import SCORE
from ..report.report import write_report
from ..run.events import (
    ColumnsFound,
    Event,
    EventWriter,
    LabelsFixed,
    Note,
    PredictionsStored,
    RunFinished,
    RunStarted,
    SplitPrepared,
)
from ..run.runs import Run, create_run, file_sha256
from .predictions import Predictions, read_predictions

SPLIT = "test"
MANY_LABELS = 200  # different truths: more are texts, where nobody says otherwise
LONG_LABEL = 64  # characters
SUM_TOLERANCE = 0.01  # of probabilities that should sum to 1
LISTS = pl.List(pl.Float64)
CHOICES = ("classification", "regression", "generation")


def judge_files(
    paths: Sequence[str],
    runs: Path,
    *,
    task: str | None = None,
    name: str = "",
    objective: ObjectiveConfig | None = None,
    guardrails: Sequence[GuardrailConfig] = (),
) -> Run:
    """One file with both models' predictions, or two paired by id, as a finished run.

    Raises DataError with everything that is wrong with the files, ConfigError for an objective that
    does not fit them.
    """
    return judge(
        read_predictions(paths),
        runs,
        task=task,
        name=name or Path(paths[-1]).stem,
        objective=objective,
        guardrails=guardrails,
    )


def judge(
    given: Predictions,
    runs: Path,
    *,
    task: str | None = None,
    name: str = "predictions",
    objective: ObjectiveConfig | None = None,
    guardrails: Sequence[GuardrailConfig] = (),
) -> Run:
    """The same of predictions that were read already."""
    task, form = _task_of(given, task)
    labels, frames, notes = _frames(given, task, form)
    config = RunConfig(
        task=task,
        name=name,
        model=ModelConfig(base="base" if "base" in frames else "tuned", tuned="tuned"),
        data=DataConfig(
            test=os.path.abspath(given.sources[-1]) if given.sources else "predictions"
        ),
        objective=_objective(objective or ObjectiveConfig(), given, task, form),
        guardrail=list(guardrails),
    )
    faults = list(config.for_form(form).faults())
    if faults:
        raise ConfigError(*faults)
    judged = config.for_form(form)
    judged.check_labels(labels)
    source = _source(given, frames)
    counts = _counts(frames["tuned"])
    positive = config.objective.positive or (
        default_positive(labels, counts) if judged.task_type.has_labels else None
    )
    frames = _with_decisions(given, frames, labels, positive)
    split = SplitPrepared(
        split=SPLIT,
        rows=source.height,
        columns=len(given.table.columns),
        source=", ".join(given.sources),
        sha256=given.sha256,
        labels=counts,
        distinct_rows=source["content"].n_unique() if "text" in given.table.columns else 0,
    )
    made = Judged(config, form, labels, positive, frames, source, split, (*given.notes, *notes))
    return made.write(runs, "predictions")


@dataclass(frozen=True)
class Judged:
    """Predictions of base and tuned on one split, and what is known of its rows."""

    config: RunConfig  # the task as run.toml has it
    form: str
    labels: tuple[str, ...]
    positive: str | None
    frames: Frames  # as they are stored
    source: pl.DataFrame
    split: SplitPrepared
    notes: Sequence[str] = ()

    def write(self, runs: Path, origin: str) -> Run:
        """Measure and judge them, as a finished run of its own. `origin`: who made them."""
        judged = self.config.for_form(self.form)
        frames = _clustered(self.frames, self.source, same_input=judged.task_type.writes)
        evaluation = Evaluation(SPLIT, frames, self.source, judged, self.labels, self.positive)
        facts = list(measure(evaluation))
        run = create_run(self.config, runs)
        named = LabelsFixed(labels=list(self.labels), positive=self.positive)
        events = [
            ColumnsFound(form=self.form, columns={}),
            self.split,
            *([named] if self.labels else []),
            *(Note(level="info", text=text) for text in self.notes),
        ]
        _write(run, self.config, origin, [*events, *_stored(run, frames, self.source), *facts])
        return run


def _task_of(given: Predictions, task: str | None) -> tuple[str, str]:
    """The task as run.toml has it, and the form of its rows."""
    if given.kind in ("scores", "answers"):
        return "generation", "answers"
    truth = given.table["truth"]
    numbers = truth.cast(pl.Float64, strict=False)
    if task is None and given.kind != "choices":
        known = truth.drop_nulls()
        long = known.str.len_chars().max() or 0
        counts = Counter(known.to_list())
        many = len(counts) > MANY_LABELS or int(str(long)) > LONG_LABEL
        if many or is_scale(counts):
            what = "holds many different truths: are they labels, numbers or texts?"
            flags = " or ".join(f"--task {name}" for name in CHOICES)
            raise DataError(Fault(", ".join(given.sources), what, f"Write {flags}"))
    if task == "regression":
        if bad := numbers.null_count():
            what = f"has {bad:,} truths that are no numbers"
            raise DataError(Fault(", ".join(given.sources), what))
        return task, "text_numbers"
    return ("generation", "answers") if task == "generation" else ("classification", "text_label")


def _objective(o: ObjectiveConfig, given: Predictions, task: str, form: str) -> ObjectiveConfig:
    """What scores are judged by, where nothing is declared."""
    scored = form == "answers" and given.kind == "scores" and o.metric is None
    return replace(o, metric="score") if scored else o


def _frames(given: Predictions, task: str, form: str) -> tuple[tuple[str, ...], Frames, list[str]]:
    """Labels, and each model's predictions as they are stored."""
    table = given.table.with_columns(row_id=pl.int_range(given.table.height, dtype=pl.Int64))
    if form == "answers":
        return (), {m: _answers(table, m, given.kind) for m in given.models}, []
    lacking = [c for c in ("truth",) if table[c].null_count()]
    if lacking:
        rows = table.filter(pl.col("truth").is_null())["id"]
        what = f"has no truth in {len(rows):,} rows: {', '.join(rows.head(5).to_list())}"
        raise DataError(Fault(", ".join(given.sources), what, "Give each row its truth"))
    if form == "text_numbers":
        unit = float(table["truth"].cast(pl.Float64).std() or 0.0) or 1.0  # type: ignore[arg-type]
        return ("truth",), {m: _numbers(table, m, unit) for m in given.models}, []
    return _labelled(given, table)


def _answers(table: pl.DataFrame, model: str, kind: str) -> pl.DataFrame:
    if kind == "scores":
        return table.select("row_id", pl.col(model).alias(SCORE))
    return table.select(
        "row_id",
        pl.col(model).alias("completion"),
        pl.col("truth").alias("reference"),
        *([pl.col("text").alias("prompt")] if "text" in table.columns else []),
    )


def _numbers(table: pl.DataFrame, model: str, unit: float) -> pl.DataFrame:
    truth, guess = (table[c].cast(pl.Float64, strict=False) for c in ("truth", model))
    guess = guess.fill_null(float("nan"))
    return pl.DataFrame(
        {
            "row_id": table["row_id"],
            "targets": pl.Series([[v] for v in truth], dtype=LISTS),
            "predicted": pl.Series([[v] for v in guess], dtype=LISTS),
            "nll": ((guess - truth) / unit) ** 2,
        }
    )


def _labelled(given: Predictions, table: pl.DataFrame) -> tuple[tuple[str, ...], Frames, list[str]]:
    """Labels are those of the truth, and what else a model answers, which is wrong here."""
    table = table.with_columns(pl.col(*given.models).str.strip_chars())
    truths = set(table["truth"].to_list())
    answers = {a for m in given.models for a in table[m].drop_nulls().to_list() if a}
    columns = {c.partition(":")[2] for m in given.models for c in _wide(table, m)}
    labels = sort_labels(truths | answers | columns)
    if len(labels) < 2:
        what = f"knows one label alone: {labels[0]}"
        raise DataError(Fault(", ".join(given.sources), what, "There is nothing to classify"))
    notes = []
    if strange := sorted(answers - truths):
        shown = ", ".join(strange[:5]) + (" …" if len(strange) > 5 else "")
        notes.append(f"{len(strange):,} answers are no true label of any row: {shown}")
    for alike in find_variants(labels):
        notes.append(f"labels that are spelt alike count as different: {', '.join(alike)}")
    frames = {
        model: table.select(
            "row_id",
            pl.col("truth").alias("label"),
            pl.when(pl.col(model) == "").then(None).otherwise(pl.col(model)).alias("predicted"),
        )
        for model in given.models
    }
    return labels, frames, notes


def _wide(table: pl.DataFrame, model: str) -> list[str]:
    return [c for c in table.columns if c.startswith(f"{model}:")]


def _with_decisions(
    given: Predictions, frames: Frames, labels: tuple[str, ...], positive: str | None
) -> Frames:
    """With probabilities where the file has them: a column a label, or that of the positive one."""
    found = {}
    for model, frame in frames.items():
        values = None
        if "label" in frame.columns:
            values = _probabilities(given, model, labels, positive)
        if values is None:
            found[model] = frame
            continue
        truth = np.array([labels.index(label) for label in frame["label"]])
        with np.errstate(divide="ignore"):
            nll = -np.log(values[np.arange(len(values)), truth])
        lists = pl.Series("probabilities", values.tolist(), dtype=LISTS)
        found[model] = frame.with_columns(lists, pl.Series("nll", nll))
    return found


def _probabilities(
    given: Predictions, model: str, labels: tuple[str, ...], positive: str | None
) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    """[rows, labels]; None without any. Raises DataError for what no probabilities are."""
    table, where = given.table, ", ".join(given.sources)
    if wide := _wide(table, model):
        lacking = [n for n in labels if f"{model}:{n}" not in wide]
        values = np.zeros((table.height, len(labels)))
        for i, label in enumerate(labels):
            if label not in lacking:
                values[:, i] = table[f"{model}:{label}"].fill_null(float("nan")).to_numpy()
        setting = f"{model}:LABEL"
    elif f"{model}_probability" in table.columns and positive is not None:
        setting = f"{model}_probability"
        of_it = table[setting].fill_null(float("nan")).to_numpy()
        values = np.stack([of_it if n == positive else 1 - of_it for n in labels], axis=1)
    else:
        return None
    wrong = ~(np.isfinite(values).all(1) & (values >= 0).all(1) & (values <= 1).all(1))
    wrong |= ~wrong & (np.abs(values.sum(1) - 1) > SUM_TOLERANCE)
    if wrong.any():
        rows = table.filter(pl.Series(wrong))["id"]
        what = (
            f"has no probabilities in {setting} of {len(rows):,} rows "
            f"({', '.join(rows.head(5).to_list())}): they lie from 0 to 1 and sum to 1"
        )
        raise DataError(Fault(where, what, "Leave the columns out, or write probabilities"))
    return np.asarray(values / values.sum(1, keepdims=True))


def _source(given: Predictions, frames: Frames) -> pl.DataFrame:
    """What is known of the rows: their text, group, and the columns that slices go by."""
    table = given.table
    text = table["text"] if "text" in table.columns else table["id"]
    source = pl.DataFrame(
        {
            "row_id": frames["tuned"]["row_id"],
            "line": frames["tuned"]["row_id"] + 1,
            "text": text.fill_null(""),
            **({"group": table["group"].fill_null("")} if "group" in table.columns else {}),
            **{SLICE + c: table[c] for c in given.more if table[c].dtype != pl.List},
        }
    )
    return with_content(source)


def _counts(frame: pl.DataFrame) -> dict[str, int]:
    if "label" not in frame.columns:
        return {}
    return dict(frame.group_by("label").len().sort("label").iter_rows())


def _clustered(frames: Frames, source: pl.DataFrame, *, same_input: bool) -> Frames:
    together = rows_together(source, same_input)
    if together is None:
        return frames
    return {
        m: f.join(together, on="row_id", how="left", maintain_order="left")
        for m, f in frames.items()
    }


def _stored(run: Run, frames: Frames, source: pl.DataFrame) -> list[PredictionsStored]:
    """The predictions in their files, as a worker leaves them."""
    make_folder(run.predictions)
    text = source["text"]
    known = source.select(
        "row_id",
        "content",
        text.str.slice(0, INPUT_CHARACTERS).alias("input"),
        text.str.len_chars().alias(CHARACTERS),
        pl.selectors.starts_with(SLICE),
    )
    stored = []
    for model, frame in frames.items():
        path = run.predictions / f"{SPLIT}.{model}.parquet"
        wide = frame.join(known, on="row_id", how="left", maintain_order="left")
        with replacing(path, int(wide.estimated_size())) as temporary:
            wide.write_parquet(temporary)
        name = path.relative_to(run.path).as_posix()
        stored.append(
            PredictionsStored(
                split=SPLIT, model=model, path=name, rows=wide.height, sha256=file_sha256(path)
            )
        )
    return stored


def _write(run: Run, config: RunConfig, origin: str, events: Sequence[Event]) -> None:
    """Everything that a worker would have left, in its order, and the report."""
    started = RunStarted(
        run=run.id,
        name=config.name,
        task=config.task,
        pid=os.getpid(),
        host=socket.gethostname(),
        ftev_version=__version__,
        origin=origin,
    )
    writer = EventWriter(run.events_path)
    try:
        writer.write(started, *events, RunFinished(status="finished", time=time.time()))
    finally:
        writer.close()
    write_report(run)
