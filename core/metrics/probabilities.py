"""Metrics of predicted probabilities: loss, Brier, calibration, and the two ranking areas."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from .bootstrap import added_columns, named_columns, with_columns
from .calibration import BINS, Null, TopLabel, null_ece, top_label
from .counts import Draws, FloatArray, IntArray
from .metric import draws_of
from .sums import Ratio, Totals

RANKED_AT_ONCE = 1 << 13  # rows of a ranking held at once: 64 KB an array stays in a core's cache
RANKED_CELLS = 10_000  # rows × ranked labels up to which each draw ranks its rows anew
RANKINGS = ("roc_auc", "average_precision")  # areas, computed together
FIRST_BIN = 4  # the column of `features` where the bins of calibration begin


class Ranking(NamedTuple):
    """Rows from the highest score down, in groups of equal scores."""

    order: IntArray  # [n]
    starts: IntArray  # [groups], first of each group, as an index into order
    group: IntArray  # [n], of the ordered rows


class RankingInfluence(NamedTuple):
    """What the two areas of a ranking are divided from, and what each row adds to them."""

    beaten: float  # pairs of a positive and another row in the right order, a tie as half
    pairs: float
    precisions: float  # summed over the positives, each at its own threshold
    positives: float
    of_area: FloatArray  # [n]
    of_average: FloatArray  # [n]

    @property
    def area(self) -> float:
        return self.beaten / self.pairs

    @property
    def average_precision(self) -> float:
        return self.precisions / self.positives


class RankingSums(NamedTuple):
    """The sums above of one label against the rest."""

    label: int
    beaten: float
    pairs: float
    precisions: float
    positives: float


def rank(scores: FloatArray) -> Ranking:
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    first = np.append(True, ordered[1:] != ordered[:-1])
    return Ranking(order, np.flatnonzero(first), np.cumsum(first) - 1)


def twice_ranks(scores: FloatArray) -> IntArray:
    """Twice the rank of each score [n], from 0; equal scores share the middle of their ranks."""
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((2 * ends - counts - 1)[place])


def ranking_areas(gained: FloatArray, passed: FloatArray) -> tuple[FloatArray, FloatArray]:
    """ROC AUC and average precision from the weights [..., groups] of positives and others.

    Groups go from the highest score down; a tie counts half. NaN where there are no positives, or
    (ROC AUC) no others.
    """
    beaten, pairs, precisions, total = _ranking_sums(gained, passed)
    return _divide(beaten, pairs), _divide(precisions, total)


def _ranking_sums(gained: FloatArray, passed: FloatArray) -> tuple[FloatArray, ...]:
    """Pairs in order, pairs, precisions of the positives, positives; each [...]."""
    positives = np.cumsum(gained, axis=-1)
    retrieved = np.cumsum(gained + passed, axis=-1)
    total, rest = positives[..., -1], retrieved[..., -1] - positives[..., -1]
    beaten = np.einsum("...k,...k->...", passed, positives - gained / 2)
    precision = np.divide(positives, retrieved, out=np.zeros_like(positives), where=retrieved > 0)
    average = np.einsum("...k,...k->...", gained, precision)
    return beaten, total * rest, average, total


def _divide(above: FloatArray, below: FloatArray) -> FloatArray:
    out = np.full(np.shape(above), np.nan)
    np.divide(above, below, out=out, where=below > 0)
    return out


@dataclass(frozen=True)
class _Ranks:
    """A run of whole groups of equal scores, from the highest down: what is above each of them."""

    rows: IntArray  # [rows] of the ranking, as indices of the split
    marked: NDArray[np.bool_]  # [rows] whether a row is positive
    group: IntArray | None  # [rows]; None where no two scores are equal, and each row is a group
    gained: FloatArray  # [groups] positives
    passed: FloatArray  # [groups] others
    positives: FloatArray  # [groups] positives here and above
    others: FloatArray  # [groups]

    @cached_property
    def retrieved(self) -> FloatArray:
        return self.positives + self.others

    @cached_property
    def precision(self) -> FloatArray:
        return self.positives / self.retrieved

    @cached_property
    def square(self) -> FloatArray:
        """Of `retrieved`. The precision moves by others ÷ this with one more positive, and by
        -positives ÷ this with one more other row."""
        return self.retrieved**2

    def by_row(self, of_positives: FloatArray, of_others: FloatArray) -> FloatArray:
        """Values of groups to those of their rows."""
        if self.group is not None:
            of_positives, of_others = of_positives[self.group], of_others[self.group]
        return np.where(self.marked, of_positives, of_others)


def _ranks(scores: FloatArray, is_positive: NDArray[np.bool_], order: IntArray) -> Iterator[_Ranks]:
    """The ranking in pieces of bounded memory."""
    start, positives, others = 0, 0.0, 0.0
    while start < len(order):
        end = min(start + RANKED_AT_ONCE, len(order))
        if end < len(order):  # to the end of the last group
            last = -scores[order[end - 1]]
            end = bisect_right(order, last, lo=end, key=lambda row: -scores[row])
        rows = order[start:end]
        marked, ordered = is_positive[rows], scores[rows]
        differs = ordered[1:] != ordered[:-1]
        gained, group = marked.astype(np.float64), None
        if differs.all():
            passed = 1 - gained
        else:
            first = np.append(True, differs)
            starts, group = np.flatnonzero(first), np.cumsum(first) - 1
            gained = np.add.reduceat(gained, starts)
            passed = np.diff(starts, append=len(rows)) - gained
        above = positives + np.cumsum(gained), others + np.cumsum(passed)
        yield _Ranks(rows, marked, group, gained, passed, *above)
        start, positives, others = end, above[0][-1], above[1][-1]


def ranking_influence(is_positive: NDArray[np.bool_], scores: FloatArray) -> RankingInfluence:
    """ROC AUC, average precision, and what each row [n] adds to them to first order.

    Under weights w that sum to n, a metric moves by Σ w × influence ÷ n (its first-order
    expansion: for ROC AUC these are the components of DeLong 1988). Influences sum to 0.
    Raises ValueError unless there are positives and others; scores [n] must be finite.
    """
    n, total = len(scores), float(np.count_nonzero(is_positive))
    rest = n - total
    if not total or not rest:
        raise ValueError("a ranking needs positives and others")
    order = np.argsort(-scores)  # in any order within a group: groups alone count
    beaten = precisions = of_gains = of_passes = 0.0
    for r in _ranks(scores, is_positive, order):
        beaten += float(r.passed @ (r.positives - r.gained / 2))
        precisions += float(r.gained @ r.precision)
        # A row changes the precision at every threshold at or below its own.
        of_gains += float(r.gained @ (r.others / r.square))
        of_passes += float(r.gained @ (r.positives / r.square))
    area, average = beaten / (total * rest), precisions / total

    of_area, of_average = np.empty(n), np.empty(n)
    for r in _ranks(scores, is_positive, order):
        wins = (rest - r.others + r.passed / 2) / rest - area  # of a positive row over the others
        losses = (r.positives - r.gained / 2) / total - area
        of_area[r.rows] = r.by_row(n / total * wins, n / rest * losses)
        by_gains = r.gained * r.others / r.square
        by_passes = r.gained * r.positives / r.square
        below_gains = of_gains - np.cumsum(by_gains) + by_gains
        below_passes = of_passes - np.cumsum(by_passes) + by_passes
        of_gains, of_passes = of_gains - by_gains.sum(), of_passes - by_passes.sum()
        of_positive = n / total * (r.precision - average + below_gains)
        of_average[r.rows] = r.by_row(of_positive, -n / total * below_passes)
    return RankingInfluence(beaten, total * rest, precisions, total, of_area, of_average)


class RankedScores:
    """What gives the two ranking areas: probabilities of labels, each against the rest."""

    probabilities: FloatArray  # [n, C]
    ranked_labels: list[int]

    @property
    def n(self) -> int:
        return len(self.probabilities)

    def marked(self, label: int) -> NDArray[np.bool_]:
        """[n] the rows that have a label."""
        raise NotImplementedError

    @cached_property
    def rankable(self) -> bool:
        """Whether every probability is finite: NaN has no rank."""
        return bool(np.isfinite(self.probabilities).all())

    @property
    def first_order(self) -> bool:
        """Whether ranking anew in every draw would cost too much."""
        return self.n * len(self.ranked_labels) > RANKED_CELLS

    @cached_property
    def ranking_sums(self) -> list[RankingSums]:
        """Of each ranked label; none where a probability is NaN and has no rank."""
        return self._areas_and_sums[1] if self.rankable else []

    def area(self, metric: str) -> float:
        """ROC AUC or average precision, the mean over the ranked labels."""
        area, average, *_ = self._areas
        return area if metric == "roc_auc" else average

    def influence_on(self, metric: str) -> FloatArray:
        """[n] what each row adds to that area, to first order."""
        *_, of_area, of_average = self._areas
        return of_area if metric == "roc_auc" else of_average

    @property
    def _areas(self) -> tuple[float, float, FloatArray, FloatArray]:
        return self._areas_and_sums[0]

    @cached_property
    def _areas_and_sums(
        self,
    ) -> tuple[tuple[float, float, FloatArray, FloatArray], list[RankingSums]]:
        """Mean over the ranked labels of ROC AUC, average precision and their influences; sums."""
        sums: list[RankingSums] = []
        area = average = 0.0
        of_area, of_average = np.zeros(self.n), np.zeros(self.n)
        if not self.rankable:
            return (np.nan, np.nan, of_area, of_average), sums
        k = max(len(self.ranked_labels), 1)
        for c in self.ranked_labels:
            scores = np.ascontiguousarray(self.probabilities[:, c])  # read in many orders
            found = ranking_influence(self.marked(c), scores)
            sums.append(RankingSums(c, *found[:4]))
            area, average = area + found.area / k, average + found.average_precision / k
            if k == 1:  # no copy: 10 million rows are 160 MB
                of_area, of_average = found.of_area, found.of_average
                break
            of_area += found.of_area / k
            of_average += found.of_average / k
        return (area, average, of_area, of_average), sums

    def is_expanded(self, metric: str, by_rows: bool) -> bool:
        """Whether draws of this metric come from its first-order expansion."""
        return metric in RANKINGS and (self.first_order or not by_rows)

    @cached_property
    def area_ratios(self) -> dict[str, Ratio]:
        """What the ranking areas are divided from; of several labels the mean of their areas."""
        sums = self.ranking_sums
        if len(sums) == 1:
            (s,) = sums
            areas, averages = Ratio(s.beaten, s.pairs), Ratio(s.precisions, s.positives)
            return {"pairs": areas, "precisions": averages}
        if not sums:
            return {}
        k = float(len(sums))
        areas = Ratio(sum(s.beaten / s.pairs for s in sums), k)
        averages = Ratio(sum(s.precisions / s.positives for s in sums), k)
        return {"pairs": areas, "precisions": averages}

    def reweighted(self, weights: FloatArray) -> dict[str, FloatArray]:
        """The ranking areas under row weights [draws, n], ranked anew; empty if `first_order`."""
        if self.first_order or not self.ranked_labels or not self.rankable:
            return {}
        areas = [self._weighted_areas(c, weights) for c in self.ranked_labels]
        means = areas[0] if len(areas) == 1 else _defined_mean(areas)
        return dict(zip(RANKINGS, means, strict=True))

    @cached_property
    def _rankings(self) -> dict[int, Ranking]:
        return {c: rank(self.probabilities[:, c]) for c in self.ranked_labels}

    def _weighted_areas(self, label: int, weights: FloatArray) -> FloatArray:
        order, starts, _ = self._rankings[label]
        ordered = weights[:, order]
        gained = ordered * self.marked(label)[order]
        passed = ordered - gained
        if len(starts) < self.n:
            gained = np.add.reduceat(gained, starts, axis=1)
            passed = np.add.reduceat(passed, starts, axis=1)
        return np.stack(ranking_areas(gained, passed))


@dataclass(frozen=True)
class ProbabilityScores(RankedScores):
    """Rows scored by their probabilities.

    truth int [n]; probabilities float64 [n, C]; `positive` is a code in a binary task, else None.
    Its totals are sums over rows of the columns of `features`, under any weights.

    Metrics: loss, brier, ece, and where rows of two kinds are there roc_auc and average_precision.
    In a binary task brier and the ranking areas are of `positive`; otherwise the areas are the
    macro average of one label against the rest over the labels present. A probability of 0 for a
    true label is an infinite loss; NaN stays NaN.
    """

    truth: IntArray
    probabilities: FloatArray
    positive: int | None

    def marked(self, label: int) -> NDArray[np.bool_]:
        return np.asarray(self.truth == label)

    @cached_property
    def ranked_labels(self) -> list[int]:  # type: ignore[override]
        """The labels whose rows can be ranked against the rest: present, and not alone."""
        support = np.bincount(self.truth, minlength=self.probabilities.shape[1])
        wanted = range(len(support)) if self.positive is None else [self.positive]
        return [c for c in wanted if 0 < support[c] < self.n]

    @property
    def nll(self) -> FloatArray:
        """-log of the probability of the true label, [n]; infinite where that is 0."""
        return self._nll(slice(None))

    def _nll(self, rows: slice) -> FloatArray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(-np.log(self._true(rows)))

    def _true(self, rows: slice) -> FloatArray:
        truth, probabilities = self.truth[rows], self.probabilities[rows]
        return np.asarray(probabilities[np.arange(len(truth)), truth])

    def _squared_error(self, rows: slice) -> FloatArray:
        """Brier 1950, [rows]: of the positive label in a binary task, else summed over labels."""
        probabilities = self.probabilities[rows]
        if self.positive is not None:
            truth = self.truth[rows] == self.positive
            return np.asarray(np.square(probabilities[:, self.positive] - truth))
        return np.asarray(np.square(probabilities).sum(axis=1) + 1 - 2 * self._true(rows))

    @cached_property
    def answers(self) -> TopLabel:
        return top_label(self.truth, self.probabilities)

    @cached_property
    def null(self) -> Null:
        """The ECE that these confidences would show if they were perfectly calibrated."""
        return null_ece(self.answers)

    def features(self, rows: slice) -> FloatArray:
        """[rows, 4 + BINS]: nll, squared error, both influences, calibration gap in its bin; then
        what other metrics add."""
        answers = self.answers
        chosen, gap = answers.bins[rows], answers.confidence[rows] - answers.right[rows]
        block = np.zeros((len(chosen), FIRST_BIN + BINS))
        block[:, 0], block[:, 1] = self._nll(rows), self._squared_error(rows)
        block[:, 2], block[:, 3] = self._areas[2][rows], self._areas[3][rows]
        block[np.arange(len(chosen)), FIRST_BIN + chosen] = gap
        return with_columns(block, [column[rows] for column in self._added.values()])

    @cached_property
    def _added(self) -> dict[str, FloatArray]:
        """What metrics add to the columns that are always there."""
        return added_columns("probabilities", self)

    def totals(self, totals: FloatArray) -> Totals:
        """Totals [..., k] of `features` by name; the areas are moved by the mean influence."""
        n = cast("FloatArray", float(self.n))
        found = {
            "rows": n,
            "scored": n,
            "nll": totals[..., 0],
            "squared_error": totals[..., 1],
            "gaps": totals[..., FIRST_BIN : FIRST_BIN + BINS],
        }
        if self.ranked_labels:
            for i, name in enumerate(RANKINGS):
                found[name] = self._areas[i] + totals[..., 2 + i] / self.n
        return found | named_columns(totals, FIRST_BIN + BINS, self._added)

    def metrics_of_totals(self, totals: FloatArray) -> Draws:
        """Totals [..., 4 + BINS or more] to metrics [...]."""
        return draws_of("probabilities", self.totals(totals))


def _defined_mean(areas: Sequence[FloatArray]) -> FloatArray:
    """Mean over labels of [2, draws]; a label missing from a draw is left out of that draw."""
    stacked = np.stack(areas)
    defined = ~np.isnan(stacked)
    return _divide(np.where(defined, stacked, 0.0).sum(axis=0), defined.sum(axis=0) * 1.0)
