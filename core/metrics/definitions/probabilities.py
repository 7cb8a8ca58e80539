"""The metrics of predicted probabilities: rankings, calibration and loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..metric import BY_LABEL, BY_ROW, BY_TOKEN, Counted, FewRows, Metric
from ..sums import Ratio, Totals, total

if TYPE_CHECKING:
    from ..sums import FloatArray


@Metric(
    of=("probabilities", "label_sets"),
    title="area under the ROC curve",
    label="ROC AUC",
    heading="area under the ROC curve",
    unit="share",
    formula=(
        "share of (positive, other) row pairs that the score orders rightly, ties as half; "
        "with more than two labels: mean over the labels present, each against the rest"
    ),
    counted=Counted(
        "pairs of a {positive} and another row in the right order, a tie as half",
        "such pairs",
        "each pair counts once",
    ),
    counted_over_labels=Counted(
        "sum of the labels' areas, each against the rest",
        "labels that can be ranked",
        BY_LABEL,
    ),
    positive="used",
    ratio=lambda t: t.get("pairs"),
    see=("average_precision", "threshold", "recall", "base rate"),
    aliases=("auc", "auroc", "roc auc", "roc curve"),
)
def roc_auc(t: Totals) -> FloatArray | None:
    """How often a random positive row is scored above a random other row.

    It judges the ranking by probability and no threshold at all. 50 % is coin tossing, 100 % a
    perfect order; above 90 % is usually strong. With more than two labels it is the mean over
    labels, each against the rest. Use it to see whether a better threshold could help: high area
    with poor recall says that the threshold is wrong and not the model.

    Trap: With few positive rows it is optimistic: the many easy negatives fill the area, and an
    alarm list can still be mostly false. Average precision shows that.
    """
    return None if "roc_auc" not in t else t["roc_auc"].clip(0, 1)


@Metric(
    of=("probabilities", "label_sets"),
    title="average precision",
    short="avg. precision",
    heading="average precision",
    unit="share",
    formula=(
        "sum over thresholds of (gain in recall) × precision; with more than two labels: "
        "mean over the labels present, each against the rest"
    ),
    counted=Counted(
        "precision at the threshold of each {positive} row, summed",
        "rows that are {positive}",
        "each {positive} row counts once",
    ),
    counted_over_labels=Counted(
        "sum of the labels' average precisions",
        "labels that can be ranked",
        BY_LABEL,
    ),
    positive="named",
    ratio=lambda t: t.get("precisions"),
    see=("roc_auc", "precision", "recall", "base rate"),
    aliases=("pr auc", "auprc", "precision recall curve", "ap"),
)
def average_precision(t: Totals) -> FloatArray | None:
    """Precision averaged over the thresholds at which each positive row is found.

    It summarises the whole trade between precision and recall in one figure. Its floor is the share
    of positive rows, not 50 %: 20 % is excellent where one row in a thousand is positive and poor
    where one in five is. Read it beside that share and beside the probe's.

    Trap: Comparing it between two test sets with different shares of positive rows: the same model
    gets a different figure on each.
    """
    return None if "average_precision" not in t else t["average_precision"].clip(0, 1)


@Metric(
    of=("probabilities",),
    title="Brier score",
    label="Brier score",
    heading="Brier score",
    unit="squared error",
    direction="lower",
    formula=(
        "mean of (probability of the positive label - truth)²; with more than two labels "
        "the squares are summed over the labels (0 to 2)"
    ),
    counted=Counted("sum of squared errors of the probabilities", "rows", BY_ROW),
    positive="used",
    sign_flip=True,
    hub=("brier_score", {}),
    see=("ece", "loss", "reliability table", "proper score", "temperature"),
    aliases=("mean squared probability error",),
)
def brier(t: Totals) -> Ratio:
    """The mean squared distance between the predicted probabilities and what happened.

    A proper score: on average it is lowest for honest probabilities, so bluffing does not pay. With
    two labels 0 is perfect, 0.25 is always saying 50 %, and p × (1 - p) is always saying the base
    rate p: the figure to beat. With more labels the squares are summed over labels and the scale
    runs to 2. It mixes two things, how sharp and how calibrated the probabilities are; ECE looks at
    the second alone.

    Trap: On rare labels it is tiny for everybody (0.0099 for always saying 1 %): judge it against
    that figure, never against 0.25.
    """
    return Ratio(t["squared_error"], t["rows"])


@Metric(
    of=("probabilities",),
    title="expected calibration error (top label, 15 equal-width bins)",
    label="calibration error (ECE)",
    short="calibration",
    heading="expected calibration error",
    unit="share",
    direction="lower",
    formula="sum over bins of |confidence - accuracy| × share of the rows",
    counted=Counted(
        "sum over bins of |summed confidence - right rows|",
        "rows",
        "each bin counts by its rows",
    ),
    ratio=lambda t: Ratio(total(abs(t["gaps"])), t["rows"]),
    see=("ECE null value", "reliability table", "temperature", "brier", "calibration"),
    aliases=("calibration error", "expected calibration error (top label)"),
)
def ece(t: Totals) -> FloatArray:
    """The average gap between how sure the model is and how often it is right.

    Rows are put into 15 equal bins by the probability of their predicted label; in each bin mean
    confidence is set against accuracy, and the gaps are averaged by rows. 5 % means that stated
    confidence is off by five points on average. It is never zero on real rows: a perfectly
    calibrated model still shows about 5 % at 100 rows and 1.6 % at 1,000, so compare with the null
    value beside it. Fix what is above that with a temperature.

    Trap: A model that always says the base rate is perfectly calibrated and useless: low ECE is
    worth something only next to a good Brier score or loss.
    """
    return total(abs(t["gaps"] / t["rows"]))


@Metric(
    of=("probabilities", "label_sets", "tokens", "numbers"),
    title="loss (mean negative log-likelihood)",
    heading="loss",
    unit="nats",
    direction="lower",
    formula="sum of negative log-likelihoods ÷ scored rows (classification) or tokens (generation)",
    counted=Counted("sum of negative log-likelihoods (nats)", "rows", BY_ROW),
    counted_by_token=Counted(
        "sum of negative log-likelihoods (nats)",
        "scored tokens",
        BY_TOKEN,
    ),
    few_rows=FewRows(of_logarithm=True),
    sign_flip=True,
    leading=True,
    see=("perplexity", "ln V", "step 0", "overfitting", "bits_per_byte"),
    aliases=("nll", "negative log likelihood", "cross entropy", "log loss", "validation loss"),
)
def loss(t: Totals) -> Ratio | None:
    """The mean of -ln of the probability that the model gave to what is true, in nats.

    Over tokens for generation, over rows for classification, as one division of sums. Lower is
    better; 0 is certainty about the truth. Random guessing has ln V for a vocabulary of V tokens,
    or ln C for C labels: above that a model is worse than a die. The base at step 0 is the other
    reference. A fall of 0.1 nats makes the truth 10.5 % more likely per token (e to the 0.1).

    Trap: A falling training loss is no proof of anything: rote learning has it too. Watch the loss
    of rows that were not trained on, and compare only models with the same tokenizer.
    """
    return Ratio(t["nll"], t["scored"]) if "nll" in t else None
