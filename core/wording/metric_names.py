"""What metrics, models and decisions are called on screens and in reports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..metrics.metric_table import METRICS

MODELS = {"base": "the base", "probe": "the linear probe", "majority": "the majority"}
OF_ONE_LABEL = ("precision", "recall", "f1", "average_precision")  # of two: the positive one
_NAMES = {
    "f1": "F1",
    "macro_f1": "macro F1",
    "weighted_f1": "weighted F1",
    "micro_f1": "micro F1",
    "mcc": "MCC",
    "roc_auc": "ROC AUC",
    "brier": "Brier score",
    "ece": "calibration error (ECE)",
    "bleu": "BLEU",
    "chrf": "chrF",
    "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2",
    "rougeL": "ROUGE-L",
}


def name_metric(metric: str, positive: str | None = None) -> str:
    """`macro F1`, `recall of "fraud"`: metrics of one label name it wherever it is known."""
    name = _NAMES.get(metric, metric.replace("_", " ") if metric in METRICS else metric)
    return f'{name} of "{positive}"' if positive and metric in OF_ONE_LABEL else name


def name_decision(verdict: Mapping[str, Any]) -> str:
    """`ship`, or `preliminary: ship` where the run has not ended (V9)."""
    decision = str(verdict["decision"])
    return f"preliminary: {decision}" if verdict.get("preliminary") else decision


def name_class(metrics: Iterable[str], positive: str | None) -> str:
    """`precision, recall and F1 of "fraud"`, for a narrow table that has some of these."""
    if not positive or not set(metrics) & set(OF_ONE_LABEL):
        return ""
    return f'precision, recall and F1 of "{positive}"'


def title_metric(metric: str, positive: str | None = None) -> str:
    """The title in full, as beside a formula: `precision of "fraud"`."""
    if metric not in METRICS:
        return metric
    title = METRICS[metric].title
    if not positive or metric not in OF_ONE_LABEL:
        return title
    of = f' of "{positive}"'
    named = title.replace(" of the positive label", of)
    return named if named != title else title + of


def positive_label_of(results: Iterable[Mapping[str, Any]]) -> str | None:
    """The positive label of a binary task, by the first result that names one."""
    return next((str(r["positive"]) for r in results if r.get("positive")), None)
