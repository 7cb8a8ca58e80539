"""A run's adapter added into the weights of its base, and checked on the run's own rows.

Whoever serves a model often wants one folder without peft. W + BA rounds otherwise than
Wx + B(Ax), and a half precision rounds each weight once more: how far the scores move is measured,
on the folder as it was written, before it takes its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import msgspec
import polars as pl

from ...config.config import RunConfig
from ...data.data import Dataset, read_run_data
from ...errors import ConfigError, Fault, ModelError
from ...files.disk import replacing
from ...files.reading import read_adapter
from ...run.runs import Run
from ..models.devices import choose_device
from ..models.load import base_dtype, load
from ..models.models import Loaded, round_weights, save
from ..training.batches import Layout
from .rows import TokenRows
from .scorer import Scorer, find_scorer
from .self_test import MERGED_TOLERANCE, measure, sample, scored_again, tolerance

SPLITS = ("test", "validation", "train")  # the first that a run has is scored
CHECKED_ROWS = 200
HALF_TOLERANCE = 0.1  # nats of a row's loss, for weights with 8 or 11 bits


class Merge(msgspec.Struct, forbid_unknown_fields=True):
    """A run whose model is an adapter, and the folder for the merged model."""

    run: str
    out: str
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"


def merge(question: Merge, progress: Callable[[str], object] = str) -> dict[str, Any]:
    """Write the merged model, once its scores are the adapter's within a tolerance.

    Returns the folder, its type and the drift: nats of a row's loss, and predictions that changed.
    Raises ModelError where the run has no adapter or the scores drift further, ConfigError where
    the folder is there already; then nothing is written.
    """
    run, out = Run(Path(question.run)), Path(question.out)
    config, adapter = run.config(), read_adapter(str(run.model_path))
    if adapter is None:
        what = "holds no adapter, so there is nothing to merge: it can be loaded as it is"
        raise ModelError(Fault(str(run.model_path), what))
    if out.exists():
        raise ConfigError(Fault(str(out), "is there already", "Remove it or name another --out"))
    progress("reading the data")
    dataset = read_run_data(config)
    config = config.for_form(dataset.columns.form)
    split = next(name for name in SPLITS if name in dataset.splits)
    progress("scoring the adapter")
    tuned = _load(config, str(run.model_path), dataset)
    scorer = find_scorer(config.task_type.name)
    rows = _sample(scorer, tuned, dataset, split)
    settings = config.evaluate
    again = scored_again(scorer, rows, settings.precision, settings.batch_tokens)
    before = _last(again(tuned, Layout()))
    dtype = _dtype(question, config, str(run.model_path))
    whole = replace(tuned, model=tuned.model.merge_and_unload())
    if not round_weights(whole, dtype):
        what = f"has weights beyond the range of {dtype}"
        raise ModelError(Fault(str(run.model_path), what, "Use --dtype bfloat16 or float32"))
    size = sum(p.numel() * p.element_size() for p in whole.model.parameters())
    with replacing(out, size, "Free some room and merge again") as temporary:
        progress(f"writing {dtype} weights")
        save(whole, temporary, dtype=dtype)
        del tuned, whole
        progress("scoring the merged model")
        read_back = _load(config, str(temporary), dataset)
        found = measure(before, _last(again(read_back, Layout())), scorer.changed)
        within = _tolerance(dtype, config)
        if not found["largest_loss_drift"] <= within:  # NaN is none either
            raise ModelError(_drifted(str(out), found, within, dtype))
    return {
        "run": run.id,
        "folder": str(out),
        "dtype": dtype,
        "base": adapter.base,
        "split": split,
        "rows": len(rows),
        "tolerance": within,
        **found,
    }


def _load(config: RunConfig, name: str, dataset: Dataset) -> Loaded:
    labels = dataset.labels if config.task_type.has_head else ()
    loaded = load(config, name, labels)
    loaded.model.to(choose_device(config))
    return loaded


def _sample(scorer: Scorer, loaded: Loaded, dataset: Dataset, split: str) -> TokenRows:
    *_, rows = scorer.forms[dataset.columns.form](dataset.splits[split].frame, loaded)
    assert isinstance(rows, TokenRows)
    return rows.take(sample(rows, CHECKED_ROWS))


def _last(scoring: Iterator[Any]) -> pl.DataFrame:
    *_, frame = scoring
    assert isinstance(frame, pl.DataFrame)
    return frame


def _dtype(question: Merge, config: RunConfig, name: str) -> str:
    """As asked, else as the run is configured, else that of the base."""
    asked = [d for d in (question.dtype, config.model.saved_dtype) if d != "auto"]
    return asked[0] if asked else base_dtype(config, name)


def _tolerance(dtype: str, config: RunConfig) -> float:
    if dtype != "float32":
        return HALF_TOLERANCE
    return MERGED_TOLERANCE * tolerance(choose_device(config), config.evaluate.precision)


def _drifted(out: str, found: dict[str, Any], within: float, dtype: str) -> Fault:
    what = (
        f"was not written: the loss of row {found['worst_row']} moves by "
        f"{found['largest_loss_drift']:.2g} nats with the adapter merged; {within:.2g} is allowed"
    )
    return Fault(out, what, "" if dtype == "float32" else "Use --dtype float32")
