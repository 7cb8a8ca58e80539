"""What is wrong with data is said all at once, each with its file and line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from data_files import TEN, faults, read, write_csv, write_jsonl
from ftev.core.errors import DataError
from ftev.core.reading.faults import LISTED, show_value

GOOD = [{"text": text, "label": label} for text, label in TEN]


def test_every_fault_is_listed_with_its_line(tmp_path: Path) -> None:
    bad = [
        b'{"text": 5, "label": "good"}',
        b'{"text": "x", "label": ""}',
        b'{"text": null, "label": "bad"}',
        b'{"text": "y", "label": [1]}',
        b'{"text": "z"',
        b'{"text": "\xff", "label": "bad"}',
        b"[1]",
        b'{"text": " \\t", "label": "bad"}',
        b'{"label": "bad"}',
        b'{"text": "f", "label": 0.5}',
    ]
    good = [json.dumps(row).encode() for row in GOOD]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join([*good, *bad]))
    found = faults(tmp_path, train="a.jsonl")
    assert sorted(int(each.split(":")[1]) for each in found) == list(range(11, 21))
    text = "\n".join(found)
    assert 'a.jsonl:11: column "text" holds a number (5), not text' in text
    assert 'a.jsonl:12: label is empty in column "label"' in text
    assert 'a.jsonl:13: text is missing in column "text"' in text
    assert 'a.jsonl:14: column "label" holds a list ([1]), not text' in text
    assert "a.jsonl:15: is not valid JSON" in text
    assert "a.jsonl:16: holds bytes that are not UTF-8" in text
    assert "a.jsonl:17: is not a JSON object" in text
    dataset = read(tmp_path, train="a.jsonl", bad_rows="skip")
    assert dataset.splits["train"].frame["row_id"].to_list() == list(range(10))
    assert dataset.skipped_rows == {"train": 10}
    assert len(dataset.skipped) == 10
    assert dataset.splits["train"].rows_in == 20


@pytest.mark.parametrize("quote", ["", '"'])
def test_csv_records_that_cannot_be_read(tmp_path: Path, quote: str) -> None:
    """With a stray quote the record walk is taken; it must see the same faults."""
    data = 'text,label\n"one\ntwo",good\nthree,good,more\nfour\nf\xefve,bad\n,good\nsix' + quote
    (tmp_path / "a.csv").write_bytes((data + ",good\nseven,bad\n").encode("latin-1"))
    found = "\n".join(faults(tmp_path, train="a.csv"))
    assert "a.csv:4: has 3 fields where the others have 2" in found
    assert "a.csv:5: has 1 fields where the others have 2" in found
    assert "a.csv:6: holds bytes that are not UTF-8" in found
    assert "a.csv:7: text is empty" in found
    dataset = read(tmp_path, train="a.csv", bad_rows="skip")
    assert dataset.splits["train"].frame["row_id"].to_list() == [0, 5, 6]
    assert dataset.splits["train"].frame["line"].to_list() == [2, 8, 9]
    assert dataset.skipped_rows == {"train": 4}


def test_quote_that_never_closes_is_named_where_it_opens(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [*TEN, ('"open', "good"), ("last", "bad")])
    [fault] = faults(tmp_path, train="a.csv")
    assert fault.startswith("a.csv:12: holds a quote that is not closed")


def test_long_lists_end_in_a_count(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [*TEN, *[(" ", "good")] * 120])
    found = faults(tmp_path, train="a.csv")
    assert len(found) == LISTED + 1
    assert found[-1] == "70 more like the one before (text is empty)"


def test_unknown_labels_of_test_and_validation(tmp_path: Path) -> None:
    write_csv(tmp_path / "train.csv", TEN)
    write_csv(tmp_path / "test.csv", [("fine text", "good"), ("odd text", "ugly")])
    write_csv(tmp_path / "val.csv", [("odd text", "none")])
    found = faults(tmp_path, train="train.csv", test="test.csv", validation="val.csv")
    assert [each.split(". ")[0] for each in found] == [
        "val.csv:2: label 'none' is unknown to the training data",
        "test.csv:3: label 'ugly' is unknown to the training data",
    ]
    dataset = read(tmp_path, train="train.csv", test="test.csv", bad_rows="skip")
    assert dataset.splits["test"].frame.height == 1
    assert dataset.skipped_rows == {"train": 0, "test": 1}


def test_labels_of_the_config_bind_train_too(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [*TEN, ("text", "ugly")])
    [fault] = faults(tmp_path, train="a.csv", labels=["good", "bad"])
    assert fault.startswith("a.csv:12: label 'ugly' is unknown")


@pytest.mark.parametrize(
    ("chat", "what"),
    [
        ([], "the chat is empty"),
        (None, "holds nothing, not a list"),
        ("hi", "holds text, not a list"),
        ([{"role": "user", "content": "hi"}], "no message is of the assistant"),
        ([{"role": "bot", "content": "hi"}], "message 1 has the unknown role 'bot'"),
        ([{"role": "user"}], "message 1 has no role and content"),
        ([{"role": "assistant", "content": " "}], "message 1, of the assistant, is empty"),
        ([{"role": "user", "content": None}], "the content of message 1 is nothing, not text"),
        (
            [{"role": "assistant", "content": "b", "weight": 0}],
            "every message of the assistant has weight 0",
        ),
        (
            [{"role": "assistant", "content": "b", "weight": 0.5}],
            "message 1 has weight 0.5, which is neither 0 nor 1",
        ),
        (
            [{"role": "assistant", "content": "b", "reasoning_content": 3}],
            "the reasoning_content of message 1 is a number, not text",
        ),
    ],
)
def test_chats_that_cannot_be_learnt(tmp_path: Path, chat: Any, what: str) -> None:
    good = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    write_jsonl(tmp_path / "a.jsonl", [{"messages": good}, {"messages": chat}])
    [fault] = faults(tmp_path, "generation", train="a.jsonl")
    assert fault.startswith(f'a.jsonl:2: column "messages": {what}')


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    write_csv(tmp_path / "good.csv", TEN)
    (tmp_path / "empty.csv").write_bytes(b"\xef\xbb\xbf \n")
    (tmp_path / "utf16.csv").write_text("text,label\n", encoding="utf-16")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no")
    (tmp_path / "folder").mkdir()

    def what(**settings: Any) -> str:
        return "\n".join(faults(tmp_path, **settings))

    assert "none.csv: there is no such file" in what(train="none.csv")
    assert "x*.csv: no file matches" in what(train="x*.csv")
    assert "folder: is a folder" in what(train="folder")
    assert "empty.csv: is empty" in what(train="empty.csv")
    assert "utf16.csv: is UTF-16" in what(train="utf16.csv")
    assert "broken.parquet: cannot be read" in what(train="broken.parquet")
    assert "names no file" in what()
    both = what(train="none.csv", test="empty.csv")
    assert "none.csv" in both
    assert "empty.csv" in both


def test_missing_columns_of_another_split(tmp_path: Path) -> None:
    write_csv(tmp_path / "train.csv", TEN)
    write_csv(tmp_path / "test.csv", TEN, "text,other")
    [fault] = faults(tmp_path, train="train.csv", test="test.csv")
    assert fault.startswith("test.csv: has no column label, which train.csv has")


def test_files_of_one_source_with_different_columns(tmp_path: Path) -> None:
    write_csv(tmp_path / "p1.csv", TEN)
    write_csv(tmp_path / "p2.csv", TEN, "text,other")
    assert "p2.csv: has no column label" in "\n".join(faults(tmp_path, train="p*.csv"))


def test_one_label_is_nothing_to_tell_apart(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [("a text", "same"), ("b text", "same")])
    [fault] = faults(tmp_path, train="a.csv")
    assert "fewer than 2 labels (only 'same')" in fault


def test_shares_that_leave_nothing(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", TEN[:2])
    [fault] = faults(tmp_path, train="a.csv", validation=0.1)
    assert "a.csv: 2 rows: too little for a validation split of 0.1" in fault
    (tmp_path / "a.txt").write_text("one line")
    [*found] = faults(tmp_path, "generation", train="a.txt", validation=0.1)
    assert "too little for a validation split" in found[-1]


def test_all_rows_bad_is_said_so(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [{"text": " ", "label": "x"}] * 3)
    with pytest.raises(DataError, match="has no good row left"):
        read(tmp_path, train="a.jsonl", bad_rows="skip", text="text", label="label")


def test_bad_lines_of_a_document_are_dropped_and_counted(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\ntw\xff\nthree\n")
    assert faults(tmp_path, "generation", train="a.txt")[0].startswith("a.txt:2: holds bytes")
    dataset = read(tmp_path, "generation", train="a.txt", bad_rows="skip")
    assert dataset.splits["train"].frame["text"][0] == "one\nthree\n"
    assert dataset.skipped_rows == {"train": 1}


def test_broken_json_document_names_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[{"text": "a", "label": "x"},\n{"text": oops}]')
    [fault] = faults(tmp_path, train="a.json")
    assert fault.startswith("a.json:2: is broken")


def test_parquet_column_of_another_type(tmp_path: Path) -> None:
    frame = pl.DataFrame({"text": [1.5, 2.5], "label": ["a", "b"]})
    frame.write_parquet(tmp_path / "a.parquet")
    found = faults(tmp_path, train="a.parquet", text="text", label="label")
    assert found[0].startswith('a.parquet:1: column "text" holds a number (1.5), not text')


def test_values_are_shown_without_control_characters() -> None:
    assert show_value("a\x1b[31m\x00") == r"'a\x1b[31m\x00'"
    assert len(show_value("x" * 1000)) < 50
