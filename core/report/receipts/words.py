"""What a metric's numerator and denominator count, and how much a row weighs in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...metrics.metric_table import ADD_UP
from ...tasks import find_task

BY_ROW = "each row counts once"
BY_TOKEN = "each scored token counts once: a long row weighs more than a short one"
BY_LABEL = "each label counts the same, however few rows it has"
BY_SUPPORT = "each label counts by its number of true rows"
BY_BYTE = "all text counts by its bytes, whatever the tokenizer makes of it"
_PRESENT = "labels in truth or predictions"
_ANSWERS = "rows with a reference"

_WORDS: dict[str, tuple[str, str, str]] = {
    "accuracy": ("right rows", "rows", BY_ROW),
    "balanced_accuracy": ("sum of the labels' recalls", "labels with true rows", BY_LABEL),
    "macro_precision": ("sum of the labels' precisions", _PRESENT, BY_LABEL),
    "macro_recall": ("sum of the labels' recalls", _PRESENT, BY_LABEL),
    "macro_f1": ("sum of the labels' F1", _PRESENT, BY_LABEL),
    "weighted_precision": ("sum over labels of precision × true rows", "rows", BY_SUPPORT),
    "weighted_recall": ("right rows", "rows", BY_SUPPORT),
    "weighted_f1": ("sum over labels of F1 × true rows", "rows", BY_SUPPORT),
    "micro_precision": ("right rows", "predicted rows", BY_ROW),
    "micro_recall": ("right rows", "true rows", BY_ROW),
    "micro_f1": ("2 × right rows", "true rows + predicted rows", BY_ROW),
    "precision": ("rows rightly called {positive}", "rows called {positive}", BY_ROW),
    "recall": ("rows rightly called {positive}", "rows that are {positive}", BY_ROW),
    "f1": (
        "2 × rows rightly called {positive}",
        "rows that are {positive} + rows called {positive}",
        BY_ROW,
    ),
    "mcc": (
        "right rows × rows - sum over labels of true × predicted rows",
        "√(rows² - sum of squared true rows) × √(rows² - sum of squared predicted rows)",
        BY_ROW,
    ),
    "roc_auc": (
        "pairs of a {positive} and another row in the right order, a tie as half",
        "such pairs",
        "each pair counts once",
    ),
    "average_precision": (
        "precision at the threshold of each {positive} row, summed",
        "rows that are {positive}",
        "each {positive} row counts once",
    ),
    "brier": ("sum of squared errors of the probabilities", "rows", BY_ROW),
    "ece": (
        "sum over bins of |summed confidence - right rows|",
        "rows",
        "each bin counts by its rows",
    ),
    "loss": ("sum of negative log-likelihoods (nats)", "rows", BY_ROW),
    "perplexity": ("sum of negative log-likelihoods (nats)", "scored tokens", BY_TOKEN),
    "token_accuracy": ("tokens ranked first", "scored tokens", BY_TOKEN),
    "average_log_likelihood": ("sum of log-likelihoods (nats)", "scored tokens", BY_TOKEN),
    "bits_per_byte": (
        "sum of negative log-likelihoods (nats)",
        "ln 2 × UTF-8 bytes of the raw text",
        BY_BYTE,
    ),
    "exact_match": ("answers equal to their reference", _ANSWERS, BY_ROW),
    "bleu": ("", "", "the n-grams of all rows are counted together: long rows weigh more"),
    "chrf": ("", "", "the character n-grams of all rows are counted together"),
    "rouge1": ("sum of the rows' F-measures", _ANSWERS, BY_ROW),
    "rouge2": ("sum of the rows' F-measures", _ANSWERS, BY_ROW),
    "rougeL": ("sum of the rows' F-measures", _ANSWERS, BY_ROW),
}
_AREAS = {
    "roc_auc": ("sum of the labels' areas, each against the rest", "labels that can be ranked"),
    "average_precision": ("sum of the labels' average precisions", "labels that can be ranked"),
}


def words_of(metric: str, task: str, result: Mapping[str, Any]) -> tuple[str, str]:
    """What the numerator and the denominator are, in words."""
    return _words(metric, task, result)[:2]


def positive_of(metric: str, result: Mapping[str, Any]) -> str | None:
    """The positive label, where the metric is of one label and not of all."""
    positive: str | None = result.get("positive")
    told = " ".join(_WORDS.get(metric, ()))
    return positive if "{positive}" in told or metric == "brier" else None


def counts_answers(metric: str) -> bool:
    """Whether rows fixed and broken add up to the metric's difference (V15)."""
    return metric in ADD_UP


def weighting_of(metric: str, task: str, result: Mapping[str, Any]) -> str:
    return _words(metric, task, result)[2]


def _words(metric: str, task: str, result: Mapping[str, Any]) -> tuple[str, str, str]:
    positive = result.get("positive")
    if metric in _AREAS and positive is None:
        return (*_AREAS[metric], BY_LABEL)
    if metric == "loss" and find_task(task).loss_unit == "token":
        return (_WORDS["loss"][0], "scored tokens", BY_TOKEN)
    above, below, weighting = (
        text.replace("{positive}", f'"{positive}"') for text in _WORDS.get(metric, ("", "", BY_ROW))
    )
    return above, below, weighting
