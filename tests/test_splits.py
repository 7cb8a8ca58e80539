"""D3: splits are stratified, seeded, and keep duplicates and groups on one side."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
from data_files import read, write_csv
from ftev.core.data.rows import content_hash, normalise
from ftev.core.data.splits import assign_splits, split_document
from hypothesis import given
from hypothesis import strategies as st


def rows(
    texts: list[str], labels: list[str], groups: list[str | None] | None = None
) -> pl.DataFrame:
    content = content_hash(normalise(pl.Series(texts, dtype=pl.String)))
    frame = pl.DataFrame({"content": content, "label": pl.Series(labels, dtype=pl.String)})
    return frame if groups is None else frame.with_columns(group=pl.Series(groups, dtype=pl.String))


def test_D3_each_label_gets_its_share() -> None:
    labels = ["rare"] * 30 + ["usual"] * 970
    frame = rows([f"text {i}" for i in range(1000)], labels)
    split = assign_splits(frame, {"validation": 0.1, "test": 0.2}, 42)
    counts = Counter(zip(split, labels, strict=True))
    assert counts["validation", "rare"] == 3
    assert counts["validation", "usual"] == 97
    assert counts["test", "rare"] == 6
    assert counts["test", "usual"] == 194


def test_D3_shares_are_exact_in_sum_however_small_the_labels() -> None:
    frame = rows([f"text {i}" for i in range(1000)], [str(i % 77) for i in range(1000)])
    assert (assign_splits(frame, {"validation": 0.1}, 1) == "validation").sum() == 100


def test_D3_order_and_additions_do_not_reshuffle() -> None:
    texts = [f"text {i}" for i in range(200)]
    frame = rows(texts, ["a", "b"] * 100)
    split = assign_splits(frame, {"validation": 0.1}, 42)
    backwards = assign_splits(frame.reverse(), {"validation": 0.1}, 42)
    assert backwards.reverse().equals(split)
    assert assign_splits(frame, {"validation": 0.1}, 42).equals(split)
    assert not assign_splits(frame, {"validation": 0.1}, 43).equals(split)


def test_D3_split_is_the_same_in_every_release() -> None:
    frame = rows([f"text {i}" for i in range(20)], ["a"] * 20)
    split = assign_splits(frame, {"validation": 0.2}, 42)
    assert (split == "validation").arg_true().to_list() == [1, 2, 15, 19]


def test_D3_test_rows_do_not_depend_on_validation() -> None:
    frame = rows([f"text {i}" for i in range(200)], ["a", "b"] * 100)
    with_validation = assign_splits(frame, {"validation": 0.1, "test": 0.1}, 42)
    alone = assign_splits(frame, {"test": 0.1}, 42)
    assert (with_validation == "test").equals(alone == "test")


def test_D3_label_with_one_input_stays_in_train() -> None:
    frame = rows([f"text {i}" for i in range(9)] + ["only", "ONLY "], ["a"] * 9 + ["b"] * 2)
    for seed in range(20):
        split = assign_splits(frame, {"validation": 0.5}, seed)
        assert split.to_list()[9:] == ["train", "train"]


def test_D3_groups_tie_rows_and_duplicates_tie_groups() -> None:
    texts = [f"text {i // 2}" for i in range(40)]
    groups = [f"g{i % 20}" if i % 5 else None for i in range(40)]
    frame = rows(texts, ["a"] * 40, groups)
    split = assign_splits(frame, {"validation": 0.3}, 3)
    for key in (texts, groups):
        sides: dict[Any, set[str]] = {}
        for value, side in zip(key, split, strict=True):
            sides.setdefault(value, set()).add(side)
        assert all(len(found) == 1 for value, found in sides.items() if value is not None)


@given(
    st.lists(st.tuples(st.integers(0, 30), st.sampled_from("abc"), st.integers(0, 8)), min_size=1),
    st.floats(0.05, 0.45),
    st.integers(0, 3),
    st.booleans(),
)
def test_D3_holds_for_any_rows(
    drawn: list[tuple[int, str, int]], share: float, seed: int, grouped: bool
) -> None:
    texts = [f"text {number}" for number, _, _ in drawn]
    labels = [label for _, label, _ in drawn]
    groups: list[str | None] = [f"g{group}" if group else None for _, _, group in drawn]
    frame = rows(texts, labels, groups if grouped else None)
    split = assign_splits(frame, {"validation": share, "test": share}, seed).to_list()
    sides: dict[str, set[str]] = {}
    for text, side in zip(texts, split, strict=True):
        sides.setdefault(text, set()).add(side)
    assert all(len(found) == 1 for found in sides.values())
    assert {label for label, side in zip(labels, split, strict=True) if side == "train"} == set(
        labels
    )


@given(st.lists(st.sampled_from(["a\n", "\n", "b c\r\n", "é"])), st.floats(0.01, 0.4))
def test_document_parts_are_the_document(pieces: list[str], share: float) -> None:
    text = "".join(pieces)
    parts = split_document(text, {"validation": share, "test": share})
    if parts:
        assert "".join(part for _, part in parts.values()) == text
        for line, part in parts.values():
            assert text.split("\n")[line - 1].startswith(part.split("\n")[0])


def test_train_of_a_dataset_depends_on_its_seed_and_data_alone(tmp_path: Path) -> None:
    lines = [(f"the text number {i}", str(i % 2)) for i in range(50)]
    write_csv(tmp_path / "a.csv", lines)
    first = read(tmp_path, train="a.csv", validation=0.2)
    second = read(tmp_path, train="a.csv", validation=0.2, near_duplicates=False, bad_rows="skip")
    assert first.splits["train"].frame.equals(second.splits["train"].frame)
    whole = pl.concat(split.frame for split in first.splits.values())
    assert whole["row_id"].sort().to_list() == list(range(50))
