"""Where to cut: curves known without colour, a threshold in digits enough, one story of two."""

from __future__ import annotations

import re

import numpy as np
import polars as pl
from ftev.core.analysis.thresholds import thresholds
from ftev.core.config.config import CostConfig, ObjectiveConfig
from ftev.core.report.blocks import Table
from ftev.core.report.sections.thresholds import describe_other_threshold, show_thresholds
from ftev.tui.drawing.lines import text_of, width_of
from ftev.tui.screens.evaluation.threshold_curves import curve_lines
from ftev.tui.screens.evaluation.thresholds import Thresholds, format_threshold, read_thresholds
from scored_splits import LABELS, binary, evaluation, predictions


def panel_of(frame: pl.DataFrame) -> Thresholds:
    told = {"positive": "spam", "chosen": {"threshold": 0.3}}
    panel = read_thresholds(frame, LABELS, told)
    assert panel is not None
    return panel


def told(panel: Thresholds, width: int = 60, *, ascii_only: bool = False) -> list[str]:
    lines = curve_lines(panel, width, 14, ascii_only=ascii_only)
    assert len(lines) == 14
    assert all(width_of(line) <= width for line in lines)
    return [text_of(line) for line in lines]


def test_curves_are_known_without_colour() -> None:
    panel = panel_of(predictions(400, seed=3))
    *_, axis, legend = told(panel)
    assert axis.startswith('all rows called "')
    assert axis.endswith("none")
    names = [part for part in legend.split() if part.isascii()]
    assert names[:3] == ["precision", "recall", "F1"]
    whole, dashed, dotted = re.findall("[\u2800-\u28ff ]+(?= [a-zF])", " " + legend)[:3]
    assert len({whole.strip(), dashed.strip(), dotted.strip()}) == 3
    assert len(set(whole.strip())) == 1
    *drawn, axis, legend = told(panel, ascii_only=True)
    assert legend.startswith("p precision  r recall  f F1")
    assert set("prf") <= set("".join(drawn))
    assert "".join(told(panel, ascii_only=True)).isascii()


def test_here_and_chosen_have_their_own_lines() -> None:
    panel = panel_of(predictions(400, seed=3))
    assert "│ here" in told(panel)[-2]
    panel.move(-40)
    *drawn, axis, _ = told(panel)
    assert "│ here  ┊ best F1" in axis
    assert {"│", "┊"} <= set("".join(drawn))


def test_a_threshold_near_1_has_the_digits_that_tell_it_from_the_next() -> None:
    scores = 1 - np.arange(1, 9) * 1e-5
    panel = panel_of(binary([1, 1, 0, 1, 0, 1, 0, 0], scores))
    shown = [format_threshold(panel, stop) for stop in panel.stops]
    assert len(set(shown)) == len(panel.stops)
    assert "0.99998" in shown
    assert shown[-1].startswith("> ")
    assert max(map(len, shown)) <= 9
    assert format_threshold(panel, 0.5) == "0.500"


def with_cost() -> dict[str, object]:
    """No row reaches 0.5, and a miss costs twenty times a false alarm."""
    rng = np.random.default_rng(1)
    truth = (rng.random(400) < 0.1).astype(int)
    frame = binary(truth, np.where(truth, 0.3, 0.1) + 0.05 * rng.random(400))
    aim = ObjectiveConfig(cost=CostConfig(fp=1, fn=20))
    found = thresholds(evaluation(objective=aim, validation=frame, tuned=frame))
    result = next(a.result for a in found if a.model == "tuned")
    at = result["chosen"]["threshold"]
    return {
        "analyses": {"test": {"thresholds": {"tuned": result}}},
        "results": {"test": {"tuned": {"threshold": at}}},
    }


def test_V13_figures_say_their_threshold_and_what_they_would_be_at_half() -> None:
    report = with_cost()
    sentence = describe_other_threshold(report, "test")
    assert "calls a row “spam” from a probability of 0.3" in sentence
    assert "every figure of it is at that threshold" in sentence
    assert 'At 0.5 it would have precision of "spam" –, recall of "spam" 0.0 %' in sentence
    assert describe_other_threshold({"analyses": {}, "results": {}}, "test") == ""


def test_precision_of_no_row_is_a_dash_in_the_report_as_on_the_screen() -> None:
    tables = [b for b in show_thresholds(with_cost()) if isinstance(b, Table)]
    precision = next(row for row in tables[0].rows if row[0].startswith("precision of"))
    assert precision[1] == "–"
    assert precision[3] == "–"
