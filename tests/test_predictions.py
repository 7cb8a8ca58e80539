"""Damaged files of predictions: every command names the file, the column and the remedy."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import stored_runs
from ftev.core.analysis.predictions import read_frame
from ftev.core.compare.compare import compare_runs
from ftev.core.errors import RunError
from ftev.core.report.formats.csv import row_frames
from ftev.core.report.report import build_report
from ftev.core.report.verify.verify import verify
from ftev.core.run.runs import Run
from ftev.tui.cli import main
from ftev.tui.commands.flips import flip_list

GOOD = {"classification": stored_runs.labelled(), "generation": stored_runs.written()}
SECOND = pl.int_range(pl.len()) == 1


def emptied(column: str) -> pl.Expr:
    return pl.when(SECOND).then(None).otherwise(pl.col(column)).alias(column)


DAMAGED = [
    ("classification", lambda f: f.drop("predicted"), "no column 'predicted'"),
    ("classification", lambda f: f.drop("row_id"), "no column 'row_id'"),
    ("classification", lambda f: pl.DataFrame({"a": [1]}), "no column 'label'"),
    ("classification", lambda f: f.with_columns(label=7), "'label' holds Int32, not text"),
    ("classification", lambda f: f.with_columns(emptied("label")), "'label' has no value in 1 row"),
    ("classification", lambda f: f.with_columns(pl.col("row_id") * 1.0), "'row_id' holds Float64"),
    ("classification", lambda f: pl.concat([f, f.head(3)]), "3 rows stand in it again"),
    (
        "classification",
        lambda f: f.with_columns(probabilities=0.5),
        "'probabilities' holds Float64",
    ),
    (
        "classification",
        lambda f: f.with_columns(probabilities=pl.lit([0.5, 0.3, 0.2])),
        "lists of 3 numbers, and there are 2 labels",
    ),
    (
        "classification",
        lambda f: f.with_columns(probabilities=pl.lit([0, 1])),
        "'probabilities' holds List(Int64)",
    ),
    (
        "classification",
        lambda f: f.with_columns(predicted=pl.lit([0.5, 0.5])),
        "'predicted' holds List(Float64), not text",
    ),
    ("classification", lambda f: f.with_columns(content=pl.lit("x")), "'content' holds String"),
    *(
        ("generation", lambda f, c=c: f.with_columns(emptied(c)), f"{c!r} has no value in 1 row")
        for c in ("row_id", "nll", "tokens", "correct", "bytes")
    ),
    ("generation", lambda f: f.with_columns(nll=pl.lit("x")), "'nll' holds String, not numbers"),
    ("generation", lambda f: f.drop("tokens"), "no column 'tokens'"),
    ("generation", lambda f: GOOD["classification"], "no column 'nll'"),
]


@pytest.mark.parametrize(("task", "damage", "expected"), DAMAGED)
def test_a_file_that_lacks_something_is_told_by_column(tmp_path, task, damage, expected) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "test.tuned.parquet"
    damage(GOOD[task]).write_parquet(path)
    with pytest.raises(RunError) as found:
        read_frame(path, task, stored_runs.LABELS if task == "classification" else ())
    assert expected in str(found.value)
    assert str(path) in str(found.value)
    assert "Run the evaluation again" in str(found.value)


@pytest.mark.parametrize("task", ["classification", "generation"])
def test_a_whole_file_is_read_as_it_is(tmp_path: Path, task: str) -> None:
    path = tmp_path / "test.tuned.parquet"
    GOOD[task].write_parquet(path)
    assert read_frame(path, task).equals(GOOD[task])


def test_damaged_bytes_folders_and_nothing_are_told(tmp_path: Path) -> None:
    path = tmp_path / "test.tuned.parquet"
    GOOD["generation"].write_parquet(path)
    whole = path.read_bytes()
    spoilt = whole[:200] + b"\xff" * 300 + whole[500:]
    for content in (b"", whole[: len(whole) // 2], b"PAR1" + bytes(99) + b"PAR1", spoilt):
        path.write_bytes(content)
        with pytest.raises(RunError, match=r"tuned\.parquet") as refused:
            read_frame(path, "generation")
        [fault] = refused.value.faults
        assert fault.what.startswith("cannot be read: ")
        assert len(fault.what.splitlines()) == 1
        assert "it is damaged" not in fault.what  # polars has a reason of its own
    with pytest.raises(RunError, match="it is no file"):
        read_frame(tmp_path, "generation")
    with pytest.raises(RunError, match="no such file"):
        read_frame(tmp_path / "x", "generation")


def made(folder: Path, damage: bool = True) -> Run:
    frames = {"base": stored_runs.labelled(seed=1), "tuned": stored_runs.labelled(skill=2.0)}
    run = stored_runs.write_run(folder, frames)
    if damage:
        path = run.predictions / "test.tuned.parquet"
        pl.read_parquet(path).drop("predicted").write_parquet(path)
    return run


def test_commands_that_read_rows_name_the_damaged_file(tmp_path: Path) -> None:
    run, other = made(tmp_path / "a"), made(tmp_path / "b", damage=False)
    for ask in (
        lambda: flip_list(run),
        lambda: compare_runs([other, run]),
        lambda: row_frames(run, build_report(run)),
    ):
        with pytest.raises(RunError, match=r"test\.tuned\.parquet: there is no column 'predicted'"):
            ask()


def test_verify_goes_on_with_the_other_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = made(tmp_path / "a")
    checks = {c.what: c for c in verify(run)}
    bad = checks["predictions/test.tuned.parquet"]
    assert bad.ok is False
    assert "no column 'predicted'" in bad.message
    assert checks["rows of test base"].ok is True
    assert "rows of test tuned" not in checks
    assert main(["verify", str(run.path)]) == 1
    assert "Traceback" not in capsys.readouterr().err


def test_a_split_that_is_not_stored_is_bad_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = made(tmp_path / "a", damage=False)
    assert main(["flips", str(run.path), "--split", "nosuch"]) == 2
    assert "Known: test" in capsys.readouterr().err


def test_the_input_of_a_row_goes_by_its_id(tmp_path: Path) -> None:
    run = made(tmp_path / "a", damage=False)
    path = run.predictions / "test.tuned.parquet"
    pl.read_parquet(path).reverse().write_parquet(path)
    path = run.predictions / "test.base.parquet"
    pl.read_parquet(path).reverse().write_parquet(path)
    rows = row_frames(run, build_report(run))["test"]
    assert rows["input"].to_list() == [f"text number {i}" for i in rows["row_id"]]
