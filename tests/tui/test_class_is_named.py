"""Precision, recall and F1 name their class on every screen and in every file that is read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ftev.core.judgement.verdict import describe_objective
from ftev.core.report.formats.card import render_card
from ftev.core.report.receipts import receipt
from ftev.core.report.report import build_report, render_markdown
from ftev.core.run.history import fold, read_history
from ftev.core.run.runs import Run
from ftev.core.wording.names import name_metric, title_metric
from ftev.tui.drawing.lines import text_of
from ftev.tui.screens.charts.data import ChartData
from ftev.tui.screens.evaluation.metrics import describe_metric, metric_rows
from ftev.tui.screens.run.metric_rows import metric_tables
from ftev.tui.screens.run.metrics import table_lines
from msgspec.structs import replace
from story import beginning, config, validated

SAMPLE = Run(Path(__file__).parents[2] / "sample_runs" / "classification")
OF_ONE = ("precision", "recall", "f1")


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    return build_report(SAMPLE)


@pytest.fixture(scope="module")
def positive(report: dict[str, Any]) -> str:
    return str(report["results"]["test"]["tuned"].positive)


def test_names() -> None:
    assert name_metric("recall", "fraud") == 'recall of "fraud"'
    assert name_metric("f1", "fraud") == 'F1 of "fraud"'
    assert name_metric("macro_f1", "fraud") == "macro F1"
    assert name_metric("recall") == "recall"
    assert title_metric("precision", "fraud") == 'precision of "fraud"'
    assert title_metric("average_precision", "fraud") == 'average precision of "fraud"'
    assert title_metric("macro_f1", "fraud") == "macro-averaged F1"


def test_the_tables_of_the_report_name_the_class(report: dict[str, Any], positive: str) -> None:
    markdown = render_markdown(report)
    for table in ("## Metrics", "## Paired differences"):
        part = markdown.split(table)[1].split("\n## ")[0]
        assert not re.search(r"^\| (precision|recall|f1|F1) \|", part, re.MULTILINE)
        assert f'| recall of "{positive}" |' in part


def test_the_card_names_the_class(report: dict[str, Any], positive: str) -> None:
    card = render_card(report, SAMPLE.config())
    for name in ("precision", "recall", "F1"):
        assert f'name: {name} of "{positive}"' in card
    assert "of the positive label" not in card


def test_receipts_name_the_class(positive: str) -> None:
    history = read_history(SAMPLE)
    for metric in OF_ONE:
        found = receipt(history, SAMPLE.config(), "test", "tuned", metric)
        assert found.title == name_metric(metric, positive)


def test_panes_name_the_class(report: dict[str, Any], positive: str) -> None:
    table = metric_tables(read_history(SAMPLE))[0]
    assert f'precision, recall and F1 of "{positive}"' in text_of(table_lines(table, 120, None)[0])
    rows = {r.metric: r for r in metric_rows(report, "test", "probe", table)}
    sentence = " ".join(map(text_of, describe_metric(rows["recall"], "probe", 200)))
    assert f'recall of "{positive}" of tuned is' in sentence


def test_charts_name_the_class() -> None:
    confused = [(0, 0, 8), (0, 1, 2), (1, 0, 1), (1, 1, 9)]
    evaluations = [replace(validated(i), confusion=confused) for i in (0, 1)]
    data = ChartData()
    data.update(fold([*beginning()[:-1], *evaluations]))
    assert data.chart("recall").title == 'recall of "positive"'
    assert data.chart("accuracy").title == "accuracy"


def test_the_objective_names_the_class() -> None:
    history = fold(beginning())
    found = describe_objective(history, config(metric="recall", at_least=0.8))
    assert found == 'recall of "positive" at least 80.0 %'
