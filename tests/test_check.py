"""The pre-flight reads the data as a run would, and says what it did not look at."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from ftev.core.config.config import DataConfig, ModelConfig, RunConfig
from ftev.core.config.config_file import load_config
from ftev.core.data.data import read_run_data
from ftev.core.data.leakage import Leakage
from ftev.core.errors import DataError
from ftev.core.judgement.preflight import _check_split, _find_masking, check_run
from ftev.core.report.report import render_json
from ftev.tui.commands.check import show_judgement

RUN = """\
task = "classification"
[model]
base = "tiny"
[data]
train = "train.csv"
test = "test.csv"
"""
WORDS = ("red", "green", "blue", "black", "white", "grey", "brown", "pink")


def write_rows(path: Path, rows: list[tuple[str, str]]) -> None:
    lines = ["text,label", *(f'"{text}",{label}' for text, label in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def rows(count: int, of: str, start: int = 0) -> list[tuple[str, str]]:
    """Different texts: the digits of a number as words."""
    return [
        (" ".join(WORDS[int(d) % 8] + d for d in f"{start + i:04}") + f" number {start + i}", of)
        for i in range(count)
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "run.toml").write_text(RUN)
    write_rows(tmp_path / "train.csv", rows(60, "ham") + rows(10, "spam", 1000))
    write_rows(tmp_path / "test.csv", rows(15, "ham", 2000) + rows(5, "spam", 3000))
    return tmp_path


def test_what_is_there_is_told(folder: Path) -> None:
    result = check_run(load_config(folder / "run.toml"))
    assert result.columns == {"text": "text", "label": "label"}
    assert result.labels == ["ham", "spam"]
    assert {name: s.rows for name, s in result.splits.items()} == {
        "train": 63,
        "validation": 7,
        "test": 20,
    }
    assert result.splits["test"].labels == {"ham": 15, "spam": 5}
    assert result.splits["train"].longest >= result.splits["train"].median_length > 10
    assert "masking" in result.not_checked[0]
    assert result.model is None
    assert "class_imbalance" in {f.code for f in result.findings}
    assert '"findings"' in render_json({"findings": result.findings and "there"})


def test_rows_of_test_that_stand_in_train_are_found(folder: Path) -> None:
    leaked = rows(3, "ham")
    write_rows(folder / "test.csv", [*rows(15, "ham", 2000), *rows(5, "spam", 3000), *leaked])
    result = check_run(load_config(folder / "run.toml", ["data.validation=0"]))
    assert result.leakage["exact"] == 3
    assert {(p[0], p[2]) for p in result.pairs} == {("train", "test")}
    leak = next(f for f in result.findings if f.code == "leakage")
    assert leak.severity == "warning", "20 rows are left to judge by"
    write_rows(folder / "test.csv", rows(40, "ham") + rows(10, "spam", 1000))
    result = check_run(load_config(folder / "run.toml", ["data.validation=0"]))
    assert next(f for f in result.findings if f.code == "leakage").severity == "error"


def test_F_the_same_file_for_train_and_test_is_an_error(folder: Path) -> None:
    result = check_run(load_config(folder / "run.toml", ["data.test=train.csv"]))
    assert "same_rows" not in {f.code for f in result.findings}, "validation was taken from train"
    config = load_config(folder / "run.toml", ["data.test=train.csv", "data.validation=0"])
    errors = {f.code: f.message for f in check_run(config).findings if f.severity == "error"}
    assert {"same_rows", "leakage"} <= set(errors)
    assert "train and test hold the same rows (train.csv)" in errors["same_rows"]
    config = load_config(folder / "run.toml", ["data.validation=test.csv"])
    assert "same_rows" in {f.code for f in check_run(config).findings if f.severity == "error"}
    shares = load_config(folder / "run.toml", ["data.test=0.2"])
    assert not [f for f in check_run(shares).findings if f.severity == "error"]


def test_F_what_nothing_reads_is_named(folder: Path) -> None:
    def unread(*overrides: str) -> list[str]:
        result = check_run(load_config(folder / "run.toml", list(overrides)))
        return [f.message for f in result.findings if f.code == "unread_columns"]

    assert unread() == []
    text = (folder / "train.csv").read_text().splitlines()
    lines = [f"{line},x{i},y" for i, line in enumerate(text[1:])]
    (folder / "train.csv").write_text("\n".join(["text,label,id,tier", *lines]) + "\n")
    assert unread() == ['nothing reads 2 columns of the data: "id", "tier"']
    assert unread("data.group=id") == ['nothing reads 1 column of the data: "tier"']
    chats = [
        {"role": "user", "content": f"hi {i}", "name": "Ann", "tool_calls": None} for i in range(9)
    ]
    answer = {"role": "assistant", "content": "hello"}
    rows = "".join(json.dumps({"messages": [chat, answer]}) + "\n" for chat in chats)
    (folder / "chats.jsonl").write_text(rows)
    found = unread("task=generation", "data.train=chats.jsonl", "data.test=0.2")
    assert found == ['nothing reads 1 message key of the data: "name"']


def test_F_spellings_of_one_label_are_an_error_before_anything_starts(folder: Path) -> None:
    mixed = [(text, label.upper() if i % 2 else label) for i, (text, label) in enumerate(FEW)]
    write_rows(folder / "train.csv", mixed)
    write_rows(folder / "test.csv", rows(15, "ham", 2000))
    found = {f.code: f for f in check_run(load_config(folder / "run.toml")).findings}
    variants = found["label_variants"]
    assert variants.severity == "error"
    assert '"HAM" (15 rows) and "ham" (30 rows); "SPAM" (5 rows)' in variants.message
    named = 'data.labels=["ham", "HAM", "spam", "SPAM"]'
    found = {f.code: f for f in check_run(load_config(folder / "run.toml", [named])).findings}
    assert found["label_variants"].severity == "warning", "these labels are meant as they stand"


FEW = rows(30, "ham") + rows(10, "spam", 1000)


def test_duplicates_within_a_split_are_counted(folder: Path) -> None:
    twice = rows(60, "ham") + rows(10, "spam", 1000) + rows(4, "ham")
    write_rows(folder / "train.csv", twice)
    result = check_run(load_config(folder / "run.toml", ["data.validation=0"]))
    assert result.splits["train"].duplicates == 4
    assert "repeated_test_rows" not in {f.code for f in result.findings}


def test_copies_within_the_test_rows_are_a_finding(folder: Path) -> None:
    write_rows(folder / "test.csv", [*rows(15, "ham", 2000), *rows(5, "spam", 3000)] * 2)
    result = check_run(load_config(folder / "run.toml", ["data.validation=0"]))
    finding = next(f for f in result.findings if f.code == "repeated_test_rows")
    assert finding.evidence["distinct"] == 20
    assert len(finding.rows) == 20


def test_every_bad_row_is_told_with_its_line(folder: Path) -> None:
    with (folder / "test.csv").open("a") as file:
        file.write('"what is this",eggs\n"",ham\n')
    with pytest.raises(DataError) as caught:
        check_run(load_config(folder / "run.toml"))
    text = "\n".join(map(str, caught.value.faults))
    assert "test.csv:22" in text
    assert "test.csv:23" in text


@pytest.mark.parametrize("labels", ["yes no YES no", "yes no yes no"])
def test_the_last_line_does_not_pass_over_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], labels: str
) -> None:
    rows = [f"text number {i},{label}" for i, label in enumerate(labels.split() * 12)]
    (tmp_path / "train.csv").write_text("\n".join(["text,label", *rows]))
    config = RunConfig(
        task="classification",
        model=ModelConfig(base="tiny"),
        data=DataConfig(train="train.csv", near_duplicates=False),
        folder=str(tmp_path),
    )
    show_judgement(check_run(config))
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.endswith("see to the errors above first") == ("YES" in labels)


def test_what_the_models_tokenizer_truncates_is_a_finding() -> None:
    described = {"rows": 100, "truncated_rows": 80, "truncated_tokens": 4000, "max_length": 9}
    found = {f.code: f for f in _find_masking({"train": described})}
    assert found["truncation"].evidence["rows"] == 80
    assert found.keys() == {f.code for f in _find_masking({"train": described | {"other": 1}})}
    assert not _find_masking({"train": {"rows": 100}})


def test_a_split_without_rows_has_no_lengths(folder: Path) -> None:
    dataset = read_run_data(load_config(folder / "run.toml"))
    empty = dataclasses.replace(dataset.splits["test"], frame=dataset.splits["test"].frame.clear())
    found = _check_split(empty, dataset, Leakage({}, {}, {}, [], {}, [], []))
    assert (found.rows, found.median_length, found.longest) == (0, 0, 0)
