"""What was declared before the run: a metric that cannot answer, a target that is met already."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ...metrics.metric import METRICS, needs_positive
from ...wording.names import name_metric
from ...wording.numbers import format_estimate, format_value
from ..selection import higher_is_better
from .case import NAMES, Case, Finding, pitfall

ONE_SIDED = 0.75  # share of the commonest label from which accuracy says little


@pitfall(
    "wrong_metric",
    title="wrong metric for the task",
    rank=13,
    void=True,
    see=("primary metric", "macro_f1", "bits_per_byte", "accuracy_paradox"),
)
def _wrong_metric(case: Case) -> Iterator[Finding]:
    """The declared primary metric cannot answer the question of this run.

    A metric of the other task, a metric of one positive label where there are many labels, accuracy
    where one label fills most rows, or a figure per token between two tokenizers. The number may be
    correct and still be the answer to something else. The message names a metric that fits; declare
    it before the next run, not after having seen which one looks best.

    Trap: Changing the primary metric after reading the results turns a declared test into a search
    for something that rose.
    """
    # The declared primary metric, where it cannot answer what this task asks.
    metric = case.config.objective.metric if case.config else None
    if metric is None or metric not in METRICS:
        return
    for why in (_of_another_task, _of_two_labels, _one_sided, _across_tokenizers):
        if found := why(case, metric):
            yield found
            return


def _of_another_task(case: Case, metric: str) -> Finding | None:
    if not case.task.name or metric in case.task.metrics:
        return None
    meant = " or ".join(METRICS[metric].tasks)
    return Finding(
        "wrong_metric",
        "error",
        f"{metric} is the declared metric; it is one of {meant}, and this run is {case.task.name}",
        {"metric": metric, "task": case.task.name},
        remedy=f"Declare a metric of this task, for instance {case.task.default_metric}",
    )


def _of_two_labels(case: Case, metric: str) -> Finding | None:
    labels = len(case.history.labels)
    if not (case.task.has_labels and needs_positive(metric)) or labels <= 2:
        return None
    return Finding(
        "wrong_metric",
        "error",
        f"{metric} is the declared metric; it belongs to one positive label of two, and this task "
        f"has {labels:,} labels: it is not computed",
        {"metric": metric, "labels": labels},
        remedy=f"Declare macro_{metric}, the mean over the labels",
    )


def _one_sided(case: Case, metric: str) -> Finding | None:
    if not case.task.has_labels or (METRICS[metric].same_as or metric) != "accuracy":
        return None
    rows = (case.tuned.per_class if case.tuned else None) or {}
    where, counts = case.split, {label: row.support for label, row in rows.items()}
    if not any(counts.values()):
        where, counts = "train", case.train_labels()
    total = sum(counts.values())
    if not total:
        return None
    most = max(counts, key=lambda label: counts[label])
    share = counts[most] / total
    if share < ONE_SIDED:
        return None
    return Finding(
        "wrong_metric",
        "warning",
        f'{metric} is the declared metric, yet always answering "{most}" has '
        f"{format_value('accuracy', share)} of {where}: {metric} hardly sees the other labels",
        {"metric": metric, "label": most, "share": share, "split": where},
        remedy="Declare macro_f1, mcc, or recall of the label that matters",
    )


def _across_tokenizers(case: Case, metric: str) -> Finding | None:
    pair = case.history.models_compared
    if pair is None or pair.same_vocabulary or not case.task.writes:
        return None
    if not METRICS[metric].per_token:
        return None
    return Finding(
        "wrong_metric",
        "error",
        f"{metric} is the declared metric, a figure per token, and base and tuned cut text into "
        "different tokens: their figures cannot be compared",
        {"metric": metric},
        remedy="Declare bits_per_byte, which does not depend on the tokenizer",
    )


@pitfall(
    "target_already_met",
    title="target already met by the reference",
    rank=12,
    see=("verdict", "target", "paired", "probe", "base model"),
)
def _target_already_met(case: Case) -> Iterator[Finding]:
    """The model before tuning, or a baseline, reaches the declared target with its whole interval.

    The objective is then no proof that the tuning did anything: whoever asks for 80 % and starts
    from 86 % will always ship. Ask for the difference that would be worth the effort, and set the
    target there. The paired comparison still shows whether the tuned model is better.

    Trap: Taking the verdict's yes for praise of the training; it may be praise of the base.
    """
    # The whole interval of the reference meets the target: the tuning was not needed for it.
    target, against = case.target, case.reference
    if target is None or against is None:
        return
    estimate = case.results[against].metrics.get(case.metric)
    if estimate is None:
        return
    low, high = estimate.low, estimate.high
    at_least = case.config is not None and case.config.objective.at_least is not None
    met = low >= target if at_least else high <= target
    if math.isnan(low) or math.isnan(high) or not met:
        return
    named = name_metric(case.metric, case.positive)
    yield Finding(
        "target_already_met",
        "warning",
        f"{NAMES[against]} already meets the target on {case.split}: {named} is "
        f"{format_estimate(case.metric, estimate)}, target {format_value(case.metric, target)}",
        {"model": against, "metric": case.metric, "low": low, "high": high, "target": target},
        remedy="Set a target that asks for what tuning should bring, "
        + ("above" if higher_is_better(case.metric) else "below")
        + " this figure",
    )
