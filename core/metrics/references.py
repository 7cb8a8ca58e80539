"""Answers set against references: exact match, BLEU, chrF and, where installed, ROUGE (G2).

Every row becomes a line of sums, so that a corpus metric under a resample is one matrix product
and not another pass over the texts. The sums of BLEU and chrF are those that sacrebleu makes for
its own significance tests; a test holds that totals give what its `corpus_score` gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .answer_text import END_OF_REASONING, answer_part, normalise_text
from .bootstrap import added_columns
from .clusters import read_clusters
from .counts import FloatArray
from .metric import Source, metrics_from
from .rows import AddedRows

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric

ROUGE = ("rouge1", "rouge2", "rougeL")
AFTER_REASONING = f"of the text after the last {END_OF_REASONING}"
ORDERS = 4  # word n-grams of BLEU
CHARACTERS = 6  # character n-grams of chrF
BETA_2 = 4.0  # chrF weighs recall twice: beta 2, squared


@dataclass(frozen=True)
class AnswerTexts:
    """Answers and their references as they are compared; what metrics of answers are counted in."""

    answers: Sequence[str]
    references: Sequence[str]

    @property
    def exact(self) -> FloatArray:
        """[n] 1 where the answer equals its reference."""
        pairs = zip(self.answers, self.references, strict=True)
        return np.array([float(normalise_text(a) == normalise_text(r)) for a, r in pairs])

    @cached_property
    def bleu(self) -> tuple[FloatArray, str]:
        """[n, 10] lengths of answer and reference, n-grams right and in all; and the signature."""
        from sacrebleu.metrics import BLEU

        # force: whether a text was tokenised before is for who reads it to say, not for a warning
        return self._counted(BLEU(force=True))

    @cached_property
    def chrf(self) -> tuple[FloatArray, str]:
        """[n, 18] n-grams of answer, of reference and in common, for each order; the signature."""
        from sacrebleu.metrics import CHRF

        return self._counted(CHRF())

    def _counted(self, metric: Metric) -> tuple[FloatArray, str]:
        """n-gram counts of sacrebleu with its defaults, and the signature it gives them."""
        lines = metric._extract_corpus_statistics(list(self.answers), [list(self.references)])
        metric.num_refs = 1  # in the signature; `corpus_score` sets it so
        return np.array(lines, dtype=np.float64), str(metric.get_signature())

    @cached_property
    def _rouge(self) -> FloatArray | None:
        """F-measures [n, 3] by rouge-score without stemming; None where it is not installed."""
        try:
            from rouge_score.rouge_scorer import RougeScorer
        except ImportError:
            return None
        scorer = RougeScorer(list(ROUGE), use_stemmer=False)
        pairs = zip(self.references, self.answers, strict=True)
        scores = [
            [found[m].fmeasure for m in ROUGE] for found in (scorer.score(r, a) for r, a in pairs)
        ]
        return np.array(scores, dtype=np.float64)

    def rouge(self, metric: str) -> FloatArray | None:
        """[n] F-measures of one of the three."""
        return None if self._rouge is None else self._rouge[:, ROUGE.index(metric)]

    @property
    def rouge_signature(self) -> str:
        from importlib.metadata import version

        return f"rouge-score {version('rouge-score')}, no stemmer, words of a-z and 0-9 only"


@dataclass(frozen=True, kw_only=True)
class ReferenceRows(AddedRows):
    """Answered rows, with the references that their answers are set against."""

    references: tuple[str, ...]
    signatures: dict[str, str]  # metric -> how exactly it was computed
    source: ClassVar[Source] = "answers"
    content_name: ClassVar[str] = "the reference"  # what must agree between two models

    @property
    def content(self) -> NDArray[np.object_]:
        return np.array(self.references, dtype=object)

    @property
    def tokens(self) -> FloatArray:
        """[n, 2] tokens of answers and references as BLEU counts them."""
        return self.columns["bleu"][:, :2]

    def row_chrf(self) -> FloatArray:
        """[n] chrF of each answer by itself, 0 to 100."""
        return chrf(self.columns["chrf"])


def answered(frame: pl.DataFrame) -> pl.DataFrame | None:
    """The rows that a model has answered, by row id; None where it answered none."""
    if not {"completion", "reference"} <= set(frame.columns):
        return None
    found = frame.filter(pl.col("completion").is_not_null() & pl.col("reference").is_not_null())
    return found.sort("row_id") if found.height else None


def read_references(frame: pl.DataFrame) -> ReferenceRows | None:
    """Rows of row_id, completion and reference; None where no row has both."""
    rows = answered(frame)
    if rows is None:
        return None
    answers, references = rows["completion"].to_list(), rows["reference"].to_list()
    texts = AnswerTexts([*map(answer_part, answers)], [*map(answer_part, references)])
    columns = added_columns("answers", texts)
    signatures = {
        m.name: m.signature(texts)
        for m in metrics_from("answers")
        if m.name in columns and m.signature is not None
    }
    if any(END_OF_REASONING in text for text in (*answers, *references)):
        signatures = {m: f"{how}, {AFTER_REASONING}" for m, how in signatures.items()}
    ids = rows["row_id"].to_numpy()
    clusters = read_clusters(rows)
    return ReferenceRows(
        ids, columns, clusters, references=tuple(references), signatures=signatures
    )


def bleu(totals: FloatArray) -> FloatArray:
    """Corpus BLEU, 0 to 100, of totals [..., 10], smoothed as sacrebleu does by default (exp)."""
    totals = np.maximum(totals, 0.0)  # draws of the normal limit may fall below
    answers, references = totals[..., 0], totals[..., 1]
    right, every = totals[..., 2 : 2 + ORDERS], totals[..., 2 + ORDERS :]
    none = right == 0
    halvings = np.cumsum(none, axis=-1)  # each order without a match counts half the one before
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        precision = np.where(none, 0.5**halvings, right) / every
        logs = np.log(precision).sum(axis=-1) / ORDERS
        brevity = np.where(answers < references, np.exp(1 - references / answers), 1.0)
    defined = (every > 0).all(axis=-1) & (right > 0).any(axis=-1) & (answers > 0)
    found = 100 * np.where(defined, brevity * np.exp(np.where(defined, logs, 0.0)), 0.0)
    return np.where(np.isnan(totals).any(axis=-1), np.nan, found)


def chrf(totals: FloatArray) -> FloatArray:
    """Corpus chrF2, 0 to 100, of totals [..., 18]; orders that one side lacks are left out."""
    totals = np.maximum(totals, 0.0)
    answers, references, common = (totals[..., i::3] for i in range(3))
    usable = (answers > 0) & (references > 0)
    orders = usable.sum(axis=-1)

    def mean(over: FloatArray) -> FloatArray:
        shares = np.divide(common, over, out=np.zeros_like(common), where=usable)
        found: FloatArray = shares.sum(axis=-1) / np.maximum(orders, 1)
        return found

    precision, recall = mean(answers), mean(references)
    below = BETA_2 * precision + recall
    above = (1 + BETA_2) * precision * recall
    found = 100 * np.divide(above, below, out=np.zeros_like(below), where=below > 0)
    return np.where(np.isnan(totals).any(axis=-1), np.nan, found)
