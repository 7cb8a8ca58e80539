"""What the answers of base and tuned look like: ends, lengths, repetition, the worst and the best.

Metrics against references stand with the results; here is what they do not tell. Repetition is
counted in words and characters: models with different tokenizers are held to the same count.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from ..metrics.analyses import (
    Completions,
    CrossScoring,
    ExampleAnswer,
    Examples,
    ReadByBoth,
    ShortAnswers,
)
from ..metrics.answer_text import answer_part, normalise_text
from ..metrics.bootstrap import Resampling, bootstrap_rows, percentile_interval, values_of
from ..metrics.clusters import read_clusters, share, together, told_clusters
from ..metrics.counts import Draws, FloatArray
from ..metrics.references import ORDERS, answered, read_references
from ..metrics.results import Estimate
from ..run.events import AnalysisComputed
from .evaluation import Evaluation

GRAM = 4  # words
LOOP = 40  # characters that an answer repeats at once before it is said to loop
LONGEST_PERIOD = 200  # characters of what is repeated
SHOWN = 10  # of the worst and of the best answers each
MODELS = ("base", "tuned")


def completions(e: Evaluation) -> Iterator[AnalysisComputed]:
    """Of each model that answered, then the rows on which tuned answered worst and best."""
    found = {
        m: rows for m in MODELS if m in e.frames and (rows := answered(e.frames[m])) is not None
    }
    for model, rows in found.items():
        yield e.found(_describe(rows, e.frames[model].height), model)
        if short := _short_texts(rows):
            yield e.found(short, model)
    if set(found) == set(MODELS):
        yield e.found(_examples(found))
        if crossed := _cross_scores(found):
            yield e.found(crossed)


def _describe(rows: pl.DataFrame, of: int) -> Completions:
    clusters, answers = read_clusters(rows), rows["completion"].to_list()
    limit = int(rows["completion_limit"].max())  # type: ignore[arg-type]
    repeats = [longest_repeat(a) for a in answers]
    return Completions(
        rows=rows.height,
        of=of,
        limit=limit,
        ended_by_eos=share(rows["ended_by_eos"].to_numpy(), clusters),
        empty=share(np.array([not answer_part(a).strip() for a in answers]), clusters),
        looping=share(np.array(repeats) >= LOOP, clusters),
        different=len({normalise_text(a) for a in answers}),
        different_references=len({normalise_text(r) for r in rows["reference"]}),
        mean_tokens=float(rows["completion_tokens"].to_numpy().mean()),
        mean_reference_tokens=float(rows["reference_tokens"].to_numpy().mean()),
        references_over_limit=int((rows["reference_tokens"] > limit).sum()),
        prompts_cut=int(rows["prompt_cut"].sum()),
        repeated_4grams=repeated_share(answers),
        repeated_4grams_of_references=repeated_share(rows["reference"].to_list()),
        longest_repeat=max(repeats),
    )


def _short_texts(rows: pl.DataFrame) -> ShortAnswers | None:
    """How many answers and references are too short for BLEU; None where neither mostly are.

    A text of fewer than four tokens has no sequence of four: its BLEU is 0 though it be right.
    """
    read = read_references(rows)
    assert read is not None
    answers, references = (read.tokens < ORDERS).sum(axis=0).tolist()
    if 2 * max(answers, references) <= read.n:
        return None
    return ShortAnswers(read.n, answers, references, ORDERS)


def repeated_share(texts: Sequence[str]) -> float:
    """Share of the 4-grams of words that stood in the same text before; NaN without any."""
    total = distinct = 0
    for text in texts:
        words = text.split()
        grams = [tuple(words[i : i + GRAM]) for i in range(len(words) - GRAM + 1)]
        total += len(grams)
        distinct += len(set(grams))
    return 1 - distinct / total if total else float("nan")


def longest_repeat(text: str) -> int:
    """Characters in the longest stretch that says again, at once, what stood just before it.

    "ababab": four characters repeat the two before them. White space is collapsed first.
    """
    codes = np.array([ord(c) for c in " ".join(text.split())], dtype=np.int32)
    longest = 0
    for period in range(1, min(LONGEST_PERIOD, len(codes) // 2) + 1):
        differs = np.flatnonzero(codes[period:] != codes[:-period])
        ends = np.concatenate(([-1], differs, [len(codes) - period]))
        run = int(np.diff(ends).max()) - 1
        if run >= period:
            longest = max(longest, run)
    return longest


def _examples(found: dict[str, pl.DataFrame]) -> Examples:
    """Rows by the chrF of the tuned answer: the lowest and the highest, none twice."""
    base, tuned = (read_references(found[m]) for m in MODELS)
    assert base is not None
    assert tuned is not None
    scores = {"base": base.row_chrf(), "tuned": tuned.row_chrf()}
    joined = found["tuned"].select("row_id", "prompt", "reference", tuned="completion")
    joined = joined.join(
        found["base"].select("row_id", base="completion"), on="row_id", maintain_order="left"
    )
    order = np.argsort(scores["tuned"], kind="stable")
    shown = min(SHOWN, len(order) // 2)
    rows = joined.rows(named=True)

    def example(i: int) -> ExampleAnswer:
        base, tuned = (float(scores[m][i]) for m in MODELS)
        return ExampleAnswer(**rows[i], chrf_base=base, chrf_tuned=tuned)

    return Examples(
        "chrF of the tuned answer, row by row",
        len(order),
        worst=[example(int(i)) for i in order[:shown]],
        best=[example(int(i)) for i in order[::-1][:shown]],
    )


@dataclass(frozen=True)
class ReadAnswers:
    """One model's answers under both: sums [n, 3] of nll under base, under tuned, and tokens."""

    sums: FloatArray

    @property
    def n(self) -> int:
        return len(self.sums)

    def features(self, rows: slice) -> FloatArray:
        return self.sums[rows]

    def metrics_of_totals(self, totals: FloatArray) -> Draws:
        base, tuned, tokens = np.moveaxis(totals, -1, 0)
        found = {"base": -base / tokens, "tuned": -tuned / tokens}
        return found | {"difference": found["tuned"] - found["base"]}

    def reweighted(self, weights: FloatArray) -> Draws:
        return {}


def _cross_scores(found: dict[str, pl.DataFrame]) -> CrossScoring | None:
    """Average log-likelihood per token of each model's answers under either model.

    None where the models split text into different tokens: then no token can be compared.
    """
    if not all("answer_nll_base" in rows.columns for rows in found.values()):
        return None
    return CrossScoring(_read_by_both(found["base"]), _read_by_both(found["tuned"]))


def _read_by_both(rows: pl.DataFrame) -> ReadByBoth:
    columns = ("answer_nll_base", "answer_nll_tuned", "answer_tokens")
    sums = rows.select(pl.col(*columns).cast(pl.Float64)).to_numpy()
    read, clusters = ReadAnswers(sums), read_clusters(rows)
    resampling = Resampling()
    values = values_of(read)
    drawn, by_rows = bootstrap_rows([together(read, clusters)], resampling)
    low, high = percentile_interval(drawn[0]["difference"])
    method = resampling.method(paired=True, limit=not by_rows) + told_clusters(clusters, None)
    return ReadByBoth(
        read.n,
        int(sums[:, 2].sum()),
        under_base=values["base"],
        under_tuned=values["tuned"],
        difference=Estimate(values["difference"], low, high, method),
    )
