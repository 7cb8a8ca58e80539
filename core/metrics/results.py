"""The figures that a run ends with, as its events and report.json hold them.

Structs alone, without numbers' libraries: whoever folds or shows a history imports this.
"""

from __future__ import annotations

import msgspec


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a run writes down of its numbers; a field that is None is absent."""


class Estimate(Record, frozen=True):
    """A metric with its 95 % interval; low and high are NaN where `method` says there is none.

    Numerator and denominator are what was divided; absent where the confusion counts give them.
    """

    value: float
    low: float
    high: float
    method: str
    numerator: float | None = None
    denominator: float | None = None
    design_effect: float | None = None  # of clusters: variance in relation to independent rows


class Confusion(Record, frozen=True):
    """Rows by true label and prediction."""

    labels: list[str]
    counts: list[list[int]]  # rows are truth, columns predictions
    no_prediction: list[int] | None = None  # rows without one, by true label; None where none is


class LabelScores(Record, frozen=True):
    """How a model does on the rows of one label."""

    precision: float
    recall: float
    f1: float
    support: int  # rows with this label
    threshold: float | None = None  # from which it is given, where rows have several labels


class ModelResult(Record, frozen=True, kw_only=True):
    """A model on a split, as in report.json (`msgspec.to_builtins`); what is None is absent."""

    n: int  # rows scored
    clusters: int | None = None  # of rows that belong together; None where every row is by itself
    loss: float | None = None
    metrics: dict[str, Estimate]
    per_class: dict[str, LabelScores] | None = None
    confusion: Confusion | None = None
    positive: str | None = None
    undefined: list[str] = []  # labels in neither truth nor predictions
    unscored: list[int] = []  # ids of rows with nothing to score
    no_prediction: list[int] = []  # ids of rows whose scores are not finite: they count as wrong
    method: str | None = None  # how a model answers that was not made for the task
    answered: int | None = None  # rows with an answer and a reference, where they are not all rows
    signatures: dict[str, str] | None = None  # metric against references -> how it was computed
    threshold: float | None = None  # of the positive label, where predictions are not at 0.5


class Comparison(
    Record,
    frozen=True,
    kw_only=True,
    rename={"from_model": "from", "to_model": "to"},
):
    """How a metric moved from one model to another, as in report.json; what is None is absent."""

    split: str
    metric: str
    from_model: str
    to_model: str
    difference: float  # to - from, in the metric's unit
    low: float
    high: float
    p: float
    method: str
    fixed: int | None = None  # rows wrong before and right after: of accuracy and exact match
    broke: int | None = None  # rows right before and wrong after
    smallest_detectable: float | None = None  # at 80 % power; absent where so few rows show nothing
    clusters: int | None = None  # where rows belong together
    design_effect: float | None = None  # variance in relation to that of independent rows
    p_holm: float | None = None  # adjusted over the secondary metrics; the primary has none

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Split, metric, from and to: what it compares."""
        return self.split, self.metric, self.from_model, self.to_model

    @property
    def adjusted_p(self) -> float:
        """Holm's p where there is one."""
        return self.p if self.p_holm is None else self.p_holm
