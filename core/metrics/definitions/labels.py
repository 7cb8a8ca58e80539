"""The metrics of predicted labels, from the margins of the confusion matrix."""

from __future__ import annotations

from ..metric import BY_LABEL, BY_ROW, BY_SUPPORT, Counted, Metric, RowShare
from ..sums import Margins, Ratio, divide, root, total


@Metric(
    of=("counts",),
    title="accuracy",
    unit="share",
    formula="right rows ÷ rows",
    counted=Counted("right rows", "rows", BY_ROW),
    share=RowShare(),
    right_or_wrong=True,
    leading=True,
    chart=1,
    see=("balanced_accuracy", "macro_f1", "majority", "accuracy_paradox", "Wilson interval"),
    aliases=("acc",),
)
def accuracy(m: Margins) -> Ratio:
    """The share of rows whose predicted label is the true one.

    Right rows divided by all rows, each row counting once. Its floor is not zero: read it beside
    the majority, which is what you get for always answering the commonest label of train, and
    beside the linear probe, which is what the frozen base gives away for free. A tuned model earns
    its keep by what it adds to these two; good is an interval that lies above them and above the
    target.

    Trap: With uneven labels it rewards ignoring the rare one: at 95 rows to 5, never finding the
    rare label still scores 95 %.
    """
    return Ratio(m.all_right, m.rows)


@Metric(
    of=("counts",),
    title="balanced accuracy (mean recall of the labels with true rows)",
    short="balanced acc.",
    unit="share",
    formula="mean of right rows ÷ true rows, over the labels with true rows",
    counted=Counted("sum of the labels' recalls", "labels with true rows", BY_LABEL),
    mean_of="recall",
    over_true=True,
    leading=True,
    chart=7,
    see=("accuracy", "macro_recall", "recall", "support", "class_imbalance"),
    aliases=("balanced acc", "mean recall"),
)
def balanced_accuracy(m: Margins) -> Ratio:
    """The mean of the recalls of all labels that occur in the truth.

    Every label has the same say, whether it has five rows or five thousand. A model that always
    gives one answer, the majority among them, has exactly 1 ÷ number of labels: 50 % with two
    labels, 1.3 % with 77. Good is far above that and close to accuracy; a gap of 15 points or more
    below accuracy means that some label is being sacrificed.

    Trap: A label with three rows swings it by a third of its share when one row changes: look at
    the support of the labels before you trust a small change.
    """
    return Ratio(total(m.recall), m.labels_true)


@Metric(
    of=("counts", "label_sets"),
    title="macro-averaged precision",
    short="macro prec.",
    unit="share",
    formula="mean precision over the labels that occur in truth or predictions",
    counted=Counted("sum of the labels' precisions", "labels in truth or predictions", BY_LABEL),
    mean_of="precision",
    chart=8,
    hub=("precision", {"average": "macro"}),
    see=("precision", "macro_recall", "macro_f1", "macro average"),
    aliases=("macro averaged precision",),
)
def macro_precision(m: Margins) -> Ratio:
    """The mean over labels of the share of rows given that label that really have it.

    It asks how far a prediction can be believed, whichever label it names, and lets rare labels
    count as much as common ones. A label with true rows that is never predicted enters with 0, so
    the majority stands very low here: about its accuracy divided by the number of labels. Read it
    against the probe; when it is much higher than macro recall the model is careful and misses
    rows.

    Trap: A label that is predicted once, and rightly, has precision 100 %: the average hides that
    it found one row of fifty.
    """
    return Ratio(total(m.precision), m.labels_present)


@Metric(
    of=("counts", "label_sets"),
    title="macro-averaged recall",
    unit="share",
    formula="mean recall over the labels that occur in truth or predictions",
    counted=Counted("sum of the labels' recalls", "labels in truth or predictions", BY_LABEL),
    mean_of="recall",
    chart=9,
    hub=("recall", {"average": "macro"}),
    see=("recall", "balanced_accuracy", "macro_precision", "macro average"),
    aliases=("macro averaged recall",),
)
def macro_recall(m: Margins) -> Ratio:
    """The mean over labels of the share of their true rows that are found.

    The same as balanced accuracy as long as every label that is predicted also occurs in the truth;
    a label that is only predicted enters here with 0 and there not at all. Its floor, for a model
    with one answer, is 1 ÷ number of labels. Good is well above the probe and level across labels:
    the table of labels shows who pulls it down.

    Trap: Two models with the same macro recall can be opposites: one mediocre everywhere, the other
    perfect on most labels and blind to one.
    """
    return Ratio(total(m.recall), m.labels_present)


@Metric(
    of=("counts", "label_sets"),
    title="macro-averaged F1",
    label="macro F1",
    unit="share",
    formula="mean of each label's F1 over the labels that occur in truth or predictions",
    counted=Counted("sum of the labels' F1", "labels in truth or predictions", BY_LABEL),
    mean_of="f1",
    leading=True,
    chart=3,
    hub=("f1", {"average": "macro"}),
    see=("f1", "weighted_f1", "micro_f1", "macro average", "small_classes"),
    aliases=("macro f", "f1 macro", "macro averaged f1"),
)
def macro_f1(m: Margins) -> Ratio:
    """The mean of the labels' own F1 scores, each label counting the same.

    The usual single figure for more than two labels, or uneven ones, because a label that is
    ignored costs a full share of it. Majority stands low (33 % for two even labels, below 1 % for
    77), so anything near it has learnt nothing. Compare with the probe on the same rows, and with
    accuracy: macro F1 far below accuracy says that the rare labels fail.

    Trap: Two formulas carry this name: the mean of the labels' F1, which is used here, and the F1
    of mean precision and mean recall, which is higher; a figure from elsewhere may be the other
    one.
    """
    return Ratio(total(m.f1), m.labels_present)


@Metric(
    of=("counts",),
    title="support-weighted precision",
    short="wtd. prec.",
    unit="share",
    formula="mean precision, each label weighted by its number of true rows",
    counted=Counted("sum over labels of precision × true rows", "rows", BY_SUPPORT),
    mean_of="precision",
    chart=None,
    hub=("precision", {"average": "weighted"}),
    see=("macro_precision", "precision", "weighted average", "support"),
    aliases=("support weighted precision",),
)
def weighted_precision(m: Margins) -> Ratio:
    """The labels' precisions averaged with their numbers of true rows as weights.

    What a prediction is worth for a typical row rather than for a typical label. It moves with the
    common labels, so it stays close to accuracy on uneven data. Useful where common labels really
    matter more; set it against majority and probe as always, and expect little news from it beyond
    accuracy.

    Trap: The weights are the true rows and not the predicted ones, so a rare label that is shouted
    everywhere costs almost nothing here.
    """
    return Ratio(total(m.precision * m.support), m.rows)


@Metric(
    of=("counts",),
    title="support-weighted recall",
    short="wtd. recall",
    unit="share",
    formula="mean recall, each label weighted by its number of true rows",
    counted=Counted("right rows", "rows", BY_SUPPORT),
    same_as="accuracy",
    share=RowShare(),
    chart=None,
    hub=("recall", {"average": "weighted"}),
    see=("accuracy", "weighted average", "macro_recall"),
    aliases=("support weighted recall",),
)
def weighted_recall(m: Margins) -> Ratio:
    """The labels' recalls weighted by their true rows, which is accuracy by another name.

    The weights cancel the denominators: what is left is right rows ÷ rows. It is listed because
    other tools print it, and it is not tested a second time. Everything said of accuracy holds:
    compare with the majority first.

    Trap: Reported next to accuracy it looks like a second witness; it is the same one.
    """
    return Ratio(m.all_right, m.rows)


@Metric(
    of=("counts", "label_sets"),
    title="support-weighted F1",
    label="weighted F1",
    short="wtd. F1",
    unit="share",
    formula="mean of each label's F1, each label weighted by its number of true rows",
    counted=Counted("sum over labels of F1 × true rows", "rows", BY_SUPPORT),
    mean_of="f1",
    chart=10,
    hub=("f1", {"average": "weighted"}),
    see=("macro_f1", "f1", "weighted average", "accuracy_paradox"),
    aliases=("support weighted f1",),
)
def weighted_f1(m: Margins) -> Ratio:
    """The labels' F1 scores averaged with their numbers of true rows as weights.

    A figure for the typical row. With 95 rows of one label and 5 of another, the majority already
    has 93 % here while its macro F1 is 49 %: that difference is the whole story of weighting. Good
    is above the majority by more than the interval; for a rare label that matters use its own
    recall.

    Trap: It looks as strict as macro F1 and is nearly as forgiving as accuracy; check which of the
    two a published figure is.
    """
    return Ratio(total(m.f1 * m.support), m.rows)


@Metric(
    of=("counts", "label_sets"),
    title="micro-averaged precision",
    short="micro prec.",
    unit="share",
    formula="right rows ÷ predicted rows",
    counted=Counted("right rows", "predicted rows", BY_ROW),
    same_as="accuracy",
    share=RowShare(lambda a: a.named),
    zero_of_nothing=True,
    chart=None,
    hub=("precision", {"average": "micro"}),
    see=("accuracy", "micro_recall", "micro average"),
    aliases=("micro averaged precision",),
)
def micro_precision(m: Margins) -> Ratio:
    """Right rows over predicted rows, all labels pooled; here equal to accuracy.

    Each row gets exactly one label, so the predicted rows of all labels together are all rows and
    the pooled precision is accuracy. It is named so that a figure from another tool can be
    placed, and only accuracy is tested.

    Trap: In tasks with several labels per row, micro precision is a figure of its own; do not carry
    an intuition from there to here.
    """
    return Ratio(m.all_right, m.named, 0.0)


@Metric(
    of=("counts", "label_sets"),
    title="micro-averaged recall",
    unit="share",
    formula="right rows ÷ true rows",
    counted=Counted("right rows", "true rows", BY_ROW),
    same_as="accuracy",
    share=RowShare(),
    chart=None,
    hub=("recall", {"average": "micro"}),
    see=("accuracy", "micro_precision", "micro average"),
    aliases=("micro averaged recall",),
)
def micro_recall(m: Margins) -> Ratio:
    """Right rows over true rows, all labels pooled; here equal to accuracy.

    With one true label per row, the pooled true rows are simply the rows. The value, its interval
    and its reference points are those of accuracy, and a difference is tested there.

    Trap: Quoting micro recall beside micro precision as a balance of two errors: pooled over labels
    they are one number.
    """
    return Ratio(m.all_right, m.rows)


@Metric(
    of=("counts", "label_sets"),
    title="micro-averaged F1",
    label="micro F1",
    unit="share",
    formula="2 × right rows ÷ (true + predicted rows)",
    counted=Counted("2 × right rows", "true rows + predicted rows", BY_ROW),
    same_as="accuracy",
    share=RowShare(lambda a: a.named if a.named.all() else None),
    chart=None,
    hub=("f1", {"average": "micro"}),
    see=("macro_f1", "accuracy", "micro average"),
    aliases=("f1 micro", "micro averaged f1"),
)
def micro_f1(m: Margins) -> Ratio:
    """F1 from pooled counts; with one answer a row it equals accuracy.

    Twice the right rows over true plus predicted rows. Since both of these are all rows, it is
    accuracy and has the majority's accuracy as its floor. If a paper reports micro F1 for a task
    with one label per row, compare it with accuracy here.

    Trap: Mistaking it for macro F1: on uneven labels the two can differ by forty points.
    """
    return Ratio(2 * m.all_right, m.rows + m.named)


@Metric(
    of=("counts", "label_sets"),
    title="precision of the positive label",
    unit="share",
    formula="true positives ÷ rows predicted positive; absent where none is",
    counted=Counted("rows rightly called {positive}", "rows called {positive}", BY_ROW),
    positive="needed",
    share=RowShare(lambda a: a.predicted == a.positive),
    leading=True,
    chart=5,
    see=("recall", "f1", "average_precision", "threshold", "positive label"),
    aliases=("positive predictive value", "ppv", "precision of the positive label"),
)
def precision(m: Margins) -> Ratio | None:
    """Of the rows called positive, the share that are positive.

    How often an alarm is a true one. It belongs to one named positive label of two, shown beside
    it. Its reference is the share of positive rows: that is what calling everything positive would
    give. Good depends on what a false alarm costs; move the threshold and precision rises as recall
    falls, so never judge one without the other. A model that calls no row positive has none: 0 of 0
    rows is no share, so it is left out for that model and not compared, while its F1 and its recall
    are 0. The per-label table and the averages over labels count such a label's precision as 0.

    Trap: A model that raises one sure alarm has 100 %; so has one that finds nothing else all year.
    """
    if (ratio := m.of_positive("precision")) is None or m.positive is None:
        return None
    true = m.support[..., m.positive]
    # Observed it is undefined; in a draw of rows, a label never named has precision 0.
    return Ratio(ratio.numerator, ratio.denominator, divide(0 * true, true))


@Metric(
    of=("counts", "label_sets"),
    title="recall of the positive label",
    unit="share",
    formula="true positives ÷ positive rows",
    counted=Counted("rows rightly called {positive}", "rows that are {positive}", BY_ROW),
    positive="needed",
    share=RowShare(lambda a: a.truth == a.positive),
    leading=True,
    chart=6,
    see=("precision", "f1", "accuracy_paradox", "threshold", "positive label"),
    aliases=(
        "sensitivity",
        "true positive rate",
        "tpr",
        "hit rate",
        "recall of the positive label",
    ),
)
def recall(m: Margins) -> Ratio | None:
    """Of the rows that are positive, the share that the model finds.

    Right positive rows over all positive rows: what is not found is missed. For fraud, faults and
    disease this is the figure that hurts. The majority has 0 % when the positive label is the rarer
    one, and 100 % comes for free by calling everything positive, so read it with precision. Its
    interval rests on the positive rows alone: with 25 of them it is wide, however long the file is.

    Trap: 98 % accuracy with 12 % recall is a failure, not a trade: when missing is what costs,
    declare recall of that label before the run.
    """
    return m.of_positive("recall")


@Metric(
    of=("counts", "label_sets"),
    title="F1 of the positive label",
    label="F1",
    unit="share",
    formula="2 × true positives ÷ (positive rows + rows predicted positive)",
    counted=Counted(
        "2 × rows rightly called {positive}",
        "rows that are {positive} + rows called {positive}",
        BY_ROW,
    ),
    positive="needed",
    # F1 = 2 J ÷ (1 + J), and J is a share: of the rows that are or are called positive.
    share=RowShare(
        among=lambda a: (a.truth == a.positive) | (a.predicted == a.positive),
        then=lambda j: 2 * j / (1 + j),
        words="Wilson 95 % of the rows that are or are called positive",
    ),
    leading=True,
    chart=4,
    see=("precision", "recall", "macro_f1", "threshold", "cost"),
    aliases=("f score", "f measure", "f1 score", "binary f1", "f1 of the positive label"),
)
def f1(m: Margins) -> Ratio | None:
    """The harmonic mean of precision and recall of the positive label.

    2 × true positives ÷ (positive rows + rows called positive): it is high only if both precision
    and recall are. True negatives do not enter, so it says nothing of how the other label fares.
    Compare it with what calling everything positive gives (2p ÷ (1 + p) at a share p of positive
    rows) and with the probe.

    Trap: It prices a miss and a false alarm alike, which is rarely what they cost you; a cost or a
    recall target picks a better threshold.
    """
    return m.of_positive("f1")


@Metric(
    of=("counts",),
    title="Matthews correlation coefficient",
    label="MCC",
    heading="Matthews correlation coefficient",
    unit="coefficient",
    formula=(
        "covariance of truth and predictions ÷ the root of the product of their variances; "
        "0 where one of them never varies"
    ),
    counted=Counted(
        "right rows × rows - sum over labels of true × predicted rows",
        "√(rows² - sum of squared true rows) × √(rows² - sum of squared predicted rows)",
        BY_ROW,
    ),
    zero_of_nothing=True,
    chart=11,
    hub=("matthews_correlation", {}),
    see=("accuracy", "balanced_accuracy", "confusion matrix", "majority"),
    aliases=("matthews", "phi coefficient"),
)
def mcc(m: Margins) -> Ratio:
    """The correlation between truth and predictions, from -1 over 0 to 1.

    It uses every cell of the confusion matrix, so it is high only if all labels are predicted well
    in both directions. 0 is what the majority and random answers have, whatever the balance of
    labels; negative is worse than that. Around 0.5 is a real but modest link, 0.8 and above is
    strong. A good single figure where labels are uneven and none is special.

    Trap: It is not a share of anything: 0.80 does not mean that 80 % are right, and it must not be
    set beside an accuracy.
    """
    # Gorodkin 2004, for any number of labels. Rows without a prediction are a column of their own,
    # which no row is right in.
    together = m.all_right * m.rows - total(m.support * m.predicted)
    truth = m.rows**2 - total(m.support**2)
    answers = m.rows**2 - total(m.predicted**2) - (m.rows - m.named) ** 2
    return Ratio(together, root(truth) * root(answers), 0.0)
