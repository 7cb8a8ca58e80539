"""Moving averages and axes of a long run, made in a thread before a key asks for them.

A million points take 0.1 to 0.2 s each, for which the event loop would stand still.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from ...drawing.series import SMOOTHINGS, Average
from .chart_data import ChartData

LONG = 50_000  # steps; fewer are made within a frame
BLOCK = 1 << 14  # points made under one hold of the lock: a few milliseconds
REST_SECONDS = 0.001  # without a rest the loop would hardly ever get the lock


def make_ahead(
    data: ChartData, lock: AbstractContextManager[Any], wanted: Callable[[], bool]
) -> None:
    """Until all is made, or no longer wanted. Under `lock` the data is read and written."""
    if len(data) < LONG:
        return
    with lock:
        growing = list(_growing(data))
    for grow in growing:
        made = -1
        while wanted():
            with lock:
                before, made = made, grow()
            if made <= before:
                break
            time.sleep(REST_SECONDS)


def _growing(data: ChartData) -> Iterator[Callable[[], int]]:
    """Each adds a block to something and tells how much of it there is."""
    yield partial(data.grow_axes, BLOCK)
    for share in SMOOTHINGS:
        for name in data.names:
            for series in data.chart(name).series:
                if share and series.noisy:
                    yield partial(_grow, series.average(share))


def _grow(average: Average) -> int:
    return len(average.catch_up(BLOCK))
