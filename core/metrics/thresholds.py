"""Where to cut: counts at every threshold of a binary task, the one an objective asks for, and
what it does to other rows.

A row is called positive when its probability of the positive label is at least the threshold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .bootstrap import Resampling, bootstrap_cells, bootstrap_rows
from .clusters import Clustered, Clusters
from .counts import Draws, FloatArray, IntArray, joint_cells
from .exchange import Null, exchange_cells, exchange_rows

Kind = Literal["f1", "cost", "recall_at_least", "precision_at_least"]

CURVE_POINTS = 200
NOTHING = "no row"
EVERYTHING = "every row"


@dataclass(frozen=True)
class Aim:
    """What a threshold is chosen for. `fp` and `fn` are the price of a wrong row of either kind."""

    kind: Kind = "f1"
    target: float | None = None
    fp: float | None = None
    fn: float | None = None

    @property
    def priced(self) -> bool:
        return self.fp is not None and self.fn is not None


@dataclass(frozen=True)
class Sweep:
    """Every distinct threshold from the highest down; the first one calls no row positive."""

    thresholds: FloatArray  # [k]
    found: IntArray  # [k] positive rows called positive
    false: IntArray  # [k] other rows called positive
    positives: int
    others: int

    @property
    def precision(self) -> FloatArray:
        """NaN where no row is called positive."""
        called = (self.found + self.false).astype(np.float64)
        out = np.full(len(called), np.nan)
        np.divide(self.found, called, out=out, where=called > 0)
        return out

    @property
    def recall(self) -> FloatArray:
        """NaN where there are no positive rows."""
        return self.found / self.positives if self.positives else np.full(len(self.found), np.nan)

    @property
    def f1(self) -> FloatArray:
        below = (self.positives + self.found + self.false).astype(np.float64)
        out = np.full(len(below), np.nan)
        np.divide(2 * self.found, below, out=out, where=below > 0)
        return out

    def cost(self, aim: Aim) -> FloatArray:
        """Mean a row, in the unit of the prices."""
        assert aim.fp is not None
        assert aim.fn is not None
        missed = self.positives - self.found
        return np.asarray((aim.fp * self.false + aim.fn * missed) / (self.positives + self.others))


def sweep(is_positive: NDArray[np.bool_], scores: FloatArray) -> Sweep:
    """Counts at each distinct score, [n] and [n]; scores must be finite."""
    order = np.argsort(scores)[::-1]
    ordered = scores[order]
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    found = np.cumsum(is_positive[order])[last]
    above = np.nextafter(ordered[0], np.inf)
    positives = int(is_positive.sum())
    return Sweep(
        np.append(above, ordered[last]),
        np.append(0, found),
        np.append(0, last + 1 - found),
        positives,
        len(scores) - positives,
    )


def choose(s: Sweep, aim: Aim) -> int | None:
    """Index of the threshold that the aim asks for; None where no threshold meets it.

    Least cost, most F1, most precision where recall meets the target, or most recall where
    precision does. Of thresholds equal in that: the higher one; under a target, the one with more
    of what the target is set on.
    """
    if not s.positives or not s.others:
        return None
    if aim.kind == "cost":
        return int(s.cost(aim).argmin())
    if aim.kind == "f1":
        return int(np.nanargmax(s.f1))
    held, wanted = s.recall, s.precision
    if aim.kind == "precision_at_least":
        held, wanted = wanted, held
    assert aim.target is not None
    meets = np.flatnonzero(held >= aim.target - 1e-12)  # NaN meets nothing
    if not len(meets):
        return None
    best = meets[wanted[meets] == wanted[meets].max()]
    return int(best[held[best].argmax()])


def trivial(s: Sweep, index: int) -> str:
    """Whether a threshold calls no row, or every row, positive; else empty."""
    called = s.found[index] + s.false[index]
    if called == 0:
        return NOTHING
    return EVERYTHING if called == s.positives + s.others else ""


def thin(s: Sweep, keep: int | None, points: int = CURVE_POINTS) -> IntArray:
    """At most about `points` indices, evenly along recall and along rows called positive.

    With both ends, `keep`, and the most and least precise point of every stretch: no peak is lost.
    """
    k = len(s.thresholds)
    if k <= points:
        return np.arange(k)
    called = s.found + s.false
    place = called / called[-1] + s.found / max(1, s.positives)  # 0 to 2, rising
    stretch = np.minimum((place / 2 * (points // 2)).astype(np.int64), points // 2 - 1)
    starts = np.flatnonzero(np.append(True, stretch[1:] != stretch[:-1]))
    precision = np.nan_to_num(s.precision, nan=0.0)
    ends = np.append(starts[1:], k)
    chosen = {0, 1, k - 1, int(np.nanargmax(s.f1)) if s.positives else 0}
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        part = precision[start:end]
        chosen |= {start + int(part.argmax()), start + int(part.argmin())}
    if keep is not None:
        chosen.add(keep)
    return np.array(sorted(chosen))


def figures(
    is_positive: NDArray[np.bool_],
    before: NDArray[np.bool_],
    after: NDArray[np.bool_],
    aim: Aim,
    resampling: Resampling,
    clusters: Clusters | None = None,
) -> tuple[IntArray, Draws, Draws]:
    """Two ways of calling rows positive, on the same rows.

    Gives their counts [2, 4] (right negatives, false positives, missed, found), the values of
    precision, recall, F1 and cost [2], and their draws [2, draws] under one resample of the rows,
    or of the `clusters` that they are in (S9).
    """
    joint = 4 * is_positive + 2 * before.astype(np.int64) + after
    cells = np.bincount(joint, minlength=8)
    kept = np.flatnonzero(cells)

    def statistic(counts: FloatArray) -> Draws:
        whole = np.zeros((len(counts), 8))
        whole[:, kept] = counts
        pairs = [_values(_tables(whole, way), aim) for way in (0, 1)]
        return {f"{name}.{way}": pairs[way][name] for way in (0, 1) for name in pairs[way]}

    observed = statistic(cells[kept][None, :].astype(np.float64))
    counts = np.stack([_tables(cells[None, :], way)[0] for way in (0, 1)])
    if clusters is None:
        drawn = _paired(bootstrap_cells(cells[kept], statistic, resampling))
    else:
        rules = [Clustered(_Rule(is_positive, way, aim), clusters) for way in (before, after)]
        ways, _ = bootstrap_rows(rules, resampling)
        drawn = {name: np.stack([way[name] for way in ways]) for name in ways[0]}
    return counts.astype(np.int64), _paired(observed), drawn


@dataclass(frozen=True)
class _Called:
    """Values of calling rows positive, from the margins of the other and the positive label."""

    aim: Aim

    def metrics_of_totals(self, totals: FloatArray) -> Draws:
        right, found, _, positives, _, called = np.moveaxis(totals, -1, 0)
        tables = np.stack((right, called - found, positives - found, found), axis=-1)
        return _values(tables.reshape(-1, 4), self.aim)


@dataclass(frozen=True)
class _Rule:
    """Rows under one way of calling them positive; a `bootstrap.RowScores`."""

    is_positive: NDArray[np.bool_]
    called: NDArray[np.bool_]
    aim: Aim

    @property
    def n(self) -> int:
        return len(self.called)

    def features(self, rows: slice) -> FloatArray:
        kinds = 2 * self.is_positive[rows].astype(np.int64) + self.called[rows]
        return np.eye(4)[kinds]  # right negatives, false positives, missed, found

    def metrics_of_totals(self, totals: FloatArray) -> Draws:
        shape = totals.shape[:-1]
        return {k: v.reshape(shape) for k, v in _values(totals.reshape(-1, 4), self.aim).items()}

    def reweighted(self, weights: FloatArray) -> Draws:
        return {}


def exchange_calls(
    is_positive: NDArray[np.bool_],
    before: NDArray[np.bool_],
    after: NDArray[np.bool_],
    aim: Aim,
    resampling: Resampling,
    clusters: Clusters | None = None,
) -> Null:
    """The differences that chance alone makes between two ways of calling rows positive (S2b).

    With `clusters` their rows are exchanged together (S9).
    """
    if clusters is not None:
        a, b = (Clustered(_Rule(is_positive, way, aim), clusters) for way in (before, after))
        return exchange_rows((a, b), resampling)
    cells = joint_cells(
        is_positive.astype(np.int64), (before.astype(np.int64), after.astype(np.int64)), 2
    )
    way = _Called(aim)
    return exchange_cells(cells, (way, way), resampling)


def _paired(found: Mapping[str, FloatArray]) -> Draws:
    names = dict.fromkeys(key.partition(".")[0] for key in found)
    return {name: np.stack([found[f"{name}.0"], found[f"{name}.1"]]) for name in names}


def _tables(cells: NDArray[Any], way: int) -> NDArray[Any]:
    """Joint cells [m, 8] of truth, before and after to (TN, FP, FN, TP) [m, 4] of one of them."""
    cube = cells.reshape(-1, 2, 2, 2)
    return np.asarray(cube.sum(axis=3 if way == 0 else 2).reshape(-1, 4))


def _values(tables: NDArray[Any], aim: Aim) -> Draws:
    right, false, missed, found = tables.T.astype(np.float64)
    never_called = np.where(found + missed > 0, 0.0, np.nan)  # a threshold is chosen by it
    values = {
        "precision": _share(found, found + false, never_called),
        "recall": _share(found, found + missed),
        "f1": _share(2 * found, 2 * found + false + missed),
    }
    if aim.priced:
        assert aim.fp is not None
        assert aim.fn is not None
        values["cost"] = _share(aim.fp * false + aim.fn * missed, right + false + missed + found)
    return values


def _share(above: FloatArray, below: FloatArray, otherwise: FloatArray | None = None) -> FloatArray:
    out = np.full(len(below), np.nan) if otherwise is None else otherwise
    np.divide(above, below, out=out, where=below > 0)
    return out
