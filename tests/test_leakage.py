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


def asked(name: str, rows: list[tuple[str, str]]) -> Split:
    """Rows of a prompt and its completion."""
    frame = pl.DataFrame(rows, schema=["prompt", "completion"], orient="row")
    frame = frame.with_row_index("row_id").cast({"row_id": pl.Int64})
    return Split(name, with_content(frame), (f"{name}.csv",), len(rows), 2, "")


def test_D1_the_partner_is_the_most_similar_and_of_equals_the_earliest() -> None:
    """Of 15 letters 11 5-grams: with another end 10 are shared, 10/12; one letter less: 10/11."""
    train = ["abcdefghijklmno", "abcdefghijklmnx", "abcdefghijklmn"]
    texts = {"train": train, "validation": ["far away"], "test": ["abcdefghijklmny", "far away"]}
    found = find_leakage(splits(**texts))
    two, less = pytest.approx(10 / 12), pytest.approx(10 / 11)
    assert found.pairs == [
        Pair("validation", 0, "test", 1, "exact", 1.0),
        Pair("train", 2, "test", 0, "near", less),
        Pair("train", 0, "train", 1, "near", two),
        Pair("train", 0, "train", 2, "near", less),
    ]
    assert found.crossing == {"exact": 1, "near": 1, "ngram": 0}
    assert found.leaked == {"test": frozenset({0, 1})}
    equal = find_leakage(splits(train=train[:2], test=["abcdefghijklmny"]))
    assert equal.pairs[0] == Pair("train", 0, "test", 0, "near", two)


def test_D1_the_partner_of_a_run_is_the_first_that_has_it() -> None:
    """A row of 14 words has two runs of 13; the share counts the runs that its partner has."""
    shared = " ".join(WORDS[:13])
    texts = {
        "train": [f"{shared} one", "nothing in common", f"{shared} two"],
        "validation": [f"three {shared}"],
        "test": [f"{shared} four five", f"six {shared}"],
    }
    found = find_leakage(splits(**texts), near=False)
    pairs = [
        ("train", 0, "validation", 0, 1 / 2),
        ("train", 0, "test", 0, 1 / 3),
        ("validation", 0, "test", 0, 1 / 3),
        ("train", 0, "test", 1, 1 / 2),
        ("validation", 0, "test", 1, 1 / 2),
        ("train", 0, "train", 2, 1 / 2),
        ("test", 0, "test", 1, 1 / 2),
    ]
    assert found.pairs == [Pair(*pair[:4], "ngram", pytest.approx(pair[4])) for pair in pairs]
    assert found.crossing["ngram"] == 3


def test_D1_a_row_without_a_label_contradicts_nothing_and_the_first_other_label_is_named() -> None:
    labels = [["a", "b", "c", None], [None, "b", "a"]]
    both = {
        name: dataclasses.replace(
            made := split(name, ["one text"] * len(some)),
            frame=made.frame.with_columns(label=pl.Series(some, dtype=pl.String)),
        )
        for name, some in zip(("train", "test"), labels, strict=True)
    }
    found = find_leakage(both)
    assert found.conflicts == {("train", "train"): 2, ("train", "test"): 2, ("test", "test"): 1}
    assert found.contradictions == [
        ("train", 0, "test", 1),
        ("train", 1, "test", 2),
        ("train", 0, "train", 1),
        ("train", 0, "train", 2),
        ("test", 1, "test", 2),
    ]
    assert find_leakage(both).conflicting_labels == 5


def test_contradictions_listed_end_and_their_count_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(leakage, "CONTRADICTIONS_LISTED", 2)
    both = {"train": split("train", ["x y"], ["a"]), "test": split("test", ["x y"] * 3, ["b"] * 3)}
    found = find_leakage(both)
    assert (len(found.contradictions), found.conflicting_labels) == (2, 3)


@pytest.mark.parametrize(
    ("limit", "value", "layer"),
    [("NEAR_ROWS", 2, "near"), ("NEAR_CHARACTERS", 27, "near"), ("NGRAM_WORDS", 2, "ngram")],
)
def test_what_is_as_large_as_a_limit_is_still_compared(
    limit: str, value: int, layer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two different inputs of 13 and 14 characters, a word each."""
    both = splits(train=["abcdefghijklm"] * 3, test=["abcdefghijklmn"])
    monkeypatch.setattr(leakage, limit, value)
    found = find_leakage(both)
    assert (found.notes, found.crossing["near"]) == ([], 1)
    monkeypatch.setattr(leakage, limit, value - 1)
    found = find_leakage(both)
    assert len(found.notes) == 1
    assert ("near-duplicates" in found.notes[0]) == (layer == "near")
    assert found.crossing["near"] == (layer != "near")


def test_a_prompt_of_20_rows_is_a_question_and_one_of_21_an_instruction() -> None:
    """More than 20 rows and more than 1 % of all: compared with their answers, which differ."""

    def leaked(of_prompt: int, others: int = 0, answers: int = 2) -> int:
        rows = [("Write.", f"verse {i % answers}") for i in range(of_prompt - 1)]
        rows += [(f"question {i}", "x") for i in range(others)]
        both = {"train": asked("train", rows), "test": asked("test", [("Write.", "other")])}
        if answers == 1:
            both["test"] = asked("test", [("Write.", "verse 0")])
        return len(find_leakage(both, near=False).leaked_rows("test"))

    assert (leaked(20), leaked(21)) == (1, 0)
    assert (leaked(30, others=2970), leaked(30, others=2969)) == (1, 0)
    assert leaked(40, answers=1) == 1, "with one answer alone it is a repeated row"
    two = {"train": asked("train", [("Write.", "verse")] * 30)}
    two["test"] = asked("test", [("Write.", "other")])
    assert find_leakage(two, near=False).leaked_rows("test") == frozenset()
    texts = splits(train=["abcdefghij"] * 30, test=["abcdefghijk"])
    assert find_leakage(texts).crossing["near"] == 1, "a text has no answer that could set it apart"


def test_F_answers_make_rows_the_same_in_prompts_and_chats() -> None:
    def chats(name: str, rows: list[tuple[str, str]]) -> Split:
        turns = [
            [{"role": "user", "content": q}, {"role": "assistant", "content": a}] for q, a in rows
        ]
        frame = pl.DataFrame({"row_id": [*range(len(rows))], "messages": turns})
        return Split(name, with_content(frame), (f"{name}.jsonl",), len(rows), 2, "")

    for made in (asked, chats):
        rows = [("one", "1"), ("two", "2")]
        assert find_leakage({"a": made("a", rows)} | {"train": made("train", rows)}).same == []
        same = {"train": made("train", rows), "test": made("test", rows[::-1])}
        assert find_leakage(same).same == [("train", "test")]
        other = {"train": made("train", rows), "test": made("test", [("one", "1"), ("two", "3")])}
        assert find_leakage(other).same == []
        instruction = [("do it", f"thing {i}") for i in range(30)]
        again = [("do it", "thing 3"), ("do it", "a thing of its own")]
        both = {"train": made("train", instruction), "test": made("test", again)}
        assert find_leakage(both, near=False).leaked == {"test": frozenset({0})}


def test_F_a_document_counts_by_the_most_similar_earlier_one() -> None:
    def document(name: str, *texts: str) -> Split:
        made = split(name, list(texts))
        return dataclasses.replace(made, frame=made.frame.drop("label"))

    train = document("train", "abcdefghijklmno", "abcdefghijklmno")
    both = {"train": train, "test": document("test", "abcdefghijklmny", "something else of 24 chr")}
    found = find_leakage(both)
    assert found.shares == {"test": pytest.approx(15 * (10 / 12) / (15 + 24))}


def test_F_groups_of_any_earlier_split_count() -> None:
    texts = splits(train=["a b"], validation=["c d", "e f"], test=["g h", "i j", "k l"])
    groups = {"train": ["ann"], "validation": ["bob", "ann"], "test": ["bob", "ann", "cy"]}
    found = find_leakage({name: with_groups(texts[name], groups[name]) for name in texts})
    assert found.grouped == {
        "validation": {"ann": frozenset({1})},
        "test": {"ann": frozenset({1}), "bob": frozenset({0})},
    }
    event = found.as_event()
    assert (event.groups, event.group_rows) == (
        {"validation": 1, "test": 2},
        {"validation": 1, "test": 2},
    )
    assert event.leaked == {"validation": 1, "test": 2}
    missing = {**texts, "train": with_groups(texts["train"], ["ann"])}
    missing["test"] = with_groups(texts["test"], groups["test"])
    assert find_leakage(missing).grouped == {"test": {"ann": frozenset({1})}}
