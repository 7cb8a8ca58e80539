"""Texts that overlap (D1): near-duplicates, and texts that share a run of 13 words.

Near-duplicates are found by MinHash on character 5-grams and confirmed by true Jaccard.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

Words = NDArray[np.uint64]
Hashes = NDArray[np.uint32]
Numbers = NDArray[np.int64]
GRAM = 5  # characters
SIMILAR = 0.8  # Jaccard from which two texts are near-duplicates
# 25 bands of 5 hashes find a pair of Jaccard 0.8 with probability 0.99995.
BANDS, BAND_ROWS = 25, 5
# An estimate from 125 hashes has a standard error of 0.036 at 0.8: this is four of them below.
ESTIMATE = 0.65
BAND_PAIRS = 100_000  # candidates of one band that are compared
GRAMS_AT_ONCE = 10_000  # 5-grams hashed at once, 125 values each


def find_near_pairs(texts: pl.Series) -> tuple[pl.DataFrame, int]:
    """All pairs (one < other, similarity) of different normalised texts with Jaccard >= 0.8.

    And how many texts were in groups too large for every pair to be compared: these share most of
    their wording, as the rows of a template do.
    """
    shingles = [_shingles(text) for text in texts]
    signatures = _signatures(shingles)
    found = [np.zeros((0, 2), np.int64)]
    crowded: set[int] = set()
    for band in range(BANDS):
        groups = _shared_keys(_band_keys(signatures[:, band * BAND_ROWS : (band + 1) * BAND_ROWS]))
        costs = np.cumsum([len(group) * (len(group) - 1) // 2 for group in groups])
        within = int(np.searchsorted(costs, BAND_PAIRS, side="right"))
        found += [_promising(pairs, signatures) for pairs in _pairs(groups[:within])]
        for group in groups[within:]:
            crowded.update(group.tolist())
            found.append(_promising(_neighbours(group), signatures))
    pairs = np.unique(np.concatenate(found), axis=0)
    similarity = np.array([_jaccard(shingles[a], shingles[b]) for a, b in pairs.tolist()])
    near = similarity >= SIMILAR
    one, other = pairs[near].T
    frame = pl.DataFrame({"one": one, "other": other, "similarity": similarity[near]})
    return frame.cast({"one": pl.Int64, "other": pl.Int64, "similarity": pl.Float64}), len(crowded)


def _shingles(text: str) -> Words:
    """The distinct character 5-grams as 64-bit numbers, sorted. A shorter text is one of them."""
    letters = np.frombuffer(text.ljust(GRAM, "\0").encode("utf-32-le"), np.uint32).astype(np.uint64)
    grams = np.zeros(len(letters) - GRAM + 1, np.uint64)
    for i in range(GRAM):
        grams = grams * np.uint64(0x9E3779B97F4A7C15) + letters[i : i + len(grams)]
    return np.unique(grams)


def _signatures(shingles: list[Words]) -> Hashes:
    """A row of 125 minima for each text."""
    from datasketch import MinHash  # half a second to import

    empty = MinHash(num_perm=BANDS * BAND_ROWS, seed=1, hashfunc=int)
    out = np.empty((len(shingles), BANDS * BAND_ROWS), np.uint32)
    for row, grams in enumerate(shingles):
        sketch = empty.copy()
        for start in range(0, len(grams), GRAMS_AT_ONCE):
            sketch.update_batch((grams[start : start + GRAMS_AT_ONCE] >> np.uint64(32)).tolist())
        out[row] = sketch.hashvalues
    return out


def _band_keys(band: Hashes) -> Words:
    keys = np.zeros(len(band), np.uint64)
    for column in band.T:
        keys = (keys ^ column.astype(np.uint64)) * np.uint64(0xBF58476D1CE4E5B9)
        keys ^= keys >> np.uint64(29)
    return keys


def _shared_keys(keys: Words) -> list[Numbers]:
    """Texts with the same key, in groups, the smallest first."""
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.diff(keys[order])) + 1
    return sorted((group for group in np.split(order, starts) if len(group) > 1), key=len)


def _pairs(groups: list[Numbers]) -> Iterator[Numbers]:
    """All pairs within groups, about a hundred thousand at a time."""
    held: list[Numbers] = []
    size = 0
    for group in groups:
        one, other = np.triu_indices(len(group), 1)
        held.append(np.column_stack((group[one], group[other])))
        size += len(one)
        if size > 100_000:
            yield np.concatenate(held)
            held, size = [], 0
    if held:
        yield np.concatenate(held)


def _neighbours(group: Numbers) -> Numbers:
    """Each text with the group's first and with the one before it."""
    first = np.full(len(group) - 1, group[0])
    return np.concatenate(
        (np.column_stack((first, group[1:])), np.column_stack((group[:-1], group[1:])))
    )


def _promising(pairs: Numbers, signatures: Hashes) -> Numbers:
    """Pairs whose estimated similarity is not far below 0.8, in ascending order within a pair."""
    same = signatures[pairs[:, 0]] == signatures[pairs[:, 1]]
    agree = same.view(np.uint8).sum(axis=1, dtype=np.uint8)
    return np.sort(pairs[agree >= ESTIMATE * signatures.shape[1]], axis=1)


def _jaccard(one: Words, other: Words) -> float:
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / (len(one) + len(other) - shared)


RUN = 13  # words
# A run in more texts than this share (and than 10) is a template: it says nothing about its rows.
TEMPLATE_SHARE, TEMPLATE_TEXTS = 0.01, 10
TEXTS_AT_ONCE = 20_000  # texts cut into words at once


def find_runs(texts: pl.Series) -> tuple[pl.DataFrame, int]:
    """The runs that more than one text has: (text, run, runs_of_text), each once a text.

    And how many runs were left out because so many texts have them that they are a template. Case
    and punctuation do not count.
    """
    frame = pl.concat([_empty(), *_text_runs(texts)])
    frame = frame.with_columns(runs_of_text=pl.len().over("text"))
    frame = frame.with_columns(texts=pl.len().over("run")).filter(pl.col("texts") > 1)
    template = pl.col("texts") > max(TEMPLATE_TEXTS, TEMPLATE_SHARE * len(texts))
    left_out = frame.filter(template)["run"].n_unique()
    return frame.filter(~template).drop("texts"), left_out


def count_words(texts: pl.Series) -> int:
    """About how many words there are: spaces, and one a text."""
    return int(texts.str.count_matches(" ", literal=True).sum()) + len(texts)


def _empty() -> pl.DataFrame:
    return pl.DataFrame(schema={"text": pl.Int64, "run": pl.UInt64})


def _text_runs(texts: pl.Series) -> Iterator[pl.DataFrame]:
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        words = (
            texts[start : start + TEXTS_AT_ONCE]
            .str.replace_all(r"[^\w\s]+", "")
            .str.extract_all(r"\S+")
        )
        sizes = words.list.len().to_numpy().astype(np.int64)
        flat = words.filter(pl.Series(sizes > 0)).explode().hash(seed=13).to_numpy()
        owner = np.repeat(np.arange(start, start + len(sizes)), sizes)
        if len(flat) < RUN:
            continue
        whole = owner[: len(owner) - RUN + 1] == owner[RUN - 1 :]
        frame = pl.DataFrame({"text": owner[: len(whole)][whole], "run": _rolling(flat)[whole]})
        yield frame.unique()


def _rolling(words: Words) -> Words:
    """A 64-bit hash of each run, from the hashes of its words in their order."""
    runs = np.zeros(len(words) - RUN + 1, np.uint64)
    for i in range(RUN):
        runs = runs * np.uint64(0x9E3779B97F4A7C15) + words[i : i + len(runs)]
    return runs ^ (runs >> np.uint64(31))
