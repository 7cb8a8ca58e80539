"""What the scores hide: the wrong metric, a label that fails, a model that knows nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from ..numbers.metric_table import METRICS
from ..reporting.numbers import format_estimate, format_value, read_number
from ..reporting.summary import higher_is_better, metric_value
from .case import NAMES, Case, Finding, Look

PARADOX_GAP = 0.15  # accuracy above balanced accuracy by this much hides a failing label
POOR_RECALL = 0.5
ONE_SIDED = 0.75  # share of the commonest label from which accuracy says little
OF_ONE_LABEL = ("precision", "recall", "f1")  # they need a positive label
BY_TOKEN = ("loss", "perplexity", "token_accuracy", "average_log_likelihood")


def _accuracy_paradox(case: Case) -> Iterator[Finding]:
    if not case.is_classification or not case.tuned:
        return
    accuracy, balanced = (metric_value(case.tuned, m) for m in ("accuracy", "balanced_accuracy"))
    failing = _failing_label(case.tuned)
    if accuracy is None or balanced is None or failing is None:
        return
    label, recall, support = failing
    if accuracy - balanced < PARADOX_GAP or not recall < POOR_RECALL:
        return
    if _found_by_threshold(case, label):
        return
    found = round(recall * support)
    yield Finding(
        "accuracy_paradox",
        "error",
        f"accuracy on {case.split} is {format_value('accuracy', accuracy)}, yet only "
        f'{format_value("recall", recall)} of the rows that are "{label}" are found '
        f"({found:,} of {support:,}): the accuracy comes from the larger label",
        {
            "accuracy": accuracy,
            "balanced_accuracy": balanced,
            "label": label,
            "recall": recall,
            "found": found,
            "support": support,
        },
        remedy="Judge by recall of that label or macro_f1; give the label more rows",
    )


def _failing_label(result: dict[str, Any]) -> tuple[str, float, int] | None:
    """The positive label where it fails, else the one that is found least: recall and rows."""
    rows = {k: r for k, r in (result.get("per_class") or {}).items() if r.get("support")}
    if not rows:
        return None
    recalls = {label: read_number(row["recall"]) for label, row in rows.items()}
    label = str(result.get("positive"))
    if recalls.get(label, math.inf) >= POOR_RECALL:
        label = min(recalls, key=lambda x: recalls[x])
    return label, recalls[label], int(rows[label]["support"])


def _found_by_threshold(case: Case, label: str) -> bool:
    """Whether the threshold that the objective put to use finds the label's rows after all."""
    chosen = case.analysis("thresholds", model="tuned")
    if not chosen.get("in_use") or chosen.get("positive") != label:
        return False
    recall = chosen.get("at_threshold", {}).get("metrics", {}).get("recall", {})
    return read_number(recall.get("low")) >= POOR_RECALL


def _worse_than_guessing(case: Case) -> Iterator[Finding]:
    """For a generation model only: a classifier's loss can be high while its answers are good."""
    guess = case.history.random_loss
    if case.task != "generation" or guess is None:
        return
    loss = metric_value(case.tuned or None, "loss")
    if loss is not None and loss >= guess:
        yield Finding(
            "worse_than_guessing",
            "error",
            f"the tuned model's loss on {case.split} is {loss:.3f}; guessing tokens at random has "
            f"{guess:.3f} (ln V)",
            {"loss": loss, "random_loss": guess},
            remedy="The model does not know this kind of text: train longer, or take another base",
        )


def _wrong_metric(case: Case) -> Iterator[Finding]:
    """The declared primary metric, where it cannot answer what this task asks."""
    metric = case.config.objective.metric if case.config else None
    if metric is None or metric not in METRICS:
        return
    for why in (_of_another_task, _of_two_labels, _one_sided, _across_tokenizers):
        if found := why(case, metric):
            yield found
            return


def _of_another_task(case: Case, metric: str) -> Finding | None:
    meant = METRICS[metric].task
    if not case.task or meant in (case.task, "both"):
        return None
    return Finding(
        "wrong_metric",
        "error",
        f"{metric} is the declared metric; it is one of {meant}, and this run is {case.task}",
        {"metric": metric, "task": case.task},
        remedy="Declare a metric of this task, for instance "
        + ("macro_f1" if case.is_classification else "loss"),
    )


def _of_two_labels(case: Case, metric: str) -> Finding | None:
    labels = len(case.history.labels)
    if metric not in OF_ONE_LABEL or labels <= 2:
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
    if (METRICS[metric].same_as or metric) != "accuracy":
        return None
    where, counts = case.split, {}
    if where is not None:
        rows = case.tuned.get("per_class") or {}
        counts = {label: int(row.get("support", 0)) for label, row in rows.items()}
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
    if pair is None or pair.same_vocabulary or metric not in BY_TOKEN or case.is_classification:
        return None
    return Finding(
        "wrong_metric",
        "error",
        f"{metric} is the declared metric, a figure per token, and base and tuned cut text into "
        "different tokens: their figures cannot be compared",
        {"metric": metric},
        remedy="Declare bits_per_byte, which does not depend on the tokenizer",
    )


def _target_already_met(case: Case) -> Iterator[Finding]:
    """The whole interval of the reference meets the target: the tuning was not needed for it."""
    target, against = case.target, case.reference
    if target is None or against is None:
        return
    estimate = case.results[against].get("metrics", {}).get(case.metric)
    if estimate is None:
        return
    low, high = read_number(estimate["low"]), read_number(estimate["high"])
    at_least = case.config is not None and case.config.objective.at_least is not None
    met = low >= target if at_least else high <= target
    if math.isnan(low) or math.isnan(high) or not met:
        return
    yield Finding(
        "target_already_met",
        "warning",
        f"{NAMES[against]} already meets the target on {case.split}: {case.metric} is "
        f"{format_estimate(case.metric, estimate)}, target {format_value(case.metric, target)}",
        {"model": against, "metric": case.metric, "low": low, "high": high, "target": target},
        remedy="Set a target that asks for what tuning should bring, "
        + ("above" if higher_is_better(case.metric) else "below")
        + " this figure",
    )


LOOKS: tuple[Look, ...] = (
    _accuracy_paradox,
    _wrong_metric,
    _worse_than_guessing,
    _target_already_met,
)
