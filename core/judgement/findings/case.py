"""What a look sees, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from ...config.config import RunConfig
from ...metrics.metric import paragraphs
from ...metrics.results import Comparison, ModelResult
from ...run.history import Found, History
from ...tasks import Task
from ..selection import (
    Outcome,
    clean_if_compared,
    find_comparison,
    judged_split,
    read_difference,
    reference_model,
)

EVIDENCE_ROWS = 50
SURE = 0.02  # p of a difference that a finding rests on, both sides together
NAMES = {
    "base": "the base",
    "probe": "the linear probe",
    "majority": "the majority",
    "mean": "the mean",
}
Row = tuple[str, int]


@dataclass(frozen=True)
class Finding:
    """One pitfall. `rows` are (split, row) of the evidence; `evidence` the numbers behind it.

    `counted`: how many rows of each split it is about, where it knows; `rows` lists the first.
    """

    code: str
    severity: Literal["error", "warning", "info"]
    message: str
    evidence: dict[str, Any] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    remedy: str = ""
    counted: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """A run as a look sees it; the configuration is missing from some copies and from checks."""

    history: History
    config: RunConfig | None = None
    on: str | None = None  # the split to look at, in place of the judged one

    def of_verdict(self) -> Case:
        """The same on the rows that the verdict rests on: the clean ones, where it does (D2)."""
        split = self.split and clean_if_compared(self.history, self.split, self.metric)
        return replace(self, on=split)

    @property
    def task(self) -> Task:
        return self.history.task_type

    @cached_property
    def split(self) -> str | None:
        """The split that answers the objective, once the tuned model was scored on it."""
        return self.on or judged_split(self.history)

    @property
    def judging(self) -> str:
        """The judged split; before there are results, the one that will be."""
        return self.split or ("test" if "test" in self.history.splits else "validation")

    @property
    def results(self) -> Mapping[str, ModelResult]:
        """Results by model on the judged split; empty before there are any."""
        return self.history.results[self.split] if self.split else {}

    @property
    def tuned(self) -> ModelResult | None:
        return self.results.get("tuned")

    @property
    def positive(self) -> str | None:
        """The positive label of the judged results."""
        return self.tuned.positive if self.tuned else None

    @property
    def reference(self) -> str | None:
        return reference_model(self.results)

    @property
    def trains(self) -> bool:
        """False where two given models are set against each other."""
        return self.config.trains if self.config else self.history.trains

    @property
    def adapter(self) -> bool:
        """Whether the run trained an adapter on frozen weights."""
        if self.config is not None:
            return self.config.model.adapter != "none"
        model = self.history.model
        return model is not None and model.trainable < model.parameters

    @property
    def metric(self) -> str:
        """The primary metric: the declared one, else the default of the task."""
        declared = self.config.objective.declared_metric if self.config else None
        return declared or self.history.task_type.default_metric

    @property
    def judged_by_threshold(self) -> bool:
        """Whether the objective is a threshold's aim alone: the rules that it beats decide."""
        o = self.config.objective if self.config else None
        return o is not None and o.metric is None and bool(o.choosers)

    @property
    def target(self) -> float | None:
        """What the primary metric must reach, where that was declared."""
        if self.config is None:
            return None
        o = self.config.objective
        return o.at_least if o.at_least is not None else o.at_most

    def comparison(self, metric: str, reference: str | None = None) -> Comparison | None:
        """The paired difference from a reference to tuned on the judged split."""
        return find_comparison(self.history, self.split or "", metric, reference)

    def analysis(
        self, kind: type[Found], split: str | None = None, model: str = ""
    ) -> Found | None:
        """What an analysis found on a split, by default the judged one."""
        return self.history.analysis(kind, split or self.split, model)

    def train_labels(self) -> dict[str, int]:
        """Rows of each label of train that has any."""
        train = self.history.splits.get("train")
        return {k: n for k, n in train.labels.items() if n} if train else {}


def is_shown(c: Comparison | None, outcome: Outcome) -> bool:
    """Whether a paired difference shows this, and surely enough for a finding.

    A run is looked at in many ways: each may be wrong in one run of a hundred, on either side.
    """
    return c is not None and read_difference(c) == outcome and not c.adjusted_p > SURE


@dataclass(frozen=True)
class Pitfall:
    """What is known of a finding's code before any run shows it."""

    code: str
    title: str  # in the glossary; by default the code
    rank: int  # of a severity those come first that say how far the judged figures bear a judgement
    void: bool  # its error shows nothing against the model, and nothing for it
    see: tuple[str, ...]
    aliases: tuple[str, ...]
    meaning: str  # one sentence
    reading: str
    trap: str


Look = Callable[[Case], Iterator[Finding]]
PITFALLS: dict[str, Pitfall] = {}
LOOKS: list[Look] = []
UNRANKED = 99


def pitfall(
    code: str,
    *,
    title: str = "",
    rank: int = UNRANKED,
    void: bool = False,
    see: tuple[str, ...] = (),
    aliases: tuple[str, ...] = (),
    words: str | None = None,
) -> Callable[[Look], Look]:
    """Register a look, and what the glossary says of a code that it finds.

    The words are the look's docstring: the meaning in one sentence, how to read it, and after
    `Trap:` the mistake to avoid. A look that finds several codes is decorated once for each.
    """

    def register(look: Look) -> Look:
        texts = paragraphs(look.__doc__ or "" if words is None else words)
        PITFALLS[code] = Pitfall(code, title or code, rank, void, see, aliases, *texts)
        if look not in LOOKS:
            LOOKS.append(look)
        return look

    return register
