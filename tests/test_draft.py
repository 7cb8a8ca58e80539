"""A draft stands for a config, is checked with every fault, and comes back from its TOML."""

from __future__ import annotations

from dataclasses import MISSING
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from ftev.core.config.config_file import check_config, dump_config, load_config
from ftev.core.config.draft import (
    Draft,
    check_draft,
    draft_of,
    draft_toml,
    form_settings,
    load_draft,
    optional_sections,
    read_draft,
    section_that_is_off,
    without_faults,
    write_draft,
)
from ftev.core.config.fields import Setting, choices, expected, members, read_value, show_value
from ftev.core.errors import ConfigError
from hypothesis import given
from hypothesis import strategies as st

LEAST = {"task": "classification", "model.base": "tiny", "data.train": "train.csv"}
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Any value of a setting's type, sensible or not."""
    if few := choices(hint):
        return st.sampled_from(few)
    kinds: list[st.SearchStrategy[Any]] = []
    for kind in members(hint):
        if get_origin(kind) is Literal:
            kinds.append(st.sampled_from(get_args(kind)))
        elif get_origin(kind) is list:
            kinds.append(st.lists(TEXT, max_size=3))
        elif get_origin(kind) is dict:
            kinds.append(st.dictionaries(TEXT, TEXT, max_size=3))
        else:
            kinds.append(
                {
                    str: TEXT,
                    int: st.integers(-5, 10**6),
                    float: st.floats(allow_nan=False),
                    bool: st.booleans(),
                }[kind]
            )
    return st.one_of(kinds)


def drafts() -> st.SearchStrategy[Draft]:
    optional = {s.path: values(s.type) for s in form_settings() if s.path not in LEAST}
    more = st.fixed_dictionaries({}, optional=optional)
    return more.map(lambda extra: Draft(LEAST | extra, "/data"))


@given(drafts())
def test_the_toml_of_a_draft_comes_back_as_the_same_config(draft: Draft) -> None:
    import tomllib

    table = tomllib.loads(draft_toml(draft, Path("/elsewhere")))
    again, unknown = read_draft(table, "/elsewhere")
    assert not unknown
    assert dict(again.given) == dict(draft.given)
    assert again.folder == "/data"
    mended = without_faults(draft)
    if mended is not None:
        assert check_draft(draft_of(mended)).config == mended
        written = tomllib.loads(draft_toml(draft_of(mended), Path("/elsewhere")))
        assert check_config(written) == mended


@given(st.data())
def test_what_is_shown_of_a_value_is_read_as_that_value(data: st.DataObject) -> None:
    setting = data.draw(st.sampled_from(form_settings()))
    value = data.draw(values(setting.type))
    if isinstance(value, list) and not value:
        return  # nothing written is the default
    if isinstance(value, list) and len(value) == 1 and str in members(setting.type):
        return  # one file is a file
    if isinstance(value, str) and (
        value != value.strip() or not value or "|" in value or value.startswith(("[", "{"))
    ):
        return  # free text is taken without the space around it
    read = read_value(setting.type, show_value(value))
    if isinstance(value, str) and not isinstance(read, str):
        assert float(value) == read or value in ("true", "false", "nan")  # a file called "3"
        return
    assert read == value
    assert type(read) is type(value)


def test_a_written_file_loads_as_the_config_that_was_checked(tmp_path: Path) -> None:
    draft = Draft(LEAST | {"train.early_stopping.patience": 2, "data.validation": 0}, str(tmp_path))
    write_draft(draft, tmp_path / "run.toml")
    config = check_draft(draft).config
    assert config is not None
    assert load_config(tmp_path / "run.toml") == config
    assert "folder" not in (tmp_path / "run.toml").read_text()
    (tmp_path / "kept").mkdir()
    write_draft(draft, tmp_path / "kept" / "run.toml")
    assert load_config(tmp_path / "kept" / "run.toml") == config
    assert load_draft(tmp_path / "kept" / "run.toml") == (draft, [])


def test_a_runs_own_file_becomes_what_differs_from_the_defaults(tmp_path: Path) -> None:
    config = check_draft(Draft(LEAST | {"train.epochs": 2.0}, str(tmp_path))).config
    assert config is not None
    (tmp_path / "run.toml").write_text(dump_config(config))
    again = draft_of(load_config(tmp_path / "run.toml"))
    assert again.given == LEAST | {"train.epochs": 2.0}
    assert again.folder == str(tmp_path)


def test_every_fault_stands_at_its_field() -> None:
    draft = Draft(
        {"task": "classification", "train.epochs": "many", "train.batch_size": 0, "data.train": 3}
    )
    found = {f.setting: f.what for f in check_draft(draft).faults}
    assert found["model.base"] == "must be given"
    assert found["train.epochs"] == "'many' is not a number"
    assert found["data.train"] == "3 is not text or a list of text"
    draft = Draft(LEAST | {"train.batch_size": 0, "train.warmup_ratio": 2.0})
    assert {f.setting for f in check_draft(draft).faults} == {
        "train.batch_size",
        "train.warmup_ratio",
    }


def test_data_can_be_looked_at_while_the_rest_has_faults() -> None:
    draft = Draft({"data.train": "train.csv", "train.epochs": "many", "train.batch_size": 0})
    config = without_faults(draft)
    assert config is not None
    assert config.data.train == "train.csv"
    assert without_faults(Draft()) is None


def test_unknown_settings_are_named_and_left_out(tmp_path: Path) -> None:
    draft, unknown = read_draft({"task": "generation", "lr": 3, "train": {"epoch": 1}}, "/x")
    assert unknown == ["lr", "train.epoch"]
    assert draft == Draft({"task": "generation"}, "/x")
    (tmp_path / "bad.toml").write_text("a =")
    for name in ("bad.toml", "none.toml", "."):
        with pytest.raises(ConfigError):
            load_draft(tmp_path / name)


def test_sections_that_are_off_until_something_of_them_is_given() -> None:
    assert optional_sections() == ("train.early_stopping", "objective.cost")
    assert section_that_is_off("objective.cost.fp", {}) == "objective.cost"
    assert section_that_is_off("objective.cost.fp", {"objective.cost.fn": 2.0}) == ""
    on, _ = read_draft({"train": {"early_stopping": {}}}, "/x")
    assert on.given == {"train.early_stopping.patience": 3, "train.early_stopping.min_delta": 0.0}


def setting(path: str) -> Setting:
    return next(s for s in form_settings() if s.path == path)


def test_text_is_read_by_the_type_of_its_setting() -> None:
    read = {
        ("train.eval_every", "1"): 1,
        ("train.eval_every", "1.0"): 1.0,
        ("train.learning_rate", "5e-5"): 5e-5,
        ("train.devices", "cpu"): "cpu",
        ("data.validation", "0.2"): 0.2,
        ("data.validation", "val.csv"): "val.csv",
        ("data.train", "a.csv"): "a.csv",
        ("data.train", "a.csv | b.csv"): ["a.csv", "b.csv"],
        ("evaluate.prompts", "Hello, you | And now?"): ["Hello, you", "And now?"],
        ("evaluate.prompts", '["a | b", "c"]'): ["a | b", "c"],
        ("model.lora.target_modules", "all-linear"): "all-linear",
        ("model.lora.target_modules", "q | v"): ["q", "v"],
        ("data.header", "true"): True,
        ("data.text", "12"): "12",
        ("train.epochs", "many"): "many",
        ("name", "  "): None,
    }
    for (path, text), value in read.items():
        assert read_value(setting(path).type, text) == value, (path, text)
    assert expected(setting("model.adapter").type) == "one of none, lora"
    assert expected(setting("train.devices").type) == 'a whole number or "auto" or "cpu"'
    assert setting("task").default is MISSING
