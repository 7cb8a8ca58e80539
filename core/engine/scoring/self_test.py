"""The self-test: the same rows in other batches, with other padding, must score the same (L5).

How far two scorings of the same rows by what should be the same model lie apart is measured here
for deploy parity too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from ...analysis.thresholds import own_answers
from ...metrics.analyses import SelfTest
from ...run.events import AnalysisComputed
from ..models.models import Loaded, left_padding_refused
from ..training.batches import Layout
from ..worker.session import Session
from .evaluate import score_labels, score_tokens
from .rows import TokenRows

LISTED_ROWS = 20
# Nats of a row's loss (its NLL per scored token). On a CPU in float32 only the order of additions
# differs; a GPU chooses other kernels for other shapes; bfloat16 keeps 8 bits of each number.
TOLERANCES = {("cpu", "float32"): 1e-5, ("cuda", "float32"): 1e-4}
BFLOAT16_TOLERANCE = 0.1

Index = NDArray[np.int64]
Scored = Callable[[Loaded, Layout], Iterator[Any]]
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


def tolerance(device: torch.device, precision: str) -> float:
    """What a row's loss may differ by and still be the same, in nats per scored token."""
    return TOLERANCES.get((device.type, precision), BFLOAT16_TOLERANCE)


def sample(rows: TokenRows, count: int) -> Index:
    """Rows spread evenly over the lengths, the shortest and the longest among them.

    Padding and batches differ most between those. Rows with nothing to score are left out.
    """
    order = np.argsort(rows.lengths, kind="stable")
    order = order[rows.targets[order] > 0]
    places = np.unique(np.linspace(0, len(order) - 1, min(count, len(order))).round())
    return np.sort(order[places.astype(np.int64)])


def scorer(rows: TokenRows, precision: str, budget: int) -> Scored:
    """Scores these rows with any model and in any layout."""
    score = score_tokens if rows.labels is None else score_labels
    return lambda loaded, layout: score(loaded, rows, precision, budget, layout)


def measure(stored: pl.DataFrame, found: pl.DataFrame) -> dict[str, Any]:
    """Drift of `found` against `stored`, row by row; NaN where a loss is NaN on one side only.

    A prediction is changed where the label differs or, in a text, the number of its tokens that
    were the model's first choice.
    """
    before, after = stored["nll"].to_numpy(), found["nll"].to_numpy()
    tokens = stored["tokens"].to_numpy() if "tokens" in stored.columns else np.ones(len(before))
    same = (before == after) | (np.isnan(before) & np.isnan(after))
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0.0, np.abs(after - before))
    answer = "predicted" if "predicted" in stored.columns else "correct"
    changed = stored[answer].ne_missing(found[answer]).to_numpy()
    ids = stored["row_id"].to_numpy()
    return {
        "largest_nll_drift": float(apart.max(initial=0.0)),
        "largest_loss_drift": float((apart / tokens).max(initial=0.0)),
        "worst_row": int(ids[np.argmax(apart / tokens)]) if len(ids) else -1,
        "changed_predictions": int(changed.sum()),
        "changed_rows": ids[changed][:LISTED_ROWS].tolist(),
    }


def summarise(parts: list[dict[str, Any]], within: float, labels: bool) -> dict[str, Any]:
    """The worst of several measurements, and whether all of them stay within their tolerance.

    A label that changes fails however small the drift. Of a text's thousands of tokens one may
    lie so near to another that the last bit decides: there the drift alone does.
    """
    rows = sorted({row for part in parts for row in part["changed_rows"]})
    losses = [part["largest_loss_drift"] for part in parts]
    inside = all(p["largest_loss_drift"] <= p.get("tolerance", within) for p in parts)
    return {
        "passed": inside and not (labels and rows),
        "tolerance": within,
        "largest_nll_drift": _worst([part["largest_nll_drift"] for part in parts]),
        "largest_loss_drift": _worst(losses),
        "changed_predictions": max((part["changed_predictions"] for part in parts), default=0),
        "changed_rows": rows[:LISTED_ROWS],
    }


def _worst(values: list[float]) -> float:
    return float(np.max(values, initial=0.0))  # NaN is the worst


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
        rows = every.take(index)
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
        passed = msgspec.convert(result, SelfTest)
        yield AnalysisComputed(split=split, name="self_test", model=model, result=passed)


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
