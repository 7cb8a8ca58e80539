"""Files of every format to splits: what is read, and where each row stood."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import polars as pl
import pytest
from data_files import TEN, faults, read, write_csv, write_jsonl
from ftev.core.data import sources
from ftev.core.data.formats import sniff_format
from ftev.core.data.labels import sort_labels
from ftev.core.data.rows import content_hash, normalise
from ftev.core.data.sources import hub_url
from ftev.core.metrics.answer_text import normalise_text
from hypothesis import given
from hypothesis import strategies as st


def test_csv_rows_keep_number_and_physical_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(
        b'\xef\xbb\xbftext,label\r\n"one\r\nstill one",a\r\n\r\ntwo ""x"",b\r\n"a ""q"", b",a\r\n'
    )
    frame = read(tmp_path, train="a.csv").splits["train"].frame
    assert frame["row_id"].to_list() == [0, 1, 2]
    assert frame["line"].to_list() == [2, 5, 6]
    assert frame["text"].to_list() == ["one\r\nstill one", 'two ""x""', 'a "q", b']
    assert frame.schema == {
        "row_id": pl.Int64,
        "line": pl.Int64,
        "text": pl.String,
        "label": pl.String,
        "content": pl.UInt64,
    }


def test_clean_and_odd_quotes_are_read_alike(tmp_path: Path) -> None:
    clean = 'text,label\n"a,\nb",x\nplain,y\n\n"c ""d""",x\n'
    (tmp_path / "clean.csv").write_text(clean)
    (tmp_path / "odd.csv").write_text(clean + '5" disk,y\n')
    first = read(tmp_path, train="clean.csv").splits["train"].frame
    second = read(tmp_path, train="odd.csv").splits["train"].frame
    assert second.head(3).equals(first)
    assert second.row(3)[:4] == (3, 7, '5" disk', "y")


def test_tab_separated_file_has_no_quoting(tmp_path: Path) -> None:
    (tmp_path / "messages").write_bytes(
        b'ham\tI said "no\r\nspam\tWin "cash" now\r\nham\tfine\r\nspam\t"free" entry\r\n'
    )
    dataset = read(tmp_path, train="messages", text="column_2", label="column_1")
    frame = dataset.splits["train"].frame
    assert frame["text"].to_list() == ['I said "no', 'Win "cash" now', "fine", '"free" entry']
    assert frame["line"].to_list() == [1, 2, 3, 4]
    assert dataset.labels == ("ham", "spam")


def test_text_file_of_labelled_lines_is_tab_separated(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("".join(f"{label}\t{text}\n" for text, label in TEN))
    assert read(tmp_path, train="a.txt").splits["train"].frame["text"][0] == TEN[0][0]


@pytest.mark.parametrize("separator", [";", "\t"])
def test_csv_may_use_another_separator(tmp_path: Path, separator: str) -> None:
    rows = [f'"it is, {i}"{separator}{label}' for i, (_, label) in enumerate(TEN)]
    (tmp_path / "a.csv").write_text("\n".join([f"text{separator}label", *rows]))
    assert read(tmp_path, train="a.csv").splits["train"].frame["text"][3] == "it is, 3"


def test_jsonl_and_json_keep_lines(tmp_path: Path) -> None:
    rows = [{"text": f"text {i}", "label": i % 2, "more": [i]} for i in range(4)]
    lines = [json.dumps(row) for row in rows]
    (tmp_path / "a.jsonl").write_text(f"{lines[0]}\n\n{lines[1]}\n{lines[2]}\n{lines[3]}")
    (tmp_path / "a.json").write_text(f"[{lines[0]},\n\n{lines[1]}, {lines[2]},\n{lines[3]}\n]\n")
    first = read(tmp_path, train="a.jsonl")
    assert first.labels == ("0", "1")
    assert first.splits["train"].frame["line"].to_list() == [1, 3, 4, 5]
    second = read(tmp_path, train="a.json").splits["train"].frame
    assert second["line"].to_list() == [1, 3, 3, 4]
    assert second["text"].to_list() == [f"text {i}" for i in range(4)]


def test_json_file_of_json_lines_is_read(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.json", [{"text": text, "label": label} for text, label in TEN])
    assert read(tmp_path, train="a.json").splits["train"].frame.height == 10


def test_parquet_with_integer_and_boolean_labels(tmp_path: Path) -> None:
    frame = pl.DataFrame({"text": [f"row {i}" for i in range(12)], "label": list(range(12))})
    frame.write_parquet(tmp_path / "a.parquet")
    dataset = read(tmp_path, train="a.parquet")
    assert dataset.labels == tuple(map(str, range(12)))
    assert dataset.splits["train"].frame["line"].to_list() == list(range(1, 13))
    frame.with_columns(pl.col("label") > 5).write_parquet(tmp_path / "b.parquet")
    assert read(tmp_path, train="b.parquet").labels == ("false", "true")


@pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_a_hub_that_is_switched_off_is_not_asked_for_rows(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(_: object) -> None:
        raise AssertionError("the hub was asked")

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv(name, "on")
    monkeypatch.setattr(pl, "read_parquet", asked)
    [found] = faults(tmp_path, train="org/name")
    assert "it is not asked while HF_HUB_OFFLINE is set. Write" in found


def test_hub_dataset_is_read_through_polars(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def read_hub(url: str) -> pl.DataFrame:
        asked.append(url)
        return pl.DataFrame(TEN, schema=["text", "label"], orient="row")

    monkeypatch.setattr(sources, "read_hub", read_hub)
    dataset = read(tmp_path, train="org/name:main", test="org/name:main/dev")
    assert asked == [
        "hf://datasets/org/name@~parquet/main/train/*.parquet",
        "hf://datasets/org/name@~parquet/main/dev/*.parquet",
    ]
    assert dataset.splits["train"].sources == ("org/name:main",)
    assert dataset.splits["train"].rows_in == 10


def test_hub_that_does_not_answer_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_hub(url: str) -> pl.DataFrame:
        raise OSError("no route")

    monkeypatch.setattr(sources, "read_hub", read_hub)
    [fault] = faults(tmp_path, train="org/name")
    assert "no route" in fault
    assert "org/name:config/split" in fault


def test_hub_names() -> None:
    assert hub_url("org/name", "test") == "hf://datasets/org/name@~parquet/default/test/*.parquet"
    assert hub_url("hf://datasets/a/b/c.parquet", "train") == "hf://datasets/a/b/c.parquet"
    assert hub_url("name", "train") == ""
    assert hub_url("a/b/c/d", "train") == ""


def test_files_of_a_glob_are_one_source(tmp_path: Path) -> None:
    a = write_csv(tmp_path / "part-1.csv", TEN[:4])
    b = write_csv(tmp_path / "part-2.csv", TEN[4:])
    split = read(tmp_path, train="part-*.csv").splits["train"]
    assert split.sources == ("part-1.csv", "part-2.csv")
    assert split.frame["row_id"].to_list() == list(range(10))
    assert split.frame["line"].to_list() == [2, 3, 4, 5, 2, 3, 4, 5, 6, 7]
    assert split.sha256 == hashlib.sha256(a.read_bytes() + b.read_bytes()).hexdigest()
    assert (split.rows_in, split.columns_in) == (10, 2)
    assert split.label_counts() == {"bad": 5, "good": 5}
    listed = read(tmp_path, train=["part-1.csv", "part-2.csv"]).splits["train"]
    assert listed.frame.equals(split.frame)


def test_sha256_is_of_the_file(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", TEN)
    split = read(tmp_path, train="a.csv").splits["train"]
    assert split.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_plain_text_is_one_document_split_by_lines(tmp_path: Path) -> None:
    lines = [f"line {i}, as it stands\n" for i in range(1, 101)]
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf" + "".join(lines).encode())
    dataset = read(tmp_path, "generation", train="a.txt", validation=0.1, test=0.05)
    frames = {name: split.frame for name, split in dataset.splits.items()}
    assert [frame.height for frame in frames.values()] == [1, 1, 1]
    assert {name: frame["line"][0] for name, frame in frames.items()} == {
        "train": 1,
        "validation": 86,
        "test": 96,
    }
    assert "".join(frame["text"][0] for frame in frames.values()) == "".join(lines)
    assert [frame["row_id"][0] for frame in frames.values()] == [0, 1, 2]


def test_text_file_without_shares_stays_whole(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    assert (
        read(tmp_path, "generation", train="a.txt").splits["train"].frame["text"][0] == "one\ntwo\n"
    )


CHAT = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]


def test_chats_keep_roles_and_contents_only(tmp_path: Path) -> None:
    chat = [
        {"role": "user", "content": "hi", "name": "x"},
        {"role": "assistant", "content": "hello"},
    ]
    write_jsonl(tmp_path / "a.jsonl", [{"messages": chat}])
    dataset = read(tmp_path, "generation", train="a.jsonl")
    assert dataset.columns.form == "messages"
    assert dataset.splits["train"].frame["messages"].to_list() == [
        [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
    ]


def test_E2_weights_and_reasoning_survive_reading(tmp_path: Path) -> None:
    thought = {"role": "assistant", "content": "hello", "reasoning_content": "hm", "weight": 0}
    chats = [[*CHAT, thought], [*CHAT, {"role": "assistant", "content": "yes", "weight": True}]]
    write_jsonl(tmp_path / "a.jsonl", [{"messages": [*chat, *CHAT]} for chat in chats])
    read_chats = read(tmp_path, "generation", train="a.jsonl").splits["train"].frame["messages"]
    turns = [chat[2] for chat in read_chats.to_list()]
    assert [(t["weight"], t["reasoning_content"]) for t in turns] == [(0.0, "hm"), (1.0, None)]


def test_control_characters_are_data(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"text,label\nbell \x07 here,a\nescape \x1b[31m,b\n")
    frame = read(tmp_path, train="a.csv").splits["train"].frame
    assert frame["text"].to_list() == ["bell \x07 here", "escape \x1b[31m"]


def test_labels_are_text_in_order(tmp_path: Path) -> None:
    assert sort_labels({"10", "9", "-1"}) == ("-1", "9", "10")
    assert sort_labels({"b", "a", "10"}) == ("10", "a", "b")
    assert sort_labels({"1.5", "10", "2.0"}) == ("1.5", "2.0", "10")
    write_csv(tmp_path / "a.csv", [("one text", " yes "), ("another text", "no")])
    assert read(tmp_path, train="a.csv").labels == ("no", "yes")
    assert read(tmp_path, train="a.csv", labels=["yes", "no"]).labels == ("yes", "no")


def test_evaluation_needs_no_train(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", TEN)
    dataset = read(tmp_path, test="a.csv", validation=0.1)
    assert list(dataset.splits) == ["test"]
    assert dataset.labels == ("bad", "good")


def test_headerless_test_file_follows_train(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("".join(f"{label}\t{text}\n" for text, label in TEN))
    (tmp_path / "test.tsv").write_text("good\tonly once\nbad\tand once more\n")
    assert read(tmp_path, train="train.tsv", test="test.tsv").splits["test"].frame.height == 2


@pytest.mark.parametrize(
    ("head", "form"),
    [
        (b'{"a": 1}\n{"a": 2}\n', "jsonl"),
        (b'{\n  "a": 1\n}', "json"),
        (b"[1, 2]", "json"),
        (b"a\tb\nc\td\n", "tsv"),
        (b'a,b\n"c,d",e\n', "csv"),
        (b"PAR1....", "parquet"),
        (b"Once, upon a time\nthere was\n", "text"),
        (b"", "text"),
    ],
)
def test_contents_tell_the_format(head: bytes, form: str) -> None:
    assert sniff_format(head).name == form


@given(st.lists(st.text()))
def test_D1_vectorised_normalisation_equals_the_plain_one(texts: list[str]) -> None:
    series = pl.Series(texts, dtype=pl.String)
    assert normalise(series).to_list() == [normalise_text(text) for text in texts]


def test_content_hash_is_the_same_everywhere() -> None:
    """blake2b of 8 bytes, big-endian: a stored run must join with a new one."""
    [content] = content_hash(normalise(pl.Series(["  CARD?\n"])))
    assert content == int.from_bytes(hashlib.blake2b(b"card?", digest_size=8).digest(), "big")


@given(st.lists(st.tuples(st.text(st.sampled_from('ab ",\né')), st.sampled_from("xy")), min_size=3))
def test_csv_writer_and_reader_agree(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    rows = [(f"t{text}", label) for text, label in rows] + [("t", "x"), ("t", "y")]
    folder = tmp_path_factory.mktemp("csv")
    pl.DataFrame(rows, schema=["text", "label"], orient="row").write_csv(folder / "a.csv")
    frame = read(folder, train="a.csv").splits["train"].frame
    assert frame.select("text", "label").rows() == rows
    starts = [2 + sum(text.count("\n") + 1 for text, _ in rows[:i]) for i in range(len(rows))]
    assert frame["line"].to_list() == starts
