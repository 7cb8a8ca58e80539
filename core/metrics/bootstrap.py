"""The bootstrap over examples: by confusion cells, by rows, or in its Gaussian limit.

A statistic maps resampled counts [m, K] or row weights [m, n] to named values [m]. Two models
inside one statistic see one resample: their differences are paired.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit

from .counts import Draws, FloatArray, IntArray
from .metric import Source, metrics_from
from .statistics import CHUNK_CELLS, Interval, one_blas_thread

DRAWS = 10_000
ROWS_DRAWN = 50_000_000  # rows × draws up to which every draw resamples the rows themselves
ROWS_AT_ONCE = 65_536
FEW_ROWS = 200  # rows from which percentiles need no widening: it is below 1 %
NO_WIDTH = 1e-12  # an interval of rounding alone

NO_INTERVAL = Interval(np.nan, np.nan)

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


def added_columns(source: Source, rows: object) -> dict[str, FloatArray]:
    """What each row adds to the totals of a source, [n] or [n, k] by metric."""
    found = {}
    for metric in metrics_from(source):
        if metric.adds is not None and (columns := metric.adds(rows)) is not None:
            found[metric.name] = np.asarray(columns, dtype=np.float64)
    return found


def with_columns(block: FloatArray, columns: Sequence[FloatArray]) -> FloatArray:
    """[rows, k] and more columns of the same rows."""
    return np.column_stack((block, *columns)) if columns else block


def named_columns(
    totals: FloatArray, start: int, columns: Mapping[str, FloatArray]
) -> dict[str, FloatArray]:
    """The totals [..., start:] of columns that were put side by side, each [...] or [..., k]."""
    found = {}
    for name, column in columns.items():
        width = 1 if column.ndim == 1 else column.shape[1]
        found[name] = totals[..., start] if column.ndim == 1 else totals[..., start : start + width]
        start += width
    return found


def percentile_interval(draws: FloatArray, beyond: float = 0.025) -> Interval:
    """The middle of the draws that are defined, a share `beyond` left out on either side.

    (NaN, NaN) where no draw is defined.
    """
    defined = draws[~np.isnan(draws)]
    if not defined.size:
        return NO_INTERVAL
    if np.isfinite(defined).all():
        return Interval(
            float(np.quantile(defined, beyond)), float(np.quantile(defined, 1 - beyond))
        )
    ordered = np.sort(defined)  # an infinite draw cannot be interpolated
    last = defined.size - 1
    return Interval(float(ordered[int(beyond * last)]), float(ordered[-1 - int(beyond * last)]))


def beyond_of(n: int) -> float:
    """The share of draws beyond either end of an interval over n rows.

    Percentiles of few rows are too narrow, as a normal interval is without Student's t and n - 1:
    further ones are taken by as much (Hesterberg 2015, "expanded percentile").
    """
    if n >= FEW_ROWS or n < 2:
        return 0.025
    return float(ndtr(-np.sqrt(n / (n - 1)) * stdtrit(n - 1, 0.975)))


def student_half(draws: FloatArray, n: int) -> float:
    """Half the width of Student's t interval over n rows, by the spread of the draws."""
    return float(math.sqrt(n / (n - 1)) * stdtrit(n - 1, 0.975) * standard_error(draws))


def widened(n: int) -> str:
    """How that is said behind a method."""
    return f", widened for {n} rows" if n < FEW_ROWS else ""


def interval_of(draws: FloatArray, n: int, method: str) -> tuple[Interval, str]:
    """The interval from draws over n rows and the method in words; what it lacks is said there."""
    undefined = int(np.isnan(draws).sum())
    if n < 2:
        return NO_INTERVAL, "no interval: one row only"
    if undefined == len(draws):
        return NO_INTERVAL, "no interval: the value of a row is not finite"
    if undefined:
        method += f", {len(draws) - undefined:,} of them defined"
    method += widened(n)
    return shown_interval(percentile_interval(draws, beyond_of(n)), method)


def shown_interval(found: Interval, method: str) -> tuple[Interval, str]:
    """An interval of no width is none (V14)."""
    if found.high - found.low > NO_WIDTH or np.isnan(found.low):
        return found, method
    return NO_INTERVAL, "no interval: no row differs from another"


def standard_error(draws: FloatArray) -> float:
    """The standard deviation of the draws, undivided: they already are the metric."""
    defined = draws[np.isfinite(draws)]
    return float(defined.std(ddof=1)) if defined.size > 1 else float("nan")


def bootstrap_cells(counts: IntArray, statistic: Statistic, resampling: Resampling) -> Draws:
    """Multinomial draws of the non-empty joint cells, counts int64 [K].

    The same distribution as resampling rows, at a cost that does not depend on their number.
    """
    rng = np.random.default_rng(resampling.seed)
    sizes = chunks(resampling.draws, len(counts))
    return joined(statistic(_cells(rng, counts, m)) for m in sizes)


def smoothed_cells(shapes: FloatArray, statistic: Statistic, resampling: Resampling) -> Draws:
    """The same with gamma numbers of these shapes [K] in the place of counts (Rubin 1981)."""
    rng = np.random.default_rng(resampling.seed)
    sizes = chunks(resampling.draws, len(shapes))
    return joined(statistic(rng.standard_gamma(shapes, size=(m, len(shapes)))) for m in sizes)


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


def totals_of(model: RowScores) -> FloatArray:
    """The plain totals [k] of a model's rows, summed in bounded memory."""
    parts = [model.features(rows).sum(axis=0) for rows in blocks(model.n)]
    return np.asarray(np.sum(parts, axis=0))


def values_of(model: RowScores) -> dict[str, float]:
    """The metrics themselves: those of the plain totals."""
    found = model.metrics_of_totals(totals_of(model))
    return {name: float(value) for name, value in found.items()}


def bootstrap_rows(
    models: Sequence[RowScores],
    resampling: Resampling,
    moments: Moments | None = None,
    shapes: FloatArray | None = None,
) -> tuple[list[Draws], bool]:
    """Draws of every metric of each model over the same rows, and whether rows were resampled.

    Up to `ROWS_DRAWN` rows × draws each draw is a resample of the rows. Beyond, totals are drawn
    from the normal distribution that their resampled values tend to (mean and covariance exact):
    the same interval but for an error of the order of skewness ÷ √n. `moments` are those of the
    models, where they are known already. With `shapes` [n] the weights of rows are gamma numbers
    of these shapes and not counts of drawn rows (the Bayesian bootstrap, Rubin 1981).
    """
    with one_blas_thread():
        if rows_are_drawn(models, resampling):
            return _row_draws(models, resampling, shapes), True
        return _limit_draws(models, resampling, moments), False


def rows_are_drawn(models: Sequence[RowScores], resampling: Resampling) -> bool:
    """Whether draws are resamples of rows, and not of the limit that these tend to."""
    return models[0].n * resampling.draws <= ROWS_DRAWN


def _row_draws(
    models: Sequence[RowScores], resampling: Resampling, shapes: FloatArray | None
) -> list[Draws]:
    n = models[0].n
    rng = np.random.default_rng(resampling.seed)
    columns = [_finite_columns(model.features(slice(None))) for model in models]
    found: list[list[Draws]] = [[] for _ in models]
    for m in chunks(resampling.draws, n):
        weights = _row_weights(rng, n, m, shapes)
        for model, (features, usable), parts in zip(models, columns, found, strict=True):
            totals = np.where(usable, weights @ features, np.nan)
            parts.append(model.metrics_of_totals(totals) | model.reweighted(weights))
    return [joined(parts) for parts in found]


def _row_weights(rng: np.random.Generator, n: int, m: int, shapes: FloatArray | None) -> FloatArray:
    """[m, n], each line of the sum n."""
    if shapes is None:
        return _tally(rng.integers(0, n, size=(m, n)), n)
    weights = rng.standard_gamma(shapes, size=(m, n))
    return np.asarray(weights * (n / weights.sum(axis=1, keepdims=True)))


def _finite_columns(features: FloatArray) -> tuple[FloatArray, NDArray[np.bool_]]:
    """A column with a value that is not finite has no interval: zeroed here, NaN in the draws."""
    usable = np.logical_and.reduce(np.isfinite(features), axis=0)
    return np.where(usable, features, 0.0), usable


@dataclass(frozen=True)
class Moments:
    """Sums over n rows of their features side by side [k], and of the products of these [k, k]."""

    n: int
    total: FloatArray
    products: FloatArray


def moments_of(models: Sequence[RowScores]) -> Moments:
    """Of all models' features side by side, in bounded memory."""
    total: Any = 0.0
    products: Any = 0.0
    for rows in blocks(models[0].n):
        columns = [model.features(rows) for model in models]
        block = np.concatenate(columns, axis=1) if len(columns) > 1 else columns[0]
        total = total + block.sum(axis=0)
        with np.errstate(invalid="ignore"):  # infinity times 0: the column is NaN in the draws
            products = products + block.T @ block
    return Moments(models[0].n, total, products)


def draws_of_moments(moments: Moments, resampling: Resampling) -> FloatArray:
    """Totals [draws, k] from the normal distribution with the mean and covariance of resampled
    ones; NaN where a total is not finite."""
    total = moments.total
    usable = np.isfinite(total)
    finite = np.where(usable, total, 0.0)
    products = np.where(np.outer(usable, usable), moments.products, 0.0)
    values, vectors = np.linalg.eigh(products - np.outer(finite, finite) / moments.n)
    root = vectors * np.sqrt(values.clip(0))
    rng = np.random.default_rng(resampling.seed)
    moved = rng.standard_normal((resampling.draws, len(total))) @ root.T
    return np.where(usable, total + moved, np.nan)


def _limit_draws(
    models: Sequence[RowScores], resampling: Resampling, moments: Moments | None
) -> list[Draws]:
    totals = draws_of_moments(moments or moments_of(models), resampling)
    ends = np.cumsum([model.features(slice(0, 1)).shape[1] for model in models])
    parts = np.split(totals, ends[:-1], axis=1)
    return [model.metrics_of_totals(part) for model, part in zip(models, parts, strict=True)]


def blocks(n: int) -> Iterator[slice]:
    """Slices over n rows, each small enough to be held with its features."""
    for start in range(0, n, ROWS_AT_ONCE):
        yield slice(start, start + ROWS_AT_ONCE)


def chunks(draws: int, width: int) -> Iterator[int]:
    """Numbers of draws that add up to `draws`, each bounded in memory."""
    size = max(1, CHUNK_CELLS // max(width, 1))
    for start in range(0, draws, size):
        yield min(size, draws - start)


def joined(chunks: Sequence[Mapping[str, FloatArray]] | Iterator[Draws]) -> Draws:
    parts = list(chunks)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
