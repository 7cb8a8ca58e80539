"""What must hold beside the objective: a metric on some rows, against a target or the reference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from ..config.config import GuardrailConfig
from ..data.rows import SLICE
from ..errors import DataError
from ..judgement.objective import against_margin, against_target
from ..metrics.analyses import Change, GuardrailResult, Guardrails
from ..metrics.metric import needs_positive
from ..run.events import AnalysisComputed
from .predictions import Evaluation, Frames

OTHERS = "(other labels)"
UNDECIDED = "cannot tell"
OUTCOMES = {1: "met", 0: UNDECIDED, -1: "failed"}


def guardrails(e: Evaluation) -> Iterator[AnalysisComputed]:
    """One result for all: a condition of each guardrail, whether it is met, failed or not shown."""
    if e.config.guardrail and "tuned" in e.frames:
        found = [r for i, g in enumerate(e.config.guardrail) for r in _measured(e, i, g)]
        yield e.found(Guardrails(found), "tuned")


def _measured(e: Evaluation, index: int, g: GuardrailConfig) -> Iterator[GuardrailResult]:
    about = _Condition(index, g, (g.positive or e.positive) if needs_positive(g.metric) else UNSET)
    kept = _rows_of(e, g)
    if isinstance(kept, str):
        yield from about.not_shown(0, kept)
        return
    frames = {model: frame.join(kept, on="row_id", how="semi") for model, frame in e.frames.items()}
    rows = frames["tuned"].height
    if not rows:
        yield from about.not_shown(0, f"no row of {e.split} has these values")
        return
    labels = e.labels
    if e.config.task_type.has_labels:
        frames, labels = _of_one_label(frames, labels, g.positive)
    labelled = labels, g.positive or e.positive
    measured = e.config.task_type.evaluate(frames["tuned"], *labelled)
    estimate = measured.metrics.get(g.metric)
    if estimate is None:
        yield from about.not_shown(rows, f"{g.metric} is not defined on these rows")
        return
    for found in about.not_shown(rows, ""):
        found = replace(
            found,
            value=estimate.value,
            low=estimate.low,
            high=estimate.high,
            method=estimate.method,
        )
        if found.condition == "no_worse_by":
            outcome = _against_reference(e, frames, g, labelled, found.limit)
        else:
            at_least = found.condition == "at_least"
            vote, why = against_target(estimate, rows, found.limit, at_least=at_least)
            outcome = {"outcome": OUTCOMES[vote], "why": why}
        yield replace(found, **outcome)


@dataclass(frozen=True)
class _Condition:
    """What a guardrail asks, before it is measured."""

    index: int
    guardrail: GuardrailConfig
    positive: str | UnsetType | None

    def not_shown(self, rows: int, why: str) -> Iterator[GuardrailResult]:
        """A result for each of its conditions, which says that nothing is shown."""
        g = self.guardrail
        limits = {"no_worse_by": g.no_worse_by, "at_least": g.at_least, "at_most": g.at_most}
        for condition, limit in limits.items():
            if limit is not None:
                yield GuardrailResult(
                    index=self.index,
                    metric=g.metric,
                    slice=g.slice,
                    positive=self.positive,
                    rows=rows,
                    condition=condition,
                    limit=limit,
                    outcome=UNDECIDED,
                    why=why,
                )


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
) -> dict[str, object]:
    """The paired difference on these rows, and whether it shows that no more was lost."""
    reference = e.reference
    if reference is None:
        return {"outcome": UNDECIDED, "why": "there is no reference to set it against"}
    pair = frames[reference], frames["tuned"]
    why = f"{g.metric} cannot be compared with the {reference} row by row"
    try:
        sides = (reference, pair[0]), ("tuned", pair[1])
        found = e.config.task_type.compare(e.split, *sides, *labelled, metrics=[g.metric])
    except DataError as error:  # the models do not read the same rows
        found, why = [], f"{why}: {error}"
    if not found:
        return {"outcome": UNDECIDED, "why": why, "from_model": reference}
    c = found[0]
    vote, why = against_margin(c, pair[1].height, no_worse_by=limit)
    change = Change(c.difference, c.low, c.high, c.p, c.method)
    return {"from_model": reference, "change": change, "outcome": OUTCOMES[vote], "why": why}
