"""What a metric and a decision are called on screens and in reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..numbers.metric_table import METRICS

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
