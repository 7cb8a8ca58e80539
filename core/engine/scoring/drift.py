"""How far two scorings of the same rows by what should be the same model lie apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from ..models.models import Loaded
from ..training.batches import Layout
from .evaluate import score_labels, score_tokens
from .rows import TokenRows

LISTED_ROWS = 20
# Nats of a row's loss (its NLL a scored token). On a CPU in float32 only the order of additions
# differs; a GPU chooses other kernels for other shapes; bfloat16 keeps 8 bits of each number.
TOLERANCES = {("cpu", "float32"): 1e-5, ("cuda", "float32"): 1e-4}
BFLOAT16_TOLERANCE = 0.1

Index = NDArray[np.int64]
Scored = Callable[[Loaded, Layout], Iterator[Any]]


def tolerance(device: torch.device, precision: str) -> float:
    """What a row's loss may differ by and still be the same, in nats a scored token."""
    return TOLERANCES.get((device.type, precision), BFLOAT16_TOLERANCE)


def sample(rows: TokenRows, count: int) -> Index:
    """Rows spread evenly over the lengths, the shortest and the longest among them.

    Padding and batches differ most between those. Rows with nothing to score are left out.
    """
    order = np.argsort(rows.lengths, kind="stable")
    order = order[rows.targets[order] > 0]
    places = np.unique(np.linspace(0, len(order) - 1, min(count, len(order))).round())
    return np.sort(order[places.astype(np.int64)])


def take(rows: TokenRows, index: Index) -> TokenRows:
    """Some of the rows, in the order given."""

    def chosen(values: list[Any] | None) -> Any:
        return None if values is None else [values[i] for i in index]

    return replace(
        rows,
        ids=chosen(rows.ids),
        row_ids=chosen(rows.row_ids),
        scored=chosen(rows.scored),
        labels=None if rows.labels is None else rows.labels[index],
        bytes=chosen(rows.bytes) if rows.bytes else [],
        ends=chosen(rows.ends) if rows.ends else [],
    )


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
