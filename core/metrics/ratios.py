"""What is divided by what: the sums and counts that each metric is made of, before the division."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .bootstrap import RowScores, blocks
from .metrics import LN_2, FloatArray, Margins, margins
from .probabilities import FIRST_BIN, ProbabilityScores
from .references import ROUGE, ReferenceRows


class Ratio(NamedTuple):
    numerator: float
    denominator: float

    @property
    def quotient(self) -> float:
        """0 where there is nothing to divide by, as the metrics have it."""
        return self.numerator / self.denominator if self.denominator else 0.0


Ratios = dict[str, Ratio]
BY_LABEL = ("precision", "recall", "f1")


def label_ratios(
    counts: NDArray[Any], labels: Sequence[str], no_prediction: Sequence[int] | None = None
) -> dict[str, Ratios]:
    """Precision, recall and F1 of each label in truth or predictions, from counts [C, C]."""
    m = margins(counts, no_prediction)
    return {
        label: {
            "precision": Ratio(float(m.right[i]), float(m.predicted[i])),
            "recall": Ratio(float(m.right[i]), float(m.support[i])),
            "f1": Ratio(2 * float(m.right[i]), float(m.support[i] + m.predicted[i])),
        }
        for i, label in enumerate(labels)
        if m.support[i] + m.predicted[i] > 0
    }


def count_ratios(
    counts: NDArray[Any],
    labels: Sequence[str],
    positive: str | None,
    no_prediction: Sequence[int] | None = None,
) -> Ratios:
    """Every metric of confusion counts [C, C]; the perhaps undefined ones with a denominator 0."""
    m, by_label = margins(counts, no_prediction), label_ratios(counts, labels, no_prediction)
    rows, right = float(m.support.sum()), float(m.right.sum())
    found = {"accuracy": Ratio(right, rows), "mcc": _mcc(m)}
    found |= {
        "micro_precision": Ratio(right, float(m.predicted.sum())),
        "micro_recall": Ratio(right, rows),
        "micro_f1": Ratio(2 * right, rows + float(m.predicted.sum())),
    }
    support = {label: float(m.support[i]) for i, label in enumerate(labels)}
    recalls = [r["recall"].quotient for label, r in by_label.items() if support[label]]
    found["balanced_accuracy"] = Ratio(sum(recalls), len(recalls))
    for name in BY_LABEL:
        values = {label: ratios[name].quotient for label, ratios in by_label.items()}
        found[f"macro_{name}"] = Ratio(sum(values.values()), len(values))
        weighted = sum(value * support[label] for label, value in values.items())
        found[f"weighted_{name}"] = Ratio(weighted, rows)
    found["weighted_recall"] = found["accuracy"]
    if positive is not None and len(labels) == 2:
        code = list(labels).index(positive)
        found["precision"] = Ratio(float(m.right[code]), float(m.predicted[code]))
        found["recall"] = Ratio(float(m.right[code]), float(m.support[code]))
        both = float(m.support[code] + m.predicted[code])
        found["f1"] = Ratio(2 * float(m.right[code]), both)
    return found


def _mcc(m: Margins) -> Ratio:
    rows = m.support.sum()
    together = m.right.sum() * rows - (m.support * m.predicted).sum()
    truth, predicted = (rows**2 - (x**2).sum() for x in (m.support, m.predicted))
    predicted -= (rows - m.predicted.sum()) ** 2  # rows without a prediction
    return Ratio(float(together), float(np.sqrt(truth) * np.sqrt(predicted)))


def probability_ratios(scores: ProbabilityScores) -> Ratios:
    """Loss, Brier, ECE and the ranking areas; with several ranked labels the sum of their areas."""
    totals, n = totals_of(scores), float(scores.n)
    found = {
        "loss": Ratio(float(totals[0]), n),
        "brier": Ratio(float(totals[1]), n),
        "ece": Ratio(float(np.abs(totals[FIRST_BIN:]).sum()), n),
    }
    if len(sums := scores.ranking_sums) == 1:
        found["roc_auc"] = Ratio(sums[0].beaten, sums[0].pairs)
        found["average_precision"] = Ratio(sums[0].precisions, sums[0].positives)
    elif sums:
        k = float(len(sums))
        found["roc_auc"] = Ratio(sum(s.beaten / s.pairs for s in sums), k)
        found["average_precision"] = Ratio(sum(s.precisions / s.positives for s in sums), k)
    return found


def totals_of(model: RowScores) -> FloatArray:
    """The plain totals [k] of a model's rows, summed in bounded memory."""
    parts = [model.features(rows).sum(axis=0) for rows in blocks(model.n)]
    return np.asarray(np.sum(parts, axis=0))


def text_ratios(totals: Sequence[float] | FloatArray) -> Ratios:
    """Totals of nll, tokens, correct and bytes. Perplexity is exp of its quotient."""
    nll, tokens, correct, n_bytes = (float(x) for x in totals)
    found = {
        "loss": Ratio(nll, tokens),
        "perplexity": Ratio(nll, tokens),
        "token_accuracy": Ratio(correct, tokens),
        "average_log_likelihood": Ratio(-nll, tokens),
    }
    return found | {"bits_per_byte": Ratio(nll, LN_2 * n_bytes)} if n_bytes else found


def reference_ratios(answers: ReferenceRows) -> Ratios:
    """Exact match and, where it was computed, ROUGE; BLEU and chrF are no quotients of two sums."""
    n, totals = float(answers.n), answers.sums.sum(axis=0)
    found = {"exact_match": Ratio(float(answers.exact.sum()), n)}
    with_rouge = [name for name in ROUGE if name in answers.signatures]
    sums = totals[len(totals) - len(with_rouge) :]
    return found | {m: Ratio(float(x), n) for m, x in zip(with_rouge, sums, strict=True)}


def described(ratios: Mapping[str, Ratio], name: str) -> dict[str, float]:
    """The two numbers as they stand beside a metric in a result; nothing where it has none."""
    found = ratios.get(name)
    return found._asdict() if found else {}
