"""Splits made by the tool (D3): stratified by label, seeded, what belongs together on one side.

Rows with the same input, or of the same group, form a cluster and stay together. Each cluster has a
place in an order that depends on its content and the seed alone: neither the order of the file nor
rows added elsewhere reshuffle it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..config.objective import REPEATED
from .label_sets import rarest_label

Words = NDArray[np.uint64]
Numbers = NDArray[np.int64]
LEAST_PART = 200  # characters of a part of a text that has too few lines for the shares
_WORDS = re.compile(r"\s*\S+\s*")
HELD_OUT = ("test", "validation")  # filled in this order; the rest is train


def assign_splits(frame: pl.DataFrame, shares: Mapping[str, float], seed: int) -> pl.Series:
    """The split of each row. `frame` has `content`, and may have `label` or `labels`, and `group`.

    Shares are of rows, per label, honoured within rounding as far as clusters allow it. The last
    cluster of a label stays in train, so that no label is held out that train does not know. Where
    rows have several, they are split by the rarest that each of them has.
    """
    clusters = _find_clusters(frame, seed)
    names = np.full(frame.height, "train", dtype=object)
    taken: set[int] = set()
    for split in HELD_OUT:
        if share := shares.get(split, 0.0):
            chosen = _choose(clusters, _quotas(clusters.totals, share), taken)
            names[np.isin(clusters.of_row, list(chosen))] = split
            taken |= chosen
    return pl.Series("split", names.tolist(), dtype=pl.String)


def rows_together(frame: pl.DataFrame, same_input: bool) -> pl.DataFrame | None:
    """row_id and cluster of rows that are not independent (S9); None where every row is by itself.

    Rows of one `group` are together, and with `same_input` those of one input: several answers to
    one prompt. So are copies of one input wherever they are more than a few.
    """
    copies = frame.height - frame["content"].n_unique()
    together = same_input or copies > REPEATED * frame.height
    content = frame["content"].to_numpy() if together else np.arange(frame.height, dtype=np.uint64)
    found = _connect(content, frame["group"]) if "group" in frame.columns else _number(content)
    if len(np.unique(found)) == frame.height:
        return None
    return pl.DataFrame({"row_id": frame["row_id"], "cluster": found})


@dataclass(frozen=True)
class _Clusters:
    """Rows that stay together, in their seeded order, by the label that most of them have."""

    of_row: Numbers  # cluster of each row
    counts: list[dict[str, int]]  # of each cluster: label -> rows
    by_label: dict[str, list[int]]  # usual label -> clusters, in their order
    totals: dict[str, int]  # label -> rows


def _find_clusters(frame: pl.DataFrame, seed: int) -> _Clusters:
    content = frame["content"].to_numpy()
    of_row = _connect(content, frame["group"]) if "group" in frame.columns else _number(content)
    if "labels" in frame.columns:
        label = rarest_label(frame)
    elif "label" in frame.columns:
        label = frame["label"]
    else:
        label = pl.repeat("", frame.height, eager=True)
    rows = pl.DataFrame({"cluster": of_row, "content": content, "label": label})
    keys = rows.group_by("cluster").agg(pl.col("content").min()).sort("cluster")["content"]
    order = _seeded_order(keys.to_numpy(), seed)
    counts: list[dict[str, int]] = [{} for _ in range(len(keys))]
    for cluster, name, number in rows.group_by("cluster", "label").len().sort("label").iter_rows():
        counts[cluster][name] = number
    by_label: dict[str, list[int]] = {}
    for cluster in order.tolist():
        usual = max(counts[cluster], key=counts[cluster].__getitem__)
        by_label.setdefault(usual, []).append(cluster)
    totals = dict(sorted(Counter(label.to_list()).items()))
    return _Clusters(of_row, counts, by_label, totals)


def _number(content: Words) -> Numbers:
    """Equal contents get the same number, from 0."""
    return np.unique(content, return_inverse=True)[1]


def _connect(content: Words, group: pl.Series) -> Numbers:
    """Connected parts of the graph whose nodes are contents and groups. No group is no tie."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    contents = _number(content)
    size = int(contents.max(initial=-1)) + 1
    known = group.is_not_null().to_numpy()
    groups = group.rank("dense").fill_null(1).cast(pl.Int64).to_numpy() - 1 + size
    nodes = int(groups.max(initial=0)) + 1
    edges = (np.ones(int(known.sum())), (contents[known], groups[known]))
    parts = connected_components(coo_array(edges, shape=(nodes, nodes)), directed=False)[1]
    return np.unique(parts[contents], return_inverse=True)[1]


def _seeded_order(keys: Words, seed: int) -> Numbers:
    """Clusters by a hash of their content and the seed (the finisher of SplitMix64)."""
    with np.errstate(over="ignore"):
        mixed = keys ^ _mix(np.array([seed], np.int64).astype(np.uint64))
        return np.lexsort((keys, _mix(mixed)))


def _mix(words: Words) -> Words:
    words = words + np.uint64(0x9E3779B97F4A7C15)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def _quotas(totals: Mapping[str, int], share: float) -> dict[str, int]:
    """Rows of each label to hold out: the largest remainders get what rounding leaves over."""
    exact = {label: share * count for label, count in totals.items()}
    quotas = {label: int(value) for label, value in exact.items()}
    over = round(share * sum(totals.values())) - sum(quotas.values())
    for label in sorted(exact, key=lambda each: (quotas[each] - exact[each], each))[:over]:
        quotas[label] += 1
    return quotas


def _choose(clusters: _Clusters, quotas: Mapping[str, int], taken: set[int]) -> set[int]:
    """Clusters that fill the quotas: first those that fit, then those that bring them nearer."""
    wanted = dict(quotas)
    in_train = Counter(
        label for i, count in enumerate(clusters.counts) if i not in taken for label in count
    )
    chosen: set[int] = set()
    for must_fit in (True, False):
        for label, members in clusters.by_label.items():
            for cluster in members:
                if wanted[label] <= 0:
                    break
                count = clusters.counts[cluster]
                if cluster in taken or cluster in chosen or _is_last(count, in_train):
                    continue
                if _fits(count, wanted) if must_fit else _brings_nearer(count, wanted):
                    chosen.add(cluster)
                    for name, number in count.items():
                        wanted[name] -= number
                        in_train[name] -= 1
    return chosen


def _is_last(count: Iterable[str], in_train: Counter[str]) -> bool:
    return any(in_train[label] <= 1 for label in count)


def _fits(count: Mapping[str, int], wanted: Mapping[str, int]) -> bool:
    return all(number <= wanted[label] for label, number in count.items())


def _brings_nearer(count: Mapping[str, int], wanted: Mapping[str, int]) -> bool:
    before = sum(abs(wanted[label]) for label in count)
    return sum(abs(wanted[label] - number) for label, number in count.items()) < before


def split_document(text: str, shares: Mapping[str, float]) -> dict[str, tuple[int, str]]:
    """A document by ranges: train, then validation, then test, each (first line, text).

    Neighbouring lines belong together, so that nothing is drawn at random. Where there are too few
    lines for a part to have one, a long text is cut between words, or between letters where it has
    none. Empty if it is short too.
    """
    for cut in (_lines, _WORDS.findall, list):
        pieces = cut(text)
        sizes = {split: round(share * len(pieces)) for split, share in shares.items() if share}
        start = len(pieces) - sum(sizes.values())
        if start >= 1 and min(sizes.values(), default=1) >= 1:
            break
        if min([1 - sum(shares.values()), *filter(None, shares.values())]) * len(text) < LEAST_PART:
            return {}
    parts = {"train": (1, "".join(pieces[:start]))}
    for split in ("validation", "test"):
        if size := sizes.get(split, 0):
            line = 1 + sum(piece.count("\n") for piece in pieces[:start])
            parts[split] = (line, "".join(pieces[start : start + size]))
            start += size
    return parts


def _lines(text: str) -> list[str]:
    """Physical lines with their ends: only `\\n` ends a line."""
    pieces = text.split("\n")
    last = [pieces[-1]] if pieces[-1] else []
    return [piece + "\n" for piece in pieces[:-1]] + last
