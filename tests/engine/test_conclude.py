"""What is stored beside predictions, so that a row is known again."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

pytest.importorskip("torch", reason="the engine's tests need torch")

from ftev.core.engine.conclude import _store
from ftev.core.runs import Run


def stored(folder: Path, form: str, source: pl.DataFrame, rows: int) -> pl.DataFrame:
    split = SimpleNamespace(frame=source)
    session = SimpleNamespace(run=Run(folder), form=form, dataset=None)
    session.dataset = SimpleNamespace(splits={"test": split})
    session.run.predictions.mkdir()
    predictions = pl.DataFrame({"row_id": range(rows), "nll": [1.0] * rows})
    _store(session, "test", "tuned", predictions)  # type: ignore[arg-type]
    return pl.read_parquet(session.run.predictions / "test.tuned.parquet")


def source(**columns: list[str]) -> pl.DataFrame:
    content = pl.Series("content", [11, 12], dtype=pl.UInt64)
    return pl.DataFrame({"row_id": [0, 1], **columns}).with_columns(content)


def test_rows_have_their_hash_and_the_beginning_of_their_input(tmp_path: Path) -> None:
    frame = stored(
        tmp_path, "prompt_completion", source(prompt=["ask", "é" * 900], completion=["a", "b"]), 2
    )
    assert frame["content"].to_list() == [11, 12]
    assert frame["input"].to_list() == ["ask", "é" * 500]


def test_windows_of_documents_get_no_hash_of_another_row(tmp_path: Path) -> None:
    """Windows are numbered anew: their ids are not those of the documents."""
    frame = stored(tmp_path, "text", source(text=["long one", "long two"]), 5)
    assert frame["content"].to_list() == [None] * 5
    assert frame["input"].to_list() == [None] * 5
    assert frame.schema["content"] == pl.UInt64
