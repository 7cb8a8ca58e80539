"""Answers set against references: exact match, BLEU, chrF and, where installed, ROUGE (G2).

Every row becomes a line of sums, so that a corpus metric under a resample is one matrix product
and not another pass over the texts. The sums of BLEU and chrF are those that sacrebleu makes for
its own significance tests; a test holds that totals give what its `corpus_score` gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from .answer_text import END_OF_REASONING, answer_part, normalise_text
from .bootstrap import Draws
from .clusters import Clusters, read_clusters
from .metrics import FloatArray, IntArray

ROUGE = ("rouge1", "rouge2", "rougeL")
NORMALISER = "NFKC, casefold, white space collapsed, ends stripped"
AFTER_REASONING = f"of the text after the last {END_OF_REASONING}"
ORDERS = 4  # word n-grams of BLEU
CHARACTERS = 6  # character n-grams of chrF
BETA_2 = 4.0  # chrF weighs recall twice: beta 2, squared
BLEU_SUMS = 2 + 2 * ORDERS  # lengths of answers and references, n-grams right, n-grams in all
CHRF_SUMS = 3 * CHARACTERS  # for each order: n-grams of the answer, of the reference, in common


@dataclass(frozen=True)
class ReferenceRows:
    """Sums of answered rows, by ascending row id; a `bootstrap.RowScores`.

    Columns: 1, exact match, those of BLEU, those of chrF, ROUGE F-measures where installed.
    """

    row_id: IntArray  # [n]
    references: tuple[str, ...]
    sums: FloatArray  # [n, k]
    signatures: dict[str, str]  # metric -> how exactly it was computed
    clusters: Clusters | None = None
    content_name = "the reference"  # what must agree between two models

    @property
    def n(self) -> int:
        return len(self.row_id)

    @property
    def content(self) -> Any:
        return np.array(self.references, dtype=object)

    @property
    def exact(self) -> FloatArray:
        """[n] 1 where the answer equals its reference."""
        return self.sums[:, 1]

    @property
    def tokens(self) -> FloatArray:
        """[n, 2] tokens of answers and references as BLEU counts them."""
        return self.sums[:, 2:4]

    def features(self, rows: slice) -> FloatArray:
        return self.sums[rows]

    def metrics_of_totals(self, totals: FloatArray) -> Draws:
        """Totals [..., k] to metrics [...]."""
        n = totals[..., 0]
        bleu_ends = 2 + BLEU_SUMS
        found = {
            "exact_match": totals[..., 1] / n,
            "bleu": bleu(totals[..., 2:bleu_ends]),
            "chrf": chrf(totals[..., bleu_ends : bleu_ends + CHRF_SUMS]),
        }
        means = totals[..., bleu_ends + CHRF_SUMS :] / n[..., None]
        return found | dict(zip(ROUGE, np.moveaxis(means, -1, 0), strict=False))

    def reweighted(self, weights: FloatArray) -> Draws:
        return {}

    def row_chrf(self) -> FloatArray:
        """[n] chrF of each answer by itself, 0 to 100."""
        return chrf(self.sums[:, 2 + BLEU_SUMS : 2 + BLEU_SUMS + CHRF_SUMS])


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
    sums, signatures = _sums([*map(answer_part, answers)], [*map(answer_part, references)])
    if any(END_OF_REASONING in text for text in (*answers, *references)):
        signatures = {m: f"{told}, {AFTER_REASONING}" for m, told in signatures.items()}
    ids = rows["row_id"].to_numpy()
    return ReferenceRows(ids, tuple(references), sums, signatures, read_clusters(rows))


def _sums(answers: Sequence[str], references: Sequence[str]) -> tuple[FloatArray, dict[str, str]]:
    exact = [
        float(normalise_text(a) == normalise_text(r))
        for a, r in zip(answers, references, strict=True)
    ]
    counted, signatures = _counts(answers, references)
    columns = [np.ones((len(exact), 1)), np.array(exact)[:, None], counted]
    rouge, rouge_signature = _rouge(answers, references)
    if rouge is not None:
        columns.append(rouge)
        signatures |= dict.fromkeys(ROUGE, rouge_signature)
    return np.concatenate(columns, axis=1), {"exact_match": NORMALISER, **signatures}


def _counts(answers: Sequence[str], references: Sequence[str]) -> tuple[FloatArray, dict[str, str]]:
    """n-gram counts of sacrebleu with its defaults, and the signatures it gives them."""
    from sacrebleu.metrics import BLEU, CHRF

    # force: whether a text was tokenised before is for who reads it to say, not for a warning
    metrics = {"bleu": BLEU(force=True), "chrf": CHRF()}
    lines, signatures = [], {}
    for name, metric in metrics.items():
        lines.append(metric._extract_corpus_statistics(list(answers), [list(references)]))
        metric.num_refs = 1  # told in the signature; `corpus_score` sets it so
        signatures[name] = str(metric.get_signature())
    return np.concatenate([np.array(line, dtype=np.float64) for line in lines], axis=1), signatures


def _rouge(answers: Sequence[str], references: Sequence[str]) -> tuple[FloatArray | None, str]:
    """F-measures [n, 3] by rouge-score without stemming; None where it is not installed."""
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError:
        return None, ""
    from importlib.metadata import version

    scorer = RougeScorer(list(ROUGE), use_stemmer=False)
    pairs = zip(references, answers, strict=True)
    scores = [
        [found[m].fmeasure for m in ROUGE] for found in (scorer.score(r, a) for r, a in pairs)
    ]
    told = f"rouge-score {version('rouge-score')}, no stemmer, words of a-z and 0-9 only"
    return np.array(scores, dtype=np.float64), told


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
