"""What must hold beside the objective: a metric on some rows, against a target or the reference."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import polars as pl

from ..config.config import GuardrailConfig
from ..data.rows import SLICE
from ..errors import DataError
from ..judgement.objective import against_margin, against_target
from ..metrics.metric import needs_positive
from .evaluation import Analysis, Evaluation, Frames

OTHERS = "(other labels)"
OUTCOMES = {1: "met", 0: "cannot tell", -1: "failed"}
Result = dict[str, Any]


def guardrails(e: Evaluation) -> Iterator[Analysis]:
    """One result for all: a condition of each guardrail, whether it is met, failed or not shown."""
    if e.config.guardrail and "tuned" in e.frames:
        found = [r for i, g in enumerate(e.config.guardrail) for r in _measured(e, i, g)]
        yield Analysis("guardrails", {"guardrails": found}, "tuned")


def _measured(e: Evaluation, index: int, g: GuardrailConfig) -> Iterator[Result]:
    about: Result = {"index": index, "metric": g.metric, "slice": g.slice}
    if needs_positive(g.metric):
        about["positive"] = g.positive or e.positive
    kept = _rows_of(e, g)
    if isinstance(kept, str):
        yield from _not_shown(about, g, 0, kept)
        return
    frames = {model: frame.join(kept, on="row_id", how="semi") for model, frame in e.frames.items()}
    rows = frames["tuned"].height
    if not rows:
        yield from _not_shown(about, g, 0, f"no row of {e.split} has these values")
        return
    frames, labels = _of_one_label(frames, e.labels, g.positive)
    labelled = labels, g.positive or e.positive
    measured = e.config.task_type.evaluate(frames["tuned"], *labelled)
    estimate = msgspec.to_builtins(measured.metrics.get(g.metric))
    if estimate is None:
        yield from _not_shown(about, g, rows, f"{g.metric} is not defined on these rows")
        return
    about |= {"rows": rows, **{k: estimate[k] for k in ("value", "low", "high", "method")}}
    for condition, limit in _conditions(g):
        if condition == "no_worse_by":
            yield {**about, "condition": condition, "limit": limit} | _against_reference(
                e, frames, g, labelled, limit
            )
            continue
        vote, why = against_target(estimate, rows, limit, at_least=condition == "at_least")
        outcome = {"outcome": OUTCOMES[vote], "why": why}
        yield {**about, "condition": condition, "limit": limit, **outcome}


def _conditions(g: GuardrailConfig) -> Iterator[tuple[str, float]]:
    for name in ("no_worse_by", "at_least", "at_most"):
        if (limit := getattr(g, name)) is not None:
            yield name, limit


def _not_shown(about: Result, g: GuardrailConfig, rows: int, why: str) -> Iterator[Result]:
    for condition, limit in _conditions(g):
        yield {**about, "rows": rows, "condition": condition, "limit": limit} | {
            "outcome": "cannot tell",
            "why": why,
        }


def _rows_of(e: Evaluation, g: GuardrailConfig) -> pl.DataFrame | str:
    """The ids of the guardrail's rows, or why there are none."""
    if not g.slice:
        return e.frames["tuned"].select("row_id")
    if e.windows is not None:
        return "the rows are windows of long documents, which have no columns"
    source = e.source
    for name, value in g.slice.items():
        if SLICE + name not in source.columns:
            return f"the rows of {e.split} have no column {name!r}"
        source = source.filter(_has(source[SLICE + name], value))
    return source.select("row_id")


def _has(column: pl.Series, value: str | float | bool) -> pl.Series:
    """Numbers are compared as numbers, anything else as text."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (column.cast(pl.Float64, strict=False) == float(value)).fill_null(False)
    text = str(value).lower() if isinstance(value, bool) else value
    return (column.cast(pl.String) == text).fill_null(False)


def _of_one_label(
    frames: Frames, labels: tuple[str, ...], positive: str | None
) -> tuple[Frames, tuple[str, ...]]:
    """Predictions of one class against all others, where it is one of more than two."""
    if positive is None or len(labels) == 2:
        return frames, labels

    def one(name: str) -> pl.Expr:
        is_known, is_it = pl.col(name).is_not_null(), pl.col(name) == positive
        return pl.when(is_it).then(pl.lit(positive)).when(is_known).then(pl.lit(OTHERS)).alias(name)

    kept = [c for c in ("row_id", "cluster") if c in next(iter(frames.values())).columns]
    named = {m: f.select(*kept, one("label"), one("predicted")) for m, f in frames.items()}
    return named, (OTHERS, positive)


def _against_reference(
    e: Evaluation,
    frames: Frames,
    g: GuardrailConfig,
    labelled: tuple[tuple[str, ...], str | None],
    limit: float,
) -> Result:
    """The paired difference on these rows, and whether it shows that no more was lost."""
    reference = e.reference
    if reference is None:
        return {"outcome": "cannot tell", "why": "there is no reference to set it against"}
    pair = frames[reference], frames["tuned"]
    why = f"{g.metric} cannot be compared with the {reference} row by row"
    try:
        sides = (reference, pair[0]), ("tuned", pair[1])
        found = e.config.task_type.compare(e.split, *sides, *labelled, metrics=[g.metric])
    except DataError as error:  # the models do not read the same rows
        found, why = [], f"{why}: {error}"
    if not found:
        return {"outcome": "cannot tell", "why": why, "from": reference}
    c = msgspec.to_builtins(found[0])
    vote, why = against_margin(c, pair[1].height, no_worse_by=limit)
    figures = {k: c[k] for k in ("difference", "low", "high", "p", "method")}
    return {"from": reference, "change": figures, "outcome": OUTCOMES[vote], "why": why}
