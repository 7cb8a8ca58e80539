"""`flips`, `compare` and `review` as a person or a script meets them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ftev.core.run.runs import Run
from stored_runs import labelled, write_run
from test_cli import ESCAPE, document, ftev, on_terminal


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, seed in (("2026-01-01_first", 1), ("2026-01-02_second", 2)):
        frames = {"probe": labelled(seed=9), "tuned": labelled(seed=seed, skill=1.5)}
        write_run(tmp_path / name, frames)
    return tmp_path


def test_flips_are_printed_with_their_text(folder: Path) -> None:
    done = ftev("flips", "latest", "--runs-dir", str(folder), "--limit", "3")
    assert done.returncode == 0
    assert "tuned against the linear probe" in done.stdout
    assert "fixed: 3 of" in done.stdout
    assert "text number" in done.stdout
    assert ESCAPE not in done.stdout
    found = document("flips", "latest", "--runs-dir", str(folder), "--kind", "broke", "--json")
    assert list(found["rows"]) == ["broke"]
    assert len(found["rows"]["broke"]) == min(20, found["counts"]["broke"])


def test_compare_prints_differences_and_takes_json(folder: Path) -> None:
    names = ("2026-01-01", "2026-01-02", "--runs-dir", str(folder))
    done = ftev("compare", *names)
    assert done.returncode == 0, done.stderr
    assert "Paired differences in macro F1" in done.stdout
    assert "fixed" not in done.stdout.lower()  # these counts add up to accuracy alone (V15)
    assert "Fixed: rows wrong" in ftev("compare", *names, "--metric", "accuracy").stdout
    found = document("compare", *names, "--json", "--metric", "accuracy")
    assert found["metric"] == "accuracy"
    assert [r["name"] for r in found["runs"]] == ["2026-01-01_first", "2026-01-02_second"]
    assert "Paired" in on_terminal("compare", *names)


def test_compare_refuses_with_exit_code_2(folder: Path) -> None:
    done = ftev("compare", "2026-01-01", "--runs-dir", str(folder))
    assert (done.returncode, done.stdout) == (2, "")
    assert "two runs or more" in done.stderr


def test_hostile_text_of_a_row_is_pictured(tmp_path: Path) -> None:
    frame = labelled(4).with_columns(input=pl_text("\x1b[2Jgone\nnext"))
    wrong = frame.with_columns(predicted=pl_text("no"))
    right = frame.with_columns(predicted="label")
    run = write_run(tmp_path / "a", {"base": wrong, "tuned": right})
    done = ftev("flips", str(run.path), "--kind", "fixed")
    assert ESCAPE not in done.stdout
    assert "␛[2Jgone↵next" in done.stdout


def pl_text(text: str):  # type: ignore[no-untyped-def]
    import polars as pl

    return pl.lit(text)


def test_a_summary_of_nothing_is_told(folder: Path) -> None:
    answers = [("p", "a", "b")]
    run: Run = write_run(folder / "2026-01-03_third", {}, answers=answers)
    done = ftev("review", str(run.path), "--summary")
    assert done.returncode == 2
    assert "nothing is judged yet" in done.stderr
    found = json.loads(ftev("review", str(run.path), "--json").stdout)
    assert (found["pairs"], found["judged"], len(found["waiting"])) == (1, 0, 1)
