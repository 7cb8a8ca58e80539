"""A first look at data: columns and why, first rows, and each fault at the setting to change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from data_files import REAL, needs_real_data
from ftev.core.config.draft import Draft, check_draft, form_path
from ftev.core.data.columns import why_column
from ftev.core.data.data import read_run_data
from ftev.core.data.look import Look, look_at
from ftev.core.errors import FtevError

LEAST: dict[str, Any] = {"task": "classification", "model.base": "tiny"}


def roles(look: Look) -> dict[str, str]:
    return {c.role: c.name for c in look.columns if c.role}


def test_columns_rows_and_reasons(tmp_path: Path) -> None:
    lines = [f"{i},words of row {i} that go on,{'yes' if i % 2 else 'no'}" for i in range(40)]
    (tmp_path / "train.csv").write_text("\n".join(["number,note,verdict", *lines]) + "\n")
    look = look_at(Draft(LEAST | {"data.train": "train.csv"}, str(tmp_path)))
    assert roles(look) == {"text": "note", "label": "verdict"}
    assert look.sources[0].records == 40
    assert len(look.sources[0].rows) == 5
    assert look.sources[0].rows[1] == ("1", "words of row 1 that go on", "yes")
    named = Draft(LEAST | {"data.train": "train.csv", "data.label": "number"}, str(tmp_path))
    assert next(c.why for c in look_at(named).columns if c.role == "label") == "as you chose"


def test_the_data_are_read_again_only_when_they_may_have_changed(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text("text,label\n" + "".join(f"tea {i},good\n" for i in range(9)))
    draft = Draft(LEAST | {"data.train": "train.csv"}, str(tmp_path))
    first = look_at(draft)
    again = look_at(draft.with_value("train.epochs", 1.0), first)
    assert again.sources is first.sources
    path.write_text("text,label\nmore,good\n")
    assert look_at(draft, first).sources[0].records == 1


def test_settings_with_faults_do_not_hide_the_data(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label\na,b\n")
    look = look_at(Draft({"data.train": "train.csv", "train.epochs": -1.0}, str(tmp_path)))
    assert {form_path(f) for f in look.checked.faults} == {"task", "model.base", "train.epochs"}
    assert look.sources
    assert look.config is not None
    assert look.checked.config is None
    assert look_at(Draft(LEAST)).sources == ()


@pytest.mark.parametrize(
    ("given", "setting"),
    [
        ({"data.train": "a/*.csv"}, "data.train"),  # a bad row of a file found by a glob
        ({"data.test": "none.csv"}, "data.test"),
        ({"data.test": "other.csv"}, "data.test"),  # without the columns of train
        ({"data.validation": "empty.csv"}, "data.validation"),
        ({"data.text": "x"}, "data.text"),
        ({"data.prompt": "text"}, "data.prompt"),
        ({"data.train": "unsure.csv"}, "data.label"),
        ({"data.labels": ["a", "b", "a"]}, "data.labels"),
        ({"data.validation": 0.01}, "data.validation"),
        ({"evaluate.slices": ["x"]}, "evaluate.slices"),
        ({"guardrail": [{"metric": "accuracy", "at_least": 0.5, "slice": {"x": 1}}]}, "guardrail"),
        ({"objective.positive": "c"}, "objective.positive"),
    ],
)
def test_a_fault_of_the_data_names_the_setting_to_change(
    tmp_path: Path, given: dict[str, Any], setting: str
) -> None:
    (tmp_path / "a").mkdir()
    rows = "text,label\n" + "".join(f"some text number {i},{'ab'[i % 2]}\n" for i in range(8))
    for name, content in {
        "train.csv": rows,
        "a/one.csv": rows + "no label,\n",
        "empty.csv": "",
        "other.csv": "text,answer\nsome text,a\n",
        "unsure.csv": "text,p,q\n" + "".join(f"some text {i},{i},{i}\n" for i in range(30)),
    }.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    checked = check_draft(Draft(LEAST | {"data.train": "train.csv"} | given, str(tmp_path)))
    assert checked.config is not None, checked.faults
    with pytest.raises(FtevError) as caught:
        read_run_data(checked.config)
    assert caught.value.faults[0].setting == setting, caught.value


def test_why_a_column_plays_its_role() -> None:
    assert why_column("text", "Text", {}) == "by its name"
    assert why_column("label", "intent", {}) == "a usual name of a label"
    assert why_column("completion", "answer", {}) == "a usual name of a completion"
    assert why_column("label", "column_1", {}).startswith("by its contents: short")
    assert why_column("text", "x", {"text": "x"}) == "as you chose"


@pytest.mark.realdata
@needs_real_data
def test_real_files_show_their_columns() -> None:
    found = {}
    for task, name in (
        ("classification", "banking77/train.csv"),
        ("classification", "sms_spam/SMSSpamCollection"),
        ("generation", "gsm8k/train.jsonl"),
        ("generation", "tinyshakespeare/input.txt"),
    ):
        draft = Draft({"task": task, "model.base": "tiny", "data.train": name}, str(REAL))
        found[name] = roles(look_at(draft))
    assert list(found.values()) == [
        {"text": "text", "label": "category"},
        {"label": "column_1", "text": "column_2"},
        {"prompt": "question", "completion": "answer"},
        {"text": "text"},
    ]
