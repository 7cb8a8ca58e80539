"""What is wrong with data is said all at once, each with its file and line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from data_files import TEN, faults, read, write_csv, write_jsonl
from ftev.core.data.faults import KINDS, LISTED, show_value
from ftev.core.errors import DataError

GOOD = [{"text": text, "label": label} for text, label in TEN]
UTF8 = "né à Noël"  # more letters of UTF-8 than a line below has bytes that are none


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
        b'{"text": "f", "label": {"a": 1}}',
    ]
    good = [json.dumps(row, ensure_ascii=False).encode() for row in GOOD]
    good[0] = good[0].replace(b"parcel", UTF8.encode())
    (tmp_path / "a.jsonl").write_bytes(b"\n".join([*good, *bad]))
    found = faults(tmp_path, train="a.jsonl")
    assert {int(each.split(":")[1]) for each in found} == {*range(11, 21)} - {19, 20}
    text = "\n".join(found)
    assert 'a.jsonl:11: column "text" holds a number (5), not text' in text
    assert 'a.jsonl:12: label is empty in column "label"' in text
    assert 'a.jsonl:13: text is missing in column "text" (1 more line like it: 19)' in text
    assert 'a.jsonl:14: column "label" holds a list ([1]), not text (1 more line' in text
    assert "a.jsonl:18: text is empty" in text
    assert "a.jsonl:15: is not valid JSON" in text
    assert "a.jsonl:16: holds bytes that are not UTF-8" in text
    assert "a.jsonl:17: is not a JSON object" in text
    dataset = read(tmp_path, train="a.jsonl", bad_rows="skip")
    assert dataset.splits["train"].frame["row_id"].to_list() == list(range(10))
    assert dataset.skipped_rows == {"train": 10}
    assert len(dataset.skipped) == 8
    assert dataset.splits["train"].rows_in == 20


@pytest.mark.parametrize("quote", ["", '"'])
def test_csv_records_that_cannot_be_read(tmp_path: Path, quote: str) -> None:
    """With a stray quote the record walk is taken; it must see the same faults."""
    data = 'text,label\n"one\ntwo",good\nthree,good,more\nfour\nf\udcefve,bad\n,good\nsix' + quote
    whole = data + f",good\nseven {UTF8},bad\n"
    (tmp_path / "a.csv").write_bytes(whole.encode(errors="surrogateescape"))
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


def test_a_fault_of_one_kind_is_told_once_with_its_lines(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [*TEN, *[(" ", "good")] * 120])
    [found] = faults(tmp_path, train="a.csv")
    assert 'a.csv:12: text is empty in column "text" (119 more lines like it: 13 to 131)' in found
    rows = [row for i in range(60) for row in ((" ", "good"), (f"word {i}", "bad"))]
    write_csv(tmp_path / "a.csv", [*TEN, *rows])
    [found] = faults(tmp_path, train="a.csv")
    assert "59 more lines like it: 14, 16, 18, " in found
    assert found.count(",") == LISTED + 1
    both = faults(tmp_path, train="a.csv", test="a.csv")
    assert both == [found], "one file for two splits has its faults once"


def test_no_more_kinds_than_a_person_reads(tmp_path: Path) -> None:
    write_csv(tmp_path / "train.csv", TEN)
    write_csv(tmp_path / "test.csv", [("a text", f"label{i}") for i in range(70)])
    found = faults(tmp_path, train="train.csv", test="test.csv")
    assert len(found) == KINDS + 1
    assert found[-1] == "20 more kinds of fault"


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
    (tmp_path / "utf16.csv").write_text("text,label\n", encoding="utf-16-le")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no")
    (tmp_path / "folder").mkdir()

    def what(**settings: Any) -> str:
        return "\n".join(faults(tmp_path, **settings))

    assert "none.csv: there is no such file" in what(train="none.csv")
    assert "x*.csv: no file matches" in what(train="x*.csv")
    assert "folder: is a folder" in what(train="folder")
    assert "empty.csv: is empty" in what(train="empty.csv")
    assert "utf16.csv: is not UTF-8: it seems to be UTF-16" in what(train="utf16.csv")
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
    (tmp_path / "a.txt").write_bytes(b"one\ntw\xff\nthr\xc3\xa9\n")
    assert faults(tmp_path, "generation", train="a.txt")[0].startswith("a.txt:2: holds bytes")
    dataset = read(tmp_path, "generation", train="a.txt", bad_rows="skip")
    assert dataset.splits["train"].frame["text"][0] == "one\nthr\xe9\n"
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


# Encodings and spreadsheets

GERMAN = [(f"kostet {i} € für Müller – schön", "bad" if i % 2 else "good") for i in range(30)]


@pytest.mark.parametrize("name", ["windows-1252", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_another_encoding_is_one_fault_that_names_it(
    tmp_path: Path, name: str, ending: str
) -> None:
    write = write_csv if ending == "csv" else write_rows
    text = write(tmp_path / f"a.{ending}", GERMAN).read_text(encoding="utf-8")
    (tmp_path / f"a.{ending}").write_bytes(text.encode(name))
    for bad_rows in ("stop", "skip"):
        [fault] = faults(tmp_path, train=f"a.{ending}", bad_rows=bad_rows)
        assert f'encoding = "{name}"' in fault
        assert "bad_rows" not in fault
    dataset = read(tmp_path, train=f"a.{ending}", encoding=name)
    assert dataset.splits["train"].frame["text"][1] == GERMAN[1][0]
    assert dataset.splits["train"].frame["line"].to_list()[-1] == 30 + (ending == "csv")


def write_rows(path: Path, rows: list[tuple[str, str]]) -> Path:
    lines = [json.dumps({"text": a, "label": b}, ensure_ascii=False) for a, b in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_an_encoding_that_is_not_the_files_is_refused(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", GERMAN)
    [fault] = faults(tmp_path, train="a.csv", encoding="windows-1252")
    assert "a.csv: is UTF-8, and data.encoding says windows-1252" in fault
    assert read(tmp_path, train="a.csv", encoding="utf-8").labels == ("bad", "good")
    (tmp_path / "a.csv").write_bytes(b"text,label\nf\x81 x,a\n")
    [fault] = faults(tmp_path, train="a.csv", encoding="windows-1252")
    assert "line 2 cannot be read" in fault
    (tmp_path / "a.csv").write_text("текст,label\nпривет мир,a\n", encoding="windows-1251")
    [fault] = faults(tmp_path, train="a.csv")
    assert "its encoding is unknown" in fault


@pytest.mark.parametrize("separator", [";", "|", "\t", ","])
@pytest.mark.parametrize("quote", ["", '"'])
def test_the_line_of_a_spreadsheet_that_names_its_separator(
    tmp_path: Path, separator: str, quote: str
) -> None:
    text = "".join(f"{a}{separator}{b}\r\n" for a, b in [("text", "label"), *TEN])
    (tmp_path / "a.csv").write_bytes(f"\ufeff{quote}sep={separator}{quote}\r\n{text}".encode())
    frame = read(tmp_path, train="a.csv").splits["train"].frame
    assert frame["text"].to_list() == [a for a, _ in TEN]
    assert frame["line"].to_list() == list(range(3, 13))
    assert frame["row_id"].to_list() == list(range(10))


def test_a_separator_is_found_by_what_all_lines_have(tmp_path: Path) -> None:
    rows = [("what was said, as typed", "label"), *((f"{a}, really, yes", b) for a, b in TEN)]
    for separator in (";", "|"):
        text = "".join(f"{a}{separator}{b}\n" for a, b in rows)
        (tmp_path / "a.csv").write_text(text)
        dataset = read(tmp_path, train="a.csv")
        assert dataset.columns.sources == {"text": "what was said, as typed", "label": "label"}
    [*found] = faults(tmp_path, train="a.csv", separator="~")
    assert "which column is the label" in found[0]


def test_rows_of_separators_below_the_last_row_are_no_rows(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [*TEN, *[("", "")] * 40])
    dataset = read(tmp_path, train="a.csv")
    assert dataset.splits["train"].frame["line"].to_list() == list(range(2, 12))
    assert dataset.splits["train"].rows_in == 10
    write_csv(tmp_path / "a.csv", [*TEN, *[("", "")] * 4, ("last one", "good"), ("", "")])
    found = faults(tmp_path, train="a.csv")
    assert "a.csv:12: text is empty in column" in found[0]
    assert "13 to 15" in found[0]


def test_a_comma_behind_each_line_of_json_is_one_fault(tmp_path: Path) -> None:
    lines = "".join(json.dumps(row) + ",\n" for row in GOOD)
    (tmp_path / "a.jsonl").write_text(lines)
    [fault] = faults(tmp_path, train="a.jsonl")
    assert fault.startswith("a.jsonl:1: ends in a comma")
    assert "9 more lines like it: 2 to 10" in fault
    assert "bad_rows" not in fault
    first, second = faults(tmp_path, train="a.jsonl", bad_rows="skip")
    assert (first, second) == ("a.jsonl: has no good row left", fault)


# Hostile files


def test_hostile_json_is_told_in_one_fault_a_kind(tmp_path: Path) -> None:
    deep = '{"text": ' + "[" * 3000 + "]" * 3000 + ', "label": "a"}'
    less = '{"text": ' + "[" * 300 + "]" * 300 + ', "label": "a"}'
    bad = [
        deep,
        less,
        '{"text": "t", "label": NaN}',
        '{"text": "t", "label": -Infinity}',
        '{"text": "t", "label": ' + "9" * 5000 + "}",
        '{"text": "a\\u0000b", "label": "good"}',
    ]
    (tmp_path / "a.jsonl").write_text("\n".join([*map(json.dumps, GOOD), *bad]))
    found = faults(tmp_path, train="a.jsonl")
    text = "\n".join(found)
    assert len(found) == 4
    assert "a.jsonl:11: holds more than 100 values within each other (1 more line" in text
    assert "a.jsonl:13: holds NaN or Infinity, which JSON does not have (1 more line" in text
    assert "a.jsonl:15: holds a number that is too large" in text
    assert "a.jsonl:16: text holds a NUL character" in text
    (tmp_path / "a.json").write_text("[" + ",\n".join([*map(json.dumps, GOOD), deep]) + "]")
    [fault] = faults(tmp_path, train="a.json")
    assert "within each other" in fault


@pytest.mark.parametrize(
    ("name", "data", "what"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"\0" * 500, "is empty"),
        ("a.csv", b"text,label\n", "has no rows"),
        ("a.jsonl", b"\n\n", "is empty"),
        ("a.json", b"[]", "has no rows"),
        ("a.csv", b"PK\x03\x04 and more", "is a spreadsheet or a zip archive"),
        ("a.csv", b"text,label\nn\0l,a\nfine,b\n", "text holds a NUL character"),
    ],
)
def test_hostile_files_are_one_clear_fault(
    tmp_path: Path, name: str, data: bytes, what: str
) -> None:
    (tmp_path / name).write_bytes(data)
    [fault] = faults(tmp_path, train=name)
    assert what in fault


# Labels


def test_labels_are_the_same_from_every_format(tmp_path: Path) -> None:
    labels: dict[str, list[Any]] = {
        "float": [1.0, 0.0],
        "half": [0.5, 1.5],
        "whole": [1, 0],
        "truth": [True, False],
        "text": ["yes", "no"],
    }
    for kind, values in labels.items():
        rows = [{"text": text, "label": values[i % 2]} for i, (text, _) in enumerate(TEN)]
        write_jsonl(tmp_path / "a.jsonl", rows)
        (tmp_path / "a.json").write_text(json.dumps(rows))
        pl.DataFrame(rows).write_parquet(tmp_path / "a.parquet")
        pl.DataFrame(rows).write_csv(tmp_path / "a.csv")
        found = {
            ending: read(tmp_path, train=f"a.{ending}").splits["train"].frame["label"].to_list()
            for ending in ("csv", "jsonl", "json", "parquet")
        }
        expected = [json.dumps(values[i % 2]).strip('"') for i in range(10)]
        assert found == dict.fromkeys(found, expected), kind


def test_a_label_that_is_no_number_is_missing(tmp_path: Path) -> None:
    values = [1.0, 0.0] * 5 + [float("nan")]
    rows = [{"text": f"text number {i}", "label": value} for i, value in enumerate(values)]
    pl.DataFrame(rows).write_parquet(tmp_path / "a.parquet")
    [fault] = faults(tmp_path, train="a.parquet")
    assert 'a.parquet:11: label is missing in column "label"' in fault


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_numbers_on_a_scale_are_no_classes(tmp_path: Path, ending: str) -> None:
    def write(values: list[Any], label: str = "label") -> None:
        rows = [{"text": f"text number {i}", label: value} for i, value in enumerate(values)]
        pl.DataFrame(rows).write_csv(tmp_path / "a.csv")
        write_jsonl(tmp_path / "a.jsonl", rows)

    write([1.25 * (i % 7) for i in range(70)])
    [fault] = faults(tmp_path, train=f"a.{ending}")
    assert "labels that look like numbers on a scale (7 different, 0.0 to 7.5)" in fault
    assert 'task = "regression"' in fault
    named = [str(1.25 * i) for i in range(7)]
    assert read(tmp_path, train=f"a.{ending}", labels=named).labels == tuple(named)
    write([1 + i / 100 for i in range(70)])
    [fault] = faults(tmp_path, train=f"a.{ending}")
    assert "numbers on a scale (70 different, 1.0 to 1.69)" in fault
    write([i * i for i in range(40)] * 2)
    assert "on a scale" in faults(tmp_path, train=f"a.{ending}")[0]
    for classes in ([0, 1, 2] * 30, [0.0, 0.5, 1.0] * 30, [*range(50)] * 4, [10, 35, 99] * 30):
        write(classes)
        assert len(read(tmp_path, train=f"a.{ending}").labels) == len(set(classes))
