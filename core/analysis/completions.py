"""What the answers of base and tuned look like: ends, lengths, repetition, the worst and the best.

Metrics against references stand with the results; here is what they do not show. Repetition is
counted in words and characters: models with different tokenizers are held to the same count.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from msgspec.structs import replace

from ..metrics.analyses import (
    Completions,
    CrossScoring,
    EndChange,
    Ended,
    Endings,
    ExampleAnswer,
    Examples,
    ReadByBoth,
    ShortAnswers,
)
from ..metrics.answer_text import answer_part, normalise_text
from ..metrics.bootstrap import (
    Resampling,
    bootstrap_rows,
    interval_of,
    percentile_interval,
    values_of,
)
from ..metrics.clusters import Clusters, cluster_words, read_clusters, share, sign_flip_p, together
from ..metrics.counts import Draws, FloatArray
from ..metrics.references import ORDERS, answered, read_references
from ..metrics.results import Estimate
from ..run.events import AnalysisComputed
from .predictions import Evaluation

GRAM = 4  # words
LOOP = 40  # characters that an answer repeats at once before it is said to loop
LONGEST_PERIOD = 200  # characters of what is repeated
SHOWN = 10  # of the worst and of the best answers each
MODELS = ("base", "tuned")


def completions(e: Evaluation) -> Iterator[AnalysisComputed]:
    """Of each model that answered, then the rows on which tuned answered worst and best."""
    found = {
        m: rows
        for m in MODELS
        if m in e.frames
        and "completion_limit" in e.frames[m].columns  # how they were made is known
        and (rows := answered(e.frames[m])) is not None
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
    method = resampling.method(paired=True, limit=not by_rows) + cluster_words(clusters, None)
    return ReadByBoth(
        read.n,
        int(sums[:, 2].sum()),
        under_base=values["base"],
        under_tuned=values["tuned"],
        difference=Estimate(values["difference"], low, high, method),
    )


COST_COLUMNS = ("nll", "tokens", "end_nll")


@dataclass(frozen=True)
class EndedRows:
    """Rows whose end is scored. Sums [n, 4]: 1, nats of the end, of the others, their count."""

    row_id: Any  # [n]
    sums: FloatArray
    clusters: Clusters | None = None

    @property
    def n(self) -> int:
        return len(self.sums)

    def features(self, rows: slice) -> FloatArray:
        return self.sums[rows]

    def metrics_of_totals(self, totals: FloatArray) -> Draws:
        rows, end, others, count = np.moveaxis(totals, -1, 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            return {"end_token": end / rows, "other_tokens": others / count}

    def reweighted(self, weights: FloatArray) -> Draws:
        return {}


def end_tokens(e: Evaluation) -> Iterator[AnalysisComputed]:
    """Of base and tuned, then the paired difference of what the end token costs."""
    found: dict[str, EndedRows] = {}
    for model in (m for m in MODELS if m in e.frames):
        frame = e.frames[model]
        endings = Endings(answers=_answers(frame))
        if (rows := _read(frame)) is not None:
            found[model] = rows
            endings = _end_costs(rows, frame.height, endings)
        if endings != Endings():
            yield e.found(endings, model)
    if set(found) == set(MODELS):
        base, tuned = found["base"], found["tuned"]
        if np.array_equal(base.row_id, tuned.row_id):
            yield e.found(_difference(base, tuned))


def _answers(frame: pl.DataFrame) -> Ended | None:
    """Answers that ended by themselves where the reference ends within the limit, if any does.

    The end token takes a place too; a null end_nll: that reference shows no end to learn.
    """
    rows = answered(frame)
    if rows is None or not {"reference_tokens", "completion_limit"} <= set(rows.columns):
        return None
    fits = pl.col("reference_tokens") < pl.col("completion_limit")
    if "end_nll" in rows.columns:
        fits &= pl.col("end_nll").is_not_null()
    fitting = rows.filter(fits)
    if not fitting.height:
        return None
    return Ended(fitting.height, share(fitting["ended_by_eos"].to_numpy(), read_clusters(fitting)))


def _read(frame: pl.DataFrame | None) -> EndedRows | None:
    if frame is None or not set(COST_COLUMNS) <= set(frame.columns):
        return None
    rows = frame.filter(pl.col("end_nll").is_not_null()).sort("row_id")
    if not rows.height:
        return None
    nll, tokens, end = rows.select(pl.col(*COST_COLUMNS).cast(pl.Float64)).to_numpy().T
    sums = np.stack([np.ones(len(nll)), end, nll - end, tokens - 1], axis=1)
    return EndedRows(rows["row_id"].to_numpy(), sums, read_clusters(rows))


def _end_costs(rows: EndedRows, of: int, endings: Endings) -> Endings:
    resampling = Resampling()
    model = together(rows, rows.clusters)
    drawn, by_rows = bootstrap_rows([model], resampling)
    method = resampling.method(limit=not by_rows)
    costs = {
        name: _estimate(value, drawn[0][name], (model.n, rows.clusters), method)
        for name, value in values_of(rows).items()
    }
    return replace(endings, rows=rows.n, of=of, **costs)


def _difference(base: EndedRows, tuned: EndedRows) -> Endings:
    """Tuned less base, paired by row: below 0 the tuned model ends more surely."""
    resampling, clusters = Resampling(), base.clusters
    models = [together(rows, clusters) for rows in (base, tuned)]
    drawn, by_rows = bootstrap_rows(models, resampling)
    change = tuned.sums[:, 1] - base.sums[:, 1]
    draws = drawn[1]["end_token"] - drawn[0]["end_token"]
    method = resampling.method(paired=True, limit=not by_rows)
    cost = _estimate(float(change.mean()), draws, (models[0].n, clusters), method)
    p, _ = sign_flip_p(change, clusters, resampling.seed, resampling.draws)
    difference = EndChange(cost.value, cost.low, cost.high, cost.method, p)
    return Endings(rows=base.n, difference=difference)


def _estimate(
    value: float, draws: FloatArray, units: tuple[int, Clusters | None], method: str
) -> Estimate:
    n, clusters = units
    (low, high), how = interval_of(draws, n, method + cluster_words(clusters, None))
    return Estimate(value, low, high, how)
