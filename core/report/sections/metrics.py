"""Every metric of every model on each split, with its interval."""

from __future__ import annotations

from collections.abc import Mapping

from ...judgement.selection import SPLITS, clean, place
from ...metrics.metric import METRICS
from ...metrics.results import ModelResult
from ...tasks import find_task
from ...wording.names import name_metric, positive_label_of
from ...wording.numbers import format_count, format_estimate
from ..blocks import Block, Fold, Heading, Paragraph, Table, section
from ..document import Report, result_of
from .differences import SHOWN_SPLITS
from .thresholds import describe_other_threshold

MODELS = ("majority", "probe", "base", "tuned")
Models = Mapping[str, ModelResult]


@section(50, more=None)
def show_metrics(report: Report) -> list[Block]:
    results = report["results"]
    splits = sorted(results, key=lambda s: place(SHOWN_SPLITS, s))
    told: list[Block] = [Heading("Metrics")] if splits else []
    if both := _on_clean_rows(report):
        told.append(Paragraph(both))
    for split in splits:
        blocks = _split(split, results[split])
        told += [Heading(split, 3), *blocks] if split == splits[0] else [Fold(split, blocks)]
    if splits and (other := describe_other_threshold(report, splits[0])):
        told.append(Paragraph(other))
    if told and (windows := describe_windows(report)):
        told.append(Paragraph(windows, quiet=True))
    if references := describe_references(report):
        told.append(Paragraph(references))
    return told


def _on_clean_rows(report: Report) -> str:
    """The headline metric on all rows and on those that repeat no earlier split (D2)."""
    told = report.get("headline")
    split, metric = (told["split"], told["metric"]) if told else ("", "")
    whole, kept = result_of(report, split), result_of(report, clean(split))
    if whole is None or kept is None:
        return ""
    before, after = whole.metrics.get(metric), kept.metrics.get(metric)
    if before is None or after is None:
        return ""
    rows, others = whole.n, kept.n
    name = name_metric(metric, whole.positive)
    name = name[0].upper() + name[1:]
    return (
        f"Of {format_count(rows, f'{split} row')} {rows - others:,} repeat a row of an earlier "
        f"split. {name} of tuned on all rows is {format_estimate(metric, before)}; on the "
        f"{others:,} others ({clean(split)}) it is {format_estimate(metric, after)}."
    )


def _split(split: str, models: Models) -> list[Block]:
    shown = [m for m in MODELS if m in models] + [m for m in models if m not in MODELS]
    positive = positive_label_of(models.values())
    rows = [
        [
            name_metric(name, positive),
            *(format_estimate(name, models[m].metrics.get(name)) for m in shown),
        ]
        for name in metric_names(models)
    ]
    return [
        Table(["metric", *shown], rows),
        Paragraph(_rows_behind(split, models, shown), quiet=True),
    ]


def metric_names(models: Models) -> list[str]:
    """Those that any model has, in the order of the table of metrics."""
    present = {name for result in models.values() for name in result.metrics}
    known = [name for name in METRICS if name in present]
    return known + sorted(present - set(known))


def _rows_behind(split: str, models: Models, shown: list[str]) -> str:
    scored = ", ".join(f"{m}: {format_count(models[m].get('n', 0), 'row')} scored" for m in shown)
    told = [f"{scored}."]
    if whole := next((s for s in SPLITS if split == clean(s)), ""):
        told.append(f"These are the rows of {whole} that repeat nothing of an earlier split.")
    if unscored := max((len(r.unscored) for r in models.values()), default=0):
        told.append(f"{format_count(unscored, 'row')} had nothing to score.")
    if positive := positive_label_of(models.values()):
        told.append(f"The positive label is “{positive}”.")
    if "probe" in shown:
        told.append("The probe is a linear classifier on the frozen base model.")
    if "majority" in shown:
        told.append("The majority always answers the commonest label of train.")
    return " ".join(told)


def describe_windows(report: Report) -> str:
    """What a row is where plain text was cut; empty for other data."""
    run = report["run"]
    model = run.get("model")
    if model is None or run.get("form") != "text" or (size := model["max_length"]) < 2:
        return ""
    prefix = model.get("prefix") or "one token"
    return (
        f"The rows are windows of at most {size:,} tokens, each the prefix {prefix} and up to "
        f"{size - 1:,} tokens of the text (stride {size - 1:,}: none is in two); neighbouring "
        "windows of one document are treated as independent."
    )


def describe_references(report: Report) -> str:
    """What losses stand beside: random guessing, and the model before the first step (L7)."""
    found, told = report["references"], []
    if "random_loss" in found:
        told.append(f"Random guessing has a loss of {found['random_loss']:.3f}.")
    if "start_loss" in found:
        sentence = f"Before the first step the loss on validation was {found['start_loss']:.3f}"
        if "start_accuracy" in found:
            name = find_task(report["run"]["task"]).accuracy_title
            sentence += f" and the {name} {found['start_accuracy'] * 100:.1f} %"
        told.append(f"{sentence}.")
    return " ".join(told)
