"""Pitfalls that the numbers of a run show, each with its evidence and what to do about it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from .history import History
from .reporting.numbers import format_difference, format_value, read_number
from .reporting.summary import judged_split, metric_value, reference_model

PARADOX_GAP = 0.15  # accuracy above balanced accuracy by this much hides a failing label
POOR_RECALL = 0.5
IMBALANCE = 5.0  # rows of the largest label to one of the smallest
SMALL_SUPPORT = 10  # rows of a label: fewer, and its recall is anecdote
SMALL_SPLIT = 100  # rows
CLAIM = 0.05  # a difference in shares that users want to see proven
RISE = 0.02  # of the least validation loss: a smaller rise is not called overfitting
TRUNCATED_SHARE = 0.01
EVIDENCE_ROWS = 50


@dataclass(frozen=True)
class Finding:
    """One pitfall. `rows` are (split, row) of the evidence; `evidence` the numbers behind it."""

    code: str
    severity: Literal["error", "warning", "info"]
    message: str
    evidence: dict[str, Any] = field(default_factory=dict)
    rows: list[tuple[str, int]] = field(default_factory=list)
    remedy: str = ""


def find(history: History) -> list[Finding]:
    """Every pitfall the history shows, the gravest first."""
    found = [finding for look in _LOOKS for finding in look(history)]
    return sorted(found, key=lambda f: ("error", "warning", "info").index(f.severity))


def _tuned(history: History) -> tuple[str, dict[str, Any]] | None:
    split = judged_split(history)
    return (split, history.results[split]["tuned"]) if split else None


def _accuracy_paradox(history: History) -> Iterator[Finding]:
    if history.task != "classification" or not (judged := _tuned(history)):
        return
    split, result = judged
    accuracy, balanced = (metric_value(result, m) for m in ("accuracy", "balanced_accuracy"))
    recalls = {
        label: read_number(row["recall"])
        for label, row in (result.get("per_class") or {}).items()
        if row.get("support")
    }
    if accuracy is None or balanced is None or not recalls:
        return
    label = result.get("positive") or min(recalls, key=lambda x: recalls[x])
    recall = recalls.get(label, math.nan)
    if accuracy - balanced < PARADOX_GAP or not recall < POOR_RECALL:
        return
    yield Finding(
        "accuracy_paradox",
        "error",
        f"accuracy on {split} is {format_value('accuracy', accuracy)}, yet only "
        f'{format_value("recall", recall)} of the rows that are "{label}" are found: '
        "the accuracy comes from the larger label",
        {
            "accuracy": accuracy,
            "balanced_accuracy": balanced,
            "label": label,
            "recall": recall,
        },
        remedy="Judge by recall of that label or macro_f1; give the label more rows",
    )


def _leakage(history: History) -> Iterator[Finding]:
    if (found := history.leakage) is None:
        return
    if found.exact or found.near or found.ngram:
        pairs = [(b, row) for a, _, b, row, *_ in found.pairs if a != b]
        into_test = bool(found.exact and found.leaked.get("test"))
        yield Finding(
            "leakage",
            "error" if into_test else "warning",
            f"rows repeat a row of another split: {found.exact:,} exactly, {found.near:,} nearly, "
            f"{found.ngram:,} by 13 words in a row",
            {"exact": found.exact, "near": found.near, "ngram": found.ngram, **found.leaked},
            pairs[:EVIDENCE_ROWS],
            "Take these rows out of one side; read the results on the clean rows",
        )
    if found.conflicting_labels:
        yield Finding(
            "conflicting_labels",
            "warning",
            f"{found.conflicting_labels:,} rows repeat an input that has another label before",
            {"rows": found.conflicting_labels},
            remedy="Decide on one label for each of them",
        )


def _imbalance(history: History) -> Iterator[Finding]:
    train = history.splits.get("train")
    counts = {k: n for k, n in train.labels.items() if n} if train else {}
    if len(counts) >= 2:
        most, least = max(counts, key=lambda k: counts[k]), min(counts, key=lambda k: counts[k])
        ratio = counts[most] / counts[least]
        if ratio >= IMBALANCE:
            yield Finding(
                "class_imbalance",
                "warning",
                f'train has {ratio:.1f} rows of "{most}" for each of "{least}" '
                f"({counts[most]:,} to {counts[least]:,})",
                {"ratio": ratio, "largest": most, "smallest": least},
                remedy="Read macro_f1 and the row of each label, not accuracy",
            )
    if judged := _tuned(history):
        yield from _small_labels(*judged)


def _small_labels(split: str, result: dict[str, Any]) -> Iterator[Finding]:
    supports = {k: row.get("support", 0) for k, row in (result.get("per_class") or {}).items()}
    small = {k: int(n) for k, n in supports.items() if n < SMALL_SUPPORT}
    if small:
        some = ", ".join(f'"{k}" ({n})' for k, n in list(small.items())[:5])
        yield Finding(
            "small_classes",
            "info",
            f"{len(small):,} labels have fewer than {SMALL_SUPPORT} rows in {split}: {some}",
            {"support": small},
            remedy="Do not judge those labels by their own figures",
        )


def _worse_than_guessing(history: History) -> Iterator[Finding]:
    """For a generation model only: a classifier's loss can be high while its answers are good."""
    guess = history.random_loss
    if history.task != "generation" or guess is None or not (judged := _tuned(history)):
        return
    split, result = judged
    loss = metric_value(result, "loss")
    if loss is not None and loss >= guess:
        yield Finding(
            "worse_than_guessing",
            "error",
            f"the tuned model's loss on {split} is {loss:.3f}; guessing tokens at random has "
            f"{guess:.3f} (ln V)",
            {"loss": loss, "random_loss": guess},
            remedy="The model does not know this kind of text: train longer, or take another base",
        )


def _overfitting(history: History) -> Iterator[Finding]:
    series = [e for e in history.validation_series() if e.loss_count]
    losses = [e.loss_sum / e.loss_count for e in series]
    if len(losses) < 3 or not all(map(math.isfinite, losses)):
        return
    best = min(range(len(losses)), key=losses.__getitem__)
    rise = losses[-1] - losses[best]
    if best == len(losses) - 1 or rise <= RISE * losses[best] or not _train_loss_fell(history):
        return
    kept = history.best_step
    saved = kept is not None and kept <= series[best].step
    yield Finding(
        "overfitting",
        "info" if saved else "warning",
        f"overfitting since epoch {series[best].epoch:.2g} (step {series[best].step:,}): "
        f"validation loss rose from {losses[best]:.3f} to {losses[-1]:.3f} while training loss fell"
        + (f"; the checkpoint of step {kept:,} was kept" if saved else ""),
        {"step": series[best].step, "epoch": series[best].epoch, "rise": rise, "kept_step": kept},
        remedy="" if saved else "Fewer epochs, early stopping, or more data",
    )


def _train_loss_fell(history: History) -> bool:
    told = [e.train_loss for e in history.epochs if math.isfinite(e.train_loss)]
    return len(told) < 2 or told[-1] < told[0]


def _too_little_to_judge(history: History) -> Iterator[Finding]:
    if (judged := _tuned(history)) is None:
        return
    split, result = judged
    if split != "test":
        yield Finding(
            "no_test_set",
            "warning",
            f"judged on {split}, which also chose the checkpoint: the figures flatter",
            remedy="Keep rows apart: [data] test = a file, or a share such as 0.1",
        )
    rows = int(result.get("n") or 0)
    accuracy = _accuracy_comparison(history, split)
    least = read_number(accuracy.get("smallest_detectable"))
    undecided = read_number(accuracy.get("low")) <= 0 <= read_number(accuracy.get("high"))
    if rows < SMALL_SPLIT or (least > CLAIM and undecided):
        told = f"{split} has {rows:,} rows"
        if math.isfinite(least):
            told += (
                f": differences below {format_difference('accuracy', least)[1:]} cannot be shown"
            )
        yield Finding(
            "test_too_small",
            "warning",
            told,
            {"rows": rows, "smallest_detectable": None if math.isnan(least) else least},
            remedy="Evaluate on more rows",
        )


def _accuracy_comparison(history: History, split: str) -> dict[str, Any]:
    """The paired difference of accuracy from the reference to tuned; empty without one."""
    against = reference_model(history.results[split])
    for c in history.comparisons:
        wanted = (c.get("split"), c.get("metric"), c.get("from"), c.get("to"))
        if wanted == (split, "accuracy", against, "tuned"):
            return c
    return {}


def _unsteady_training(history: History) -> Iterator[Finding]:
    if skipped := history.steps.skipped:
        yield Finding(
            "steps_skipped",
            "warning",
            f"{skipped:,} of {len(history.steps):,} steps made no update: gradient not finite",
            {"skipped": skipped, "steps": len(history.steps)},
            remedy="Lower train.learning_rate, or train in float32",
        )
    bad = [s for s, x in zip(history.steps.step, history.steps.loss, strict=True) if x != x]
    if bad:
        yield Finding(
            "loss_not_finite",
            "error",
            f"training loss is not a number from step {bad[0]:,} on ({len(bad):,} steps)",
            {"first_step": bad[0], "steps": len(bad)},
            remedy="Lower train.learning_rate, or train in float32",
        )


def _masking(history: History) -> Iterator[Finding]:
    for name, s in history.splits.items():
        if s.rows and s.truncated_rows > TRUNCATED_SHARE * s.rows:
            yield Finding(
                "truncation",
                "warning",
                f"{s.truncated_rows:,} of {s.rows:,} {name} rows were cut, "
                f"{s.truncated_tokens:,} tokens lost",
                {"split": name, "rows": s.truncated_rows, "tokens": s.truncated_tokens},
                remedy="Raise model.max_length where the model allows it",
            )
        if s.unscored_rows:
            yield Finding(
                "nothing_to_score",
                "warning",
                f"{s.unscored_rows:,} {name} rows have nothing left to score and count nowhere",
                {"split": name, "rows": s.unscored_rows},
                remedy="Look at rows whose prompt fills the whole window",
            )
        if s.rows_without_eos:
            yield Finding(
                "end_not_scored",
                "warning",
                f"{s.rows_without_eos:,} {name} rows do not score their end: "
                "the model may not learn to stop",
                {"split": name, "rows": s.rows_without_eos},
                remedy="Check that the tokenizer has an end-of-text token",
            )
        if s.skipped_rows:
            yield Finding(
                "rows_skipped",
                "info",
                f"{s.skipped_rows:,} bad rows of {name} were left out, as data.bad_rows says",
                {"split": name, "rows": s.skipped_rows},
            )


_LOOKS: tuple[Callable[[History], Iterator[Finding]], ...] = (
    _accuracy_paradox,
    _worse_than_guessing,
    _leakage,
    _too_little_to_judge,
    _overfitting,
    _imbalance,
    _unsteady_training,
    _masking,
)
