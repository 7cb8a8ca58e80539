"""The bootstrap over examples: by confusion cells, by rows, or in its Gaussian limit.

A statistic maps resampled counts [m, K] or row weights [m, n] to named values [m]. Two models
inside one statistic see one resample: their differences are paired.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..metrics import FloatArray, IntArray
from ..statistics import CHUNK_CELLS, Interval, one_blas_thread

DRAWS = 10_000
ROWS_DRAWN = 50_000_000  # rows × draws up to which every draw resamples the rows themselves
ROWS_AT_ONCE = 65_536

NO_INTERVAL = Interval(np.nan, np.nan)

Draws = dict[str, FloatArray]
Statistic = Callable[[FloatArray], Draws]


@dataclass(frozen=True)
class Resampling:
    """How draws are made, and how that is said beside a number."""

    seed: int = 0
    draws: int = DRAWS

    def method(self, paired: bool = False, limit: bool = False, first_order: bool = False) -> str:
        words = "paired percentile bootstrap 95 %" if paired else "percentile bootstrap 95 %"
        words = f"normal limit of the {words}" if limit else words
        words += f", {self.draws:,} draws, seed {self.seed}"
        return f"{words}, first-order expansion" if first_order else words


class RowScores(Protocol):
    """A model's scores of n rows, as sums over rows that its metrics are made of."""

    @property
    def n(self) -> int: ...

    def features(self, rows: slice) -> FloatArray:
        """[rows, k] what each row adds to the totals."""

    def metrics_of_totals(self, totals: FloatArray) -> Draws:
        """Totals [..., k] to metrics [...]."""

    def reweighted(self, weights: FloatArray) -> Draws:
        """Metrics that totals give only to first order, under row weights [m, n]."""


def percentile_interval(draws: FloatArray) -> Interval:
    """The middle 95 % of the draws that are defined; (NaN, NaN) where none is."""
    defined = draws[~np.isnan(draws)]
    if not defined.size:
        return NO_INTERVAL
    if np.isfinite(defined).all():
        return Interval(float(np.quantile(defined, 0.025)), float(np.quantile(defined, 0.975)))
    ordered = np.sort(defined)  # an infinite draw cannot be interpolated
    last = defined.size - 1
    return Interval(float(ordered[int(0.025 * last)]), float(ordered[-1 - int(0.025 * last)]))


def interval_of(draws: FloatArray, n: int, method: str) -> tuple[Interval, str]:
    """The interval from draws over n rows and the method in words; what it lacks is said there."""
    undefined = int(np.isnan(draws).sum())
    if n < 2:
        return NO_INTERVAL, "no interval: one row only"
    if undefined == len(draws):
        return NO_INTERVAL, "no interval: the value of a row is not finite"
    if undefined:
        method += f", {len(draws) - undefined:,} of them defined"
    return percentile_interval(draws), method


def standard_error(draws: FloatArray) -> float:
    """The standard deviation of the draws, undivided: they already are the metric."""
    defined = draws[np.isfinite(draws)]
    return float(defined.std(ddof=1)) if defined.size > 1 else float("nan")


def paired_p(differences: FloatArray) -> float:
    """Two-sided p from paired draws of a difference: twice the smaller share beyond 0."""
    defined = differences[~np.isnan(differences)]
    if not defined.size:
        return float("nan")
    beyond = min((defined <= 0).sum(), (defined >= 0).sum())
    return float(min(1.0, 2 * (1 + beyond) / (1 + defined.size)))


def bootstrap_cells(counts: IntArray, statistic: Statistic, resampling: Resampling) -> Draws:
    """Multinomial draws of the non-empty joint cells, counts int64 [K].

    The same distribution as resampling rows, at a cost that does not depend on their number.
    """
    rng = np.random.default_rng(resampling.seed)
    sizes = _chunks(resampling.draws, len(counts))
    chunks = (statistic(_cells(rng, counts, m)) for m in sizes)
    return _joined(chunks)


def _cells(rng: np.random.Generator, counts: IntArray, m: int) -> FloatArray:
    n, k = int(counts.sum()), len(counts)
    if n > 4 * k:
        return rng.multinomial(n, counts / n, size=m).astype(np.float64)
    owner = np.repeat(np.arange(k), counts)  # few rows a cell: drawing rows is cheaper
    return _tally(owner[rng.integers(0, n, size=(m, n))], k)


def _tally(drawn: IntArray, k: int) -> FloatArray:
    """How often each of k codes was drawn, by line: [m, n] to [m, k]."""
    m = len(drawn)
    joint = drawn + k * np.arange(m)[:, None]
    return np.bincount(joint.ravel(), minlength=m * k).reshape(m, k).astype(np.float64)


def values_of(model: RowScores) -> dict[str, float]:
    """The metrics themselves: those of the plain totals, summed in bounded memory."""
    parts = [model.features(rows).sum(axis=0) for rows in blocks(model.n)]
    found = model.metrics_of_totals(np.sum(parts, axis=0))
    return {name: float(value) for name, value in found.items()}


def bootstrap_rows(models: Sequence[RowScores], resampling: Resampling) -> tuple[list[Draws], bool]:
    """Draws of every metric of each model over the same rows, and whether rows were resampled.

    Up to `ROWS_DRAWN` rows × draws each draw is a resample of the rows. Beyond, totals are drawn
    from the normal distribution that their resampled values tend to (mean and covariance exact):
    the same interval but for an error of the order of skewness ÷ √n.
    """
    by_rows = models[0].n * resampling.draws <= ROWS_DRAWN
    with one_blas_thread():
        return (_row_draws if by_rows else _limit_draws)(models, resampling), by_rows


def _row_draws(models: Sequence[RowScores], resampling: Resampling) -> list[Draws]:
    n = models[0].n
    rng = np.random.default_rng(resampling.seed)
    columns = [_finite_columns(model.features(slice(None))) for model in models]
    found: list[list[Draws]] = [[] for _ in models]
    for m in _chunks(resampling.draws, n):
        weights = _tally(rng.integers(0, n, size=(m, n)), n)
        for model, (features, usable), chunks in zip(models, columns, found, strict=True):
            totals = np.where(usable, weights @ features, np.nan)
            chunks.append(model.metrics_of_totals(totals) | model.reweighted(weights))
    return [_joined(chunks) for chunks in found]


def _finite_columns(features: FloatArray) -> tuple[FloatArray, NDArray[np.bool_]]:
    """A column with a value that is not finite has no interval: zeroed here, NaN in the draws."""
    usable = np.logical_and.reduce(np.isfinite(features), axis=0)
    return np.where(usable, features, 0.0), usable


def _limit_draws(models: Sequence[RowScores], resampling: Resampling) -> list[Draws]:
    """Draws from the normal distribution with the mean and covariance of resampled totals."""
    n = models[0].n
    total: Any = 0.0
    products: Any = 0.0
    for rows in blocks(n):
        block = np.concatenate([model.features(rows) for model in models], axis=1)
        total = total + block.sum(axis=0)
        with np.errstate(invalid="ignore"):  # infinity times 0: the column is NaN below
            products = products + block.T @ block
    usable = np.isfinite(total)
    finite = np.where(usable, total, 0.0)
    covariance = np.where(np.outer(usable, usable), products, 0.0) - np.outer(finite, finite) / n
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(values.clip(0))
    rng = np.random.default_rng(resampling.seed)
    moved = rng.standard_normal((resampling.draws, len(total))) @ root.T
    totals = np.where(usable, total + moved, np.nan)
    ends = np.cumsum([model.features(slice(0, 1)).shape[1] for model in models])
    parts = np.split(totals, ends[:-1], axis=1)
    return [model.metrics_of_totals(part) for model, part in zip(models, parts, strict=True)]


def blocks(n: int) -> Iterator[slice]:
    """Slices over n rows, each small enough to be held with its features."""
    for start in range(0, n, ROWS_AT_ONCE):
        yield slice(start, start + ROWS_AT_ONCE)


def _chunks(draws: int, width: int) -> Iterator[int]:
    """Numbers of draws that add up to `draws`, each bounded in memory."""
    size = max(1, CHUNK_CELLS // max(width, 1))
    for start in range(0, draws, size):
        yield min(size, draws - start)


def _joined(chunks: Sequence[Mapping[str, FloatArray]] | Iterator[Draws]) -> Draws:
    parts = list(chunks)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
