"""Texts that share a run of 13 words (D1). A shorter text has no such run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

Words = np.ndarray[Any, np.dtype[np.uint64]]
RUN = 13  # words
# A run in more texts than this share (and than 10) is a template, which tells nothing of its rows.
TEMPLATE_SHARE, TEMPLATE_TEXTS = 0.01, 10
_CHUNK = 20_000  # texts cut into words at once


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
    for start in range(0, len(texts), _CHUNK):
        words = (
            texts[start : start + _CHUNK].str.replace_all(r"[^\w\s]+", "").str.extract_all(r"\S+")
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
