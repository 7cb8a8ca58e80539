"""D1: rows that splits share, in three layers; D2: they are shown and nothing is deleted."""

from __future__ import annotations

import dataclasses
import random
from itertools import combinations
from pathlib import Path

import polars as pl
import pytest
from ftev.core.data import leakage, overlap
from ftev.core.data.data import Split
from ftev.core.data.leakage import Pair, find_leakage
from ftev.core.data.overlap import RUN, find_near_pairs, find_runs
from ftev.core.data.rows import normalise, with_content
from hypothesis import given, settings
from hypothesis import strategies as st

SENTENCE = "the card that you sent me last week has not come yet so what should I do about it now"
WORDS = SENTENCE.split()


def split(name: str, texts: list[str], labels: list[str] | None = None, start: int = 0) -> Split:
    frame = pl.DataFrame(
        {
            "row_id": pl.Series(range(start, start + len(texts)), dtype=pl.Int64),
            "line": pl.Series(range(start + 2, start + 2 + len(texts)), dtype=pl.Int64),
            "text": pl.Series(texts, dtype=pl.String),
            "label": pl.Series(labels or ["a"] * len(texts), dtype=pl.String),
        }
    )
    return Split(name, with_content(frame), (f"{name}.csv",), len(texts), 2, "")


def splits(**texts: list[str]) -> dict[str, Split]:
    return {name: split(name, rows) for name, rows in texts.items()}


def test_D1_exact_after_normalisation() -> None:
    found = find_leakage(
        splits(train=["Where is ﬁne  art?", "other"], test=["new", "WHERE is\tfine art? "])
    )
    assert found.counts == {("train", "test", "exact"): 1}
    assert found.pairs == [Pair("train", 0, "test", 1, "exact", 1.0)]
    assert found.leaked_rows("test") == {1}
    assert found.leaked_rows("train") == frozenset()


def test_D1_duplicates_within_a_split_are_counted_but_leak_nothing() -> None:
    found = find_leakage(splits(train=["same thing"] * 3 + ["other"], test=["new"]))
    assert found.counts == {("train", "train", "exact"): 2}
    assert found.pairs[0] == Pair("train", 0, "train", 1, "exact", 1.0)
    assert found.crossing == {"exact": 0, "near": 0, "ngram": 0}


def test_D1_same_input_with_another_label() -> None:
    both = {
        "train": split("train", ["one text", "two text", "one text"], ["a", "b", "b"]),
        "test": split("test", ["ONE text", "two text"], ["a", "b"]),
    }
    found = find_leakage(both)
    assert found.conflicts == {("train", "train"): 1, ("train", "test"): 1}
    assert found.conflicting_labels == 2
    listed = [("train", 2, "test", 0), ("train", 0, "train", 2)]  # across splits first
    assert found.as_event().conflicts == listed


def test_D1_near_duplicates_are_confirmed_by_true_jaccard() -> None:
    """'abcdefghij' has 6 5-grams; with one letter more 7, of which 6 are shared: 6/7 = 0.857."""
    found = find_leakage(splits(train=["abcdefghij"], test=["abcdefghijk", "abcdefghxx"]))
    assert found.counts == {("train", "test", "near"): 1}
    assert found.pairs == [Pair("train", 0, "test", 0, "near", pytest.approx(6 / 7))]
    assert found.leaked_rows("test") == {0}
    assert not find_leakage(splits(train=["abcdefghij"], test=["abcdefghijk"]), near=False).counts


def test_D1_thirteen_words() -> None:
    shared = " ".join(WORDS[:13])
    texts = {
        "train": [f"before all else {shared}"],
        "test": [f"{shared.upper()}, after", shared[4:]],
    }
    found = find_leakage(splits(**texts), near=False)
    assert found.counts == {("train", "test", "ngram"): 1}
    assert found.pairs[0][:5] == ("train", 0, "test", 0, "ngram")
    assert found.pairs[0].similarity == pytest.approx(1 / 2)


def test_D1_a_row_of_nine_words_has_no_run() -> None:
    runs, _ = find_runs(normalise(pl.Series([" ".join(WORDS[:9]), " ".join(WORDS[:9]) + " x", ""])))
    assert runs.height == 0
    assert RUN == 13


def test_runs_of_a_template_are_no_leakage() -> None:
    template = " ".join(WORDS)
    texts = [f"{template} {i} {i + 1}" for i in range(40)]
    found = find_leakage(splits(train=texts[:30], test=texts[30:]), near=False)
    assert not found.counts
    assert "taken for a template" in found.notes[0]


def test_every_row_of_a_leaked_input_counts() -> None:
    found = find_leakage(
        splits(train=["a text"], validation=["A text"], test=["a  text", "a text"])
    )
    assert found.counts == {
        ("train", "validation", "exact"): 1,
        ("train", "test", "exact"): 2,
        ("validation", "test", "exact"): 2,
        ("test", "test", "exact"): 1,
    }
    assert found.crossing["exact"] == 3
    assert found.leaked == {"validation": frozenset({0}), "test": frozenset({0, 1})}


def test_list_of_pairs_ends_but_counts_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leakage, "PAIRS_LISTED", 3)
    texts = [f"text {i} of many" for i in range(9)]
    found = find_leakage(splits(train=texts, test=texts))
    assert len(found.pairs) == 3
    assert found.crossing["exact"] == 9
    assert len(found.leaked_rows("test")) == 9
    assert (len(found.as_event().pairs), found.as_event().pairs_found) == (3, 9)
    assert found.as_event().splits == ["train", "test"]


def test_sizes_beyond_the_limits_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leakage, "NEAR_ROWS", 1)
    monkeypatch.setattr(leakage, "NGRAM_WORDS", 1)
    found = find_leakage(splits(train=["abcdefghij", "x"], test=["abcdefghijk"]))
    assert len(found.notes) == 2
    assert not found.counts


def test_a_repeated_row_is_told_with_its_partner() -> None:
    found = find_leakage(splits(train=["a text"], test=["a text"])).as_event()
    assert (found.exact, found.near, found.ngram) == (1, 0, 0)
    assert [tuple(pair) for pair in found.pairs] == [("train", 0, "test", 0, "exact", 1.0)]


def test_prompts_and_chats_are_inputs_too() -> None:
    frame = pl.DataFrame({"row_id": [0], "line": [1], "prompt": ["1 + 1?"], "completion": ["2"]})
    chat = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
    chats = pl.DataFrame({"row_id": [0], "line": [1], "messages": [chat]})
    for each in (frame, chats):
        one = Split("train", with_content(each), ("a",), 1, 2, "")
        assert find_leakage({"train": one, "test": one}).crossing["exact"] == 1


def brute_force(texts: list[str]) -> set[tuple[int, int]]:
    grams = [{t.ljust(5, "\0")[i : i + 5] for i in range(max(1, len(t) - 4))} for t in texts]
    return {
        (a, b)
        for a, b in combinations(range(len(texts)), 2)
        if len(grams[a] & grams[b]) / len(grams[a] | grams[b]) >= 0.8
    }


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000))
def test_D1_near_pairs_equal_those_of_brute_force(seed: int) -> None:
    draw = random.Random(seed)
    texts = []
    for _ in range(12):
        words = [draw.choice(WORDS) for _ in range(draw.randint(1, 12))]
        texts.append(" ".join(words))
        words[draw.randrange(len(words))] = draw.choice(WORDS)
        texts.append(" ".join(words))
    texts = list(dict.fromkeys(texts))
    pairs, crowded = find_near_pairs(pl.Series(texts))
    assert set(zip(pairs["one"], pairs["other"], strict=True)) == brute_force(texts)
    assert crowded == 0


def test_crowded_groups_are_compared_with_their_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlap, "BAND_PAIRS", 10)
    pairs, crowded = find_near_pairs(pl.Series([f"{' '.join(WORDS * 3)} {i}" for i in range(30)]))
    assert crowded == 30
    assert {*pairs["one"], *pairs["other"]} == set(range(30))


def test_D2_nothing_is_deleted(tmp_path: Path) -> None:
    both = splits(train=["a text"], test=["a text", "b text"])
    find_leakage(both)
    assert both["test"].frame.height == 2


def with_groups(found: Split, groups: list[str | None]) -> Split:
    frame = found.frame.with_columns(group=pl.Series(groups, dtype=pl.String))
    return dataclasses.replace(found, frame=frame)


def test_F_rows_of_a_group_that_stands_in_an_earlier_split_are_not_clean() -> None:
    texts = splits(train=["one thing", "another"], test=["this", "that", "these", "those"])
    train = with_groups(texts["train"], ["ann", None])
    test = with_groups(texts["test"], ["ann", "bob", None, "ann"])
    found = find_leakage({"train": train, "test": test})
    assert found.leaked_rows("test") == {0, 3}
    event = found.as_event()
    assert (event.groups, event.group_rows, event.leaked) == ({"test": 1}, {"test": 2}, {"test": 2})
    assert find_leakage(texts).as_event().groups == {}
    apart = with_groups(texts["test"], ["cy", "bob", None, "bob"])
    assert find_leakage({"train": train, "test": apart}).leaked_rows("test") == frozenset()


def test_F_splits_with_the_same_rows_in_any_order() -> None:
    rows = ["first text", "second text", "third text"]
    assert find_leakage(splits(train=rows, test=rows[::-1])).same == [("train", "test")]
    assert find_leakage(splits(train=rows, test=rows[:2])).same == []
    other = {"train": split("train", rows), "test": split("test", rows, ["a", "b", "a"])}
    assert find_leakage(other).same == [], "the answers differ"


def test_F_how_much_of_running_text_repeats() -> None:
    def document(name: str, *texts: str) -> Split:
        made = split(name, list(texts))
        return dataclasses.replace(made, frame=made.frame.drop("label"))

    words = [f"{a}{b}" for a in WORDS for b in WORDS]
    old, new = " ".join(words[:100]), " ".join(words[100:200])
    half = find_leakage({"train": document("train", old), "test": document("test", old, new)})
    assert half.shares["test"] == pytest.approx(len(old) / len(old + new))
    part = find_leakage({"train": document("train", old), "test": document("test", old + new)})
    assert 0.3 < part.shares["test"] < 0.6
    none = find_leakage({"train": document("train", old), "test": document("test", new)})
    assert none.shares == {}
    assert find_leakage(splits(train=[old], test=[old])).shares == {}


def test_an_instruction_that_all_prompts_share_is_no_leakage() -> None:
    def asked(name: str, rows: list[tuple[str, str]]) -> Split:
        frame = pl.DataFrame(rows, schema=["prompt", "completion"], orient="row")
        frame = frame.with_row_index("row_id").cast({"row_id": pl.Int64})
        return Split(name, with_content(frame), (f"{name}.csv",), len(rows), 2, "")

    train = [("Write a verse.", f"about {word}{i}") for i, word in enumerate(WORDS * 3)]
    fresh = [("Write a verse.", f"of {word}s and {i} others") for i, word in enumerate(WORDS)]
    again = [("write a  verse.", "ABOUT the0"), ("What is this?", "new")]
    found = find_leakage({"train": asked("train", train), "test": asked("test", fresh + again)})
    assert found.leaked_rows("test") == {len(fresh)}
    few = {"train": asked("train", train[:5]), "test": asked("test", fresh[:5])}
    assert len(find_leakage(few).leaked_rows("test")) == 5, "a prompt of few rows is a question"
