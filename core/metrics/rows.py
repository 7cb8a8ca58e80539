"""Stored predictions as arrays: checked, in the order of their row ids, and joined in pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Protocol

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from ..errors import DataError, Fault
from .bootstrap import added_columns, named_columns, with_columns
from .clusters import Clusters, read_clusters
from .counts import Draws, FloatArray, IntArray, default_positive
from .metric import Source, draws_of, observed
from .sums import Totals

SHOWN = 5  # row ids named in an error
TEXT_COLUMNS = ("nll", "tokens", "correct", "bytes")


class Rows(Protocol):
    """Rows of a model that can be paired with another's."""

    @property
    def row_id(self) -> IntArray: ...

    @property
    def content(self) -> NDArray[Any]: ...

    @property
    def content_name(self) -> str: ...


@dataclass(frozen=True)
class ClassificationRows:
    """Labels as codes into the label list, by ascending row id."""

    row_id: IntArray  # [n]
    truth: IntArray  # [n]
    predicted: IntArray  # [n]; one past the last label where a row has no prediction
    probabilities: FloatArray | None  # [n, C]
    clusters: Clusters | None = None
    content_name = "the true label"  # what must agree between two models

    @property
    def content(self) -> IntArray:
        return self.truth

    @property
    def n(self) -> int:
        return len(self.row_id)


@dataclass(frozen=True)
class TextRows:
    """Row sums of a language model, by ascending row id; a `bootstrap.RowScores`."""

    row_id: IntArray  # [n]
    sums: FloatArray  # [n, 4]: nll in nats, scored tokens, correct tokens, bytes of raw text
    clusters: Clusters | None = None
    content_name = "the raw text"  # by its bytes

    @property
    def content(self) -> FloatArray:
        return self.sums[:, 3]

    @property
    def n(self) -> int:
        return len(self.row_id)

    @property
    def tokens(self) -> FloatArray:
        return self.sums[:, 1]

    def where(self, kept: NDArray[np.bool_]) -> TextRows:
        clusters = None if self.clusters is None else self.clusters.where(kept)
        return TextRows(self.row_id[kept], self.sums[kept], clusters)

    @cached_property
    def _added(self) -> dict[str, FloatArray]:
        """What metrics add that the sums do not give."""
        return added_columns("tokens", self)

    def features(self, rows: slice) -> FloatArray:
        return with_columns(self.sums[rows], [column[rows] for column in self._added.values()])

    def totals(self, totals: FloatArray) -> Totals:
        """Totals [..., k] of `features` by name."""
        return text_totals(totals) | named_columns(totals, len(TEXT_COLUMNS), self._added)

    def values(self) -> dict[str, float]:
        """The metrics of all rows; empty without any."""
        if not self.n:
            return {}
        columns = np.ascontiguousarray(self.features(slice(None)).T)
        return observed("tokens", self.totals(columns.sum(axis=1)))

    def metrics_of_totals(self, totals: FloatArray) -> Draws:
        return draws_of("tokens", self.totals(totals))

    def reweighted(self, weights: FloatArray) -> Draws:
        return {}


@dataclass(frozen=True)
class AddedRows:
    """What rows add to the totals of a source's metrics, by ascending row id; a
    `bootstrap.RowScores`.
    """

    row_id: IntArray  # [n]
    columns: Mapping[str, FloatArray]  # metric -> [n] or [n, k]
    clusters: Clusters | None = None
    source: ClassVar[Source]

    @property
    def n(self) -> int:
        return len(self.row_id)

    @cached_property
    def sums(self) -> FloatArray:
        """[n, k]: 1, and the columns of each metric side by side."""
        return np.column_stack((np.ones(self.n), *self.columns.values()))

    def features(self, rows: slice) -> FloatArray:
        return self.sums[rows]

    def totals(self, totals: FloatArray) -> Totals:
        """Totals [..., k] of `features` by name."""
        return {"rows": totals[..., 0]} | named_columns(totals, 1, self.columns)

    def metrics_of_totals(self, totals: FloatArray) -> Draws:
        """Totals [..., k] to metrics [...]."""
        return draws_of(self.source, self.totals(totals))

    def reweighted(self, weights: FloatArray) -> Draws:
        return {}


@dataclass(frozen=True)
class Pairs:
    """Log-likelihoods, in nats [n], and tokens [n] of a chosen and a rejected text; what metrics of
    pairs are counted in."""

    chosen: FloatArray
    rejected: FloatArray
    chosen_tokens: FloatArray
    rejected_tokens: FloatArray

    @property
    def margin(self) -> FloatArray:
        """[n] by how much likelier the chosen text is, in nats."""
        return self.chosen - self.rejected

    @property
    def margin_per_token(self) -> FloatArray:
        """[n] the same of each text's mean over its tokens."""
        return self.chosen / self.chosen_tokens - self.rejected / self.rejected_tokens


@dataclass(frozen=True)
class PairRows(AddedRows):
    """Pairs that a model can tell apart."""

    source: ClassVar[Source] = "pairs"
    content_name: ClassVar[str] = "the pair"

    @property
    def content(self) -> IntArray:
        """What must agree between two models: of pairs, the rows alone, which texts made."""
        return self.row_id


def read_pairs(frame: pl.DataFrame) -> PairRows:
    """Rows of row_id, nll, tokens, rejected_nll and rejected_tokens; those without a token to score
    on either side are left out. Raises DataError as below.
    """
    columns = ("nll", "rejected_nll", "tokens", "rejected_tokens")
    frame = ordered(frame, ("row_id", *columns))
    scored = frame.filter((pl.col("tokens") > 0) & (pl.col("rejected_tokens") > 0))
    nll, rejected, *tokens = (scored[c].cast(pl.Float64).to_numpy() for c in columns)
    pairs = Pairs(-nll, -rejected, *tokens)
    ids = scored["row_id"].to_numpy()
    return PairRows(ids, added_columns("pairs", pairs), read_clusters(scored))


def text_totals(totals: FloatArray) -> dict[str, FloatArray]:
    """Totals [..., 4 or more] of nll, scored tokens, correct ones and bytes, by name."""
    return {name: totals[..., i] for i, name in enumerate(("nll", "scored", "correct", "bytes"))}


def text_metrics(
    nll: ArrayLike, tokens: ArrayLike, correct: ArrayLike, n_bytes: ArrayLike
) -> dict[str, float]:
    """Language-model metrics from per-row sums, each [n]; nll in nats over the scored tokens.

    Rows with nothing to score (0 tokens) are left out; with no other rows the result is empty.
    NaN and infinity stay what they are.
    """
    sums = np.column_stack((nll, tokens, correct, n_bytes)).astype(np.float64)
    rows = TextRows(np.arange(len(sums)), sums)
    return rows.where(rows.tokens > 0).values()


def read_classification(frame: pl.DataFrame, labels: Sequence[str]) -> ClassificationRows:
    """Rows of row_id, label, predicted and, where there, probabilities in the order of `labels`.

    A `predicted` that is null is no prediction; rows of one `cluster` belong together. Raises
    DataError for missing columns, repeated or missing row ids, labels that are not in the list, and
    probabilities of another length.
    """
    frame = ordered(frame, ("row_id", "label", "predicted"))
    return ClassificationRows(
        frame["row_id"].to_numpy(),
        _codes(frame, "label", labels).to_numpy(),
        _codes(frame, "predicted", labels, may_lack=True).fill_null(len(labels)).to_numpy(),
        probabilities_of(frame, len(labels)),
        read_clusters(frame),
    )


def read_text(frame: pl.DataFrame) -> TextRows:
    """Rows of row_id, nll, tokens, correct and bytes. Raises DataError as above."""
    frame = ordered(frame, ("row_id", *TEXT_COLUMNS))
    sums = frame.select(pl.col(*TEXT_COLUMNS).cast(pl.Float64).fill_null(float("nan")))
    return TextRows(frame["row_id"].to_numpy(), sums.to_numpy(), read_clusters(frame))


def positive_label(labels: Sequence[str], positive: str | None, truth: IntArray) -> str | None:
    """The positive label of a binary task, by default the rarer in these rows; else None."""
    if positive is not None and positive not in labels:
        known = ", ".join(labels[:20])
        raise DataError(
            Fault(
                "objective.positive",
                f"there is no label {positive!r}",
                f"Labels: {known}",
                "objective.positive",
            )
        )
    if len(labels) != 2:
        return None
    counts = np.bincount(truth, minlength=2)
    return positive or default_positive(labels, dict(zip(labels, counts.tolist(), strict=True)))


def are_same_rows(a: Rows, b: Rows) -> bool:
    """Whether both models were scored on the same rows with the same content."""
    return np.array_equal(a.row_id, b.row_id) and np.array_equal(a.content, b.content)


def check_same_rows(a: Rows, b: Rows, names: tuple[str, str]) -> None:
    """Raise DataError unless both models were scored on the same rows with the same content."""
    _check_same_ids(a.row_id, b.row_id, names)
    changed = a.content != b.content
    if changed.any():
        raise DataError(
            Fault(
                f"{names[0]} and {names[1]}",
                f"{a.content_name} differs on {row_ids(a.row_id[changed])}",
                "Evaluate both models on the same file, then compare again",
            )
        )


def _check_same_ids(a: IntArray, b: IntArray, names: tuple[str, str]) -> None:
    if np.array_equal(a, b):
        return
    only = [(name, np.setdiff1d(*pair)) for name, pair in zip(names, ((a, b), (b, a)), strict=True)]
    missing = " and ".join(f"{row_ids(ids)} only in {name}" for name, ids in only if ids.size)
    raise DataError(
        Fault(
            f"{names[0]} and {names[1]}",
            f"not scored on the same rows: {missing}",
            "Evaluate both models on the same split, then compare again",
        )
    )


def ordered(frame: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """Predictions by ascending row id. Raises DataError for missing columns and repeated rows."""
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise _fault(f"no column {', '.join(missing)} (found: {', '.join(frame.columns)})")
    if frame.is_empty():
        raise _fault("no rows")
    ids = frame["row_id"]
    if ids.null_count():
        raise _fault(f"{ids.null_count():,} rows without a row_id")
    if not ids.is_sorted():
        frame = frame.sort("row_id")
    repeated = frame["row_id"].to_numpy()
    repeated = np.unique(repeated[1:][repeated[1:] == repeated[:-1]])
    if repeated.size:
        raise _fault(f"more than one prediction for {row_ids(repeated)}")
    return frame


def _codes(
    frame: pl.DataFrame, column: str, labels: Sequence[str], may_lack: bool = False
) -> pl.Series:
    known = frame[column].cast(pl.Enum(list(labels)), strict=False)
    allowed = frame[column].null_count() if may_lack else 0
    if known.null_count() > allowed:
        unknown = frame.filter(known.is_null() & (frame[column].is_not_null() | (not may_lack)))
        named = unknown[column].unique(maintain_order=True).head(SHOWN).to_list()
        ids = row_ids(unknown["row_id"].to_numpy())
        raise _fault(f"{column} of {ids} is not in the label list: {', '.join(map(repr, named))}")
    return known.to_physical().cast(pl.Int64)


def probabilities_of(frame: pl.DataFrame, n_labels: int) -> FloatArray | None:
    """[n, C]; None where there are none. Raises DataError where they are not one for each label."""
    if "probabilities" not in frame.columns or frame["probabilities"].null_count() == len(frame):
        return None
    column = frame["probabilities"]
    wrong = frame.filter((column.list.len() != n_labels).fill_null(True))
    if len(wrong):
        ids = row_ids(wrong["row_id"].to_numpy())
        raise _fault(f"probabilities of {ids} are not one for each of {n_labels} labels")
    flat = column.explode().cast(pl.Float64).fill_null(float("nan"))
    return np.asarray(flat.to_numpy()).reshape(len(frame), n_labels)


def row_ids(ids: IntArray) -> str:
    """ "1 row (7)", "9 rows (1, 4, 5, 8, 9, …)" """
    named = ", ".join(str(i) for i in ids[:SHOWN]) + (", …" if len(ids) > SHOWN else "")
    return f"{len(ids):,} row{'' if len(ids) == 1 else 's'} ({named})"


def _fault(what: str) -> DataError:
    return DataError(Fault("stored predictions", what, "Run the evaluation again to rewrite them"))
