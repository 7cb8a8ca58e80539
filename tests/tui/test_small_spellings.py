"""One sign for a line break, one for minus, ticks and words that are not cut, named references."""

from __future__ import annotations

from pathlib import Path

import pytest
from ftev.core.catalog.summary import Headline
from ftev.core.report.report import build_report
from ftev.core.run.history import read_history
from ftev.core.run.runs import Run
from ftev.core.wording.text import BREAK, quoted, visible
from ftev.tui.drawing.axes import GUTTER, _y_label
from ftev.tui.drawing.format import with_minus
from ftev.tui.drawing.lines import text_of, width_of
from ftev.tui.screens.evaluation.metrics import metric_lines, metric_rows
from ftev.tui.screens.evaluation.sections import VerdictPane
from ftev.tui.screens.run.metric_rows import metric_tables
from ftev.tui.screens.run.pipeline import trace_lines

SAMPLES = Path(__file__).parents[2] / "sample_runs"


def test_a_line_break_has_one_sign() -> None:
    assert visible("a\nb") == f"a{BREAK}b"
    assert quoted(" \n") == f"' {BREAK}'"


@pytest.mark.parametrize("value", [0.4312, 0.43, 0.9995, 1.0, 0.0625, 0.05])
def test_a_tick_of_a_zoomed_axis_is_not_cut(value: float) -> None:
    label = _y_label(value, "share")
    assert len(label) <= GUTTER - 2
    assert label.rstrip(" %") == f"{value * 100:.4g}"


def test_the_headline_names_a_reference_that_is_not_the_base() -> None:
    found = Headline("accuracy", "test", 0.9, 0.8, "probe")
    assert found.text == "accuracy probe 80.0 % → 90.0 % (test)"
    assert Headline("loss", "test", 1.5, 2.5, "base").text == "loss 2.500 → 1.500 (test)"


def test_sentences_have_the_minus_of_the_tables() -> None:
    pane = VerdictPane(id="verdict")
    pane.decision, pane.objective = "ship", "loss better"
    pane.reasons = ("loss on test changes by -2.583 (paired 95 %: -2.701 to -2.468)",)
    text = " ".join(text_of(line) for line in pane._lines(200))
    assert "changes by −2.583 (paired 95 %: −2.701 to −2.468)" in text
    assert with_minus("all-rows, gpt-2, -∞") == "all-rows, gpt-2, −∞"


@pytest.mark.parametrize("width", [72, 76, 100, 160])
@pytest.mark.parametrize("name", ["classification", "generation"])
def test_what_a_metric_reads_is_whole_or_a_sign(name: str, width: int) -> None:
    run = Run(SAMPLES / name)
    history, report = read_history(run), build_report(run)
    reference = "probe" if name == "classification" else "base"
    table = next(t for t in metric_tables(history) if t.split == "test")
    rows = metric_rows(report, "test", reference, table)
    lines = metric_lines(rows, reference, list(report["results"]["test"]), width, 0)
    for line in lines[1:]:
        assert text_of(line).split()[-1] in ("better", "worse", "same", "tell", *"▲▼=·")
        assert width_of(line) <= width


def test_what_is_said_of_an_epoch_has_the_minus_of_its_numbers() -> None:
    history = read_history(Run(SAMPLES / "classification"))
    said = "validation loss fell by 0.007, accuracy -0.5 points: loss and accuracy disagree"
    observed = {(e.step, e.train_loss, e.validation_loss): said for e in history.epochs}
    text = " ".join(text_of(line) for line in trace_lines(history, 200, observed))
    assert "accuracy −0.5 points" in text
    assert "-0.5" not in text
