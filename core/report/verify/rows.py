"""Stored predictions, row by row: which rows contradict themselves, each other or their source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from ...analysis.thresholds import AT_HALF

NEAR = 1e-9  # of a probability or a loss: they were stored as they were computed
SHOWN = 5


@dataclass(frozen=True)
class Contradiction:
    """Rows that cannot be as they were stored, and why."""

    rows: list[int]  # ids, in order
    what: str

    def __str__(self) -> str:
        ids = ", ".join(map(str, self.rows[:SHOWN])) + (", …" if len(self.rows) > SHOWN else "")
        noun = "row" if len(self.rows) == 1 else "rows"
        return f"{noun} {ids}: {self.what}"


def contradictions_within(frame: pl.DataFrame, labels: Sequence[str]) -> Iterator[Contradiction]:
    """What the columns of one file say against each other."""
    if "probabilities" in frame.columns:
        yield from _against_probabilities(frame, labels)
    if "tokens" in frame.columns:
        possible = pl.col("correct").is_between(0, pl.col("tokens")) & (pl.col("tokens") >= 0)
        yield from _rows(frame, ~possible, "more tokens are right than were scored")
        spoilt = (pl.col("tokens") == 0) & (pl.col("nll") != 0)
        yield from _rows(frame, spoilt, "a loss without a scored token")
    if "end_nll" in frame.columns:
        more = pl.col("end_nll") > pl.col("nll") * (1 + NEAR) + NEAR
        yield from _rows(frame, more, "the end token costs more than the whole row")


def _against_probabilities(frame: pl.DataFrame, labels: Sequence[str]) -> Iterator[Contradiction]:
    """The prediction is the likeliest label, and the loss that of the true one."""
    known = pl.col("probabilities").list
    codes = {label: i for i, label in enumerate(labels)}
    own = AT_HALF if AT_HALF in frame.columns else "predicted"
    places = [
        pl.col(column).replace_strict(codes, default=None, return_dtype=pl.Int64)
        for column in ("label", own)
    ]
    truth, chosen = (known.get(place, null_on_oob=True) for place in places)
    unlike = chosen < known.max() - NEAR
    spoilt = known.eval(~pl.element().is_finite()).list.any()
    lacks = pl.col("predicted").is_null() & ~spoilt
    yield from _rows(frame, lacks, "no prediction, and every probability is a number")
    yield from _rows(frame, unlike, "the prediction is not the label of the highest probability")
    if "threshold" in frame.columns:
        yield from _against_threshold(frame, labels)
    if "nll" in frame.columns:
        off = (pl.col("nll") + truth.log()).abs() > NEAR * (1 + pl.col("nll").abs())
        defined = (truth > 1e-300) & pl.col("nll").is_finite()
        yield from _rows(frame, defined & off, "the loss is not that of the true label")


def _against_threshold(frame: pl.DataFrame, labels: Sequence[str]) -> Iterator[Contradiction]:
    """One of the two labels is predicted exactly where its probability reaches the threshold."""

    def wrong(code: int) -> pl.Expr:
        reached = pl.col("probabilities").list.get(code) >= pl.col("threshold")
        return (pl.col("predicted") == labels[code]) != reached

    positive = min(range(len(labels)), key=lambda code: frame.filter(wrong(code)).height)
    yield from _rows(frame, wrong(positive), "the prediction is not that of the threshold")


def contradictions_between(
    frame: pl.DataFrame, other: pl.DataFrame, said: str
) -> Iterator[Contradiction]:
    """Where the label or the content of a row is not that of the other frame, named by `said`."""
    shared = [c for c in ("label", "content") if c in frame.columns and c in other.columns]
    pair = frame.join(other.select("row_id", *shared), on="row_id", how="left", suffix="_other")
    missing = frame.join(other, on="row_id", how="anti")
    if missing.height:
        yield Contradiction(missing["row_id"].to_list(), f"not among the rows of {said}")
    pair = pair.join(missing.select("row_id"), on="row_id", how="anti")
    for column in shared:
        differs = ~pl.col(column).eq_missing(pl.col(f"{column}_other"))
        what = "the content hash" if column == "content" else "the true label"
        yield from _rows(pair, differs, f"{what} is not that of {said}")


def differing_predictions(frame: pl.DataFrame, expected: pl.DataFrame) -> list[int]:
    """Ids of the rows whose prediction is not the expected one."""
    pair = frame.join(expected.select("row_id", want="predicted"), on="row_id", how="left")
    return pair.filter(~pl.col("predicted").eq_missing(pl.col("want")))["row_id"].to_list()


def _rows(frame: pl.DataFrame, wrong: pl.Expr, what: str) -> Iterator[Contradiction]:
    found = frame.filter(wrong.fill_null(False))
    if found.height:
        yield Contradiction(found["row_id"].to_list(), what)
