"""What the scores hide: the wrong metric, a label that fails, a model that knows nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from ...metrics.analyses import Thresholds
from ...metrics.results import Confusion, ModelResult
from ...wording.names import name_metric
from ...wording.numbers import (
    format_count,
    format_difference,
    format_difference_interval,
    format_value,
)
from ..selection import metric_value, unclean
from .case import EVIDENCE_ROWS, Case, Finding, is_shown, pitfall
from .course import for_label, learn_less, learn_more, learnt_nothing

LENGTH_GAP = 0.25  # of two shares of preferred pairs
PARADOX_GAP = 0.15  # accuracy above balanced accuracy by this much hides a failing label
POOR_RECALL = 0.5
BELOW_CHANCE = -2.33  # standard errors: p = 0.01 on this side
MANY_ROWS = 4  # of a label: none found of fewer could be chance for one that is found half the time


@pitfall(
    "no_prediction",
    title="rows without a prediction",
    see=("loss_not_finite", "steps_skipped", "dtype"),
)
def _no_prediction(case: Case) -> Iterator[Finding]:
    """The scores of some rows are not finite numbers, so the model answers nothing there.

    They count as wrong and are listed. Such a model never ships: weights or activations have
    overflowed, and other inputs will meet the same. Train with a lower learning rate, keep an
    earlier checkpoint, or load the model in float32 where only its low precision is at fault.

    Trap: Taking the largest of scores that are NaN gives the first label, which looks like an
    answer.
    """
    # Rows whose scores are no numbers: they count as wrong, and the model is broken (V5).
    # On every split: rows of validation that cannot be scored say the same of the weights.
    for split, models in case.history.results.items():
        tuned = models.get("tuned")
        if tuned is None or not tuned.no_prediction or split != unclean(split):
            continue
        rows = tuned.no_prediction
        yield Finding(
            "no_prediction",
            "error",
            f"the tuned model has no prediction for {len(rows):,} of {tuned.n:,} rows of "
            f"{split}: their scores are not finite, and they count as wrong",
            {"split": split, "rows": len(rows)},
            [(split, row) for row in rows[:EVIDENCE_ROWS]],
            learn_less(case, "Load the model in float32 and evaluate again"),
            {split: len(rows)},
        )


@pitfall(
    "length_decides",
    title="length decides which text is preferred",
    see=("preference_accuracy", "preference_accuracy_per_token"),
)
def _length_decides(case: Case) -> Iterator[Finding]:
    """The base's preference by the sum of likelihoods is far from its preference per token.

    A sum falls with every token, so it prefers the shorter text; a mean is free of that. Where both
    lie far apart, chosen and rejected texts differ in length throughout, and the sum says less of
    what a model prefers than of which text is longer. The verdict should then rest on the figure
    per token, declared as the objective before the run.

    Trap: The slant is in the base and in the tuned model alike, so a difference between them looks
    fair. It is not: a share near 100 % or near 0 % leaves tuning no room to show anything.
    """
    base = case.results.get("base")
    by_sum, per_token = (
        metric_value(base, name)
        for name in ("preference_accuracy", "preference_accuracy_per_token")
    )
    if by_sum is None or per_token is None or abs(by_sum - per_token) < LENGTH_GAP:
        return
    kind = "shorter" if by_sum > per_token else "longer"
    yield Finding(
        "length_decides",
        "warning",
        f"the base prefers the chosen text in {format_value('accuracy', by_sum)} of the pairs of "
        f"{case.split} by the sum of likelihoods and in {format_value('accuracy', per_token)} per "
        f"token: chosen texts are mostly the {kind} ones, and length decides",
        {"by_sum": by_sum, "per_token": per_token},
        remedy="Declare preference_accuracy_per_token as the objective",
    )


@pitfall(
    "labels_swapped",
    title="labels look swapped",
    see=("mcc", "confusion matrix", "balanced_accuracy"),
)
def _swapped_labels(case: Case) -> Iterator[Finding]:
    """The model is right less often than shuffling its own answers would make it.

    Knowing nothing gives chance; being reliably below it takes knowledge used the wrong way round.
    Almost always two files code their labels differently, or a head's order of outputs is not that
    of the data. The pair that is confused most often is named. Mend the coding and evaluate again:
    nothing needs training.

    Trap: Flipping the answers by hand repairs the score and leaves the cause in the pipeline, where
    it will flip something else.
    """
    # Right less often than the same answers would be in any other order, shown by permutation.
    confusion = _confusion(case.tuned)
    if confusion is None or (case.trains and learnt_nothing(case)):
        return  # a head at random may be below chance as well
    labels, counts = confusion.labels, confusion.counts
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


def _confusion(result: ModelResult | None) -> Confusion | None:
    """None for other tasks and for rows of one label only."""
    found = result.confusion if result else None
    return found if found and sum(any(row) for row in found.counts) > 1 else None


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


@pitfall(
    "probe_beats_tuned",
    title="a linear probe beats the tuned model",
    see=("probe", "paired", "learning rate", "underfitting"),
)
def _probe_beats_tuned(case: Case) -> Iterator[Finding]:
    """A linear layer on the frozen base is shown to do better than the model that was fine-tuned.

    The features were there from the beginning, and training has not yet caught up with a regression
    on them: mostly too small a learning rate, or too few epochs. Change these first; other data and
    other bases come later. If training diverged, the rate was too large instead. The verdict is
    hold: the probe is cheaper, and better.

    Trap: A base with a fresh head always loses against its tuned self, which makes such a run look
    like a success.
    """
    # A linear layer on the frozen base is shown to be better than what training made of it.
    c = case.comparison(case.metric, "probe")
    if case.judged_by_threshold or c is None or not is_shown(c, "worse"):
        return  # at thresholds of their own, rules are compared by what the objective wants most
    metric, name = case.metric, name_metric(case.metric, case.positive)
    before, after = (metric_value(case.results.get(m), metric) for m in ("probe", "tuned"))
    change = format_difference(metric, c.difference)
    interval = format_difference_interval(metric, c.low, c.high)
    allowed = case.config is not None and case.config.objective.no_worse_by is not None
    yield Finding(
        "probe_beats_tuned",
        "warning" if allowed else "error",  # how much worse it may be, the verdict asks
        f"a linear layer on the frozen base beats the tuned model on {case.split}: {name} "
        f"{format_value(metric, before)} against {format_value(metric, after)} ({change}, paired "
        f"95 %: {interval})",
        {"metric": metric, "probe": before, "tuned": after, "difference": c.difference}
        | {"low": c.low, "high": c.high},
        remedy=learn_more(
            case,
            "Do not use this model: the linear probe is simpler and better, and probe.safetensors "
            "in the run's folder holds it",
        ),
    )


@pitfall(
    "accuracy_paradox",
    title="accuracy paradox",
    see=("accuracy", "balanced_accuracy", "recall", "class_imbalance"),
)
@pitfall(
    "label_missed",
    title="a label is missed",
    see=("recall", "accuracy_paradox", "confusion matrix", "threshold"),
    words="""
    More than half of one label's rows are not found, and accuracy is below that of a constant
    answer.

    The whole interval of that label's recall lies below one half. Here not even accuracy is good:
    always giving the commonest label would be right more often. No target makes up for it, so the
    verdict is hold. Look at which label its rows are taken for in the confusion matrix.

    Trap: Lowering a threshold finds more of the label and floods the others with false alarms: read
    precision beside it.
    """,
)
def _accuracy_paradox(case: Case) -> Iterator[Finding]:
    """Accuracy is high although the model misses most rows of a label that matters.

    Raised when accuracy is at least what always answering the commonest label has, lies far above
    balanced accuracy, and one label is shown to lose more than half of its rows. The model has
    learnt that the common label is the safe bet. It forbids shipping whatever the target says: a
    detector with 98 % accuracy that finds 12 % of the fraud detects nothing. Look at the row of
    that label in the confusion matrix, then judge by its recall or by macro F1.

    Trap: Rebalancing the test set makes the paradox vanish from the report and not from the world;
    keep the test set as rows will arrive.
    """
    if case.task.gives_sets:
        yield from _missed_of_sets(case)
        return
    # A label whose rows are shown to be missed, which accuracy hides.
    # Only an accuracy that always answering the commonest label would not beat is a paradox; below
    # that it is a label that is missed.
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
    message = (
        f"accuracy on {case.split} is {format_value('accuracy', accuracy)}, yet only {recall} of "
        f'the rows that are "{label}" are found ({found:,} of {support:,})'
    )
    if paradox:
        message += ": the accuracy comes from the larger label"
    else:
        message += f'; always answering "{largest}" has {format_value("accuracy", share)}'
    yield Finding(
        "accuracy_paradox" if paradox else "label_missed",
        "error",
        message,
        {
            "accuracy": accuracy,
            "balanced_accuracy": balanced,
            "majority": share,
            "label": label,
            "recall": found / support,
            "found": found,
            "support": support,
        },
        remedy=for_label(case, label, "recall"),
    )


def _missed_of_sets(case: Case) -> Iterator[Finding]:
    """Each of several labels whose rows are shown to be mostly missed; the positive one forbids."""
    for label, row in ((case.tuned and case.tuned.per_class) or {}).items():
        found = round(row.recall * row.support)
        if not row.support or not _is_missed(found, row.support):
            continue
        positive = case.tuned is not None and label == case.tuned.positive
        what = "is never given rightly" if not found else "is mostly missed"
        yield Finding(
            "label_missed",
            "error" if positive else "warning",
            f'"{label}" {what} on {case.split}: {found:,} of {format_count(row.support, "row")} '
            f"are found, with a precision of {format_value('precision', row.precision)}",
            {"label": label, "recall": row.recall, "found": found, "support": row.support},
            remedy=for_label(case, label, "recall"),
        )


@pitfall(
    "labels_never_predicted",
    title="labels never predicted",
    see=("confusion matrix", "macro_f1", "class_imbalance", "small_classes"),
)
def _never_predicted(case: Case) -> Iterator[Finding]:
    """The tuned model gives some labels to no row at all, though rows of them exist.

    Every such label is listed with how many rows carry it; recall and F1 of each are 0. With many
    rows it is a model that has not yet moved off the common answers, or a label spelt in two ways.
    With one to three rows it may be bad luck. Train on, check the spelling of labels, then gather
    rows.

    Trap: A weighted average hardly notices an empty column; only macro averages and the confusion
    matrix show it.
    """
    # Every label that has rows and is never answered.
    confusion = _confusion(case.tuned)
    if confusion is None or case.split is None:
        return
    labels, counts = confusion.labels, confusion.counts
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
        remedy=learn_more(
            case, "Take a model that was trained on these labels", "or give these labels more rows"
        ),
    )


def _is_missed(found: int, support: int) -> bool:
    """Whether fewer than half are found, by the whole interval."""
    from ...metrics.statistics import wilson  # brings SciPy: a screen that only folds does without

    return wilson(found, support).high < POOR_RECALL


def _failing_label(result: ModelResult) -> tuple[str, int, int] | None:
    """The positive label where it fails, else the one that is found least: found, and rows."""
    rows = {k: r for k, r in (result.per_class or {}).items() if r.support}
    if not rows:
        return None
    recalls = {label: row.recall for label, row in rows.items()}
    label = str(result.positive)
    if recalls.get(label, math.inf) >= POOR_RECALL:
        label = min(recalls, key=lambda x: recalls[x])
    support = rows[label].support
    return label, round(recalls[label] * support), support


def _largest_label(result: ModelResult) -> tuple[str, float]:
    """The commonest true label and its share: what always answering it has for accuracy."""
    rows = {k: r.support for k, r in (result.per_class or {}).items()}
    label = max(rows, key=lambda k: rows[k])
    return label, rows[label] / sum(rows.values())


def _found_by_threshold(case: Case, label: str) -> bool:
    """Whether the threshold that the objective put to use finds the label's rows after all."""
    chosen = case.analysis(Thresholds, model="tuned")
    if chosen is None or not chosen.in_use or chosen.positive != label:
        return False
    recall = chosen.at_threshold.metrics.get("recall") if chosen.at_threshold else None
    return recall is not None and recall.low >= POOR_RECALL


@pitfall(
    "worse_than_guessing",
    title="worse than guessing",
    see=("ln V", "loss", "vocabulary_mismatch", "template_mismatch"),
)
def _worse_than_guessing(case: Case) -> Iterator[Finding]:
    """The tuned model's loss is above ln V: random tokens would be likelier right.

    A language model that knows nothing has the loss ln V. Above it, the model is confidently wrong:
    a mismatched tokenizer, a broken template, weights that did not load, or text of a kind it never
    saw. No difference from the base can make such a model good enough, so the verdict is hold.

    Trap: It often hides behind a large improvement: a fall from 11.8 to 9 nats looks splendid until
    one sees that 8 is a die.
    """
    # For a generation model only: a classifier's loss can be high while its answers are good.
    guess = case.history.random_loss
    if not case.task.writes or guess is None:
        return
    loss = metric_value(case.tuned, "loss")
    estimate = case.tuned.metrics.get("loss") if case.tuned else None
    low = estimate.low if estimate else math.nan
    if loss is not None and (loss if math.isnan(low) else low) >= guess:
        yield Finding(
            "worse_than_guessing",
            "error",
            f"the tuned model's loss on {case.split} is {loss:.3f}; guessing tokens at random has "
            f"{guess:.3f} (ln V)",
            {"loss": loss, "random_loss": guess},
            remedy="The model does not know this kind of text. "
            + learn_more(case, "Take another model", "or take another base"),
        )
