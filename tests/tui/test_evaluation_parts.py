"""The parts of the evaluation screen: metrics, sections, thresholds, rows."""

from __future__ import annotations

import re
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from ftev.core.analysis.thresholds import thresholds
from ftev.core.config.config import CostConfig, ObjectiveConfig
from ftev.core.metrics import analyses
from ftev.core.metrics.results import ModelResult
from ftev.core.report.blocks import (
    Banner,
    Bullets,
    Exchange,
    Figures,
    Fold,
    Heading,
    Matrix,
    Notice,
    Paragraph,
    Table,
)
from ftev.core.report.report import build_report
from ftev.core.report.sections import show_all
from ftev.core.report.sections.thresholds import describe_other_threshold, show_thresholds
from ftev.core.run.history import read_history
from ftev.core.run.runs import Run
from ftev.core.wording.numbers import format_difference
from ftev.tui.drawing.axes import reliability_lines
from ftev.tui.drawing.lines import table_lines, text_of, width_of
from ftev.tui.drawing.shading import (
    Confusion,
    MatrixView,
    cell_shade,
    describe_cell,
    matrix_lines,
    worst_cells,
)
from ftev.tui.screens.evaluation.metrics import describe_metric, metric_lines, metric_rows
from ftev.tui.screens.evaluation.reading import block_lines, narrowed, ordered_splits, references_of
from ftev.tui.screens.evaluation.thresholds import (
    Thresholds,
    curve_lines,
    format_threshold,
    read_thresholds,
    threshold_lines,
)
from ftev.tui.screens.examples.example_rows import (
    Term,
    examples_of,
    label_query,
    read_query,
    rows_at,
    select,
)
from ftev.tui.screens.run.metric_rows import metric_tables
from scored_splits import LABELS, binary, evaluation, predictions
from stored_runs import labelled, write_run
from test_safety import DANGEROUS, HOSTILE

SAMPLES = Path(__file__).parents[2] / "sample_runs"


def strings(lines: list[list[tuple[str, str]]]) -> list[str]:
    return [text_of(line).rstrip() for line in lines]


def test_a_matrix_has_its_numbers_its_diagonal_and_its_recall() -> None:
    lines = matrix_lines(["ham", "spam"], [[959, 7], [7, 142]], 60)
    assert [line.split() for line in strings(lines)] == [
        ["truth", "↓", "ham", "spam", "recall"],
        ["ham", "[959]", "7", "99.3", "%"],
        ["spam", "7", "[142]", "95.3", "%"],
    ]


def test_a_shade_deepens_with_the_share_and_right_is_not_wrong() -> None:
    assert [cell_shade(n, 100, right=True) for n in (0, 1, 30, 60, 100)] == [
        "muted",
        "right-1",
        "right-2",
        "right-3",
        "right-4",
    ]
    assert cell_shade(50, 100, right=False) == "wrong-3"
    assert cell_shade(1, 0, right=False) == "muted"


@pytest.mark.parametrize("size", [(76, 15), (196, 45), (60, 6)])
def test_a_matrix_of_many_labels_scrolls_with_its_cursor(size: tuple[int, int]) -> None:
    labels = [f"label_{i:02}" for i in range(77)]
    counts = [[30 if i == j else int(j == i + 1) for j in range(77)] for i in range(77)]
    view = MatrixView()
    for across, down in ((76, 0), (0, 76), (-40, -40)):
        view.move(across, down, 77)
        lines = matrix_lines(labels, counts, *size, view)
        assert len(lines) <= max(size[1], 3)
        assert all(width_of(line) <= size[0] for line in lines)
        assert sum(role == "cursor" for line in lines for _, role in line) == 1
        assert "of 77" in text_of(lines[-1])


def test_the_worst_cells_stand_first_and_are_told() -> None:
    counts = [[5, 2, 0], [1, 9, 4], [0, 0, 3]]
    assert worst_cells(counts)[0] == Confusion(4, 1, 2)
    assert (
        describe_cell(["a", "b", "c"], counts, 1, 2)
        == '4 rows of "b" predicted as "c": 28.6 % of its 14.'
    )
    assert describe_cell(["a", "b", "c"], counts, 0, 1).startswith("2 rows")


def test_a_table_gives_up_columns_from_the_right_and_says_so() -> None:
    told = strings(table_lines(("name", "n", "far"), [("a", "1", "x" * 30)], 20))
    assert told == ["name  n", "a     1", "Not shown at this", "width: far."]


def test_every_block_becomes_lines_that_fit_and_obey_nothing() -> None:
    blocks = [
        Heading(HOSTILE),
        Paragraph(HOSTILE),
        Bullets([HOSTILE]),
        Table(["a", "b"], [[HOSTILE, "1"]]),
        Banner("ship", HOSTILE, [HOSTILE]),
        Figures([(HOSTILE, "1", "2")]),
        Notice("warning", "code", HOSTILE),
        Matrix([HOSTILE, "b"], [[1, 2], [3, 4]]),
        Exchange(HOSTILE, [("base", HOSTILE)]),
        Fold(HOSTILE, [Paragraph(HOSTILE)]),
    ]
    for line in block_lines(blocks, 60):
        assert not DANGEROUS.search(text_of(line))
        assert width_of(line) <= 60 or "label" in text_of(line)


def test_the_words_of_the_report_are_the_words_of_the_screen() -> None:
    run = Run(SAMPLES / "classification")
    report = build_report(run)
    told = " ".join(" ".join(strings(block_lines(show_all(report), 200))).split())
    for reason in report["verdict"]["reasons"]:
        assert " ".join(reason.split()) in told.replace(" · ", " ")


def test_metrics_are_those_of_the_report_in_every_width() -> None:
    run = Run(SAMPLES / "classification")
    history = read_history(run)
    report = build_report(run, history)
    split = ordered_splits(report)[0]
    reference = references_of(report, split)[0]
    assert (split, reference) == ("test", "probe")
    assert {c.from_model for c in narrowed(report, split, "majority")["comparisons"]} == {
        "majority"
    }
    table = next(t for t in metric_tables(history, "accuracy") if t.split == split)
    rows = metric_rows(report, split, reference, table)
    wanted = next(
        c
        for c in report["comparisons"]
        if (c.split, c.from_model, c.metric) == (split, reference, "accuracy")
    )
    change = format_difference("accuracy", wanted.difference).removesuffix(" points")
    for width in (76, 120, 196):
        lines = metric_lines(rows, reference, list(report["results"][split]), width, 0)
        assert all(width_of(line) <= width for line in lines)
        assert change in text_of(lines[1])
        assert "80.0 %" in text_of(lines[1])
        assert "90.0 %" in text_of(lines[1])
    told = " ".join(strings(describe_metric(rows[0], reference, 80)))
    assert "of the linear probe 80.0 %" in told
    assert "better" in told


def test_a_query_is_read_term_by_term_and_faults_are_told() -> None:
    found = read_query('free label=spam predicted="not spam" conf>90% loss<=2 kind!=right')
    assert found.terms == (
        Term("text", "has", "free"),
        Term("label", "=", "spam"),
        Term("predicted", "=", "not spam"),
        Term("confidence", ">", 0.9),
        Term("loss", "<=", 2.0),
        Term("kind", "!=", "right"),
    )
    assert read_query("conf>high").faults == ("conf> needs a number",)
    assert read_query('an "open').terms[1] == Term("text", "has", "open")
    assert label_query("a b", "c") == 'label="a b" predicted=c'
    assert read_query(label_query("a b", "c")).terms[0].value == "a b"


def test_rows_are_found_ordered_and_counted_as_flips_are(tmp_path: Path) -> None:
    frames = {"probe": labelled(skill=0.5, seed=1), "tuned": labelled(skill=2.0, seed=2)}
    run = write_run(tmp_path / "a", frames)
    history = read_history(run)
    e = examples_of(run, history, "test", "probe")
    wrong = frames["tuned"].filter(pl.col("label") != pl.col("predicted"))
    broke_or_wrong = sum(len(select(e, read_query(""), k, "row", ())) for k in ("broke", "wrong"))
    assert broke_or_wrong == wrong.height
    cell = select(e, read_query("label=yes predicted=no"), "", "row", ())
    assert len(cell) == wrong.filter(pl.col("label") == "yes").height
    surest = select(e, read_query("conf>0.5"), "", "confidence", ())
    told = [r["confidence"] for r in rows_at(e, surest, 0, 5)]
    assert told == sorted(told, reverse=True)
    assert [
        r["row_id"] for r in rows_at(e, select(e, read_query("row=7"), "", "row", ()), 0, 9)
    ] == [7]
    assert len(select(e, read_query(""), "", "row", (3, 5))) == 2
    assert len(select(e, read_query("NUMBER 11"), "", "row", ())) == len(
        [i for i in range(120) if "11" in str(i)]
    )


def test_the_panel_gives_the_report_s_figures_at_the_report_s_thresholds() -> None:
    run = Run(SAMPLES / "classification")
    history = read_history(run)
    told = history.analyses["test"]["thresholds"]["tuned"]
    frame = pl.read_parquet(run.predictions / "test.tuned.parquet")
    panel = read_thresholds(frame, history.labels, told)
    assert panel is not None
    assert panel.threshold == told.chosen.threshold
    for way, threshold in (("at_half", 0.5), ("at_threshold", panel.chosen)):
        f = panel.figures(threshold)
        (alone, false), (missed, found) = getattr(told, way).confusion.counts
        assert (f.true_negatives, f.false_positives, f.false_negatives, f.true_positives) == (
            alone,
            false,
            missed,
            found,
        )
        for name in ("precision", "recall", "f1"):
            assert getattr(f, name) == pytest.approx(getattr(told, way).metrics[name].value)
    began = time.perf_counter()
    for _ in range(20):
        panel.move(-1)
        threshold_lines(panel, 80)
        curve_lines(panel, 90, 14)
    assert (time.perf_counter() - began) / 20 < 0.05
    panel.move(-10_000)
    assert panel.figures(panel.threshold).false_negatives == 0
    panel.reset()
    assert panel.threshold == panel.chosen


def test_the_diagram_fits_and_marks_every_bin() -> None:
    bins = [
        analyses.Bin(
            c, c, 10, confidence=c, accuracy=a, accuracy_low=a - 0.1, accuracy_high=a + 0.1
        )
        for c, a in ((0.3, 0.4), (0.8, 0.7))
    ]
    for ascii_only in (False, True):
        lines = reliability_lines(bins, 50, 14, ascii_only=ascii_only)
        assert len(lines) == 14
        assert "".join(strings(lines)).count("●") == 2
        assert all(width_of(line) <= 50 for line in lines)
    assert reliability_lines(bins, 5, 3) == []


def panel_of(frame: pl.DataFrame) -> Thresholds:
    chosen = analyses.OperatingPoint(0.3, precision=0.5, recall=0.5, f1=0.5)
    aim = analyses.ThresholdAim("f1")
    found = analyses.Thresholds(positive="spam", aim=aim, in_use=False, chosen=chosen)
    panel = read_thresholds(frame, LABELS, found)
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
    assert axis.startswith('all rows predicted "')
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
    tuned = ModelResult(n=400, metrics={}, threshold=result.chosen.threshold)
    return {
        "analyses": {"test": {"thresholds": {"tuned": result}}},
        "results": {"test": {"tuned": tuned}},
    }


def test_V13_figures_say_their_threshold_and_what_they_would_be_at_half() -> None:
    report = with_cost()
    sentence = describe_other_threshold(report, "test")
    assert "labels a row “spam” when its probability is at least 0.3" in sentence
    assert "all its figures use this threshold" in sentence
    assert 'At 0.5 it would have precision of "spam" –, recall of "spam" 0.0 %' in sentence
    assert describe_other_threshold({"analyses": {}, "results": {}}, "test") == ""


def test_precision_of_no_row_is_a_dash_in_the_report_as_on_the_screen() -> None:
    tables = [b for b in show_thresholds(with_cost()) if isinstance(b, Table)]
    precision = next(row for row in tables[0].rows if row[0].startswith("precision of"))
    assert precision[1] == "–"
    assert precision[3] == "–"
