"""A row whole: prompt, reference, answers in that order, and none hides the next."""

from __future__ import annotations

from ftev.tui.drawing.lines import text_of
from ftev.tui.screens.examples.row_detail import RowDetail, row_lines

FOUND = {"row_id": 3, "kind": "fell"}
LONG = "\n".join(f"line {i} of the prompt" for i in range(40))


def told(detail: RowDetail, height: int) -> list[str]:
    return [text_of(line) for line in row_lines(detail, 76, height)]


def test_a_long_prompt_leaves_room_for_reference_and_answers() -> None:
    detail = RowDetail("test", FOUND, LONG, False, truth="the reference")
    detail.answers = {"base": "the base's answer", "tuned": "the tuned answer"}
    lines = told(detail, 18)
    first = lines[:18]
    order = ["prompt, the first 6 of 40 lines; the whole is below", "the reference"]
    places = [first.index(text) for text in (*order, "the base's answer", "the tuned answer")]
    assert places == sorted(places)
    assert lines[lines.index("prompt, whole") + 1 :][:40] == LONG.split("\n")


def test_a_text_that_fits_is_told_once() -> None:
    detail = RowDetail("test", {**FOUND, "label": "a"}, "one\ntwo", False, truth="a")
    lines = told(detail, 18)
    assert lines.count("one") == 1
    assert "text" in lines


def test_a_text_that_is_not_there_says_why() -> None:
    detail = RowDetail("test", FOUND, "", False, missing="the data file has changed")
    assert "The text of this row is not stored (the data file has changed)." in told(detail, 18)
