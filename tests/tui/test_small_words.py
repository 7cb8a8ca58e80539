"""Signs and words that must not mislead: nothing is not less than nothing, and − is one sign."""

from __future__ import annotations

from ftev.core.report.blocks import Bullets, Figures, Paragraph, Table
from ftev.core.report.quiz.questions import Question
from ftev.core.wording.numbers import (
    format_difference,
    format_difference_in_column,
    format_difference_interval,
    format_value,
)
from ftev.tui.drawing.format import with_minus
from ftev.tui.drawing.lines import text_of
from ftev.tui.screens.evaluation.reading import block_lines
from ftev.tui.screens.review import QuizPane


def test_what_rounds_to_nothing_is_not_less_than_nothing() -> None:
    assert format_difference("loss", -0.0001) == "0.000"
    assert format_difference("loss", -0.001) == "-0.001"
    assert format_difference("accuracy", -0.00001) == "0.00 points"
    assert format_difference_interval("loss", -0.0001, 0.02) == "0.000 to +0.020"
    assert format_value("mcc", -0.0002) == "0.000"
    assert format_value("loss", -2.5) == "-2.500"


def test_a_column_of_points_has_one_decimal() -> None:
    assert [
        format_difference_in_column("accuracy", v) for v in (-0.0056, 0.032, -0.0001, float("nan"))
    ] == [
        "-0.6 points",
        "+3.2 points",
        "0.0 points",
        "NaN",
    ]


def test_the_screen_writes_minus_before_numbers_alone() -> None:
    text = 'from -0.5 to +1.0 [-2.0, 3], run 2026-11-21, e-5, 3-4, label "-1", --5, --set a-b (-.5)'
    assert with_minus(text) == (
        'from −0.5 to +1.0 [−2.0, 3], run 2026-11-21, e-5, 3-4, label "-1", --5, --set a-b (−.5)'
    )


def test_blocks_of_the_report_have_it_and_words_of_people_stay() -> None:
    blocks = [
        Paragraph("it is -0.3"),
        Bullets(["by -0.4"]),
        Table(("label", "text", "change"), [("-1", "-2", "-3.0")], ("text",)),
        Figures([("-7", "-8", "-9")]),
    ]
    text = "\n".join(text_of(line) for line in block_lines(blocks, 80))
    for kept in ("it is −0.3", "by −0.4", "-1", "-2", "−3.0", "-7", "−8"):
        assert kept in text


def test_a_long_question_keeps_its_heading() -> None:
    pane = QuizPane()
    pane.questions = [
        Question(
            topic="ece",
            text="Is it so? " * 30,
            choices={"a": "yes", "b": "no"},
            right="a",
            explanation="Because it is. " * 90,
            see=["ece"],
        )
    ]
    pane.answers, pane.top = ["b"], 10_000
    lines = [text_of(line) for line in pane.draw(76, 18)]
    assert len(lines) == 18
    assert lines[0].startswith("Question 1 of 1")
    assert "lines above" in lines[-1]
    assert any("enter continues" in line for line in lines)
