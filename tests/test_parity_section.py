"""What the report and `eval --self-test` say of drift, and when they say that it is too much."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import records
import story
from ftev.core.config.config_file import check_config
from ftev.core.errors import ConfigError
from ftev.core.report.blocks import Bullets, Heading, Paragraph, Table
from ftev.core.report.report import build_report
from ftev.core.report.sections import SECTIONS
from ftev.core.report.sections.parity import show_parity
from ftev.core.run.events import AnalysisComputed, spell_numbers
from ftev.core.run.history import fold
from ftev.core.wording.numbers import format_drift
from ftev.tui.commands.follow import ProgressLines, print_self_test


def measured(key: str, name: str, drift: float, changed: int = 0) -> dict[str, Any]:
    return {
        key: name,
        "largest_nll_drift": drift,
        "largest_loss_drift": drift,
        "worst_row": 3,
        "changed_predictions": changed,
        "changed_rows": [3][:changed],
    }


def self_test(drift: float = 2e-7, changed: int = 0, passed: bool = True) -> dict[str, Any]:
    return {
        "rows": 32,
        "of": 200,
        "precision": "float32",
        "device": "cpu",
        "unit": "row",
        "passed": passed,
        "tolerance": 1e-5,
        "largest_nll_drift": drift,
        "largest_loss_drift": drift,
        "changed_predictions": changed,
        "changed_rows": [3][:changed],
        "layouts": [measured("layout", "1 row at a time", drift, changed)],
        "left_out": [{"layout": "8 rows, padded on the left", "reason": "an encoder"}],
    }


def deployed(drift: float = 0.0, passed: bool = True, **more: Any) -> dict[str, Any]:
    form = measured("weights", "read back from model/", drift)
    form |= {"tolerance": 1e-5, "metric": 0.9, "dtype": "float32", "tied_embeddings": False}
    result = self_test(drift, passed=passed) | {
        "metric": "accuracy",
        "scored": 0.9,
        "weights": [form],
        "skipped": [],
        "adapter": False,
        "tied_embeddings": False,
        "stored_dtype": "F32",
    }
    return result | more


def fact(name: str, result: dict[str, Any]) -> AnalysisComputed:
    plain = spell_numbers(result)
    return records.analysis(name, plain, "test", "tuned")


def blocks(folder: Path, *facts: AnalysisComputed) -> list[Any]:
    events = [*story.whole()[:-1], *facts]
    return show_parity(build_report(story.write_story(folder / "run", events)))


def text(found: list[Any]) -> str:
    return "\n".join(b.text for b in found if isinstance(b, Heading | Paragraph))


def test_a_run_without_either_says_nothing(tmp_path: Path) -> None:
    assert blocks(tmp_path) == []
    assert show_parity in [known.show for known in SECTIONS]


def test_agreement_is_told_with_the_rows_and_the_drift(tmp_path: Path) -> None:
    found = blocks(tmp_path, fact("self_test", self_test()), fact("parity", deployed()))
    result = text(found)
    assert "32 of the 200 rows of test, of all lengths, scored again by the tuned model" in result
    assert result.count("they agree with the stored scores") == 2
    assert "The largest drift of a row's loss is 2.0e-07" in result
    assert "In the stored scores, accuracy of these rows is 90.0 %" in result
    assert "model/ holds whole weights in F32." in result
    tables = [b for b in found if isinstance(b, Table)]
    assert [row[0] for t in tables for row in t.rows] == [
        "1 row at a time",
        "read back from model/",
    ]
    assert all(len(row) == len(t.columns) for t in tables for row in t.rows)
    (left_out,) = [b for b in found if isinstance(b, Bullets)]
    assert left_out.items == ["8 rows, padded on the left: not tested, an encoder."]


@pytest.mark.parametrize("drift", [0.3, math.nan])
def test_drift_beyond_the_tolerance_is_said_loudly(tmp_path: Path, drift: float) -> None:
    bad = self_test(drift, changed=1, passed=False)
    found = text(blocks(tmp_path, fact("self_test", bad)))
    assert "THEY DO NOT AGREE" in found
    assert "1.0e-05 is allowed; 1 label changed" in found
    assert ("NaN" if math.isnan(drift) else "0.3") in found


def test_weights_that_cannot_be_read_are_said(tmp_path: Path) -> None:
    skipped = [{"weights": "read back from model/", "reason": "no such file", "failed": True}]
    lost = deployed(passed=False, weights=[], skipped=skipped)
    found = blocks(tmp_path, fact("parity", lost))
    assert "read back from model/ could not be scored" in text(found)
    assert not [b for b in found if isinstance(b, Table)]


def test_an_adapter_names_its_base_and_tied_embeddings_are_noted(tmp_path: Path) -> None:
    found = deployed(unit="token", adapter=True, adapter_base="some/base", tied_embeddings=True)
    words = text(blocks(tmp_path, fact("parity", found)))
    assert "model/ holds an adapter in F32, to be put on some/base." in words
    assert "The output layer is tied to the input embeddings." in words


def test_eval_prints_each_layout_and_fails_where_scores_change() -> None:
    lines: list[str] = []
    assert print_self_test(fold([fact("self_test", self_test())]), lines.append) == 0
    assert "they agree" in lines[0]
    assert "1 row at a time" in lines[2]
    assert "2.0e-07" in lines[2]
    assert "tolerance 1.0e-05" in lines[-1]
    bad = fact("self_test", self_test(0.2, changed=1, passed=False))
    assert print_self_test(fold([bad]), lines.append) == 1
    assert print_self_test(fold([]), lines.append) == 1
    assert "nothing was tested" in lines[-1]


def test_plain_lines_tell_both() -> None:
    history, teller = fold([]), ProgressLines()
    (line,) = teller.lines(fact("self_test", self_test()), history)
    assert line.startswith("  self-test: 32 of the 200 rows of test")
    (line,) = teller.lines(fact("parity", deployed()), history)
    assert line.startswith("  deploy parity: 32 of the 200 rows of test")
    assert teller.lines(fact("slices", {}), history) == []


def test_rows_to_score_anew_cannot_be_negative() -> None:
    table = {
        "task": "classification",
        "model": {"base": "m"},
        "data": {"train": "t.csv"},
        "evaluate": {"self_test_rows": -1, "parity_rows": -2},
    }
    with pytest.raises(ConfigError) as caught:
        check_config(table)
    assert [f.where for f in caught.value.faults] == [
        "config evaluate.self_test_rows",
        "config evaluate.parity_rows",
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, "0"), (3.14e-7, "3.1e-07"), (0.0213, "0.0213"), (2.5, "2.5"), ("NaN", "NaN")],
)
def test_drift_is_short_and_exact_enough(value: Any, expected: str) -> None:
    assert format_drift(value) == expected
