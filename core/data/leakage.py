"""Rows that splits share, and duplicates within them (D1). Nothing is deleted (D2).

Three layers: exact (the same input after normalisation), near (Jaccard of character 5-grams at
least 0.8) and ngram (a common run of 13 words). Near and ngram join different inputs only. A row
counts in a layer when it repeats an earlier row: of an earlier split, or earlier in its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from ..run.events import LeakageFound
from .label_sets import labels_as_text
from .overlap import count_words, find_near_pairs, find_runs
from .rows import input_of, normalise

if TYPE_CHECKING:
    from .data import Split

ORDER = ("train", "validation", "test")  # a later split repeats an earlier one
LAYERS = ("exact", "near", "ngram")
Grouped = dict[str, dict[str, frozenset[int]]]
PAIRS_LISTED = 500  # in report.json; all are counted
CONTRADICTIONS_LISTED = 50  # all are counted
# Measured on 2 cores: about a minute for the near layer at either limit.
NEAR_ROWS = 200_000
NEAR_CHARACTERS = 20_000_000
NGRAM_WORDS = 50_000_000
COMMON_ROWS, COMMON_SHARE = 20, 0.01  # a prompt of more rows is taken for an instruction


class Pair(NamedTuple):
    """A row and the earlier one that it repeats. Similarity: Jaccard, or share of 13-word runs."""

    split_a: str  # the earlier
    row_a: int  # row_id
    split_b: str
    row_b: int
    layer: str
    similarity: float


class Contradiction(NamedTuple):
    """A row and the first earlier one with the same input and another label."""

    split_a: str  # the earlier
    row_a: int
    split_b: str
    row_b: int


@dataclass(frozen=True)
class Leakage:
    """What was found. Counts are exact; the list of pairs ends at `PAIRS_LISTED`."""

    counts: dict[tuple[str, str, str], int]  # (split_a, split_b, layer) -> rows of split_b
    crossing: dict[str, int]  # layer -> rows that repeat a row of an earlier split
    conflicts: dict[tuple[str, str], int]  # same input, other label -> rows of the second split
    pairs: list[Pair]  # one partner per row, layer and pair of splits; across splits first
    leaked: dict[str, frozenset[int]]  # split -> row_ids that repeat a row of an earlier split
    notes: list[str]  # what was left out, and why
    contradictions: list[Contradiction] = field(default_factory=list)  # the first of `conflicts`
    splits: list[str] = field(default_factory=list)  # those compared, the earliest first
    grouped: Grouped = field(default_factory=dict)  # split -> group of an earlier split -> row_ids
    same: list[tuple[str, str]] = field(default_factory=list)  # splits that hold the same rows
    shares: dict[str, float] = field(default_factory=dict)  # running text that repeats, by letters

    def leaked_rows(self, split: str) -> frozenset[int]:
        """The rows without which a score is free of leakage (D2)."""
        return self.leaked.get(split, frozenset()) | self.group_rows(split)

    def group_rows(self, split: str) -> frozenset[int]:
        """The rows of groups that stand in an earlier split as well."""
        return frozenset().union(*self.grouped.get(split, {}).values())

    @property
    def conflicting_labels(self) -> int:
        """Rows whose input stands earlier with another label, within a split and across."""
        return sum(self.conflicts.values())

    def as_event(self) -> LeakageFound:
        return LeakageFound(
            exact=self.crossing["exact"],
            near=self.crossing["near"],
            ngram=self.crossing["ngram"],
            conflicting_labels=self.conflicting_labels,
            pairs=[*self.pairs],
            leaked={s: len(rows) for s in self.splits if (rows := self.leaked_rows(s))},
            note="; ".join(self.notes),
            conflicts=[*self.contradictions],
            splits=[*self.splits],
            pairs_found=sum(self.counts.values()),
            groups={split: len(groups) for split, groups in self.grouped.items()},
            group_rows={split: len(self.group_rows(split)) for split in self.grouped},
            same=self.same,
            shares=self.shares,
        )


def find_leakage(splits: Mapping[str, Split], near: bool = True) -> Leakage:
    """All three layers, within and across splits. `near=False` leaves out the near-duplicates."""
    names = [name for name in ORDER if name in splits]
    every = pl.concat(_rows(i, splits[name]) for i, name in enumerate(names))
    rows = _number_texts(_with_own_answers(every))
    texts = rows.unique("text", keep="first").sort("text")["input"]
    members = (
        rows.group_by("split", "text")
        .agg(pl.col("place").min())
        .join(rows.select("place", "row_id"), on="place")
    )
    notes: list[str] = []
    links = [_link_exact(members)]
    if near and (pairs := _near_pairs(texts, notes)) is not None:
        links.append(_link_near(pairs, members))
    if (runs := _runs(texts, notes)) is not None:
        links.append(_link_ngram(runs, members))
    repeats = _to_rows(pl.concat(links), rows, members)
    conflicts = _find_conflicts(rows)
    found = _summary(repeats, conflicts, names, notes, _list_conflicts(conflicts, rows, names))
    return replace(
        found,
        grouped=_find_groups(splits, names),
        same=_find_same(splits, names),
        shares=_share_of_text(splits, names, rows, repeats),
    )


def _find_groups(splits: Mapping[str, Split], names: list[str]) -> Grouped:
    """Rows of each split whose group stands in a split before it."""
    seen: set[str] = set()
    grouped: Grouped = {}
    for name in names:
        frame = splits[name].frame
        if "group" not in frame.columns:
            continue
        rows = frame.drop_nulls("group").group_by("group").agg("row_id")
        of_group = {group: frozenset(ids) for group, ids in rows.iter_rows()}
        if again := {group: ids for group, ids in of_group.items() if group in seen}:
            grouped[name] = again
        seen |= of_group.keys()
    return grouped


def _find_same(splits: Mapping[str, Split], names: list[str]) -> list[tuple[str, str]]:
    """Pairs of splits with the same rows, answers too, in any order."""
    return [
        (a, b)
        for a, b in combinations(names, 2)
        if splits[a].frame["content"].sort().equals(splits[b].frame["content"].sort())
        and sorted(_whole_rows(splits[a].frame)) == sorted(_whole_rows(splits[b].frame))
    ]


def _whole_rows(frame: pl.DataFrame) -> list[tuple[int, str]]:
    answers = [n for n in ("label", "labels", "completion", "messages") if n in frame.columns]
    rows = frame.select("content", *answers).iter_rows()
    return [(content, repr(answer)) for content, *answer in rows]


def _share_of_text(
    splits: Mapping[str, Split], names: list[str], rows: pl.DataFrame, repeats: pl.DataFrame
) -> dict[str, float]:
    """How much of running text repeats an earlier split: its rows are documents, so that one that
    repeats in part counts by that part."""
    if {"text", "label", "labels"} & set(splits[names[0]].frame.columns) != {"text"}:
        return {}
    part = repeats.filter(pl.col("a") != pl.col("b")).group_by("place").agg(pl.max("similarity"))
    sizes = rows.select("split", "place", letters=pl.col("input").str.len_chars())
    shares = (
        sizes.join(part, on="place", how="left")
        .with_columns(again=pl.col("letters") * pl.col("similarity").fill_null(0.0))
        .group_by("split")
        .agg(pl.sum("again") / pl.sum("letters"))
    )
    return {names[index]: share for index, share in shares.iter_rows() if share}


def _rows(index: int, split: Split) -> pl.DataFrame:
    frame = split.frame
    label = labels_as_text(frame)
    return frame.select(
        pl.lit(index).alias("split"),
        "row_id",
        "content",
        label=pl.lit(None, pl.String) if label is None else label,
        input=normalise(input_of(frame)),
        answer=_answers(frame),
    )


def _answers(frame: pl.DataFrame) -> pl.Series:
    """What is to be written after the input; null where nothing is."""
    if "messages" in frame.columns:
        return normalise(frame["messages"].list.last().struct.field("content").fill_null(""))
    if "completion" in frame.columns:
        return normalise(frame["completion"])
    return pl.Series("answer", [None] * frame.height, dtype=pl.String)


def _with_own_answers(rows: pl.DataFrame) -> pl.DataFrame:
    """A prompt that many rows share, with other answers, is an instruction and distinguishes no
    rows: such rows are compared by prompt and answer."""
    of_prompt = pl.len().over("content"), pl.col("answer").n_unique().over("content")
    common = (of_prompt[0] > pl.max_horizontal(COMMON_ROWS, COMMON_SHARE * pl.len())) & (
        of_prompt[1] > 1
    )
    whole = pl.concat_str("input", "answer", separator=" ")
    return rows.with_columns(
        input=pl.when(common).then(whole).otherwise("input"),
        content=pl.when(common).then(pl.struct("content", "answer").hash()).otherwise("content"),
    )


def _number_texts(rows: pl.DataFrame) -> pl.DataFrame:
    """With `place`, the order over all splits, and `text`, a number for each different input."""
    rows = rows.with_row_index("place").cast({"place": pl.Int64})
    numbers = rows.select(pl.col("content").unique(maintain_order=True)).with_row_index("text")
    return rows.join(numbers.cast({"text": pl.Int64}), on="content").sort("place")


def _link_exact(members: pl.DataFrame) -> pl.DataFrame:
    """Each input with itself, in its split and in later ones; `_to_rows` leaves out the first."""
    return (
        _both(members, members.select("text", other="text"))
        .filter(pl.col("a") <= pl.col("b"))
        .select("text", "other", "a", "b", similarity=1.0, layer=pl.lit("exact"))
    )


def _link_near(pairs: pl.DataFrame, members: pl.DataFrame) -> pl.DataFrame:
    """For each input, the most similar earlier one in each split."""
    forth = pairs.select("similarity", text="one", other="other")
    back = pairs.select("similarity", text="other", other="one")
    return (
        _both(members, pl.concat([forth, back]))
        .filter(_IS_EARLIER)
        .sort("similarity", "place_a", descending=[True, False])
        .unique(["text", "a", "b"], keep="first", maintain_order=True)
        .select("text", "other", "a", "b", "similarity", layer=pl.lit("near"))
    )


def _link_ngram(runs: pl.DataFrame, members: pl.DataFrame) -> pl.DataFrame:
    """For each input, the first earlier one in each split that shares a run with it.

    The first and the last text of a split that have a run are enough to name a partner, however
    many have it.
    """
    placed = runs.join(members.select("text", "split", "place"), on="text")
    ends = (
        placed.sort("place")
        .group_by("run", a="split")
        .agg(
            pl.col("text").first().alias("early"),
            pl.col("text").last().alias("late"),
            pl.col("place").first().alias("place_early"),
            pl.col("place").last().alias("place_late"),
        )
    )
    own = pl.col("early") == pl.col("text")
    return (
        placed.rename({"split": "b"})
        .join(ends, on="run")
        .with_columns(
            other=pl.when(own).then("late").otherwise("early"),
            place_a=pl.when(own).then("place_late").otherwise("place_early"),
        )
        .filter((pl.col("other") != pl.col("text")) & _IS_EARLIER)
        .group_by("text", "a", "b")
        .agg(
            pl.col("other").sort_by("place_a").first(),
            similarity=pl.len() / pl.col("runs_of_text").first(),
            layer=pl.lit("ngram"),
        )
        .select("text", "other", "a", "b", "similarity", "layer")
    )


_IS_EARLIER = (pl.col("a") < pl.col("b")) | (
    (pl.col("a") == pl.col("b")) & (pl.col("place_a") < pl.col("place"))
)


def _both(members: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """Pairs of texts with the splits each stands in: `b` with `text`, `a` with `other`."""
    partners = members.select("text", "place", a="split").rename(
        {"text": "other", "place": "place_a"}
    )
    return pairs.unique().join(members.rename({"split": "b"}), on="text").join(partners, on="other")


def _to_rows(links: pl.DataFrame, rows: pl.DataFrame, members: pl.DataFrame) -> pl.DataFrame:
    """Each row that repeats an earlier one, with the first row of its partner."""
    firsts = members.select(a="split", other="text", row_a="row_id", place_a="place")
    return (
        rows.select("text", "place", b="split", row_b="row_id")
        .join(links, on=["b", "text"])
        .join(firsts, on=["a", "other"])
        .filter(_IS_EARLIER)
    )


def _find_conflicts(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows (a, b, place) whose input stands earlier with another label, first at place_a."""
    labelled = rows.filter(pl.col("label").is_not_null())
    firsts = labelled.group_by("text", "label", a="split").agg(place_a=pl.col("place").min())
    return (
        labelled.select("text", "label", "place", b="split")
        .join(firsts, on="text")
        .filter((pl.col("label") != pl.col("label_right")) & _IS_EARLIER)
        .sort("place", "a", "place_a")
        .unique(["a", "b", "place"], keep="first", maintain_order=True)
    )


def _list_conflicts(
    conflicts: pl.DataFrame, rows: pl.DataFrame, names: list[str]
) -> list[Contradiction]:
    """The first of them, across splits before within, each with its earlier row."""
    ids = rows.select("place", "row_id")
    listed = (
        conflicts.sort(pl.col("a") == pl.col("b"), "place", "a", maintain_order=True)
        .head(CONTRADICTIONS_LISTED)
        .join(ids, on="place", maintain_order="left")
        .join(ids, left_on="place_a", right_on="place", suffix="_a", maintain_order="left")
    )
    return [
        Contradiction(names[a], row_a, names[b], row_b)
        for a, row_a, b, row_b in listed.select("a", "row_id_a", "b", "row_id").iter_rows()
    ]


def _summary(
    repeats: pl.DataFrame,
    conflicts: pl.DataFrame,
    names: list[str],
    notes: list[str],
    contradictions: list[Contradiction],
) -> Leakage:
    rank = pl.col("layer").replace_strict(dict(zip(LAYERS, range(3), strict=True)))
    counts = repeats.group_by("a", "b", "layer").len().sort("a", "b", rank)
    crossing = repeats.filter(pl.col("a") != pl.col("b"))
    by_layer = dict(crossing.group_by("layer").agg(pl.col("place").n_unique()).iter_rows())
    by_split = crossing.group_by("b").agg(pl.col("row_b").unique())
    listed = repeats.sort(pl.col("a") == pl.col("b"), rank, "b", "place", "a").head(PAIRS_LISTED)
    columns = ("a", "row_a", "b", "row_b", "layer", "similarity")
    clashes = conflicts.group_by("a", "b").len().sort("a", "b")
    return Leakage(
        {(names[a], names[b], layer): n for a, b, layer, n in counts.iter_rows()},
        {layer: by_layer.get(layer, 0) for layer in LAYERS},
        {(names[a], names[b]): n for a, b, n in clashes.iter_rows()},
        [
            Pair(names[a], row_a, names[b], row_b, layer, similarity)
            for a, row_a, b, row_b, layer, similarity in listed.select(columns).iter_rows()
        ],
        {names[b]: frozenset(found) for b, found in by_split.iter_rows()},
        notes,
        contradictions,
        names,
    )


def _near_pairs(texts: pl.Series, notes: list[str]) -> pl.DataFrame | None:
    characters = int(texts.str.len_chars().sum())
    if len(texts) > NEAR_ROWS or characters > NEAR_CHARACTERS:
        notes.append(
            f"near-duplicates were not looked for: {len(texts):,} different inputs of "
            f"{characters:,} characters; the limits are {NEAR_ROWS:,} and {NEAR_CHARACTERS:,}"
        )
        return None
    pairs, crowded = find_near_pairs(texts)
    if crowded:
        notes.append(
            f"{crowded:,} inputs share so much wording, as those of a template do, that not all of "
            "them were compared: near-duplicates are a lower bound"
        )
    return pairs


def _runs(texts: pl.Series, notes: list[str]) -> pl.DataFrame | None:
    words = count_words(texts)
    if words > NGRAM_WORDS:
        notes.append(
            f"common runs of 13 words were not looked for: {words:,} words; the limit is "
            f"{NGRAM_WORDS:,}"
        )
        return None
    runs, templates = find_runs(texts)
    if templates:
        notes.append(
            f"{templates:,} runs of 13 words stand in more than 1 % of the inputs: taken for a "
            "template, not for leakage"
        )
    return runs
