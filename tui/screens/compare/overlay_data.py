"""The losses of several runs as one chart needs them: on common axes, each with its sign."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from ....core.run.history import History
from ...drawing.series import SMOOTHINGS
from ...widgets.plot_pane import AXES
from ..charts.data import ChartData

MOST_RUNS = 6


@dataclass(frozen=True)
class Hand:
    """How one run is drawn: its colour, how its line is broken, the sign of its evaluations."""

    role: str
    dash: tuple[int, int]  # columns of dots drawn, columns left out
    line: str
    sign: str


HANDS = (  # signs that stay apart in ASCII too
    Hand("train", (1, 0), "━", "●"),
    Hand("validation", (4, 2), "╍", "▲"),
    Hand("tuned", (2, 2), "┅", "◆"),
    Hand("warn", (6, 2), "╌", "○"),
    Hand("good", (1, 2), "┉", "▼"),
    Hand("base", (1, 4), "┄", "×"),
)


class Curve:
    """One run of the chart. Everything is made at once: in a thread this costs no key a wait."""

    def __init__(self, name: str, hand: Hand, history: History) -> None:
        self.name, self.hand, self.data = name, hand, ChartData()
        self.data.update(history)
        self.training, self.validation = self.data.chart("loss").series
        for axis in AXES:
            self.data.xs(axis)
            self.data.validation_xs(axis)
        for share in SMOOTHINGS:
            self.training.smoothed(share)

    def end(self, axis: str) -> float:
        return max([0.0, *self.training.xs(axis)[-1:], *self.validation.xs(axis)[-1:]])

    def values_at(self, x: float, axis: str, smoothing: float) -> tuple[float | None, float | None]:
        """Training and validation loss at the last point that is not after `x`."""
        return (
            _value_at(x, self.training.xs(axis), self.training.smoothed(smoothing).values),
            _value_at(x, self.validation.xs(axis), self.validation.values.values),
        )


def _value_at(x: float, xs: Sequence[float], values: Sequence[float]) -> float | None:
    index = bisect_left(xs, x * (1 + 1e-9) + 1e-9) - 1
    return values[index] if 0 <= index < len(values) else None
