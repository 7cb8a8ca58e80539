"""Whether two splits were drawn from the same rows: their labels, their lengths, their wording.

Each question is a test of its own; Holm's method keeps false alarms over all of them at `LEVEL`.
A difference is shown only where it is also large enough to matter.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..metrics.analyses import Draws
from ..run.events import AnalysisComputed
from .rows import input_of, normalise

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from .data import Dataset, Split

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

LEVEL = 0.01  # of false alarms over all questions of two splits
LABEL_DISTANCE = 0.05  # share of rows that would need another label, beyond what chance gives
LENGTH_DISTANCE = 0.1  # greatest distance between the two distributions (Kolmogorov and Smirnov)
AUC = 0.55  # that the whole interval must exceed
DRAWS, CELLS = 9_999, 5_000_000  # of label counts: tables, and numbers in all of them
LENGTHS_READ = 20_000  # rows per split
# With these the classifier takes about a second on one core.
ROWS_READ, LETTERS_READ = 1_000, 400
FEWEST_ROWS = 20  # of a split, for any of it
GRAM, BUCKETS = 4, 2**15
FOLDS, SHUFFLES = 5, 40


@dataclass(frozen=True)
class Labels:
    """Shares of labels. `distance`: half the sum of differences, less what chance gives."""

    p: float
    distance: float
    label: str  # where the shares lie furthest apart
    share_before: float
    share: float


@dataclass(frozen=True)
class Lengths:
    """Characters of the input: the greatest distance of the distributions, and both medians."""

    p: float
    distance: float
    median_before: float
    median: float


@dataclass(frozen=True)
class Wording:
    """How well the text of a row predicts its split, each row by a model of the others."""

    p: float
    auc: float
    low: float
    high: float
    rows: int  # of both splits that were read


def draws_as_events(dataset: Dataset) -> list[AnalysisComputed]:
    """How the rows that judge differ from train, where both are single rows and not documents."""
    judging = next((name for name in ("test", "validation") if name in dataset.splits), "")
    if not judging or "train" not in dataset.splits or dataset.columns.form == "text":
        return []
    found = compare_draws(dataset.splits["train"], dataset.splits[judging])
    return [AnalysisComputed(split=judging, name="draws", result=found)] if found else []


def compare_draws(before: Split, split: Split, seed: int = 0) -> Draws | None:
    """What differs between the rows of an earlier split and of a later one.

    Rows of one group, and copies of one input, count once. None where a split has fewer than 20
    such rows.
    """
    from ..metrics.statistics import holm  # scipy: the engine's stages are imported without it

    frames = [_apart(each.frame) for each in (before, split)]
    if min(frame.height for frame in frames) < FEWEST_ROWS:
        return None
    rng = np.random.default_rng(seed)
    found: dict[str, Labels | Lengths | Wording] = {}
    if "label" in frames[0].columns:
        found["labels"] = _compare_labels(frames[0]["label"], frames[1]["label"], rng)
    a, b = (_some(normalise(input_of(frame)), LENGTHS_READ, rng) for frame in frames)
    found["lengths"] = _compare_lengths(a, b)
    found["wording"] = _compare_wording(_some(a, ROWS_READ, rng), _some(b, ROWS_READ, rng), rng)
    adjusted = holm({name: each.p for name, each in found.items()})
    plain = {
        name: asdict(each)
        | {"p_holm": adjusted[name], "shown": adjusted[name] <= LEVEL and _matters(each)}
        for name, each in found.items()
    }
    return msgspec.convert({"before": before.name, **plain}, Draws)


def _apart(frame: pl.DataFrame) -> pl.DataFrame:
    """One row of each input and of each group: the others say nothing of their own."""
    frame = frame.unique("content", keep="first", maintain_order=True)
    if "group" not in frame.columns:
        return frame
    key = pl.coalesce(pl.col("group"), pl.concat_str(pl.lit("\0"), "row_id"))
    return frame.unique(key, keep="first", maintain_order=True)


def _some(texts: pl.Series, rows: int, rng: np.random.Generator) -> pl.Series:
    if len(texts) <= rows:
        return texts
    return texts.gather(np.sort(rng.choice(len(texts), rows, replace=False)))


def _matters(found: Labels | Lengths | Wording) -> bool:
    if isinstance(found, Wording):
        return found.low > AUC
    return found.distance >= (LABEL_DISTANCE if isinstance(found, Labels) else LENGTH_DISTANCE)


def _compare_labels(before: pl.Series, after: pl.Series, rng: np.random.Generator) -> Labels:
    """Pearson's statistic against tables drawn with the same margins (multivariate hypergeometric).

    Exact for rare labels too, where its usual limit does not hold.
    """
    names = sorted({*before.unique(), *after.unique()})
    counts = np.array([[int((s == n).sum()) for n in names] for s in (before, after)], np.int64)
    totals, rows = counts.sum(axis=0), counts.sum(axis=1)
    draws = max(999, min(DRAWS, CELLS // len(names)))
    tables = rng.multivariate_hypergeometric(totals, int(rows[1]), size=draws, method="marginals")
    expected = totals * (rows[1] / rows.sum())

    def statistic(table: NDArray[np.int64]) -> Floats:
        return np.asarray((((table - expected) ** 2) / totals).sum(axis=-1))

    def distance(table: NDArray[np.int64]) -> Floats:
        apart = np.abs(table / rows[1] - (totals - table) / rows[0])
        return np.asarray(apart.sum(axis=-1) / 2)

    extreme = int((statistic(tables) >= statistic(counts[1]) - 1e-9).sum())
    shares = counts / rows[:, None]
    most = int(np.argmax(np.abs(shares[1] - shares[0])))
    return Labels(
        (1 + extreme) / (1 + draws),
        float(distance(counts[1]) - distance(tables).mean()),
        names[most],
        float(shares[0, most]),
        float(shares[1, most]),
    )


def _compare_lengths(before: pl.Series, after: pl.Series) -> Lengths:
    from scipy.stats import ks_2samp

    a, b = (texts.str.len_chars().to_numpy().astype(float) for texts in (before, after))
    found = ks_2samp(a, b, method="exact" if max(len(a), len(b)) <= 1_000 else "asymp")
    return Lengths(
        float(found.pvalue), float(found.statistic), float(np.median(a)), float(np.median(b))
    )


def _compare_wording(before: pl.Series, after: pl.Series, rng: np.random.Generator) -> Wording:
    """Out-of-fold AUC of naive Bayes on hashed 4-grams of characters.

    What chance gives comes from the same with the splits' names shuffled: folds share rows, so that
    the spread of an AUC from independent rows would be too small.
    """
    from scipy.special import stdtr, stdtrit

    texts = pl.concat([before, after])
    is_after = np.arange(len(texts)) >= len(before)
    names = np.column_stack([is_after, *(rng.permutation(is_after) for _ in range(SHUFFLES))])
    aucs = _out_of_fold(_grams(texts), names, rng)
    spread, auc = float(aucs[1:].std(ddof=1)), float(aucs[0])
    p = float(stdtr(SHUFFLES - 1, (0.5 - auc) / spread)) if spread else 1.0
    reach = float(stdtrit(SHUFFLES - 1, 0.975)) * spread
    return Wording(p, auc, max(0.0, auc - reach), min(1.0, auc + reach), len(texts))


def _grams(texts: pl.Series) -> csr_array:
    """Which hashed 4-grams stand in each text, without those in fewer than 3 texts."""
    from scipy.sparse import csr_array

    rows, columns = [], []
    for row, text in enumerate(texts.str.slice(0, LETTERS_READ)):
        letters = np.frombuffer(text.ljust(GRAM).encode("utf-32-le"), np.uint32).astype(np.uint64)
        grams = np.zeros(len(letters) - GRAM + 1, np.uint64)
        for i in range(GRAM):
            grams = grams * np.uint64(0x9E3779B97F4A7C15) + letters[i : i + len(grams)]
        found = np.unique(grams >> np.uint64(64 - BUCKETS.bit_length() + 1))
        rows.append(np.full(len(found), row))
        columns.append(found.astype(np.int64))
    at = (np.concatenate(rows), np.concatenate(columns))
    every = csr_array((np.ones(len(at[0])), at), shape=(len(texts), BUCKETS))
    return every[:, np.asarray(every.sum(axis=0)).ravel() >= 3]


def _out_of_fold(grams: csr_array, names: Mask, rng: np.random.Generator) -> Floats:
    """The mean AUC over folds for each column of names: each fold is scored by the others' rows."""
    fold = rng.permutation(len(names)) % FOLDS
    aucs = []
    for each in range(FOLDS):
        inside, outside = fold == each, fold != each
        seen, named = grams[outside], names[outside].astype(float)
        with_name, size = seen.T @ named, named.sum(axis=0)
        without = np.asarray(seen.sum(axis=0)).ravel()[:, None] - with_name
        share = (with_name + 1) / (size + 2)
        other = (without + 1) / (len(named) - size + 2)
        aucs.append(_auc(grams[inside] @ np.log(share / other), names[inside]))
    return np.asarray(np.nanmean(aucs, axis=0))


def _auc(scores: Floats, names: Mask) -> Floats:
    from ..metrics.probabilities import twice_ranks

    ranks = np.stack([twice_ranks(column) for column in scores.T], axis=1)
    wanted = names.sum(axis=0)
    others = len(names) - wanted
    above = (ranks * names).sum(axis=0) - wanted * (wanted - 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(above / (2 * wanted * others))
