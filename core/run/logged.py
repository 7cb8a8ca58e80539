"""What other training loops log: the names of their figures, and the figures as series.

A loss that a loop logs is a mean, over rows, tokens or batches and since its last log: which is not
known. So it is shown, and nothing is summed from it as from the steps that ftev takes itself.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

from .events import ScalarsLogged

LOSS, LEARNING_RATE, GRAD_NORM = "train/loss", "train/learning_rate", "train/grad_norm"
TOKENS = "train/num_tokens"  # read since the start, summed
VALIDATION_LOSS = "validation/loss"
OF_STEPS = frozenset({LOSS, LEARNING_RATE, GRAD_NORM, TOKENS})  # columns of the training series
MOST_NAMES = 1_000  # a loop that makes up a name at each step must not fill the memory
NAME_LENGTH = 200  # characters
LAST_STEP = 2**53  # steps stand as floats on axes

_ALIASES = {
    "lr": LEARNING_RATE,
    "train/lr": LEARNING_RATE,
    "num_tokens": TOKENS,
    "num_input_tokens_seen": TOKENS,
    "train/num_input_tokens_seen": TOKENS,
    "train_loss": LOSS,
    "training_loss": LOSS,
}
_SPLITS = {
    "train": "train",
    "training": "train",
    "eval": "validation",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}


def canonical_name(name: str) -> str:
    """`split/metric`, as ftev calls it: eval_loss, val/loss and eval/loss are `validation/loss`.

    What has no split in its name is of training, as trackers have it; a name with a folder of its
    own (`rollout/reward`) stays.
    """
    name = name.strip().lstrip("/")[:NAME_LENGTH]
    if name in _ALIASES:
        return _ALIASES[name]
    for mark in ("/", "_"):
        split, found, metric = name.partition(mark)
        if found and metric and split in _SPLITS and (mark == "/" or split != "train"):
            whole = f"{_SPLITS[split]}/{metric}"
            return _ALIASES.get(whole, whole)
    known = ("loss", "learning_rate", "grad_norm")
    return f"train/{name}" if name in known or "/" not in name else name


def is_of_training(name: str) -> bool:
    """Whether a canonical name is measured while training, not in an evaluation."""
    return not name.startswith(("validation/", "test/"))


@dataclass
class ScalarSeries:
    """One figure, a point each time it was logged, in order of steps."""

    step: array[int] = field(default_factory=lambda: array("q"))
    value: array[float] = field(default_factory=lambda: array("d"))

    def __len__(self) -> int:
        return len(self.step)


@dataclass
class Scalars:
    """Every figure that a loop logged, by its name, in the order in which they first came.

    Those of `OF_STEPS` are not here but in `History.steps`.
    """

    series: dict[str, ScalarSeries] = field(default_factory=dict)
    left_out: int = 0  # values whose step was past, or whose name was one too many
    cuts: int = 0  # times that points were taken back: who draws starts anew

    def add(self, e: ScalarsLogged) -> None:
        """A value of a step before the last of its series is left out and counted."""
        for name, value in e.values.items():
            if name in OF_STEPS:
                continue
            series = self.series.get(name)
            if series is None:
                if len(self.series) >= MOST_NAMES or not name:
                    self.left_out += 1
                    continue
                series = self.series[name] = ScalarSeries()
            if series.step and e.step < series.step[-1]:
                self.left_out += 1
                continue
            series.step.append(e.step)
            series.value.append(value)

    def cut_after(self, step: int) -> None:
        """Forget points past `step`: a loop that resumed makes them again."""
        self.cuts += 1
        for name, series in list(self.series.items()):
            keep = bisect_right(series.step, step) if step else 0
            del series.step[keep:], series.value[keep:]
            if not keep:
                del self.series[name]

    def newest(self) -> Iterator[tuple[str, int, float]]:
        """The last point of each: name, step, value."""
        for name, series in self.series.items():
            yield name, series.step[-1], series.value[-1]


def value_of(e: ScalarsLogged, name: str) -> float:
    """NaN where it was not logged."""
    return e.values.get(name, math.nan)
