"""Which split, reference and metric a run is judged by."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from ..errors import FtevError
from ..metrics.metric import METRICS
from ..metrics.results import Comparison, ModelResult
from ..run.history import History
from ..run.runs import Run
from ..wording.numbers import COST

if TYPE_CHECKING:
    from ..config.config import RunConfig

SPLITS = ("test", "validation", "train")  # the first that has results speaks for a run
REFERENCES = ("base", "probe", "majority")  # what a tuned model is set against, best first


def clean(split: str) -> str:
    """The name under which the rows of a split that repeat nothing of an earlier one are told."""
    return f"{split}_clean"


def unclean(split: str) -> str:
    """The split whose clean rows are told under this name, else the name itself."""
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
    try:
        return run.config()
    except FtevError:  # a copied run may have lost its configuration
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
