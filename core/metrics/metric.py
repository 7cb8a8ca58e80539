"""What a metric is: one decorated function, from which everything about it comes.

The function gives the metric from sums over rows: from the margins of a confusion matrix, from
named totals of probabilities, of scored tokens, or of answers held against references. Its
docstring is what the glossary says, in paragraphs: the meaning in one sentence, how to read it,
and after `Trap:` the mistake to avoid. The same function gives values, draws of the bootstrap,
exchanges of the permutation test, points of a chart, and numerator and denominator of a receipt.

    @Metric(of=("counts",), title="Jaccard index of the positive label", unit="share", …)
    def jaccard(m: Margins) -> Ratio | None: …

Nothing here needs NumPy: screens read these definitions before it is there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

from .sums import Ratio, exponential

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .sums import FloatArray

    Rows = NDArray[np.bool_]

Task = Literal["classification", "multi_label", "generation", "answers", "preference", "regression"]
Direction = Literal["higher", "lower"]
Source = Literal[
    "counts",  # margins of a confusion matrix: `sums.Margins`
    "label_sets",  # totals of `label_sets.LabelSetRows`: `sums.SetMargins`
    "probabilities",  # totals of `probabilities.ProbabilityScores`
    "tokens",  # totals of `rows.TextRows`: nll, tokens, correct, bytes
    "answers",  # totals of `references.ReferenceRows`
    "pairs",  # totals of `rows.PairRows`
    "scores",  # totals of `values.answers.ScoreRows`
    "numbers",  # totals of `values.numbers.NumberRows`
]
Unit = Literal[
    "share",  # 0 to 1, shown in per cent
    "coefficient",  # -1 to 1
    "squared error",
    "nats",
    "perplexity",
    "bits",
    "points",  # 0 to 100
    "data units",  # those of the targets
]
RANGES: Mapping[Unit, tuple[float, float]] = {
    "share": (0, 1),
    "coefficient": (-1, 1),
    "squared error": (0, 2),
    "nats": (0, math.inf),
    "perplexity": (1, math.inf),
    "bits": (0, math.inf),
    "points": (0, 100),
    "data units": (0, math.inf),
}
WITHOUT_LOSS = {"answers"}  # every other task has one
_TASKS: Mapping[Source, tuple[Task, ...]] = {
    "counts": ("classification",),
    "label_sets": ("multi_label",),
    "probabilities": ("classification",),
    "tokens": ("generation", "preference"),
    "answers": ("generation", "answers"),
    "scores": ("answers",),
    "pairs": ("preference",),
    "numbers": ("regression",),
}


class Counted(NamedTuple):
    """What numerator and denominator are, in words, and how much a row weighs in them."""

    numerator: str
    denominator: str
    weighting: str


BY_ROW = "each row counts once"
BY_TOKEN = "each scored token counts once: a long row weighs more than a short one"
BY_LABEL = "each label counts the same, however few rows it has"
BY_SUPPORT = "each label counts by its number of true rows"
BY_BYTE = "all text counts by its bytes, whatever the tokenizer makes of it"


class FewRows(NamedTuple):
    """An interval at least as wide as Student's t where rows are few."""

    of_logarithm: bool  # losses are skewed


class RowShare(NamedTuple):
    """A share of right rows: its interval is Wilson's."""

    # `MarginScores` to the rows [n] that it is a share of, by default all; None: of none now.
    among: Callable[..., Rows | None] | None = None
    then: Callable[[float], float] | None = None  # the metric, from the share: where rows are few
    words: str = ""  # the interval's method then


class Function(NamedTuple):
    """A metric that rises or falls with another one and with nothing else: one test, not two."""

    of: str
    value: Callable[[float], float]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric's definition. As a decorator of the function that computes it, it registers both."""

    of: tuple[Source, ...]  # what it is computed from
    title: str  # averages named in full
    unit: Unit
    formula: str  # in words
    counted: Counted
    counted_by_token: Counted | None = None  # where the loss is a mean over tokens
    counted_over_labels: Counted | None = None  # where no label is positive
    direction: Direction = "higher"  # which way is better: never guessed from the name
    name: str = ""  # the key in files; by default the function's name
    label: str = ""  # in tables and sentences; by default the key in words
    short: str = ""  # in narrow columns; by default the label
    heading: str = ""  # in the glossary; by default the key
    leading: bool = False  # among the first rows of a table that is read live
    chart: int | None = 99  # place among the charts of a run; None: no chart of its own
    hub: tuple[str, Mapping[str, str]] | None = (
        None  # the hub's name, and what distinguishes averages
    )
    # How it depends on the positive one of two labels: it is used, it belongs beside the metric's
    # name, or there is no such metric without it.
    positive: Literal["", "used", "named", "needed"] = ""
    zero_of_nothing: bool = False  # 0 where there is nothing to divide by; else it is absent then
    mean_of: str = ""  # the figure of each label that it is an average of
    over_true: bool = False  # … of the labels with true rows alone
    same_as: str = ""  # equal by arithmetic to this metric: shown, but never tested a second time
    function: Function | None = None
    share: RowShare | None = None
    few_rows: FewRows | None = None
    right_or_wrong: bool = False  # "fixed a, broke b" adds up to its difference (V15)
    sign_flip: bool = False  # sums divided by what both models share: exchanging flips a sign (S5)
    any_tokenizer: bool = False  # comparable between models that cut text into other tokens (K4)
    limits: tuple[float, float] | None = None  # where they are not those of the unit
    then: Literal["", "exp"] = ""  # of the quotient
    # What each row adds to the totals under the metric's name, [n] or [n, k], from the rows of its
    # source; None where it cannot be measured here. Else the source's own totals will do.
    adds: Callable[..., FloatArray | None] | None = None
    signature: Callable[..., str] | None = None  # how exactly an answer was compared
    ratio: Callable[..., Ratio | None] | None = None  # for the receipt, where `compute` gives none
    see: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    meaning: str = ""  # one sentence
    reading: str = ""
    trap: str = ""
    compute: Callable[..., Ratio | FloatArray | None] | None = None  # None: it does not apply

    def __call__(self, compute: Callable[..., Ratio | FloatArray | None]) -> Metric:
        name = self.name or compute.__name__
        label = self.label or name.replace("_", " ")
        meaning, reading, trap = paragraphs(compute.__doc__ or "")
        defined = replace(
            self,
            name=name,
            label=label,
            short=self.short or label,
            heading=self.heading or name,
            compute=compute,
            meaning=meaning,
            reading=reading,
            trap=trap,
        )
        METRICS[name] = defined
        return defined

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Those that have it."""
        return tuple(dict.fromkeys(task for source in self.of for task in _TASKS[source]))

    @property
    def tested_as(self) -> str:
        """The metric whose test this one's is, where a model has both."""
        return self.same_as or (self.function.of if self.function else self.name)

    @property
    def higher_is_better(self) -> bool:
        return self.direction == "higher"

    @property
    def range(self) -> tuple[float, float]:
        return self.limits or RANGES[self.unit]

    @property
    def per_token(self) -> bool:
        return "tokens" in self.of and not self.any_tokenizer

    def counts(self, loss_unit: str, positive: str | None) -> Counted:
        """What is divided by what, with the positive label named."""
        if self.counted_over_labels is not None and positive is None:
            return self.counted_over_labels
        if self.counted_by_token is not None and loss_unit == "token":
            return self.counted_by_token
        return Counted(*(text.replace("{positive}", f'"{positive}"') for text in self.counted))

    def value(self, found: Ratio | FloatArray) -> FloatArray:
        """What `compute` gave, divided."""
        if not isinstance(found, Ratio):
            return found
        value = found.value
        return exponential(value) if self.then == "exp" else value


METRICS: dict[str, Metric] = {}


def metrics_of(task: str | None) -> list[str]:
    """The metrics that a task has."""
    every = {name for tasks in _TASKS.values() for name in tasks} - WITHOUT_LOSS
    return [n for n, metric in METRICS.items() if task in metric.tasks or every <= {*metric.tasks}]


def repeats(metric: str, among: Container[str]) -> bool:
    """Whether it is equal by arithmetic to another of these: shown, and never tested again."""
    return metric in METRICS and METRICS[metric].same_as in among


def metrics_from(source: Source) -> list[Metric]:
    return [metric for metric in METRICS.values() if source in metric.of]


def needs_answers(metric: str | None) -> bool:
    """Whether it is measured on generated answers: once, at the end of a run."""
    return metric is not None and metric in METRICS and "answers" in METRICS[metric].of


def needs_positive(metric: str | None) -> bool:
    """Whether there is such a metric only where one of two labels is the positive one."""
    return metric is not None and metric in METRICS and METRICS[metric].positive == "needed"


def names_positive(metric: str) -> bool:
    """Whether the positive label stands beside the metric's name, wherever it is known."""
    return metric in METRICS and METRICS[metric].positive in ("named", "needed")


def adds_up(metric: str) -> bool:
    """Whether rows fixed and broken add up to the metric's difference, and belong beside it."""
    return metric in METRICS and METRICS[metric].right_or_wrong


def ratios(source: Source, sums: object) -> dict[str, Ratio]:
    """Numerator and denominator of each metric of a source, in the place of arrays as floats."""
    found = {}
    for metric in metrics_from(source):
        assert metric.compute is not None
        ratio = (metric.ratio or metric.compute)(sums)
        if isinstance(ratio, Ratio):
            found[metric.name] = ratio.as_floats()
    return found


def draws_of(source: Source, sums: object) -> dict[str, FloatArray]:
    """Each metric of a source from sums with leading axes of draws; NaN where it is undefined."""
    found = {}
    for metric in metrics_from(source):
        assert metric.compute is not None
        if (computed := metric.compute(sums)) is not None:
            found[metric.name] = metric.value(computed)
    return found


def observed(source: Source, sums: object) -> dict[str, float]:
    """Each metric of a source from the sums of all rows; absent where there is nothing to divide
    by, as 0 ÷ 0 is no share of anything. NaN and infinite sums stay what they are."""
    found = {}
    for metric in metrics_from(source):
        assert metric.compute is not None
        computed = metric.compute(sums)
        if computed is None:
            continue
        if isinstance(computed, Ratio) and not (computed.denominator or metric.zero_of_nothing):
            continue
        found[metric.name] = float(metric.value(computed))
    return found


def paragraphs(text: str) -> tuple[str, str, str]:
    """Meaning, reading and trap out of a docstring, each as one line."""
    parts = [" ".join(part.split()) for part in text.split("\n\n")]
    body, trap = [p for p in parts if not p.startswith("Trap:")], ""
    for part in parts:
        if part.startswith("Trap:"):
            trap = part.removeprefix("Trap:").strip()
    return body[0], " ".join(body[1:]), trap
