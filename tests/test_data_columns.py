"""Columns are found where names and contents leave no doubt, and asked for otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest
from data_files import TEN, faults, read, write_csv, write_jsonl

REVIEWS = "review_id,country,category,votes,review,sentiment"
REVIEW_ROWS = [
    (f"R{i}", "NL", topic, str(i % 3), f"I liked it {i} times", ("good", "bad")[i // 5])
    for i, topic in enumerate(["book", "toy"] * 5)
]


def test_two_candidates_are_doubt_and_are_listed(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", REVIEW_ROWS, REVIEWS)
    [fault] = faults(tmp_path, train="a.csv")
    assert (
        'a.csv: which column is the label is not certain. Write label = "…" under [data]' in fault
    )
    assert "category   'book', 'toy'" in fault
    assert "review_id  'R0', 'R1', 'R2'" in fault


def test_a_named_column_settles_it(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", REVIEW_ROWS, REVIEWS)
    dataset = read(tmp_path, train="a.csv", label="sentiment")
    assert dataset.columns.sources == {"text": "review", "label": "sentiment"}
    assert dataset.splits["train"].columns_in == 6


def test_column_that_is_not_there(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", TEN)
    [fault] = faults(tmp_path, train="a.csv", text="texts", label="label")
    assert 'a.csv: has no column "texts" (data.text). Did you mean "text"?' in fault


@pytest.mark.parametrize("header", ["text,category", "Sentence,Label", "utterance,intent"])
def test_usual_names(tmp_path: Path, header: str) -> None:
    write_csv(tmp_path / "a.csv", TEN, header)
    assert list(read(tmp_path, train="a.csv").columns.sources.values()) == header.split(",")


def test_contents_tell_where_names_do_not(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", TEN * 2, "what_they_wrote,verdict")
    columns = read(tmp_path, train="a.csv").columns
    assert columns.sources == {"text": "what_they_wrote", "label": "verdict"}


def test_first_line_that_comes_again_is_data(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", TEN[1:], ",".join(TEN[0]))
    dataset = read(tmp_path, train="a.csv")
    assert dataset.splits["train"].frame.height == 10
    assert dataset.columns.sources == {"text": "column_1", "label": "column_2"}


def test_header_setting_wins(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", TEN, "text,good")
    dataset = read(tmp_path, train="a.csv", header=True, label="good")
    assert dataset.splits["train"].frame.height == 10
    settings = {"header": False, "text": "column_1", "label": "column_2"}
    assert read(tmp_path, train="a.csv", **settings).splits["train"].frame.height == 11


def test_repeated_and_empty_names_get_their_own(tmp_path: Path) -> None:
    rows = [(str(i), *row, "x") for i, row in enumerate(TEN)]
    write_csv(tmp_path / "a.csv", rows, ",text,label,label")
    assert read(tmp_path, train="a.csv").columns.sources["label"] == "label"


@pytest.mark.parametrize(
    ("row", "pair"),
    [
        ({"question": "1+1?", "answer": "2"}, ("question", "answer")),
        ({"instruction": "add", "output": "2"}, ("instruction", "output")),
        ({"prompt": "a", "completion": "b", "id": 1}, ("prompt", "completion")),
    ],
)
def test_usual_pairs(tmp_path: Path, row: dict[str, object], pair: tuple[str, str]) -> None:
    write_jsonl(tmp_path / "a.jsonl", [row])
    columns = read(tmp_path, "generation", train="a.jsonl").columns
    assert columns.form == "prompt_completion"
    assert (columns.sources["prompt"], columns.sources["completion"]) == pair


def test_two_prompts_are_doubt_and_naming_one_settles_it(tmp_path: Path) -> None:
    row = {"prompt": "sum", "instruction": "add", "input": "1 1", "output": "2", "completion": "3"}
    write_jsonl(tmp_path / "a.jsonl", [row])
    [fault] = faults(tmp_path, "generation", train="a.jsonl")
    assert 'Write prompt = "…" and completion = "…"' in fault
    write_jsonl(tmp_path / "a.jsonl", [{"instruction": "add", "input": "1 1", "output": "2"}])
    named = read(tmp_path, "generation", train="a.jsonl", prompt="instruction").columns
    assert named.sources == {"prompt": "instruction", "completion": "output"}


def test_forms_exclude_each_other(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [{"text": "a", "prompt": "b", "completion": "c"}])
    [fault] = faults(tmp_path, "generation", train="a.jsonl", text="text", prompt="prompt")
    assert "exclude each other" in fault
    [fault] = faults(tmp_path, "classification", train="a.jsonl", messages="text")[:1]
    assert "is for generation" in fault


def test_documents_have_no_labels(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Once upon a time\nthere was a girl.\n")
    [fault] = faults(tmp_path, train="a.txt")
    assert "is plain text without labels" in fault


def test_group_column_is_kept_and_needed_in_train_only(tmp_path: Path) -> None:
    write_csv(
        tmp_path / "a.csv", [(*row, str(i // 2)) for i, row in enumerate(TEN)], "text,label,who"
    )
    write_csv(tmp_path / "b.csv", TEN)
    splits = read(tmp_path, train="a.csv", test="b.csv", group="who").splits
    assert splits["train"].frame["group"].to_list()[:4] == ["0", "0", "1", "1"]
    assert "group" not in splits["test"].frame.columns
