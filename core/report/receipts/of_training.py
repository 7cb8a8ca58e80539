"""Receipts of what is written while a run trains: evaluations, epochs, references, single texts."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from ...config.config import RunConfig
from ...metrics.metric import BY_ROW, BY_TOKEN, METRICS, Counted, ratios
from ...metrics.results import ModelResult
from ...metrics.sums import Ratio, token_totals
from ...run.events import Evaluated, TextScored
from ...run.history import Epoch, History
from .forms import SUMS, Part, Receipt, Rows, dtype_of, prefix_of, rows_of, tokens_of

TEXT_METRICS = ("average_log_likelihood", "bits_per_byte")


def evaluation_receipt(
    history: History, config: RunConfig | None, e: Evaluated, metric: str
) -> Receipt | None:
    """Loss or (token) accuracy of an evaluation during training; None for any other metric."""
    if metric == "loss":
        ratio = Ratio(e.loss_sum, e.loss_count)
    elif metric == history.task_type.accuracy:
        ratio = Ratio(e.correct, e.count)
    else:
        return None
    result = ModelResult(n=e.rows - e.unscored_rows, metrics={})
    return _receipt(
        metric,
        f"{METRICS[metric].title} at step {e.step:,}",
        e.split,
        e.model,
        ratio,
        METRICS[metric].counts(history.task_type.loss_unit, None),
        rows=rows_of(history, e.split, result),
        tokens=tokens_of(history, e.split),
        dtype=dtype_of(config, e.model, e),
        prefix=prefix_of(history, e.model),
        training_seed=config.train.seed if config else None,
    )


def training_receipts(
    history: History, config: RunConfig | None
) -> Iterator[tuple[tuple[Any, ...], Receipt]]:
    """Each with its place in report.json: of epochs, references and texts."""
    for i, epoch in enumerate(history.epochs):
        for name, found in _of_epoch(history, config, epoch):
            yield ("epochs", i, name), found
    start = history.evaluation("validation", "tuned", 0)
    if start:
        for name, metric in (("start_loss", "loss"), ("start_accuracy", _accuracy(history))):
            at_start = evaluation_receipt(history, config, start, metric)
            if at_start and at_start.denominator:
                yield ("references", name), at_start
    if history.random_loss is not None:
        yield ("references", "random_loss"), _of_guessing(history)
    for i, text in enumerate(history.texts):
        for metric in TEXT_METRICS:
            yield ("texts", i, metric), _of_text(history, config, text, metric)


def _of_epoch(
    history: History, config: RunConfig | None, epoch: Epoch
) -> Iterator[tuple[str, Receipt]]:
    yield "train_loss", _of_train_loss(history, config, epoch)
    at_end = history.evaluation("validation", "tuned", epoch.step)
    if at_end is None:
        return
    metric = _accuracy(history)
    for name, of in (("validation_loss", "loss"), ("validation_accuracy", metric)):
        if (found := evaluation_receipt(history, config, at_end, of)) and found.denominator:
            yield name, found
    start = history.evaluation("validation", "tuned", 0)
    if start and start.count and at_end.count:
        yield "accuracy_change", _of_change(history, config, (start, at_end), metric)


def _of_train_loss(history: History, config: RunConfig | None, epoch: Epoch) -> Receipt:
    steps, unit = history.steps, history.task_type.loss_unit
    i, j = (bisect_right(steps.epoch, e + 1e-9) for e in (epoch.epoch - 1, epoch.epoch))
    ratio = Ratio(math.fsum(steps.loss_sum[i:j]), float(sum(steps.loss_count[i:j])))
    return _receipt(
        "loss",
        f"training loss over epoch {epoch.epoch}",
        "train",
        "tuned",
        ratio,
        Counted(
            "sum of the steps' losses (nats)",
            f"{'scored ' if unit == 'token' else ''}{unit}s read",
            BY_TOKEN if unit == "token" else BY_ROW,
        ),
        rows=rows_of(history, "train", ModelResult(n=history.splits["train"].rows, metrics={}))
        if "train" in history.splits
        else Rows(0),
        dtype=f"training in {history.device.precision}" if history.device else "not recorded",
        prefix=prefix_of(history, "tuned"),
        training_seed=config.train.seed if config else None,
        notes=["dropout is on and the model changes from step to step: no figure of one model"],
    )


def _of_change(
    history: History, config: RunConfig | None, ends: tuple[Evaluated, Evaluated], metric: str
) -> Receipt:
    before, after = ends
    found = evaluation_receipt(history, config, after, metric)
    assert found is not None
    parts = [Part(f"step {e.step:,}", e.correct / e.count, e.correct, e.count) for e in ends]
    same = before.count == after.count
    return replace(
        found,
        title=f"change of {METRICS[metric].title} from step {before.step:,} to {after.step:,}",
        value=parts[1].value - parts[0].value,
        formula=f"{metric} at step {after.step:,} - {metric} at step {before.step:,}",
        numerator=float(after.correct - before.correct) if same else None,
        denominator=float(after.count) if same else None,
        parts=parts,
    )


def _of_guessing(history: History) -> Receipt:
    task = history.task_type
    vocabulary = history.model.vocab_size if history.model else 0
    kinds, what = vocabulary if task.writes else len(history.labels), task.guesses
    return Receipt(
        metric="loss",
        title="loss of random guessing",
        split="",
        model="random guessing",
        value=math.log(kinds),
        unit="nats",
        better="lower",
        formula=f"ln of the number of {what}: ln {kinds:,}",
        weighting=f"each of the {kinds:,} {what} is as likely as any other",
        rows=Rows(0),
        dtype="float64",
        prefix="none: no text is read",
        notes=["no rows are read: this is a reference, not a measurement"],
    )


def _of_text(history: History, config: RunConfig | None, t: TextScored, metric: str) -> Receipt:
    totals = token_totals(-t.log_likelihood, t.tokens, n_bytes=t.bytes)
    ratio = ratios("tokens", totals).get(metric, Ratio(0, 0))
    return _receipt(
        metric,
        METRICS[metric].title,
        t.source,
        t.model,
        ratio,
        METRICS[metric].counts("token", None),
        rows=Rows(1),
        dtype=f"forward pass in {config.evaluate.precision}, {SUMS}" if config else SUMS,
        prefix=f"{t.prefix}, as context, never scored",
        notes=[f"rolling windows of {t.window:,} tokens, {t.stride:,} new ones each"],
    )


def _receipt(
    metric: str,
    title: str,
    split: str,
    model: str,
    ratio: Ratio,
    counted: Counted,
    **terms: Any,
) -> Receipt:
    known = METRICS[metric]
    return Receipt(
        metric=metric,
        title=title,
        split=split,
        model=model,
        value=ratio.quotient if ratio.denominator else math.nan,
        unit=known.unit,
        better=known.direction,
        formula=known.formula,
        numerator=float(ratio.numerator),
        numerator_is=counted.numerator,
        denominator=float(ratio.denominator),
        denominator_is=counted.denominator,
        weighting=counted.weighting,
        **terms,
    )


def _accuracy(history: History) -> str:
    return history.task_type.accuracy
