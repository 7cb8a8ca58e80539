"""The self-test: the same rows in other batches, with other padding, must score the same (L5)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...analysis.thresholds import own_answers
from ...run.events import AnalysisComputed, spell_numbers
from ..models.models import Loaded, left_padding_refused
from ..training.batches import Layout
from ..worker.session import Session
from .drift import Scored, measure, sample, scorer, summarise, take, tolerance

EXTRA = 16  # tokens of padding that no row needs
LEFT = Layout(rows=8, seed=5, pad_left=True)
LAYOUTS = {
    "1 row at a time": Layout(rows=1, seed=0),
    "2 rows at a time, shuffled": Layout(rows=2, seed=1),
    "8 rows at a time, shuffled": Layout(rows=8, seed=2),
    "as many as the token budget allows, shuffled": Layout(seed=3),
    "8 rows at a time, 16 tokens of extra padding": Layout(rows=8, seed=4, extra=EXTRA),
    "8 rows at a time, padded on the left": LEFT,
}


def self_test(s: Session, split: str) -> Iterator[AnalysisComputed]:
    """Score a sample of an evaluated split anew in every layout, each model by itself."""
    settings = s.config.evaluate
    if not settings.self_test_rows:
        return
    for model, loaded in _own_models(s):
        every = s.rows_for(loaded, split)  # two given models may have tokenizers of their own
        index = sample(every, settings.self_test_rows)
        if not len(index):
            continue
        rows = take(every, index)
        stored = own_answers(pl.read_parquet(s.run.predictions / f"{split}.{model}.parquet"))[index]
        again = scorer(rows, settings.precision, settings.batch_tokens)
        what = f"self-test of the {model} model on {split}"
        work = score_layouts(loaded, stored, again, rows.lengths)
        found = s.drive(work, what, len(LAYOUTS))
        within = tolerance(s.device, settings.precision)
        result = {
            "rows": len(index),
            "of": len(every),
            "precision": settings.precision,
            "device": s.device.type,
            "unit": "row" if s.config.task_type.has_labels else "token",
            **summarise(found["layouts"], within, s.config.task_type.has_labels),
            **found,
        }
        plain = spell_numbers(result)
        yield AnalysisComputed(split=split, name="self_test", model=model, result=plain)


def _own_models(s: Session) -> Iterator[tuple[str, Loaded]]:
    """The models that were scored by their own forward pass."""
    if s.base_has_head or not s.config.task_type.has_labels:
        yield "base", s.base
    yield "tuned", s.tuned


def score_layouts(
    loaded: Loaded, stored: pl.DataFrame, again: Scored, lengths: NDArray[np.int64]
) -> Iterator[int | dict[str, list[dict[str, Any]]]]:
    """Yields layouts done, at last the drift of each against what is stored."""
    measured, left_out = [], []
    for number, (name, layout) in enumerate(LAYOUTS.items()):
        if refused := _refused(loaded, layout, lengths):
            left_out.append({"layout": name, "reason": refused})
            continue
        *_, frame = again(loaded, layout)
        measured.append({"layout": name, **measure(stored, frame)})
        yield number + 1
    yield {"layouts": measured, "left_out": left_out}


def _refused(loaded: Loaded, layout: Layout, lengths: NDArray[np.int64]) -> str:
    """Why a layout cannot be made for this model and these rows; empty where it can."""
    if layout.pad_left:
        return left_padding_refused(loaded)
    if layout.extra and layout.rows:
        batches = layout.batches(lengths, 0)
        if all(lengths[part].max() >= loaded.max_length for part in batches):
            return f"every batch is as wide as the model reads ({loaded.max_length:,} tokens)"
    return ""
