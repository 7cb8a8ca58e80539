"""Sums over rows, and what is divided by what: with NumPy's arrays, or without NumPy.

A confusion matrix enters as its margins. With a leading axis of draws the same arithmetic gives a
metric's bootstrap distribution; with `Vector` in the place of arrays it serves screens that show a
run before NumPy is there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, SupportsIndex, cast

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]
    Number = FloatArray | float

EXP_LIMIT = 709.0  # nats: exp of more leaves the range of a float
Totals = Mapping[str, "FloatArray"]  # sums over rows by name, each [...] or [..., k]


class Ratio(NamedTuple):
    """A division to be made; `empty` is a draw's value where there is nothing to divide by."""

    numerator: Number
    denominator: Number
    empty: Number = math.nan

    @property
    def quotient(self) -> float:
        """0 where there is nothing to divide by."""
        return float(self.numerator) / float(self.denominator) if self.denominator else 0.0

    @property
    def value(self) -> FloatArray:
        return divide(*self)

    def of_label(self, code: int) -> Ratio:
        """Of one label, where the last axis is that of labels; a draw without any is NaN."""
        above, below = (cast("FloatArray", x)[..., code] for x in self[:2])
        return Ratio(above, below)

    def as_floats(self) -> Ratio:
        return Ratio(float(self.numerator), float(self.denominator))


class Vector(tuple[float, ...]):
    """Numbers with the few operations of an array [C] that margins need, where NumPy is not."""

    def _with(self, other: object, what: Callable[[float, float], float]) -> Vector:
        others = other if isinstance(other, Vector) else (cast(float, other),) * len(self)
        return Vector(map(what, self, others))

    def __add__(self, other: object) -> Vector:
        return self._with(other, lambda a, b: a + b)

    def __mul__(self, other: object) -> Vector:
        return self._with(other, lambda a, b: a * b)

    __rmul__ = __mul__

    def __pow__(self, power: int) -> Vector:
        return Vector(a**power for a in self)

    def __gt__(self, other: object) -> Vector:  # type: ignore[override]
        return self._with(other, lambda a, b: a > b)

    def __getitem__(self, place: object) -> float:  # type: ignore[override]
        """By `[..., i]`, as the last axis of an array."""
        return super().__getitem__(cast("tuple[object, SupportsIndex]", place)[1])

    def sum(self, axis: int = -1) -> float:
        return math.fsum(self)


def total(values: FloatArray | NDArray[np.bool_]) -> FloatArray:
    """Over the last axis, that of labels."""
    found: FloatArray = values.sum(axis=-1)
    return found


def divide(above: Number, below: Number, empty: Number = math.nan) -> FloatArray:
    """above / below, and `empty` where below is 0, without a warning."""
    if isinstance(below, Vector):
        pairs = zip(cast("Vector", above), below, strict=True)
        return cast("FloatArray", Vector(a / b if b > 0 else cast(float, empty) for a, b in pairs))
    if isinstance(below, int | float):
        return cast("FloatArray", above / below if below > 0 else empty)
    import numpy as np

    defined = np.asarray(below) > 0
    if defined.all():  # twice as fast as a division that leaves places out
        return np.asarray(above / below)
    shape = np.broadcast(above, below).shape
    found = np.array(np.broadcast_to(empty, shape), dtype=np.float64)
    np.divide(above, below, out=found, where=defined)
    return found


def root(square: Number) -> FloatArray:
    """The square root; 0 where rounding left a last bit below 0."""
    if type(square) in (int, float):
        return cast("FloatArray", math.sqrt(max(0.0, cast(float, square))))
    import numpy as np

    return np.asarray(np.sqrt(np.maximum(square, 0.0)))


def exponential(value: Number) -> FloatArray:
    """exp, and infinity beyond what a float holds."""
    if type(value) is float:
        return cast("FloatArray", math.inf if value > EXP_LIMIT else math.exp(value))
    import numpy as np

    with np.errstate(over="ignore"):
        return np.asarray(np.exp(value))


@dataclass(frozen=True)
class Margins:
    """What every count metric needs, [..., C] float64: leading axes are draws.

    A label with true rows that is never predicted has F1 0; one in neither truth nor predictions
    is left out of averages. Rows without a prediction are support that no column counts.
    """

    right: FloatArray
    support: FloatArray  # true rows
    predicted: FloatArray
    positive: int | None = None  # a code, in a task with two labels

    @cached_property
    def all_right(self) -> FloatArray:
        return total(self.right)

    @cached_property
    def rows(self) -> FloatArray:
        return total(self.support)

    @cached_property
    def named(self) -> FloatArray:
        """Rows with a prediction."""
        return total(self.predicted)

    @cached_property
    def labels_present(self) -> FloatArray:
        """How many labels occur in truth or predictions."""
        return total(self.support + self.predicted > 0)

    @cached_property
    def labels_true(self) -> FloatArray:
        """How many labels have true rows."""
        return total(self.support > 0)

    @cached_property
    def by_label(self) -> dict[str, Ratio]:
        """Precision, recall and F1 of each label, [..., C]."""
        return {
            "precision": Ratio(self.right, self.predicted, 0.0),
            "recall": Ratio(self.right, self.support, 0.0),
            "f1": Ratio(2 * self.right, self.support + self.predicted, 0.0),
        }

    @cached_property
    def precision(self) -> FloatArray:
        return self.by_label["precision"].value

    @cached_property
    def recall(self) -> FloatArray:
        return self.by_label["recall"].value

    @cached_property
    def f1(self) -> FloatArray:
        return self.by_label["f1"].value

    def of_positive(self, name: str) -> Ratio | None:
        """The same of the positive label alone; None where there is none."""
        if self.positive is None:
            return None
        return self.by_label[name].of_label(self.positive)


@dataclass(frozen=True)
class SetMargins(Margins):
    """The same of rows with any number of labels each: `rows` is how many labels are true in all.

    `totals` are sums over rows by name, as metrics of probabilities read them too. `positive` may
    be any label.
    """

    totals: Totals = field(default_factory=dict)

    def __getitem__(self, name: str) -> FloatArray:
        return self.totals[name]

    def __contains__(self, name: str) -> bool:
        return name in self.totals

    def get(self, name: str) -> object:
        return self.totals.get(name)

    def beside(self, more: Mapping[str, object]) -> SetMargins:
        """With what only a receipt asks for."""
        return replace(self, totals={**self.totals, **cast("Totals", more)})

    @cached_property
    def told_apart(self) -> FloatArray:
        """[..., C] 1 where some rows have the label and some lack it, else 0."""
        having, lacking = self.support > 0, self._others > 0
        return cast("FloatArray", having * 1.0 * lacking)

    @cached_property
    def both_recalls(self) -> FloatArray:
        """[..., C] recall of the rows with a label and of those without it, added; else 0."""
        right = self._others + self.predicted * -1.0 + self.right
        lacking = divide(right, self._others, 0.0)
        having = divide(self.right, self.support, 0.0)
        return (having + lacking) * self.told_apart

    @property
    def _others(self) -> FloatArray:
        """[..., C] rows without the label."""
        return self.support * -1.0 + self["rows"]


def margins_of_cells(
    cells: Iterable[Sequence[int]], n_labels: int, positive: int | None = None
) -> Margins:
    """Cells of (truth, prediction, rows) to margins without NumPy.

    A prediction outside the labels is none.
    """
    right, support, predicted = ([0.0] * n_labels for _ in range(3))
    for truth, prediction, rows in cells:
        support[truth] += rows
        if 0 <= prediction < n_labels:
            predicted[prediction] += rows
        if truth == prediction:
            right[truth] += rows
    columns = [cast("FloatArray", Vector(column)) for column in (right, support, predicted)]
    return Margins(columns[0], columns[1], columns[2], positive if n_labels == 2 else None)


def token_totals(nll: float, scored: int, correct: int = 0, n_bytes: int = 0) -> Totals:
    """Sums over rows, or of one text, under the names that the metrics of tokens ask for."""
    sums = {"nll": nll, "scored": scored, "correct": correct, "bytes": n_bytes}
    return cast("Totals", sums)
