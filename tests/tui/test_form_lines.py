"""The lines of the form and its completion, without a screen."""

from __future__ import annotations

from pathlib import Path

from ftev.core.config.draft import Draft, check_draft, form_settings
from ftev.core.errors import Fault
from ftev.tui.drawing.lines import text_of, width_of
from ftev.tui.screens.new_run.form_fields import (
    FEW,
    FILES,
    FOLDERS,
    SECTIONS,
    Known,
    candidate_lines,
    choice_spans,
    field_line,
    foot_lines,
    form_fields,
    form_rows,
    next_choice,
    next_section,
    shorten,
)
from ftev.tui.screens.new_run.preview import Preview, preview_lines
from ftev.tui.widgets.text_boxes import complete_last, complete_path, complete_value

DRAFT = Draft({"task": "classification", "model.base": "tiny"})


def fields(draft: Draft = DRAFT, *, whole: bool = False, known: Known | None = None) -> list:
    return form_fields(draft, check_draft(draft).faults, known or Known(), whole=whole)


def at(path: str, draft: Draft = DRAFT, known: Known | None = None):
    return next(f for f in fields(draft, whole=True, known=known) if f.path == path)


def test_every_name_that_the_form_knows_is_a_setting() -> None:
    paths = {s.path for s in form_settings()}
    assert {*FEW, *FILES, *FOLDERS} <= paths
    assert {path.partition(".")[0] for path in paths} == set(SECTIONS)
    other = {f.path for f in fields(Draft({"task": "generation"}), whole=True)}
    lora = {p for p in paths if p.startswith("model.lora.")}
    assert paths == {f.path for f in fields(whole=True)} | other | lora


def test_a_line_has_its_section_once_and_its_fault_beside_it() -> None:
    shown = fields()
    lines = [text_of(field_line(shown, i, 60, focused=i == 1)) for i in range(len(shown))]
    assert lines[0].split() == ["what", "task", "classification"]
    assert lines[1].startswith("▸             name")
    assert "train          –  ! must be given" in lines[4]
    wrong = Fault("train.csv:3", "is wrong", setting="train.epochs")
    twice = form_fields(DRAFT, (wrong, wrong), Known(), whole=False)
    index = next(i for i, f in enumerate(twice) if f.path == "train.epochs")
    line = field_line(twice, index, 80, focused=False)
    assert "3.0  ✗ line 3: is wrong (and 1 more)" in text_of(line)
    for width in (20, 40, 60, 300):
        assert all(
            width_of(field_line(twice, i, width, focused=True)) <= width for i in range(len(twice))
        )


def test_choices_stand_beside_each_other_or_alone() -> None:
    assert text_of(choice_spans(at("model.adapter"), 40)) == "[none]  lora  "
    assert text_of(choice_spans(at("data.format"), 20)) == "‹ auto ›"
    assert next_choice(at("model.adapter"), 1) == "lora"
    assert next_choice(at("model.adapter"), -1) == "lora"
    assert next_choice(at("data.header"), 1) is True
    known = Known({"data.text": ["a", "b"]}, {"data.text": "a  (by its name)"})
    column = at("data.text", known=known)
    assert column.shown == "a  (by its name)"
    assert next_choice(column, 1) == "a"
    assert next_choice(at("data.text", Draft({"data.text": "b"}), known), 1) is None


def test_sections_are_walked_and_stand_apart_where_there_is_room() -> None:
    shown = fields()
    first = next_section(shown, 0, 1)
    assert shown[first].path == "data.train"
    assert next_section(shown, first, -1) == 0
    assert next_section(shown, len(shown) - 1, 1) == 0
    assert None in form_rows(shown, 60)
    assert form_rows(shown, 10) == [*range(len(shown))]


def test_the_foot_tells_type_default_sentence_and_faults() -> None:
    lines = [text_of(line) for line in foot_lines(at("train.learning_rate"), 60, 4)]
    assert lines == [
        "train.learning_rate   a number, above 0   default 5e-05",
        "Peak learning rate of AdamW.",
    ]
    cut = foot_lines(at("evaluate.zero_shot"), 30, 2)
    assert len(cut) == 2
    assert text_of(cut[-1]).endswith("…")


def test_a_long_path_keeps_its_end() -> None:
    assert shorten("/a/long/way/to/train.csv", 12, "file") == "…o/train.csv"
    assert shorten("/a/long/way/to/train.csv", 12, "") == "/a/long/way…"


def test_paths_are_completed_without_hidden_ones(tmp_path: Path) -> None:
    for name in ("train.csv", "trail.csv", ".trash", "日本.csv"):
        (tmp_path / name).write_text("")
    (tmp_path / "models" / "tiny").mkdir(parents=True)
    (tmp_path / "models" / "tiny" / "config.json").write_text("{}")
    assert complete_path("tr", tmp_path).candidates == ("trail.csv", "train.csv")
    assert complete_path("tr", tmp_path).text == "trai"
    assert complete_path("", tmp_path).candidates == (
        "models/",
        "trail.csv",
        "train.csv",
        "日本.csv",
    )
    assert complete_path(".t", tmp_path).text == ".trash"
    assert complete_path("m", tmp_path, folders_only=True).text == "models/"
    assert complete_path("models/", tmp_path, folders_only=True).text == "models/tiny"
    assert complete_path(f"{tmp_path}/mo", Path("/")).text == f"{tmp_path}/models/"
    assert complete_path("nowhere/x", tmp_path).candidates == ()
    assert complete_value("s", ["spam", "ham"]).text == "spam"
    last = complete_last("a.csv | tr", "|", complete_path("tr", tmp_path))
    assert last.text == "a.csv | trai"
    assert last.candidates[0] == "a.csv | trail.csv"


def test_many_candidates_end_in_an_ellipsis() -> None:
    lines = candidate_lines([f"folder/{i:04}.csv" for i in range(100)], "folder/0001.csv", 40, 2)
    assert len(lines) == 2
    assert "[0001.csv]" in text_of(lines[0])
    assert text_of(lines[-1]).endswith("…")
    assert all(width_of(line) <= 40 for line in lines)


def test_an_empty_form_says_what_the_preview_is_for() -> None:
    lines = preview_lines(Preview(), 40)
    assert text_of(lines[0]).startswith("Name a file to learn from")
