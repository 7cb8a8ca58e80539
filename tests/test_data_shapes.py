"""Files as people have them: packed, in an object, of one line, in several columns."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import polars as pl
import pytest
from backports import zstd
from data_files import TEN, faults, read, write_csv, write_jsonl
from ftev.core.config.config import DataConfig
from ftev.core.data import packed
from ftev.core.data.rows import input_of

TEXTS = [text for text, _ in TEN]


@pytest.mark.parametrize(("ending", "pack"), [("gz", gzip.compress), ("zst", zstd.compress)])
@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "json", "txt"])
def test_packed_files_are_read_as_what_they_hold(
    tmp_path: Path, ending: str, pack: object, kind: str
) -> None:
    assert callable(pack)
    rows = [{"text": text, "label": label} for text, label in TEN]
    contents = {
        "csv": "text,label\n" + "".join(f"{a},{b}\n" for a, b in TEN),
        "tsv": "text\tlabel\n" + "".join(f"{a}\t{b}\n" for a, b in TEN),
        "jsonl": "".join(json.dumps(row) + "\n" for row in rows),
        "json": json.dumps(rows),
        "txt": "\n".join(TEXTS),
    }[kind]
    name = f"a.{kind}.{ending}"
    half = len(contents) // 2  # two streams, one after the other, as `cat` joins them
    (tmp_path / name).write_bytes(pack(contents[:half].encode()) + pack(contents[half:].encode()))
    dataset = read(tmp_path, "generation" if kind == "txt" else "classification", train=name)
    found = dataset.splits["train"].frame["text"].to_list()
    assert found == (["\n".join(TEXTS)] if kind == "txt" else TEXTS)
    assert dataset.notes == (f"{name}: unpacked ({'gzip' if ending == 'gz' else 'zstandard'})",)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[:-3])
    [fault] = faults(tmp_path, train=name)
    assert fault.startswith(f"{name}: is damaged")


@pytest.mark.parametrize(("ending", "pack"), [("gz", gzip.compress), ("zst", zstd.compress)])
def test_a_packed_file_that_holds_too_much_is_one_sentence(
    tmp_path: Path, ending: str, pack: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert callable(pack)
    monkeypatch.setattr(packed, "SMALL", 1 << 20)
    monkeypatch.setattr(packed, "PART", 1 << 16)
    (tmp_path / f"a.csv.{ending}").write_bytes(pack(b"text,label\n" + b"so,no\n" * (1 << 20)))
    [fault] = faults(tmp_path, train=f"a.csv.{ending}")
    assert f"a.csv.{ending}: holds more than" in fault
    assert "times its size" in fault
    monkeypatch.setattr(packed, "MOST_TIMES", 1 << 20)
    assert read(tmp_path, train=f"a.csv.{ending}", labels=["no", "yes"]).splits["train"].rows_in


def test_a_list_of_objects_within_an_object_is_read(tmp_path: Path) -> None:
    rows = [{"text": text, "label": label} for text, label in TEN]
    (tmp_path / "a.json").write_text(json.dumps({"version": 1, "data": rows}, indent=1))
    dataset = read(tmp_path, train="a.json")
    frame = dataset.splits["train"].frame
    assert frame["text"].to_list() == TEXTS
    assert frame["line"].to_list()[:2] == [4, 8]
    assert dataset.notes == ("a.json: rows are the list 'data' of its one object",)
    (tmp_path / "a.json").write_text(json.dumps({"train": rows, "test": rows}))
    [fault] = faults(tmp_path, train="a.json")
    assert "several lists of objects: 'train', 'test'" in fault
    chat = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]
    (tmp_path / "a.json").write_text(json.dumps({"messages": chat}))
    [fault] = faults(tmp_path, "generation", train="a.json")
    assert "is one object, not a list of objects" in fault, "one row is no list of rows"


def test_one_long_line_is_cut_between_words(tmp_path: Path) -> None:
    words = [f"word{i}" for i in range(1000)]
    (tmp_path / "a.txt").write_text(" ".join(words))
    dataset = read(tmp_path, "generation", train="a.txt", validation=0.2, test=0.2)
    parts = [dataset.splits[name].frame["text"].item() for name in ("train", "validation", "test")]
    assert [len(part.split()) for part in parts] == [600, 200, 200]
    assert "".join(parts) == " ".join(words)
    assert "cut between words" in dataset.notes[0]
    (tmp_path / "a.txt").write_text("字" * 5000)
    dataset = read(tmp_path, "generation", train="a.txt", validation=0.2)
    assert [len(s.frame["text"].item()) for s in dataset.splits.values()] == [4000, 1000]


def test_documents_between_separators_stay_whole(tmp_path: Path) -> None:
    stories = [f"Story {i} begins.\nStory {i} ends." for i in range(20)]
    (tmp_path / "a.txt").write_text("\n<|endoftext|>\n".join(stories) + "\n<|endoftext|>\n")
    dataset = read(tmp_path, "generation", train="a.txt", validation=0.2)
    assert {n: s.frame.height for n, s in dataset.splits.items()} == {"train": 16, "validation": 4}
    found = [text for s in dataset.splits.values() for text in s.frame["text"]]
    assert sorted(found) == sorted(stories)
    assert dataset.splits["train"].rows_in == 20


def test_line_ends_of_windows_are_evened_out(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\r\ntwo\r\nthree\r\n")
    dataset = read(tmp_path, "generation", train="a.txt")
    assert dataset.splits["train"].frame["text"].item() == "one\ntwo\nthree\n"
    assert "3 line ends of Windows" in dataset.notes[0]


def test_utf_16_with_its_mark_is_read_and_named(tmp_path: Path) -> None:
    text = write_csv(tmp_path / "a.csv", TEN).read_text()
    (tmp_path / "a.csv").write_text(text, encoding="utf-16")
    dataset = read(tmp_path, train="a.csv")
    assert dataset.splits["train"].frame["text"].to_list() == TEXTS
    assert dataset.notes == ("a.csv: read as UTF-16, by the mark at its start",)
    (tmp_path / "a.csv").write_bytes((tmp_path / "a.csv").read_bytes()[:-1])
    [fault] = faults(tmp_path, train="a.csv")
    assert "is not utf-16" in fault


# Several columns in one, pairs, and columns called otherwise


def test_a_template_joins_columns(tmp_path: Path) -> None:
    rows = [(f"title {i}", text, label) for i, (text, label) in enumerate(TEN)]
    write_csv(tmp_path / "a.csv", [*rows, ("only a title", "", "good")], "title,body,label")
    dataset = read(tmp_path, train="a.csv", text="{title}\n{body}", label="label")
    texts = dataset.splits["train"].frame["text"].to_list()
    assert texts[0] == f"title 0\n{TEXTS[0]}"
    assert texts[-1] == "only a title\n", "a missing part is empty"
    assert dataset.unread == ()
    assert dataset.splits["train"].columns_in == 3
    write_csv(tmp_path / "b.csv", [("", "", "good"), *rows], "title,body,label")
    [fault] = faults(tmp_path, train="b.csv", text="{title}\n{body}")
    assert fault.startswith("b.csv:2: text is"), "all parts are missing"
    found = faults(tmp_path, train="a.csv", text="{titel}\n{body}")
    assert 'has no column "titel" (data.text). Did you mean "title"?' in found[0]


def test_a_text_that_nothing_reads_is_named_with_the_template_that_would_read_it(
    tmp_path: Path,
) -> None:
    rows = [(str(i), f"a title {i}", text, label) for i, (text, label) in enumerate(TEN)]
    write_csv(tmp_path / "a.csv", rows, "id,title,body,label")
    dataset = read(tmp_path, train="a.csv")
    assert dataset.unread == ("id", "title")
    assert dataset.columns_found().template == r'text = "{title}\n{body}"'


@pytest.mark.parametrize(
    ("first", "second"),
    [("premise", "hypothesis"), ("question1", "question2"), ("query", "passage")],
)
def test_pairs_are_found_by_their_names(tmp_path: Path, first: str, second: str) -> None:
    rows = [{first: f"so {i}", second: text, "label": n} for i, (text, n) in enumerate(TEN)]
    write_jsonl(tmp_path / "a.jsonl", rows)
    dataset = read(tmp_path, train="a.jsonl")
    assert dataset.columns.sources == {"text": first, "text_pair": second, "label": "label"}
    frame = dataset.splits["train"].frame
    assert input_of(frame)[0] == f"so 0\n{TEXTS[0]}"
    assert frame["content"].n_unique() == 10
    alone = read(tmp_path, train="a.jsonl", text=second)
    assert "text_pair" not in alone.columns.sources
    assert alone.unread == (first,)
    write_jsonl(tmp_path / "a.jsonl", [*rows, {first: "x", second: " ", "label": "good"}])
    [fault] = faults(tmp_path, train="a.jsonl")
    assert f'text_pair is empty in column "{second}"' in fault


def test_two_pairs_are_a_question(tmp_path: Path) -> None:
    names = ("premise", "hypothesis", "sentence1", "sentence2", "label")
    rows = [dict(zip(names, (*[f"{text} {n}"] * 4, n), strict=True)) for text, n in TEN]
    write_jsonl(tmp_path / "a.jsonl", rows)
    assert "which column is the text is not certain" in faults(tmp_path, train="a.jsonl")[0]


def test_a_split_may_call_its_columns_otherwise(tmp_path: Path) -> None:
    write_csv(tmp_path / "train.csv", TEN)
    write_csv(tmp_path / "test.csv", TEN, "body,intent")
    dataset = read(tmp_path, train="train.csv", test="test.csv")
    assert dataset.splits["test"].frame["text"].to_list() == TEXTS
    assert dataset.notes == ("test.csv: columns taken: 'body' for 'text', 'intent' for 'label'",), (
        "by their usual names"
    )
    write_csv(tmp_path / "test.csv", TEN, "what,why")
    [fault] = faults(tmp_path, train="train.csv", test="test.csv")
    assert "has no column text, label" in fault, "contents alone leave doubt"
    names = {"test": {"text": "what", "label": "why"}}
    dataset = read(tmp_path, train="train.csv", test="test.csv", columns=names)
    assert dataset.splits["test"].frame["text"].to_list() == TEXTS
    wrong = DataConfig(train="a", columns={"dev": {"text": "a"}, "test": {"txt": "a"}})
    found = [fault.where for fault in wrong.faults(trains=True)]
    assert found == ["data.columns.dev", "data.columns.test.txt"]


# Labels that are numbers


@pytest.mark.parametrize("kind", ["csv", "jsonl", "json", "parquet"])
@pytest.mark.parametrize("values", [(0, 1), (0.5, 1.0), (False, True), ("no", "yes")])
def test_labels_are_alike_in_every_format(
    tmp_path: Path, kind: str, values: tuple[object, object]
) -> None:
    rows = [{"text": t, "label": values[i % 2]} for i, t in enumerate(TEXTS)]
    path = tmp_path / f"a.{kind}"
    if kind == "parquet":
        pl.DataFrame(rows).write_parquet(path)
    elif kind == "csv":
        pl.DataFrame(rows).write_csv(path)
    else:
        path.write_text(
            json.dumps(rows) if kind == "json" else "".join(json.dumps(row) + "\n" for row in rows)
        )
    wanted = tuple(str(v).lower() if isinstance(v, bool) else str(v) for v in values)
    assert read(tmp_path, train=f"a.{kind}").labels == wanted


def test_numbers_get_their_names_from_the_config_or_a_file_beside_them(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [(t, str(1 - i % 2)) for i, t in enumerate(TEXTS)])
    assert read(tmp_path, train="a.csv").labels == ("0", "1")
    (tmp_path / "names.json").write_text('{"yes": 0, "no": 1}')
    for given in (["yes", "no"], {"0": "yes", "1": "no"}, "names.json"):
        dataset = read(tmp_path, train="a.csv", label_names=given)
        assert dataset.labels == ("yes", "no"), "in the order of the numbers"
        assert dataset.splits["train"].frame["label"].to_list()[:2] == ["no", "yes"]
    (tmp_path / "labels.json").write_text('["yes", "no"]')
    dataset = read(tmp_path, train="a.csv")
    assert dataset.labels == ("yes", "no")
    assert "labels.json: names of the 2 labels" in dataset.notes[0]
    (tmp_path / "labels.json").write_text('["yes", "no", "perhaps"]')
    assert read(tmp_path, train="a.csv").labels == ("0", "1"), "it is of other labels"
    [fault] = faults(tmp_path, train="a.csv", label_names={"0": "yes", "2": "no"})
    assert "label '1' is unknown" in fault
    assert faults(tmp_path, train="a.csv", label_names="no.json")[0].startswith("no.json: cannot")
