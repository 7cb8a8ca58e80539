"""What the metrics pane compares: rows of values with the change between two models.

While a run trains, validation at step 0 stands against its last evaluation; afterwards the results
of each split stand in one table, from the majority to the tuned model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from ....core.judgement.selection import SPLITS, find_comparison, read_difference
from ....core.metrics.metric import METRICS, repeats
from ....core.metrics.results import ModelResult
from ....core.run.events import Evaluated
from ....core.run.history import NOISE_ERRORS, History
from ....core.tasks import Task
from ....core.wording.names import positive_label_of, short_name

MODELS = ("majority", "mean", "probe", "base", "tuned")
CLEAN = "_clean"  # a split without the rows that an earlier split has too


@dataclass(frozen=True)
class Value:
    """A metric of one model, with its interval where there is one."""

    value: float
    low: float = math.nan
    high: float = math.nan
    method: str = ""


@dataclass(frozen=True)
class Change:
    """The difference from one model to another."""

    difference: float
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    method: str = ""
    fixed: int | None = None
    broke: int | None = None
    smallest_detectable: float = math.nan
    outcome: str = ""  # what the report reads from it; empty: by the interval alone

    @property
    def is_certain(self) -> bool:
        """Whether it is shown: by the report's rule, else by an interval that leaves zero out."""
        # It takes the adjusted p into account, which the interval does not.
        if self.outcome:
            return self.outcome in ("better", "worse")
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class MetricRow:
    metric: str
    values: dict[str, Value]
    change: Change | None = None
    before: str = ""  # the model that the change starts from
    primary: bool = False

    @property
    def title(self) -> str:
        return short_name(self.metric)

    @property
    def lower_is_better(self) -> bool:
        known = METRICS.get(self.metric)
        return known is not None and not known.higher_is_better

    @property
    def unit(self) -> str:
        known = METRICS.get(self.metric)
        return known.unit if known else "share"


@dataclass(frozen=True)
class MetricTable:
    """The rows of one split."""

    split: str
    rows_scored: int
    columns: tuple[str, ...]  # models, or moments of the tuned one
    rows: list[MetricRow] = field(default_factory=list)
    positive: str = ""  # the label that precision, recall and F1 belong to

    @property
    def title(self) -> str:
        whole = self.split.removesuffix(CLEAN)
        return self.split if whole == self.split else f"{whole} without repeated rows"


def metric_tables(history: History, primary: str = "") -> list[MetricTable]:
    """The tables there are now: final results, else validation while training."""
    final = [
        _final_table(history, split, primary)
        for split in sorted(history.results, key=_split_order)
        if history.results[split]
    ]
    if final:
        return final
    live = _live_table(history)
    return [live] if live else []


def _split_order(split: str) -> tuple[int, str]:
    """The test split first, and each split before what is left of it without repeated rows."""
    whole = split.removesuffix(CLEAN)
    return (SPLITS.index(whole) if whole in SPLITS else len(SPLITS), split)


def _final_table(history: History, split: str, primary: str) -> MetricTable:
    results = history.results[split]
    models = tuple(m for m in MODELS if m in results) + tuple(m for m in results if m not in MODELS)
    estimates = {m: _estimates(results[m]) for m in models}
    every = {name for values in estimates.values() for name in values}
    named = {name for name in every if not repeats(name, every)}
    before = next((m for m in ("base", "probe", "majority", "mean") if m in models), "")
    rows = [
        MetricRow(
            metric=name,
            values={m: estimates[m][name] for m in models if name in estimates[m]},
            change=_comparison(history, split, name, before) if before != "tuned" else None,
            before=before,
            primary=name == primary,
        )
        for name in sorted(named, key=lambda name: _metric_order(name, primary))
    ]
    scored = max((results[m].n for m in models), default=0)
    positive = positive_label_of(results.values()) or ""
    return MetricTable(split, scored, models, rows, positive)


def _metric_order(name: str, primary: str) -> tuple[bool, int, str]:
    known = sorted(METRICS, key=lambda name: not METRICS[name].leading)
    return (name != primary, known.index(name) if name in known else len(known), name)


def _estimates(result: ModelResult) -> dict[str, Value]:
    found = {name: Value(e.value, e.low, e.high, e.method) for name, e in result.metrics.items()}
    if result.loss is not None and "loss" not in found:  # without an interval
        found["loss"] = Value(result.loss)
    return found


def _comparison(history: History, split: str, metric: str, before: str) -> Change | None:
    if c := find_comparison(history, split, metric, before):
        least = math.nan if c.smallest_detectable is None else c.smallest_detectable
        ends, flips = (c.low, c.high), (c.fixed, c.broke)
        return Change(c.difference, *ends, c.p, c.method, *flips, least, read_difference(c))
    results = history.results[split]
    a, b = (_estimates(results[m]) if m in results else {} for m in (before, "tuned"))
    if metric in a and metric in b:
        return Change(b[metric].value - a[metric].value)
    return None


def _live_table(history: History) -> MetricTable | None:
    series = history.validation_series()
    if not series:
        return None
    first, last = series[0], series[-1]
    before, after = f"step {first.step:,}", f"step {last.step:,}"
    columns = (before, after) if first is not last else (before,)
    rows = [
        _live_loss(history, first, last, columns),
        _live_accuracy(history, first, last, columns),
    ]
    return MetricTable(
        "validation", last.rows, columns, [r for r in rows if r], history.positive or ""
    )


def _live_loss(
    history: History, first: Evaluated, last: Evaluated, columns: tuple[str, ...]
) -> MetricRow | None:
    if not first.loss_count or not last.loss_count:
        return None
    a, b = first.loss_sum / first.loss_count, last.loss_sum / last.loss_count
    values = dict(zip(columns, (Value(a), Value(b)), strict=False))
    change = _change_of_loss(history, first, last) if len(columns) > 1 else None
    return MetricRow("loss", values, change, columns[0])


def _change_of_loss(history: History, first: Evaluated, last: Evaluated) -> Change:
    """With the interval that says what is noise, where the rows' own losses are known (V10)."""
    known = history.change(first.step, last.step)
    if known is None:
        return Change(last.loss_sum / last.loss_count - first.loss_sum / first.loss_count)
    noise = NOISE_ERRORS * known.standard_error
    low, high = known.difference - noise, known.difference + noise
    return Change(known.difference, low, high, method="± 2 standard errors, rows paired")


def _live_accuracy(
    history: History, first: Evaluated, last: Evaluated, columns: tuple[str, ...]
) -> MetricRow | None:
    if not first.count or not last.count:
        return None
    a, b = (_proportion(e, history.task_type) for e in (first, last))
    values = dict(zip(columns, (a, b), strict=False))
    metric = history.task_type.accuracy
    change = newcombe(a, b) if len(columns) > 1 else None
    return MetricRow(metric, values, change, columns[0])


def _proportion(evaluation: Evaluated, task: Task) -> Value:
    share = evaluation.correct / evaluation.count
    if task.loss_unit == "token":  # tokens of one text are not independent: no interval
        return Value(share)
    low, high = wilson(evaluation.correct, evaluation.count)
    return Value(share, low, high, "Wilson 95 %")


def wilson(successes: int, count: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Wilson's 95 % interval of a proportion (S1)."""
    p, zz = successes / count, z * z
    middle = p + zz / (2 * count)
    half = z * math.sqrt(p * (1 - p) / count + zz / (4 * count * count))
    scale = 1 + zz / count
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def newcombe(a: Value, b: Value) -> Change:
    """Difference of two proportions with Newcombe's interval, which takes no account of pairing.

    It is wider than the paired one that the report computes from the rows.
    """
    d = b.value - a.value
    low = d - math.hypot(b.value - b.low, a.high - a.value)
    high = d + math.hypot(b.high - b.value, a.value - a.low)
    return Change(d, low, high, method="Newcombe, rows not paired")
