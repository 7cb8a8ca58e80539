"""The metrics of rows with any number of labels each, beside the averages over labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..metric import BY_LABEL, BY_ROW, Counted, Metric
from ..sums import Ratio, total

if TYPE_CHECKING:
    from ..sums import SetMargins


@Metric(
    of=("label_sets",),
    title="subset accuracy (rows with exactly their labels)",
    unit="share",
    formula="rows whose predicted labels are exactly the true ones ÷ rows",
    counted=Counted("rows with exactly their labels", "rows", BY_ROW),
    right_or_wrong=True,
    leading=True,
    chart=1,
    hub=("accuracy", {}),
    see=("hamming_loss", "samples_f1", "macro_f1", "majority"),
    aliases=("exact match ratio", "exact set accuracy"),
)
def subset_accuracy(m: SetMargins) -> Ratio:
    """The share of rows whose predicted labels are exactly the true ones, none more and none less.

    One label too many or too few makes the whole row wrong, so it falls as labels become more: with
    ten independent labels, each right in 95 % of the rows, it is 60 %. Read it beside that of the
    majority, which is high where many rows have no label at all.

    Trap: Comparing it between data with other numbers of labels: more labels, lower figure.
    """
    return Ratio(m["exact"], m["rows"])


@Metric(
    of=("label_sets",),
    title="Hamming loss (wrong label decisions)",
    label="Hamming loss",
    unit="share",
    direction="lower",
    formula="wrong decisions ÷ (rows × labels)",
    counted=Counted("labels wrongly given or left out", "rows × labels", BY_ROW),
    sign_flip=True,
    leading=True,
    chart=9,
    hub=("hamming_loss", {}),
    see=("subset_accuracy", "micro_f1", "majority"),
    aliases=("hamming distance",),
)
def hamming_loss(m: SetMargins) -> Ratio:
    """The share of all decisions, one per row and label, that are wrong.

    A label that is missing and a label that is too many count alike. 0 is perfect. Its ceiling in
    practice is the mean share of rows with a label, which is what never answering anything has.

    Trap: Where labels are rare it is tiny for everybody: at 2 % of rows per label, a model that
    finds nothing has 2 %.
    """
    return Ratio(m["decisions_wrong"], m["decisions"])


@Metric(
    of=("label_sets",),
    title="samples F1 (mean over rows of the F1 of their labels)",
    label="samples F1",
    unit="share",
    formula=(
        "mean over rows of 2 × right labels ÷ (true + predicted labels); "
        "1 for a row that has none and gets none"
    ),
    counted=Counted("sum of the rows' F1", "rows", BY_ROW),
    sign_flip=True,
    chart=10,
    hub=("f1", {"average": "samples"}),
    see=("subset_accuracy", "macro_f1", "micro_f1"),
    aliases=("example based f1", "f1 samples", "sample f1"),
)
def samples_f1(m: SetMargins) -> Ratio:
    """How well a row's labels are met, averaged over the rows.

    It gives part of the credit that subset accuracy denies: one of two labels found, and none too
    many, is 67 %. Every row counts the same, however many labels it has.

    Trap: scikit-learn gives 0 for a row without labels that gets none unless `zero_division=1`;
    here, as there with it, such a row is right.
    """
    return Ratio(m["row_f1"], m["rows"])


@Metric(
    of=("label_sets",),
    title="macro balanced accuracy (mean over labels)",
    label="macro balanced accuracy",
    short="macro bal. acc.",
    unit="share",
    formula="mean over labels of (recall of rows with the label + recall of rows without it) ÷ 2",
    counted=Counted(
        "sum of the labels' balanced accuracies", "labels that not all rows share", BY_LABEL
    ),
    leading=True,
    chart=8,
    see=("macro_f1", "recall", "balanced_accuracy", "majority"),
    aliases=("mean balanced accuracy of the labels",),
)
def macro_balanced_accuracy(m: SetMargins) -> Ratio:
    """How well each label's rows are told from the others, averaged over the labels.

    Each label is a question of its own: has the row this label, or not? Always and never answer it
    with exactly 50 %, whatever the share of rows with the label, and so does a coin. What lies
    above that with its whole interval knows something of the text.

    Trap: A label with five rows has the same say as one with five thousand.
    """
    return Ratio(total(m.both_recalls) * 0.5, total(m.told_apart))


@Metric(
    of=("label_sets",),
    title="balanced accuracy of a label (the positive one)",
    label="balanced accuracy",
    heading="balanced accuracy of a label",
    unit="share",
    formula="(recall of rows with {positive} + recall of rows without it) ÷ 2",
    counted=Counted("recall of rows with {positive} + recall of rows without it", "2", BY_ROW),
    positive="needed",
    chart=None,
    see=("macro_balanced_accuracy", "recall", "precision"),
    aliases=("balanced accuracy of the label",),
)
def label_balanced_accuracy(m: SetMargins) -> Ratio | None:
    """How well the rows with the positive label are told from those without it.

    Recall of the rows with the label and recall of the rows without it, averaged. Always and never
    have 50 %, whatever the share of rows with the label, so that an interval above it shows that
    the model tells the two kinds apart.

    Trap: It prices a missed row by the share of rows with the label: where these are few, one row
    moves it far.
    """
    if m.positive is None:
        return None
    found = Ratio(m.both_recalls, m.told_apart * 2.0)
    return found.of_label(m.positive)
