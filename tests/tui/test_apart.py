"""Labels cut to a width and runs of one name can be told from one another; doubt says why."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from ftev.core.metrics.results import Comparison
from ftev.core.run.runs import Run
from ftev.tui.drawing.format import cut_apart, fit_middle, name_runs
from ftev.tui.drawing.lines import text_of
from ftev.tui.drawing.shading import matrix_lines
from ftev.tui.screens.evaluation.metrics import Row, doubt_note
from ftev.tui.screens.examples.example_list import example_line, example_widths
from ftev.tui.screens.examples.example_rows import Examples
from msgspec.structs import replace

LABELS = ("card_arrival", "declined_card_payment", "declined_cash_withdrawal", "declined_transfer")


def test_labels_with_one_beginning_keep_their_ends() -> None:
    for width in (10, 12, 16, 30):
        cut = cut_apart(LABELS, width)
        assert len(set(cut)) == len(LABELS)
        assert all(len(name) <= width for name in cut)
    assert cut_apart(LABELS, 10)[0] == "card_arri…"  # its beginning is enough
    assert cut_apart(LABELS, 10)[1:] == ("dec…ayment", "dec…drawal", "dec…ansfer")
    alike = ("top_up_by_card_charge", "top_up_by_bank_transfer_charge")
    assert cut_apart(alike, 10) == ("t…d_charge", "t…r_charge")
    assert fit_middle("日本語のラベル", 8, 2) == "日…ベル "
    assert fit_middle("short", 8, 2) == "short   "


def test_a_wrong_row_shows_two_labels() -> None:
    row = {"row_id": 1, "kind": "wrong", "text": "t", "leak": False, "before": LABELS[1]}
    row |= {"label": LABELS[1], "predicted": LABELS[3], "confidence": 0.5, "loss": 1.0}
    e = Examples("test", "probe", True, pl.DataFrame([row]), {}, LABELS)
    line = text_of(example_line(e, row, example_widths(e, 76), chosen=False))
    assert "dec…ayment" in line
    assert "dec…ansfer" in line


def test_rows_of_a_matrix_have_names_of_their_own() -> None:
    counts = [[9 if i == j else 0 for j in range(4)] for i in range(4)]
    names = [text_of(line).split()[0] for line in matrix_lines(list(LABELS), counts, 70)[1:]]
    assert len(set(names)) == 4


def runs(*ids: str) -> list[tuple[str, Run]]:
    return [("gsm8k", Run(Path("runs") / run_id)) for run_id in ids]


def test_runs_of_one_name_tell_when_they_started() -> None:
    named = runs("2026-11-21_13-52-57_gsm8k", "2026-11-21_14-10-00_gsm8k")
    named.append(("other", Run(Path("runs/2026-11-21_13-52-57_other"))))
    lines = [name for name, _ in name_runs(named)]
    assert lines == ["gsm8k 13:52", "gsm8k 14:10", "other"]
    assert name_runs(name_runs(named)) == name_runs(named)
    by_second = name_runs(runs("2026-11-21_13-52-57_gsm8k", "2026-11-21_13-52-59_gsm8k"))
    assert [name for name, _ in by_second] == ["gsm8k 13:52:57", "gsm8k 13:52:59"]
    by_day = name_runs(runs("2026-11-21_13-52-57_gsm8k", "2026-11-22_13-52-57_gsm8k"))
    assert [name for name, _ in by_day] == ["gsm8k 11-21 13:52", "gsm8k 11-22 13:52"]
    copies = name_runs(runs("copy", "2026-11-22_13-52-57_gsm8k"))
    assert [name for name, _ in copies] == ["copy", "2026-11-22_13-52-57_gsm8k"]


def test_cannot_tell_beside_an_interval_without_0_says_why() -> None:
    c = Comparison(
        split="test",
        metric="rougeL",
        from_model="base",
        to_model="tuned",
        difference=0.84,
        low=0.09,
        high=1.59,
        p=0.03,
        method="paired",
    )
    corrected = Row("rougeL", {}, replace(c, p_holm=0.09), primary=False)
    assert doubt_note([corrected]) == (
        "· where the interval excludes 0: p, adjusted for multiple comparisons, is above 0.05."
    )
    assert doubt_note([Row("rougeL", {}, c, primary=True)]) == ""
