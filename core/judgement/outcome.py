"""What a paired difference shows: one rule for the verdict, the report and every table."""

from __future__ import annotations

from typing import Literal

from ..metrics.results import Comparison
from ..wording.numbers import shows_nothing
from .selection import higher_is_better

Outcome = Literal["better", "worse", "the same", "cannot tell"]
LEVEL = 0.05


def read_difference(c: Comparison) -> Outcome:
    """Better, worse, the same, or that these rows cannot tell.

    By its interval and its p: Holm's for all but the declared metric (S6). Both must show it (S2b).
    The same: it is surely not large, and no digit of it is shown; sums in another order differ in
    their last bits alone, and a test of such differences finds what is no difference.
    """
    metric, p, low, high = c.metric, c.adjusted_p, c.low, c.high
    one_sided = low > 0 or high < 0
    if shows_nothing(metric, c.difference):
        narrow = shows_nothing(metric, low) and shows_nothing(metric, high)
        no_row_differs = low != low and p == 1  # no width is no interval
        return "the same" if narrow or one_sided or no_row_differs else "cannot tell"
    if not (one_sided and p <= LEVEL):
        return "cannot tell"
    return "better" if (low > 0) == higher_is_better(metric) else "worse"
