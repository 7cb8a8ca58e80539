"""Where a model is weak: its figures by label, by length and by columns, against the other rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import polars as pl
from msgspec.structs import replace
from numpy.typing import NDArray

from ..data.rows import CHARACTERS, SLICE, input_of
from ..judgement.selection import higher_is_better
from ..metrics.analyses import Slice, SliceDifference, SliceReference, Slices
from ..metrics.clusters import Clusters, change_p, share
from ..metrics.label_sets.rows import read_label_sets
from ..metrics.results import Estimate
from ..metrics.rows import are_same_rows, check_same_rows, read_classification, read_text
from ..metrics.slices import (
    NO_SLICE,
    Grouping,
    Moments,
    newcombe,
    normal_interval,
    normal_p,
    quartiles,
    ratio_method,
    shares_method,
    shares_p,
)
from ..metrics.statistics import holm
from ..metrics.values.numbers import NumberRows, read_numbers
from ..run.events import AnalysisComputed
from .predictions import Evaluation

LEAST_ROWS = 10  # of a slice: fewer, and its figures are anecdote
MOST_VALUES = 50  # of a column: the commonest are slices
NUMBERS_FROM = 20  # different numbers in a column from which it is cut at its quartiles
LEVEL = 0.05
NO_VALUE = "(no value)"
FloatArray = NDArray[np.float64]


def slices(e: Evaluation) -> Iterator[AnalysisComputed]:
    """The tuned model's figures by slice, the worst first."""
    if "tuned" not in e.frames:
        return
    task = e.config.task_type
    columns = e.frames["tuned"].columns
    measure: Callable[[Evaluation], Slices] | None
    if "labels" in columns or "targets" in columns:
        measure = _by_sets if "labels" in columns else _of_numbers
    else:
        measure = _classified if task.has_labels else _written if task.writes else None
    found = measure(e) if measure else None
    if found and found.slices:
        yield e.found(found, "tuned")


def _classified(e: Evaluation) -> Slices:
    rows = read_classification(e.frames["tuned"], e.labels)
    right = rows.predicted == rows.truth
    before = None
    reference = e.reference or ""
    if reference:
        other = read_classification(e.frames[reference], e.labels)
        check_same_rows(other, rows, (reference, "tuned"))
        before = other.predicted == other.truth
    notes: list[str] = []
    groupings = [Grouping("label", rows.truth, list(e.labels))]
    groupings += _groupings(e, rows.row_id, notes)
    clusters = rows.clusters
    table = [s for g in groupings for s in _shares(g, right, before, clusters)]
    method = shares_method(rows.n, clusters)
    return _result("accuracy", reference, (rows.n, clusters), table, notes, method)


def _by_sets(e: Evaluation) -> Slices:
    """Rows with exactly their labels; a slice for each label, of the rows that have it."""
    rows = read_label_sets(e.frames["tuned"], e.labels)
    before, reference = None, e.reference or ""
    if reference:
        other = read_label_sets(e.frames[reference], e.labels)
        check_same_rows(other, rows, (reference, "tuned"))
        before = other.exact
    notes: list[str] = []
    groupings = [
        Grouping("label", np.where(rows.truth[:, i], 0, NO_SLICE), [label])
        for i, label in enumerate(e.labels)
    ]
    groupings += _groupings(e, rows.row_id, notes)
    table = [s for g in groupings for s in _shares(g, rows.exact, before, rows.clusters)]
    method = shares_method(rows.n, rows.clusters)
    counted = (rows.n, rows.clusters)
    return _result("subset_accuracy", reference, counted, table, notes, method)


def _shares(
    g: Grouping,
    right: NDArray[np.bool_],
    before: NDArray[np.bool_] | None,
    clusters: Clusters | None,
) -> list[Slice]:
    """Accuracy of each slice of a grouping, of the reference on it, and of the other rows.

    Of clusters: with so many rows as would say as much if they were independent (S9).
    """
    n, hits = g.count().tolist(), g.count(right).tolist()
    total, all_hits = len(right), int(right.sum())
    found = []
    if before is not None:
        hits_before, fixed, broke = (
            g.count(w).tolist() for w in (before, right & ~before, before & ~right)
        )
    for i, name in enumerate(g.names):
        if not n[i] or total - n[i] < LEAST_ROWS:  # no row, or hardly any to set it against
            continue
        inside = g.codes == i
        own, others = (_within(clusters, rows) for rows in (inside, ~inside))
        of_rows = share(right[inside], own)
        rest = all_hits - hits[i], total - n[i]
        effects = [
            1.0 if c is None else c.design_effect(right[r])
            for c, r in ((own, inside), (others, ~inside))
        ]
        mine = hits[i] / effects[0], n[i] / effects[0]
        theirs = rest[0] / effects[1], rest[1] / effects[1]
        low, high = newcombe(*mine, *theirs)
        elsewhere, p = rest[0] / rest[1], shares_p(*mine, *theirs)
        compared = None
        if before is not None:
            compared = SliceReference(
                hits_before[i] / n[i],
                (hits[i] - hits_before[i]) / n[i],
                int(fixed[i]),
                int(broke[i]),
                p=change_p(right[inside].astype(float) - before[inside], own)[0],
            )
        found.append(
            replace(
                _slice(g, name, int(n[i]), own),
                accuracy=Estimate(of_rows.value, of_rows.low, of_rows.high, of_rows.method),
                rest=SliceDifference(elsewhere, hits[i] / n[i] - elsewhere, low, high, p, p),
                reference=compared,
            )
        )
    return found


def _written(e: Evaluation) -> Slices:
    every = read_text(e.frames["tuned"])
    reference = e.reference or ""
    scored = every.tokens > 0
    rows = every.where(scored)
    before = None
    if reference:
        other = read_text(e.frames[reference])
        if are_same_rows(other, every):
            before = other.where(scored).sums
        else:  # other tokens or another template: their losses are of other texts
            reference = ""
    notes: list[str] = []
    if scored.any() and not np.isfinite(rows.sums[:, 0]).all():
        return _result("loss", reference, (rows.n, None), [], ["a row's loss is not a number"], "")
    groupings = [g] if (g := quartiles(rows.tokens, "scored tokens")) else []
    groupings += _groupings(e, rows.row_id, notes)
    clusters = rows.clusters
    table = [s for g in groupings for s in _ratios(g, rows.sums, before, clusters)]
    method = f"normal p; {ratio_method(clusters)}"
    return _result("loss", reference, (rows.n, clusters), table, notes, method)


def _of_numbers(e: Evaluation) -> Slices:
    """Mean absolute error, also by quarters of the truth: errors often grow towards its ends."""
    rows = read_numbers(e.frames["tuned"])
    before, reference = None, e.reference or ""
    if reference:
        other = read_numbers(e.frames[reference])
        check_same_rows(other, rows, (reference, "tuned"))
        before = _error_sums(other)
    notes: list[str] = []
    sums = _error_sums(rows)
    if not np.isfinite(sums).all():
        notes = ["a prediction is not a number"]
        return _result("mae", reference, (rows.n, None), [], notes, "")
    groupings = []
    if rows.truth.shape[1] == 1 and (g := quartiles(rows.truth[:, 0], e.labels[0])):
        groupings.append(g)
    groupings += _groupings(e, rows.row_id, notes)
    table = [s for g in groupings for s in _ratios(g, sums, before, rows.clusters)]
    table = [replace(s, token_accuracy=None) for s in table]
    method = f"normal p; {ratio_method(rows.clusters)}"
    return _result("mae", reference, (rows.n, rows.clusters), table, notes, method)


def _error_sums(rows: NumberRows) -> FloatArray:
    """[n, 4] as texts have them: the mean absolute error over the targets, and 1 of each row."""
    errors = rows.columns["mae"].mean(axis=1)
    return np.column_stack((errors, np.ones(rows.n), np.zeros(rows.n), np.zeros(rows.n)))


def _ratios(
    g: Grouping, sums: FloatArray, before: FloatArray | None, clusters: Clusters | None
) -> list[Slice]:
    """Loss and token accuracy of each slice: one division of sums over its rows."""
    n, total = g.count().tolist(), len(sums)
    nll, tokens, correct, _ = sums.T
    loss, accuracy = (Moments.of(g, above, tokens, clusters) for above in (nll, correct))
    rest = loss.rest(g, nll, tokens, clusters)
    method = ratio_method(clusters)
    old = Moments.of(g, before[:, 0], before[:, 1]).ratio if before is not None else None
    found = []
    for i, name in enumerate(g.names):
        if not n[i] or total - n[i] < LEAST_ROWS:  # no row, or hardly any to set it against
            continue
        error = math.hypot(float(loss.error[i]), float(rest.error[i]))
        difference = float(loss.ratio[i] - rest.ratio[i])
        low, high = normal_interval(difference, error)
        p = normal_p(difference, error)
        compared = None
        if old is not None:
            compared = SliceReference(float(old[i]), float(loss.ratio[i] - old[i]))
        found.append(
            replace(
                _slice(g, name, int(n[i]), _within(clusters, g.codes == i)),
                loss=_ratio(loss, i, method),
                token_accuracy=_ratio(accuracy, i, method),
                rest=SliceDifference(float(rest.ratio[i]), difference, low, high, p, p),
                reference=compared,
            )
        )
    return found


def _ratio(m: Moments, i: int, method: str) -> Estimate:
    value = float(m.ratio[i])
    return Estimate(value, *normal_interval(value, float(m.error[i])), method)


def _within(clusters: Clusters | None, rows: NDArray[np.bool_]) -> Clusters | None:
    return None if clusters is None else clusters.where(rows)


def _slice(g: Grouping, name: str, rows: int, clusters: Clusters | None) -> Slice:
    units = rows if clusters is None else clusters.count
    judged = units >= LEAST_ROWS
    return Slice(by=g.by, value=name, rows=rows, judged=judged, column=g.column or None)


def _result(
    metric: str,
    reference: str,
    rows: tuple[int, Clusters | None],
    table: list[Slice],
    notes: list[str],
    method: str,
) -> Slices:
    """Slices with p adjusted for multiple comparisons, the worst first, those too small last."""
    judged = _corrected([s for s in table if s.judged])
    few = [_not_judged(s) for s in table if not s.judged]
    sign = 1 if higher_is_better(metric) else -1

    def badness(s: Slice) -> tuple[bool, float]:
        assert s.rest is not None
        difference = sign * s.rest.difference
        return not (s.rest.p_corrected < LEVEL and difference < 0), difference

    n, clusters = rows
    return Slices(
        metric=metric,
        n=n,
        slices=sorted(judged, key=badness) + few,
        method=method,
        clusters=None if clusters is None else clusters.count,
        correction=f"Holm over {len(judged):,} slices",
        reference=reference or None,
        notes=notes or None,
    )


def _not_judged(s: Slice) -> Slice:
    """A slice of too few rows: it is shown, without any p."""
    reference = None if s.reference is None else replace(s.reference, p=None)
    return replace(s, rest=None, reference=reference)


def _corrected(table: list[Slice]) -> list[Slice]:
    """Holm's p over the slices, against the rest and against the reference."""
    against_rest = holm({i: s.rest.p for i, s in enumerate(table) if s.rest})
    paired = {i: s.reference.p for i, s in enumerate(table) if s.reference}
    against_reference = holm({i: p for i, p in paired.items() if p is not None})
    return [
        replace(
            s,
            rest=s.rest and replace(s.rest, p_corrected=against_rest[i]),
            reference=s.reference and replace(s.reference, p_corrected=against_reference.get(i)),
        )
        for i, s in enumerate(table)
    ]


def _groupings(e: Evaluation, row_id: NDArray[Any], notes: list[str]) -> list[Grouping]:
    """By characters of the input and by the columns that the config names."""
    source = _aligned(e.source, row_id)
    if source is None:
        notes.append("long documents were scored in windows: only their tokens can be sliced by")
        return []
    found = []
    lengths = _lengths(source)
    if lengths is not None and (g := quartiles(lengths.to_numpy(), "characters")):
        found.append(g)
    for name in e.config.evaluate.slices:
        if SLICE + name not in source.columns:
            notes.append(f"the rows of {e.split} have no column {name!r}")
        elif g := _by_column(source[SLICE + name], name, notes):
            found.append(g)
    return found


def _lengths(source: pl.DataFrame) -> pl.Series | None:
    """Characters of each input: as they were stored, else counted; None where they are unknown."""
    if CHARACTERS in source.columns:
        return None if source[CHARACTERS].null_count() else source[CHARACTERS]
    if any(role in source.columns for role in ("text", "prompt", "messages")):
        return input_of(source).str.len_chars()
    return None


def _aligned(source: pl.DataFrame, row_id: NDArray[Any]) -> pl.DataFrame | None:
    """The source rows in the order of these ids; None where one has no row."""
    if source.height == len(row_id) and np.array_equal(source["row_id"].to_numpy(), row_id):
        return source
    wanted = pl.DataFrame({"row_id": row_id}, schema={"row_id": source.schema["row_id"]})
    joined = wanted.join(source, on="row_id", how="inner", maintain_order="left")
    return joined if joined.height == len(row_id) else None


def _by_column(values: pl.Series, name: str, notes: list[str]) -> Grouping | None:
    """By value, the commonest 50; a column of many numbers by its quartiles."""
    numbers = values if values.dtype.is_numeric() else values.cast(pl.Float64, strict=False)
    if numbers.null_count() == values.null_count() and values.n_unique() > NUMBERS_FROM:
        found = numbers.cast(pl.Float64).fill_null(math.nan).to_numpy()
        if g := quartiles(found, "column", name):
            return g
    texts = values.cast(pl.String).fill_null(NO_VALUE)
    counted = texts.value_counts(sort=True)
    kept = counted.sort(["count", texts.name], descending=[True, False]).head(MOST_VALUES)
    names = kept[texts.name].to_list()
    if counted.height > MOST_VALUES:
        notes.append(
            f"column {name!r} has {counted.height:,} values: the {MOST_VALUES} commonest are slices"
        )
    coded = texts.cast(pl.Enum(names), strict=False).to_physical().cast(pl.Int64)
    return Grouping("column", coded.fill_null(NO_SLICE).to_numpy(), names, name)
