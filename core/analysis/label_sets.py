"""Rows with several labels each: a threshold per label, chosen on validation and frozen (B2).

Each label is a yes or no of its own, and few are so common that 0.5 is the place to cut. So each
model has its own thresholds, its predictions are made at them before anything is measured (V13),
and the figures at 0.5 stand beside.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import NamedTuple

import numpy as np
import polars as pl

from ..config.config import ObjectiveConfig
from ..metrics.analyses import (
    LabelCalibration,
    LabelCalibrations,
    LabelErrors,
    LabelThreshold,
    LabelThresholds,
    NullEce,
    ThresholdAim,
)
from ..metrics.calibration import null_ece, of_label
from ..metrics.counts import FloatArray
from ..metrics.label_sets.results import evaluate_label_sets
from ..metrics.label_sets.rows import (
    Marks,
    lacking,
    of_one_label,
    read_label_sets,
    with_thresholds,
)
from ..metrics.results import LabelScores
from ..metrics.statistics import wilson
from ..metrics.thresholds import Aim, choose, sweep, trivial
from ..run.events import AnalysisComputed
from .calibration import NULL_METHOD
from .label_errors import LISTED, find_label_errors
from .predictions import Evaluation, Frames
from .thresholds import AT_HALF, aim_of, own_answers, thresholds

HALF = 0.5
LEAST_ROWS = 5  # with a label, and without it: fewer choose no threshold


class Chosen(NamedTuple):
    """A label's threshold, and what it was chosen on."""

    threshold: float
    positives: int  # rows of validation with the label
    why_not: str = ""  # it is 0.5
    calls: str = ""  # "every row", "no row": where it does nothing else


def at_own_thresholds(
    frames: Frames,
    validation: Frames,
    labels: Sequence[str],
    positive: str | None,
    objective: ObjectiveConfig,
) -> Frames:
    """The frames with each label decided at its model's own threshold for it, and the columns
    `thresholds` and `predicted_at_half`. Unchanged where validation gives a model none.
    """
    decided = {}
    for model, frame in frames.items():
        found = choose_thresholds(validation.get(model), labels, positive, objective)
        if "probabilities" in frame.columns and any(not c.why_not for c in found):
            half = frame.with_columns(pl.col("predicted").alias(AT_HALF))
            frame = with_thresholds(half, labels, [c.threshold for c in found])
        decided[model] = frame
    return decided


def choose_thresholds(
    known: pl.DataFrame | None,
    labels: Sequence[str],
    positive: str | None,
    objective: ObjectiveConfig,
) -> list[Chosen]:
    """For each label: most F1; for the positive one, what the objective asks for. Else 0.5."""
    if known is None or "probabilities" not in known.columns:
        return [Chosen(HALF, 0, "there are no validation rows to choose it on") for _ in labels]
    rows = read_label_sets(known, labels)
    if not rows.rankable:
        return [Chosen(HALF, 0, "a probability on validation is not a number") for _ in labels]
    aims = {positive: aim_of(objective)}
    return [
        _choose(rows.truth[:, i], np.ascontiguousarray(rows.probabilities[:, i]), aims.get(label))
        for i, label in enumerate(labels)
    ]


def _choose(marked: Marks, scores: FloatArray, aim: Aim | None) -> Chosen:
    positives, others = int(marked.sum()), int((~marked).sum())
    if min(positives, others) < LEAST_ROWS:
        fewer = "with" if positives < others else "without"
        why = f"{min(positives, others)} validation rows {fewer} it are too few to choose it on"
        return Chosen(HALF, positives, why)
    s = sweep(marked, scores)
    aim = aim or Aim()
    index = choose(s, aim)
    if index is None:
        why = f"no threshold reaches a precision of {100 * (aim.target or 0):g} % on validation"
        return Chosen(HALF, positives, why)
    return Chosen(float(s.thresholds[index]), positives, calls=trivial(s, index))


def label_thresholds(e: Evaluation) -> Iterator[AnalysisComputed]:
    """One result for each model with probabilities: every label at its threshold, and at 0.5."""
    for model, frame in e.frames.items():
        if "labels" not in frame.columns or "probabilities" not in frame.columns:
            continue
        known = own_answers(frame) if e.split == "validation" else e.validation.get(model)
        found = choose_thresholds(known, e.labels, e.positive, e.config.objective)
        at_half = own_answers(frame).drop(
            "probabilities", "nll", strict=False
        )  # they stay the same
        half = evaluate_label_sets(at_half, e.labels, e.positive)
        at_own = e.result(model).per_class or {}
        yield e.found(
            LabelThresholds(
                aim=ThresholdAim(**asdict(aim_of(e.config.objective))),
                positive=e.positive,
                fitted_rows=known.height if known is not None else None,
                labels=[
                    _described(label, chosen, at_own, half.per_class or {})
                    for label, chosen in zip(e.labels, found, strict=True)
                ],
                at_half=half.metrics,
            ),
            model,
        )
    if e.config.task_type.gives_sets and e.positive and aim_of(e.config.objective).kind != "f1":
        yield from thresholds(as_two_labels(e, e.positive))  # what the objective asks of it


def label_calibration(e: Evaluation) -> Iterator[AnalysisComputed]:
    """One result for each model with probabilities: each label's own, beside what chance gives."""
    for model, frame in e.frames.items():
        if "labels" not in frame.columns or "probabilities" not in frame.columns:
            continue
        rows = read_label_sets(frame, e.labels)
        if not rows.rankable:
            why = "a probability is not a number"
            yield e.found(LabelCalibrations(n=rows.n, why_not=why), model)
            continue
        found = {
            label: _calibrated(rows.truth[:, i], rows.probabilities[:, i])
            for i, label in enumerate(e.labels)
        }
        mean = float(np.mean([c.ece for c in found.values()]))
        yield e.found(LabelCalibrations(n=rows.n, labels=found, mean_ece=mean), model)


def _calibrated(marked: Marks, probabilities: FloatArray) -> LabelCalibration:
    said = of_label(marked, probabilities)
    null, share = null_ece(said), float(marked.mean())
    return LabelCalibration(
        brier=float(np.square(probabilities - marked).mean()),
        base_rate_brier=share * (1 - share),
        ece=said.ece,
        ece_null=NullEce(null.value, null.high, null.p, NULL_METHOD),
    )


def set_label_errors(e: Evaluation) -> Iterator[AnalysisComputed]:
    """Decisions of held-out rows that are probably wrong: of each label by itself, as one list."""
    if not e.config.task_type.gives_sets or "tuned" not in e.frames:
        return
    parts = [
        found.result
        for label in e.labels
        for found in find_label_errors(as_two_labels(e, label))
        if isinstance(found.result, LabelErrors)
    ]
    known = [part for part in parts if part.why_not is None]
    if not known:
        if parts:
            yield e.found(parts[0])
        return
    rows = [row for part in known for row in part.rows or []]
    suspected = sum(part.suspected for part in known)
    estimated, decisions = sum(part.estimated for part in known), known[0].n * len(e.labels)
    low, high = wilson(estimated, decisions)
    yield e.found(
        LabelErrors(
            n=known[0].n,
            suspected=suspected,
            unlikely=sum(part.unlikely for part in known),
            estimated=estimated,
            share=estimated / decisions,
            low=low,
            high=high,
            p=min((part.p for part in known if part.p is not None), default=None),
            cells=[cell for part in known for cell in part.cells or []],
            rows=sorted(rows, key=lambda row: row.label_probability)[:LISTED],
            caveat=known[0].caveat,
            model=known[0].model,
        )
    )


def as_two_labels(e: Evaluation, label: str) -> Evaluation:
    """The rows as those of a task of two labels: who has this one, and who lacks it."""

    def views(frames: Frames) -> Frames:
        return {m: of_one_label(frame, e.labels, label) for m, frame in frames.items()}

    return dataclasses.replace(
        e,
        frames=views(e.frames),
        validation=views(e.validation),
        labels=(lacking(label), label),
        positive=label,
        config=dataclasses.replace(e.config, task="classification"),
        measured={},
    )


def _described(
    label: str, chosen: Chosen, own: dict[str, LabelScores], half: dict[str, LabelScores]
) -> LabelThreshold:
    return LabelThreshold(
        label=label,
        threshold=chosen.threshold,
        fitted_positives=chosen.positives,
        why_not=chosen.why_not or None,
        calls=chosen.calls or None,
        at_threshold=own.get(label),
        at_half=half.get(label),
    )
