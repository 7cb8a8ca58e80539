"""One model against another on the same rows: paired differences, their intervals and p."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
import polars as pl

from ..metrics import METRICS, FloatArray
from ..statistics import (
    Interval,
    holm,
    mcnemar,
    sign_flip,
    smallest_detectable,
    smallest_detectable_of,
)
from .bootstrap import (
    Draws,
    Resampling,
    RowScores,
    bootstrap_cells,
    bootstrap_rows,
    interval_of,
    paired_p,
    standard_error,
    values_of,
)
from .calibration import DIFFERENCE_METHOD, ece_difference
from .cells import joint_cells
from .probabilities import ProbabilityScores
from .references import ROUGE, ReferenceRows, read_references
from .scored import (
    ClassificationRows,
    TextRows,
    are_same_rows,
    check_same_rows,
    positive_label,
    read_classification,
    read_text,
)

BOOTSTRAP_P = "p from the same draws"
SIGN_FLIP = "sign-flip permutation p over rows"
DEFAULT = Resampling()


class Comparison(
    msgspec.Struct,
    frozen=True,
    omit_defaults=True,
    kw_only=True,
    rename={"from_model": "from", "to_model": "to"},
):
    """How a metric moved from one model to another, as in report.json; what is None is absent."""

    split: str
    metric: str
    from_model: str
    to_model: str
    difference: float  # to - from, in the metric's unit
    low: float
    high: float
    p: float
    method: str
    fixed: int | None = None  # rows wrong before and right after: of accuracy and exact match
    broke: int | None = None  # rows right before and wrong after
    smallest_detectable: float | None = None  # at 80 % power; absent where no row changed enough
    p_holm: float | None = None  # adjusted over the secondary metrics; the primary has none


def adjust_secondary(found: Sequence[Comparison], primary: str) -> list[Comparison]:
    """The comparisons of two models on a split, all but the primary with their Holm p (S6).

    The primary metric was declared before the run and is tested alone; the others are one family.
    Metrics that are functions of one another (loss, perplexity, average log-likelihood) are one
    test; one that is the primary under another name has no p of its own.
    """
    declared = _tested_as(primary)
    family: dict[str, float] = {}
    for c in found:
        if (test := _tested_as(c.metric)) != declared and (c.metric == test or test not in family):
            family[test] = c.p
    adjusted = holm(family)
    return [
        msgspec.structs.replace(c, p_holm=adjusted[test])
        if (test := _tested_as(c.metric)) in adjusted
        else c
        for c in found
    ]


def _tested_as(metric: str) -> str:
    return METRICS[metric].tested_as if metric in METRICS else metric


@dataclass(frozen=True)
class Difference:
    """A metric's paired difference with its draws, and p where the draws do not give it."""

    value: float
    draws: FloatArray
    interval: str  # how the interval was made
    p: float | None = None
    p_method: str = BOOTSTRAP_P
    smallest: float | None = None
    ends: Interval | None = None  # where they are not the percentiles of the draws
    changed: tuple[int, int] | None = None  # rows fixed and broken, where they add up to it (V15)


Differences = dict[str, Difference]


def compare(
    split: str,
    from_model: str,
    frame_a: pl.DataFrame,
    to_model: str,
    frame_b: pl.DataFrame,
    labels: Sequence[str] | None = None,
    positive: str | None = None,
    metrics: Sequence[str] | None = None,
    resampling: Resampling = DEFAULT,
) -> list[Comparison]:
    """Compare two models' stored predictions of one split, a Comparison for each metric.

    Frames as for `evaluate_classification`, or, with `labels` None, for `evaluate_text`. Metrics:
    those named that both models have; by default all that are not equal to another by arithmetic.
    Accuracy has the exact McNemar p, losses a sign-flip p, the rest the p of the paired
    bootstrap. Raises DataError when the rows or their truth do not agree.
    """
    names = (from_model, to_model)
    if labels is None:
        a, b = read_text(frame_a), read_text(frame_b)
        found = _answer_differences(frame_a, frame_b, names, resampling)
        if not found or not np.array_equal(a.row_id, b.row_id):
            check_same_rows(a, b, names)
        if are_same_rows(a, b):  # another template scores other texts: only answers compare
            found = _text_differences(a, b, resampling) | found
    else:
        before, after = (read_classification(f, labels) for f in (frame_a, frame_b))
        check_same_rows(before, after, names)
        found = _classification_differences((before, after), labels, positive, resampling)
    wanted = metrics if metrics is not None else [m for m in found if not METRICS[m].same_as]
    return [
        Comparison(
            split=split,
            metric=name,
            from_model=from_model,
            to_model=to_model,
            **_numbers(found[name], len(frame_a)),
        )
        for name in wanted
        if name in found
    ]


def _numbers(d: Difference, n: int) -> dict[str, Any]:
    (low, high), interval = interval_of(d.draws, n, d.interval)
    if d.ends is not None and not np.isnan(low):
        low, high = d.ends
    smallest = smallest_detectable_of(standard_error(d.draws)) if d.smallest is None else d.smallest
    told: float | None = None if np.isnan(smallest) else smallest
    fixed, broke = d.changed or (None, None)
    return {
        "difference": d.value,
        "low": low,
        "high": high,
        "p": paired_p(d.draws) if d.p is None else d.p,
        "method": f"{d.p_method}; {interval}",
        "fixed": fixed,
        "broke": broke,
        "smallest_detectable": told,
    }


def _fixed_and_broke(a: ClassificationRows, b: ClassificationRows) -> tuple[int, int]:
    right_a, right_b = a.predicted == a.truth, b.predicted == b.truth
    return int((~right_a & right_b).sum()), int((right_a & ~right_b).sum())


def _classification_differences(
    pair: tuple[ClassificationRows, ClassificationRows],
    labels: Sequence[str],
    positive: str | None,
    resampling: Resampling,
) -> Differences:
    a, b = pair
    positive = positive_label(labels, positive, a.truth)
    code = None if positive is None else list(labels).index(positive)
    found = _count_differences(a, b, (len(labels), code), resampling)
    if a.probabilities is not None and b.probabilities is not None:
        before = ProbabilityScores(a.truth, a.probabilities, code)
        after = ProbabilityScores(b.truth, b.probabilities, code)
        found |= _row_differences(before, after, resampling)
        found["ece"] = _of_ece(found["ece"], resampling)
        with np.errstate(invalid="ignore"):  # infinite in both: the difference is NaN
            change = after.nll - before.nll
        found["loss"] = _with_sign_flip(found["loss"], change, resampling)
    return found


def _count_differences(
    a: ClassificationRows, b: ClassificationRows, task: tuple[int, int | None], r: Resampling
) -> Differences:
    n_labels, code = task
    cells = joint_cells(a.truth, (a.predicted, b.predicted), n_labels)
    sums = [cells.sums(model) for model in (0, 1)]

    def difference(counts: FloatArray) -> Draws:
        before, after = (s.metrics(counts, code) for s in sums)
        return {name: after[name] - before[name] for name in before}

    draws = bootstrap_cells(cells.counts, difference, r)
    observed = difference(cells.counts[None, :].astype(np.float64))
    if code is not None and not all((rows.predicted == code).any() for rows in (a, b)):
        observed.pop("precision", None)  # 0 ÷ 0 in one of them: there is nothing to compare
    found = {
        name: Difference(float(value[0]), draws[name], r.method(paired=True))
        for name, value in observed.items()
        if not np.isnan(value[0])
    }
    fixed, broke = _fixed_and_broke(a, b)
    p = mcnemar(broke, fixed)
    found["accuracy"] = replace(
        found["accuracy"],
        p=p.exact,
        p_method=p.method,
        smallest=smallest_detectable(a.n, (fixed + broke) / a.n),
        changed=(fixed, broke),
    )
    return found


def _row_differences(before: RowScores, after: RowScores, r: Resampling) -> Differences:
    """Differences of the metrics that both have, under one resample of the rows."""
    values = values_of(before), values_of(after)
    draws, by_rows = bootstrap_rows([before, after], r)
    found = {}
    for name in values[0]:
        if name not in values[1]:
            continue
        expanded = any(
            isinstance(s, ProbabilityScores) and s.is_expanded(name, by_rows)
            for s in (before, after)
        )
        with np.errstate(invalid="ignore"):
            found[name] = Difference(
                values[1][name] - values[0][name],
                draws[1][name] - draws[0][name],
                r.method(paired=True, limit=not by_rows, first_order=expanded),
            )
    return found


def _of_ece(d: Difference, r: Resampling) -> Difference:
    """Resampling moves both ECEs off their values, seldom by the same amount."""
    ends, p = ece_difference(d.value, d.draws)
    method = DIFFERENCE_METHOD.format(draws=r.draws, seed=r.seed)
    return replace(d, ends=ends, p=p, interval=method)


def _text_differences(a: TextRows, b: TextRows, resampling: Resampling) -> Differences:
    """Per token only where both models scored the same tokens, else in bits per byte alone."""
    scored = (a.tokens > 0) & (b.tokens > 0)
    same_tokens = np.array_equal(a.tokens, b.tokens)
    a, b = a.where(scored), b.where(scored)
    if not a.n:
        return {}
    found = _row_differences(a, b, resampling)
    if not a.sums[:, 3].any():
        del found["bits_per_byte"]
    with np.errstate(invalid="ignore"):
        nll, _, correct, _ = (b.sums - a.sums).T
    return {
        name: _with_sign_flip(d, correct if name == "token_accuracy" else nll, resampling)
        for name, d in found.items()
        if same_tokens or name == "bits_per_byte"
    }


def _with_sign_flip(d: Difference, change: FloatArray, r: Resampling) -> Difference:
    return replace(d, p=sign_flip(change, r.seed, r.draws), p_method=SIGN_FLIP)


def _answer_differences(
    frame_a: pl.DataFrame, frame_b: pl.DataFrame, names: tuple[str, str], r: Resampling
) -> Differences:
    """Both models' answers against the same references; nothing where one has not answered."""
    a, b = read_references(frame_a), read_references(frame_b)
    if a is None or b is None:
        return {}
    check_same_rows(a, b, names)
    found = _row_differences(a, b, r)
    found["exact_match"] = _exact_difference(found["exact_match"], a, b)
    for i, name in enumerate(m for m in ROUGE if m in found):
        change = (b.sums - a.sums)[:, i - len(ROUGE)]
        found[name] = _with_sign_flip(found[name], change, r)
    told = f", {a.n:,} answered rows"
    return {name: replace(d, interval=d.interval + told) for name, d in found.items()}


def _exact_difference(d: Difference, a: ReferenceRows, b: ReferenceRows) -> Difference:
    fixed, broke = int((b.exact > a.exact).sum()), int((b.exact < a.exact).sum())
    p = mcnemar(broke, fixed)
    return replace(
        d,
        p=p.exact,
        p_method=f"{p.method}, fixed {fixed:,}, broke {broke:,}",
        smallest=smallest_detectable(a.n, (fixed + broke) / a.n),
        changed=(fixed, broke),
    )
