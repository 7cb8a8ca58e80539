"""Which split, reference and metric a run is judged by."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, TypeVar

from ..errors import FtevError
from ..metrics.analyses import NAMES
from ..metrics.metric import METRICS
from ..metrics.results import Comparison, ModelResult, Record
from ..run.history import History
from ..run.runs import Run
from ..wording.numbers import COST, format_count, shows_nothing

if TYPE_CHECKING:
    from ..config.config import RunConfig

SPLITS = ("test", "validation", "train")  # the first that has results speaks for a run
CONSTANT = ("majority", "mean")  # models that answer every row alike
REFERENCES = ("base", "probe", "majority", "mean")  # what a tuned model is set against, best first


def clean(split: str) -> str:
    """The name of a split's clean rows: those that repeat nothing of an earlier split."""
    return f"{split}_clean"


def unclean(split: str) -> str:
    """The split whose clean rows have this name, else the name itself."""
    return split.removesuffix("_clean")


def place(order: tuple[str, ...], name: str) -> int:
    """Where a name stands in an order; unknown names come last."""
    return order.index(name) if name in order else len(order)


def judged_split(history: History) -> str | None:
    """The split whose results answer the objective: test, else validation."""
    return next((s for s in SPLITS if "tuned" in history.results.get(s, {})), None)


def reference_model(results: Mapping[str, ModelResult]) -> str | None:
    """What the tuned model is set against on a split, by the results of its models."""
    return first_reference(results, zero_shot="base" in results and bool(results["base"].method))


def first_reference(models: Collection[str], *, zero_shot: bool) -> str | None:
    """Base, else probe, else majority.

    A base that labels without having been made for it is easily beaten: the probe stands before it.
    """
    if "probe" in models and zero_shot:
        return "probe"
    return next((model for model in REFERENCES if model in models), None)


def find_comparison(
    history: History, split: str, metric: str, reference: str | None = None
) -> Comparison | None:
    """The paired difference of a metric from the reference to the tuned model on a split."""
    against = reference or reference_model(history.results.get(split, {}))
    wanted = (split, metric, against, "tuned")
    return next((c for c in history.comparisons if c.key == wanted), None)


def clean_if_compared(history: History, split: str, metric: str) -> str:
    """The rows that repeat nothing of an earlier split, where models were compared on them (D2)."""
    return clean(split) if find_comparison(history, clean(split), metric) else split


def primary_metric(run: Run, history: History, config: RunConfig | None = None) -> str:
    """The metric declared before the run, else the default of its task."""
    known = config or config_of(run)
    declared = known.objective.declared_metric if known else None
    return declared or history.task_type.default_metric


def config_of(run: Run) -> RunConfig | None:
    """The run's configuration; None where a copy lost it."""
    try:
        return run.config()
    except FtevError:
        return None


def metric_value(result: ModelResult | None, metric: str) -> float | None:
    """A metric of a model's result on a split; None where it does not apply."""
    if result is None:
        return None
    if metric in result.metrics:
        return result.metrics[metric].value
    return result.loss if metric == "loss" else None


def higher_is_better(metric: str) -> bool:
    known = METRICS.get(metric)
    return known.higher_is_better if known else not metric.endswith(("loss", COST))


Outcome = Literal["better", "worse", "the same", "cannot tell"]
LEVEL = 0.05


def read_difference(c: Comparison) -> Outcome:
    """Better, worse, the same, or undecided by these rows.

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


Analyses = Mapping[str, Mapping[str, Mapping[str, Record]]]
Found = TypeVar("Found", bound=Record)


def of_models(analyses: Analyses, kind: type[Found], split: str) -> dict[str, Found]:
    """An analysis of a split by model."""
    found = analyses.get(split, {}).get(NAMES[kind], {})
    return {model: result for model, result in found.items() if isinstance(result, kind)}


def judged_analysis(analyses: Analyses, kind: type[Found]) -> tuple[str, dict[str, Found]]:
    """The split that is judged, and an analysis of it by model: test, else validation."""
    for split in ("test", "validation"):
        if found := of_models(analyses, kind, split):
            return split, found
    return "", {}


NOT_COMPARED = "there is one split alone, so nothing could be compared between splits"
ROW = "a row of an earlier split"
ORDER = ("test", "validation")


def describe_leaked(leaked: Mapping[str, int], group_rows: Mapping[str, int] | None = None) -> str:
    """`60 test rows and 1 validation row repeat a row of an earlier split`; empty without counts.

    `leaked`: split -> its rows that repeat one of an earlier split, each counted once; with
    `group_rows` those whose group stands in an earlier split are among them.
    """
    names = [name for name in (*ORDER, *leaked) if leaked.get(name)]
    counts = [format_count(leaked[name], f"{name} row") for name in dict.fromkeys(names)]
    if not counts:
        return ""
    one = len(counts) == 1 and leaked[names[0]] == 1
    repeat, share = ("repeats", "shares") if one else ("repeat", "share")
    also = f", or {share} a group with one" if group_rows else ""
    return f"{' and '.join(counts)} {repeat} {ROW}{also}"


def was_compared(splits: Sequence[str]) -> bool:
    """Whether a row had an earlier split to stand in; of unknown splits it is taken to have had."""
    return len(splits) != 1
