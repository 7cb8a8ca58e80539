"""Every metric by name: its title in full, direction, unit and formula in words."""

from dataclasses import dataclass
from typing import Literal

Task = Literal["classification", "generation", "both"]
Direction = Literal["higher", "lower"]
Unit = Literal[
    "share",  # 0 to 1, shown in per cent
    "coefficient",  # -1 to 1
    "squared error",
    "nats",
    "perplexity",
    "bits",
    "points",  # 0 to 100
]


@dataclass(frozen=True)
class Metric:
    """What is known about a metric before any number is."""

    name: str
    title: str  # averages named in full
    task: Task
    direction: Direction  # which way is better: a property of the metric, never guessed
    unit: Unit
    formula: str
    same_as: str = ""  # equal by arithmetic to this metric: shown, but never tested a second time
    function_of: str = ""  # rises or falls with this metric and no other: one test, not two

    @property
    def tested_as(self) -> str:
        """The metric whose test this one's is."""
        return self.same_as or self.function_of or self.name

    @property
    def higher_is_better(self) -> bool:
        return self.direction == "higher"


def _share(name: str, title: str, formula: str, same_as: str = "") -> Metric:
    return Metric(name, title, "classification", "higher", "share", formula, same_as)


def _text(
    name: str, title: str, direction: Direction, unit: Unit, formula: str, function_of: str = ""
) -> Metric:
    return Metric(name, title, "generation", direction, unit, formula, function_of=function_of)


# "Fixed a, broke b" adds up to these and to no other metric (V15).
ADD_UP = frozenset({"accuracy", "exact_match"})

_PER_LABEL = "over the labels that occur in truth or predictions"
_WEIGHTED = "each label weighted by its number of true rows"
_ONE_VS_REST = "with more than two labels: mean over the labels present, each against the rest"

_TABLE = (
    _share("accuracy", "accuracy", "right rows ÷ rows"),
    _share(
        "balanced_accuracy",
        "balanced accuracy (mean recall of the labels with true rows)",
        "mean of right rows ÷ true rows, over the labels with true rows",
    ),
    _share("macro_precision", "macro-averaged precision", f"mean precision {_PER_LABEL}"),
    _share("macro_recall", "macro-averaged recall", f"mean recall {_PER_LABEL}"),
    _share("macro_f1", "macro-averaged F1", f"mean of each label's F1 {_PER_LABEL}"),
    _share("weighted_precision", "support-weighted precision", f"mean precision, {_WEIGHTED}"),
    _share("weighted_recall", "support-weighted recall", f"mean recall, {_WEIGHTED}", "accuracy"),
    _share("weighted_f1", "support-weighted F1", f"mean of each label's F1, {_WEIGHTED}"),
    _share(
        "micro_precision", "micro-averaged precision", "right rows ÷ predicted rows", "accuracy"
    ),
    _share("micro_recall", "micro-averaged recall", "right rows ÷ true rows", "accuracy"),
    _share("micro_f1", "micro-averaged F1", "2 × right rows ÷ (true + predicted rows)", "accuracy"),
    _share(
        "precision",
        "precision of the positive label",
        "true positives ÷ rows predicted positive; absent where none is",
    ),
    _share("recall", "recall of the positive label", "true positives ÷ positive rows"),
    _share(
        "f1",
        "F1 of the positive label",
        "2 × true positives ÷ (positive rows + rows predicted positive)",
    ),
    Metric(
        "mcc",
        "Matthews correlation coefficient",
        "classification",
        "higher",
        "coefficient",
        "covariance of truth and predictions ÷ the root of the product of their variances; "
        "0 where one of them never varies",
    ),
    _share(
        "roc_auc",
        "area under the ROC curve",
        "share of (positive, other) row pairs that the score orders rightly, ties as half; "
        + _ONE_VS_REST,
    ),
    _share(
        "average_precision",
        "average precision",
        "sum over thresholds of (gain in recall) × precision; " + _ONE_VS_REST,
    ),
    Metric(
        "brier",
        "Brier score",
        "classification",
        "lower",
        "squared error",
        "mean of (probability of the positive label - truth)²; with more than two labels the "
        "squares are summed over the labels (0 to 2)",
    ),
    Metric(
        "ece",
        "expected calibration error (top label, 15 equal-width bins)",
        "classification",
        "lower",
        "share",
        "sum over bins of |confidence - accuracy| × share of the rows",
    ),
    Metric(
        "loss",
        "loss (mean negative log-likelihood)",
        "both",
        "lower",
        "nats",
        "sum of negative log-likelihoods ÷ scored rows (classification) or tokens (generation)",
    ),
    _text("perplexity", "perplexity", "lower", "perplexity", "exp(loss)", "loss"),
    _text(
        "token_accuracy",
        "next-token accuracy",
        "higher",
        "share",
        "tokens ranked first ÷ scored tokens",
    ),
    _text(
        "average_log_likelihood",
        "average log-likelihood per token",
        "higher",
        "nats",
        "sum of log-likelihoods ÷ scored tokens",
        "loss",
    ),
    _text(
        "bits_per_byte",
        "bits per byte",
        "lower",
        "bits",
        "sum of negative log-likelihoods ÷ (ln 2 × UTF-8 bytes of the raw text)",
    ),
    _text("exact_match", "exact match", "higher", "share", "answers equal to the reference ÷ rows"),
    _text("bleu", "corpus BLEU", "higher", "points", "sacrebleu, corpus level"),
    _text("chrf", "corpus chrF", "higher", "points", "sacrebleu, corpus level"),
    _text("rouge1", "ROUGE-1 F-measure", "higher", "share", "mean over rows, words in common"),
    _text("rouge2", "ROUGE-2 F-measure", "higher", "share", "mean over rows, word pairs in common"),
    _text(
        "rougeL",
        "ROUGE-L F-measure",
        "higher",
        "share",
        "mean over rows, longest common subsequence of words",
    ),
)

METRICS: dict[str, Metric] = {metric.name: metric for metric in _TABLE}
# Those that need a model's answers: made once, at the end of a run, and not while it trains.
REFERENCE_METRICS = ("exact_match", "bleu", "chrf", "rouge1", "rouge2", "rougeL")
