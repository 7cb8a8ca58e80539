"""What the scores hide: the wrong metric, a label that fails, a model that knows nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...metrics.metric import METRICS, needs_positive
from ...wording.names import name_metric
from ...wording.numbers import (
    format_count,
    format_difference,
    format_difference_interval,
    format_estimate,
    format_value,
    read_number,
)
from ..selection import higher_is_better, metric_value, unclean
from . import remedies
from .case import EVIDENCE_ROWS, NAMES, Case, Finding, Look, is_shown
from .course import learnt_nothing

PARADOX_GAP = 0.15  # accuracy above balanced accuracy by this much hides a failing label
POOR_RECALL = 0.5
ONE_SIDED = 0.75  # share of the commonest label from which accuracy says little
BELOW_CHANCE = -2.33  # standard errors: p = 0.01 on this side
MANY_ROWS = 4  # of a label: none found of fewer could be chance for one that is found half the time


def _no_prediction(case: Case) -> Iterator[Finding]:
    """Rows whose scores are no numbers: they count as wrong, and the model is broken (V5).

    On every split: rows of validation that cannot be scored say the same of the weights.
    """
    for split, models in case.history.results.items():
        tuned = models.get("tuned", {})
        rows = list(tuned.get("no_prediction") or [])
        if not rows or split != unclean(split):
            continue
        yield Finding(
            "no_prediction",
            "error",
            f"the tuned model has no prediction for {len(rows):,} of {tuned['n']:,} rows of "
            f"{split}: their scores are not finite, and they count as wrong",
            {"split": split, "rows": len(rows)},
            [(split, int(row)) for row in rows[:EVIDENCE_ROWS]],
            remedies.learn_less(case, "Load the model in float32 and evaluate again"),
            {split: len(rows)},
        )


def _swapped_labels(case: Case) -> Iterator[Finding]:
    """Right less often than the same answers would be in any other order, shown by permutation."""
    counts = _confusion(case.tuned)
    if counts is None or (case.trains and learnt_nothing(case)):
        return  # a head at random may be below chance as well
    labels = case.tuned["confusion"]["labels"]
    rows = sum(map(sum, counts))
    right, chance, error = sum(r[i] for i, r in enumerate(counts)), *right_by_chance(counts)
    if not error or (right + 0.5 - chance) / error > BELOW_CHANCE:
        return
    wrong = [(n, i, j) for i, row in enumerate(counts) for j, n in enumerate(row) if i != j]
    most, truth, answer = max(wrong)
    yield Finding(
        "labels_swapped",
        "error",
        f"the tuned model is right on {right:,} of {rows:,} rows of {case.split}; the same answers "
        f"in random order would be on {chance:,.0f}: below chance, so labels are probably swapped "
        f'("{labels[truth]}" is answered "{labels[answer]}" {most:,} times)',
        {"right": right, "chance": chance, "standard_error": error, "rows": rows},
        remedy=f"Compare what the labels mean in train and in {case.split}"
        if case.trains
        else f"Compare the model's labels with those of {case.split}, and set data.label_map",
    )


def _confusion(result: Mapping[str, Any]) -> list[list[int]] | None:
    """Counts by truth and prediction; None for other tasks and for rows of one label only."""
    counts = (result.get("confusion") or {}).get("counts")
    return counts if counts and sum(any(row) for row in counts) > 1 else None


def right_by_chance(counts: Sequence[Sequence[int]]) -> tuple[float, float]:
    """Right rows where answers are dealt to rows at random: mean and standard error (Hoeffding)."""
    truth = [sum(row) for row in counts]
    answers = [sum(column) for column in zip(*counts, strict=True)]
    n = sum(truth)
    both = sum(t * a for t, a in zip(truth, answers, strict=True))
    if n < 2:
        return both / max(1, n), 0.0
    squares = sum(
        t * a * ((i == j) - answers[i] / n - truth[j] / n + both / n**2) ** 2
        for i, t in enumerate(truth)
        for j, a in enumerate(answers)
    )
    return both / n, math.sqrt(squares / (n - 1))


def _never_predicted(case: Case) -> Iterator[Finding]:
    """Every label that has rows and is never answered."""
    counts = _confusion(case.tuned)
    if counts is None or case.split is None:
        return
    labels = case.tuned["confusion"]["labels"]
    answered = [any(column) for column in zip(*counts, strict=True)]
    missed = {labels[i]: sum(row) for i, row in enumerate(counts) if any(row) and not answered[i]}
    if not missed:
        return
    named = ", ".join(f'"{label}" ({format_count(n, "row")})' for label, n in missed.items())
    yield Finding(
        "labels_never_predicted",
        "warning" if max(missed.values()) >= MANY_ROWS else "info",
        f"the tuned model never predicts {format_count(len(missed), 'label')} that {case.split} "
        f"has: {named}",
        {"split": case.split, "support": missed, "answered": sum(answered)},
        remedy=remedies.learn_more(
            case, "Take a model that was trained on these labels", "or give these labels more rows"
        ),
    )


def _probe_beats_tuned(case: Case) -> Iterator[Finding]:
    """A linear layer on the frozen base is shown to be better than what training made of it."""
    c = case.comparison(case.metric, "probe")
    if case.judged_by_threshold or not is_shown(c, "worse"):
        return  # at thresholds of their own, rules are compared by what the objective wants most
    metric, name = case.metric, name_metric(case.metric, case.tuned.get("positive"))
    before, after = (metric_value(case.results.get(m), metric) for m in ("probe", "tuned"))
    change = format_difference(metric, c["difference"])
    interval = format_difference_interval(metric, c["low"], c["high"])
    allowed = case.config is not None and case.config.objective.no_worse_by is not None
    yield Finding(
        "probe_beats_tuned",
        "warning" if allowed else "error",  # how much worse it may be, the verdict asks
        f"a linear layer on the frozen base beats the tuned model on {case.split}: {name} "
        f"{format_value(metric, before)} against {format_value(metric, after)} ({change}, paired "
        f"95 %: {interval})",
        {"metric": metric, "probe": before, "tuned": after, "difference": c["difference"]}
        | {"low": c["low"], "high": c["high"]},
        remedy=remedies.learn_more(
            case, "Do not use this model: the linear probe is simpler and better"
        ),
    )


def _accuracy_paradox(case: Case) -> Iterator[Finding]:
    """A label whose rows are shown to be missed, which accuracy hides.

    Only an accuracy that always answering the commonest label would not beat is a paradox; below
    that it is a label that is missed.
    """
    if not case.task.has_labels or not case.tuned:
        return
    accuracy, balanced = (metric_value(case.tuned, m) for m in ("accuracy", "balanced_accuracy"))
    failing = _failing_label(case.tuned)
    if accuracy is None or balanced is None or failing is None:
        return
    label, found, support = failing
    shown = _is_missed(found, support)
    if accuracy - balanced < PARADOX_GAP or not shown or _found_by_threshold(case, label):
        return
    largest, share = _largest_label(case.tuned)
    paradox = accuracy >= share and label != largest
    recall = format_value("recall", found / support)
    told = (
        f"accuracy on {case.split} is {format_value('accuracy', accuracy)}, yet only {recall} of "
        f'the rows that are "{label}" are found ({found:,} of {support:,})'
    )
    if paradox:
        told += ": the accuracy comes from the larger label"
    else:
        told += f'; always answering "{largest}" has {format_value("accuracy", share)}'
    yield Finding(
        "accuracy_paradox" if paradox else "label_missed",
        "error",
        told,
        {
            "accuracy": accuracy,
            "balanced_accuracy": balanced,
            "majority": share,
            "label": label,
            "recall": found / support,
            "found": found,
            "support": support,
        },
        remedy=remedies.for_label(case, label, "recall"),
    )


def _is_missed(found: int, support: int) -> bool:
    """Whether fewer than half are found, by the whole interval."""
    from ...metrics.statistics import wilson  # brings SciPy: a screen that only folds does without

    return wilson(found, support).high < POOR_RECALL


def _failing_label(result: dict[str, Any]) -> tuple[str, int, int] | None:
    """The positive label where it fails, else the one that is found least: found, and rows."""
    rows = {k: r for k, r in (result.get("per_class") or {}).items() if r.get("support")}
    if not rows:
        return None
    recalls = {label: read_number(row["recall"]) for label, row in rows.items()}
    label = str(result.get("positive"))
    if recalls.get(label, math.inf) >= POOR_RECALL:
        label = min(recalls, key=lambda x: recalls[x])
    support = int(rows[label]["support"])
    return label, round(recalls[label] * support), support


def _largest_label(result: dict[str, Any]) -> tuple[str, float]:
    """The commonest true label and its share: what always answering it has for accuracy."""
    rows = {k: int(r.get("support", 0)) for k, r in result["per_class"].items()}
    label = max(rows, key=lambda k: rows[k])
    return label, rows[label] / sum(rows.values())


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
    if case.task.has_labels or guess is None:
        return
    loss = metric_value(case.tuned or None, "loss")
    estimate = case.tuned.get("metrics", {}).get("loss", {})
    low = read_number(estimate.get("low"))
    if loss is not None and (loss if math.isnan(low) else low) >= guess:
        yield Finding(
            "worse_than_guessing",
            "error",
            f"the tuned model's loss on {case.split} is {loss:.3f}; guessing tokens at random has "
            f"{guess:.3f} (ln V)",
            {"loss": loss, "random_loss": guess},
            remedy="The model does not know this kind of text. "
            + remedies.learn_more(case, "Take another model", "or take another base"),
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
    if not case.task.name or metric in case.task.metrics:
        return None
    meant = METRICS[metric].task
    return Finding(
        "wrong_metric",
        "error",
        f"{metric} is the declared metric; it is one of {meant}, and this run is {case.task.name}",
        {"metric": metric, "task": case.task.name},
        remedy=f"Declare a metric of this task, for instance {case.task.default_metric}",
    )


def _of_two_labels(case: Case, metric: str) -> Finding | None:
    labels = len(case.history.labels)
    if not needs_positive(metric) or labels <= 2:
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
    if pair is None or pair.same_vocabulary or case.task.has_labels:
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
    named = name_metric(case.metric, case.tuned.get("positive"))
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


LOOKS: tuple[Look, ...] = (
    _no_prediction,
    _swapped_labels,
    _probe_beats_tuned,
    _accuracy_paradox,
    _never_predicted,
    _wrong_metric,
    _worse_than_guessing,
    _target_already_met,
)
