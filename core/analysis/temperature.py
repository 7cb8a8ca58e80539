"""Temperature scaling (Guo 2017): one number that makes a classifier's confidences honest.

softmax(log p ÷ T): above 1 confidences shrink, below 1 they grow. No prediction changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from ..metrics.counts import Draws

FloatArray = NDArray[np.float64]

FITTED_CELLS = 2_000_000  # rows × labels from which a temperature is fitted; above, rows are drawn
LIMITS = (-4.0, 4.0)  # of log T
_ROWS_AT_ONCE = 65_536


@dataclass(frozen=True)
class Temperature:
    value: float
    rows: int  # from which it was fitted
    at_limit: bool  # the loss falls on beyond the limits: every row is right, or none is


def fit_temperature(truth: NDArray[Any], probabilities: FloatArray) -> Temperature | None:
    """The T with the least mean negative log-likelihood; truth int [n], probabilities [n, C].

    None where a true label has probability 0 or one is not a number: no T gives a finite loss.
    """
    n, n_labels = probabilities.shape
    most = max(1, FITTED_CELLS // n_labels)
    if n > most:
        chosen = np.sort(np.random.default_rng(0).choice(n, most, replace=False))
        truth, probabilities = truth[chosen], probabilities[chosen]
    margins = list(_margins(truth, probabilities))
    if not all(np.isfinite(own).all() for own, _ in margins):
        return None
    found = minimize_scalar(
        lambda t: _loss(margins, float(np.exp(-t))), bounds=LIMITS, method="bounded"
    )
    log_t = float(found.x)
    at_limit = min(log_t - LIMITS[0], LIMITS[1] - log_t) < 0.01
    return Temperature(float(np.exp(log_t)), len(truth), at_limit)


def _margins(
    truth: NDArray[Any], probabilities: FloatArray
) -> Iterator[tuple[FloatArray, FloatArray]]:
    """By blocks of rows: log p of the true label, and of every label less that of the true one."""
    for start in range(0, len(truth), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.log(probabilities[rows])
            own = logs[np.arange(len(logs)), truth[rows]]
            logs -= own[:, None]
        yield own, logs


def _loss(margins: list[tuple[FloatArray, FloatArray]], inverse: float) -> float:
    """Mean of log Σ exp((log p - log p of the true label) ÷ T)."""
    with np.errstate(over="ignore"):
        total = sum(float(_log_sum_exp(away * inverse).sum()) for _, away in margins)
    return total / sum(len(own) for own, _ in margins)


def _log_sum_exp(x: FloatArray) -> FloatArray:
    if x.shape[1] == 2:
        return np.asarray(np.logaddexp(x[:, 0], x[:, 1]))
    top = x.max(axis=1, keepdims=True)
    return np.asarray(top[:, 0] + np.log(np.exp(x - top).sum(axis=1)))


def at_temperature(probabilities: FloatArray, temperature: float) -> FloatArray:
    """softmax(log p ÷ T) of probabilities [n, C], in a new array."""
    out = np.empty_like(probabilities)
    for start in range(0, len(out), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        with np.errstate(divide="ignore"):
            scaled = np.log(probabilities[rows]) / temperature
        scaled -= scaled.max(axis=1, keepdims=True)
        np.exp(scaled, out=scaled)
        out[rows] = scaled / scaled.sum(axis=1, keepdims=True)
    return out


@dataclass(frozen=True)
class MeanOfRows:
    """Values of rows [n] whose mean is wanted; a `bootstrap.RowScores`."""

    name: str
    values: FloatArray

    @property
    def n(self) -> int:
        return len(self.values)

    def features(self, rows: slice) -> FloatArray:
        return self.values[rows, None]

    def metrics_of_totals(self, totals: FloatArray) -> Draws:
        return {self.name: totals[..., 0] / self.n}

    def reweighted(self, weights: FloatArray) -> Draws:
        return {}
