"""Intervals for proportions and paired tests, in closed form or by sign flips."""

import math
from collections.abc import Callable, Hashable, Mapping
from contextlib import AbstractContextManager
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import bdtr, bdtrik, gammaln, ndtr, xlog1py, xlogy
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from .counts import FloatArray

Name = TypeVar("Name", bound=Hashable)

Z_95 = 1.959963984540054  # two-sided 95 %
Z_POWER_80 = 0.8416212335729143  # power of 80 %
LEAST_DISCORDANT = 6  # with fewer changed rows the exact McNemar p cannot fall below 0.05
EXACT_POWER_ROWS = 2_000  # changed rows from which the exact test is within 0.5 % of its limit
FLIP_ROWS = 10_000  # rows up to which signs are flipped one by one
NO_SPREAD = 1e-12  # a standard error of rounding alone
CHUNK_CELLS = 100_000  # float64 cells held at once: 0.8 MB stays in a core's cache
COVERS = "covers the choice of test rows only, not another fine-tuning run"  # beside intervals


def one_blas_thread() -> AbstractContextManager[object]:
    """A context in which matrix products stay on one thread.

    They are small here: on a busy machine two threads spin on each other for ten times the work.
    """
    limits: AbstractContextManager[object] = threadpool_limits(1, user_api="blas")
    return limits


class Interval(NamedTuple):
    low: float
    high: float


class McNemar(NamedTuple):
    exact: float
    mid_p: float

    @property
    def method(self) -> str:
        """The words beside the exact p; a mid-p too small for a float has a bound."""
        mid_p = f"{self.mid_p:.4g}" if self.mid_p > 0 else "below 1e-300"
        return f"exact McNemar p (mid-p {mid_p})"


def wilson(successes: float, n: float) -> Interval:
    """95 % score interval of a proportion (Wilson 1927); (NaN, NaN) for n = 0."""
    if n <= 0:
        return Interval(math.nan, math.nan)
    share, z2 = successes / n, Z_95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return Interval(low, high)


def mcnemar(b: int, c: int) -> McNemar:
    """Two-sided p of b against c changed rows: exact binomial, and mid-p (Fagerland 2013).

    The rows that both models get right, or both wrong, say nothing about the difference.
    """
    few, n = min(b, c), b + c
    tail = float(bdtr(few, n, 0.5))
    log_choose = gammaln(n + 1) - gammaln(few + 1) - gammaln(n - few + 1)
    here = math.exp(float(log_choose) - n * math.log(2))
    return McNemar(min(1.0, 2 * tail), min(1.0, 2 * tail - here))


def holm(p_values: Mapping[Name, float]) -> dict[Name, float]:
    """Adjusted p by name (Holm 1979): reject those at or below the level. NaN stays and counts."""
    ordered = sorted(p_values, key=lambda name: (math.isnan(p_values[name]), p_values[name]))
    adjusted, least = {}, 0.0
    for i, name in enumerate(ordered):
        p = p_values[name]
        if not math.isnan(p):
            least = p = min(1.0, max(least, (len(ordered) - i) * p))
        adjusted[name] = p
    return {name: adjusted[name] for name in p_values}


def smallest_detectable(n: int, discordance: float) -> float:
    """The smallest difference in accuracy that n paired rows show at 80 % power, 5 % two-sided.

    Inverts Connor 1987: n = (z √ψ + z' √(ψ - δ²))² ÷ δ², with δ the difference and ψ the share of
    rows on which exactly one model is right. A discordance too small for any significant result is
    raised to the least that allows one; NaN when n rows cannot show even a difference of 1.
    """
    share = max(discordance, LEAST_DISCORDANT / n) if n else math.inf
    while share <= 1:
        found = _detectable(n, share)
        if found <= share + 1e-9:
            return found
        share = found  # the rows that change are at least as many as the difference
    return math.nan


def smallest_shown(n: int, discordance: float) -> float:
    """The same for the exact McNemar test: the least difference of which its power is 80 %.

    The exact test shows a little less than its limit above, the more so the fewer rows change.
    NaN where n rows cannot show even a difference of 1.
    """
    low = smallest_detectable(n, discordance)
    if math.isnan(low) or n * max(discordance, low) > EXACT_POWER_ROWS:
        return low
    if mcnemar_power(n, discordance, 1.0) < 0.8:
        return math.nan
    low, high = low * 0.9, 1.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        if mcnemar_power(n, discordance, middle) < 0.8:
            low = middle
        else:
            high = middle
    return high


def mcnemar_power(n: int, discordance: float, difference: float) -> float:
    """The chance that exact McNemar of n rows gives p at or below 0.05.

    A share `discordance` of the rows changes, or as many as the difference needs.
    """
    share = min(1.0, max(discordance, difference, LEAST_DISCORDANT / n))
    spread = 8 * math.sqrt(n * share * (1 - share)) + 2
    least, most = max(0, math.floor(n * share - spread)), min(n, math.ceil(n * share + spread))
    changed = np.arange(least, most + 1)
    few = np.floor(bdtrik(0.025, np.maximum(changed, 1), 0.5))  # the most of the fewer kind
    few = np.where(bdtr(few, changed, 0.5) > 0.025, few - 1, few)
    up = (1 + difference / share) / 2
    chance = np.exp(
        gammaln(n + 1)
        - gammaln(changed + 1)
        - gammaln(n - changed + 1)
        + xlogy(changed, share)
        + xlog1py(n - changed, -share)
    )
    shown = np.where(few >= 0, bdtr(few, changed, 1 - up) + bdtr(few, changed, up), 0.0)
    return float(chance @ shown)


def tango(fixed: float, broke: float, n: float) -> Interval:
    """95 % score interval of a paired difference of shares, (fixed - broke) ÷ n (Tango 1998).

    It has a width where no row changed, and holds at the boundary.
    """
    value = (fixed - broke) / n

    def apart(d: float) -> float:
        linear = -(fixed + broke) + (2 * n - fixed + broke) * d
        root = math.sqrt(max(0.0, linear**2 + 8 * n * broke * d * (1 - d)))
        down = (root - linear) / (4 * n)
        spread = n * (2 * down + d * (1 - d))
        return abs(fixed - broke - n * d) - Z_95 * math.sqrt(max(spread, 0.0))

    return Interval(_edge(apart, value, -1.0), _edge(apart, value, 1.0))


def _edge(apart: Callable[[float], float], inside: float, outside: float) -> float:
    """Where a function is 0 between a place at which it is not above 0 and the end of its range."""
    if apart(outside) <= 0:
        return outside
    while abs(outside - inside) > 1e-12:
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if apart(middle) <= 0 else (inside, middle)
    return inside


def _detectable(n: int, share: float) -> float:
    """The positive root d of √n d = z √share + z' √(share - d²)."""
    a = Z_95 * math.sqrt(share)
    z2 = Z_POWER_80**2
    inside = n * a * a - (n + z2) * (a * a - z2 * share)
    return (math.sqrt(n) * a + math.sqrt(inside)) / (n + z2)


def smallest_detectable_of(standard_error: float) -> float:
    """The same for a metric known by the standard error of its paired difference.

    NaN where that is 0: no row moved the metric, which does not say that any difference shows.
    """
    if standard_error <= NO_SPREAD:
        return math.nan
    return (Z_95 + Z_POWER_80) * standard_error


def sign_flip(differences: ArrayLike, seed: int = 0, draws: int = 10_000) -> float:
    """Two-sided permutation p that the paired differences [n] sum to 0 (Fisher 1935).

    All 2^n sign patterns where they are at most `draws`; up to 10,000 rows `draws` random ones,
    the observed one counted among them; above, their normal limit. NaN when a difference is not
    finite.
    """
    values = np.asarray(differences, dtype=np.float64)
    if not np.isfinite(values).all():
        return math.nan
    values = values[values != 0]
    observed, n = abs(values.sum()), len(values)
    if n == 0:
        return 1.0
    if n > FLIP_ROWS:
        return float(2 * ndtr(-observed / np.sqrt(np.square(values).sum())))
    reached = observed - 1e-12 * np.abs(values).sum()  # equal sums may differ in their last bit
    if 2**n <= draws:
        signs = 1.0 - 2.0 * (np.arange(2**n)[:, None] >> np.arange(n) & 1)
        return float(np.mean(np.abs(signs @ values) >= reached))
    rng = np.random.default_rng(seed)
    with one_blas_thread():
        return (1 + _flips_reaching(rng, values, reached, draws)) / (1 + draws)


def _flips_reaching(
    rng: np.random.Generator, values: FloatArray, reached: float, draws: int
) -> int:
    """How many of `draws` random sign patterns give a sum at least as far from 0."""
    n, count, done = len(values), 0, 0
    width = -(-n // 8)
    while done < draws:
        m = min(draws - done, max(1, CHUNK_CELLS // n))
        packed = np.frombuffer(rng.bytes(m * width), np.uint8).reshape(m, width)
        kept = np.unpackbits(packed, axis=1, count=n).astype(np.float64)
        sums = 2 * (kept @ values) - values.sum()
        count += int((np.abs(sums) >= reached).sum())
        done += m
    return count
