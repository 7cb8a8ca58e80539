"""Files that hold far more than they seem to are refused in words, and honest ones are read."""

from __future__ import annotations

import io
from pathlib import Path

import bombs
import numpy as np
import polars as pl
import pytest
from data_files import TEN, faults, read, write_csv, write_jsonl
from ftev.core.analysis.predictions import read_frame
from ftev.core.data import conversations, rows
from ftev.core.data import faults as data_faults
from ftev.core.data.formats.parquet import read_parquet, unpacked_size
from ftev.core.errors import DataError, RunError
from ftev.core.files import disk
from stored_runs import labelled


def parquet(frame: pl.DataFrame) -> bytes:
    file = io.BytesIO()
    frame.write_parquet(file)
    return file.getvalue()


@pytest.mark.parametrize("name", bombs.SMALL)
def test_a_small_file_that_holds_far_more_is_refused_in_a_sentence(
    tmp_path: Path, name: str
) -> None:
    bombs.BOMBS[name](tmp_path / name)
    found = bombs.check(tmp_path / name, most=6_144)
    assert found.code == 2, found.said
    assert found.said.startswith(f"ftev: {name}: h")
    assert found.said.count("\n") == 1
    assert found.peak < 512  # MiB


def test_pages_tell_what_a_table_takes() -> None:
    for frame in (
        labelled(300),
        pl.DataFrame({"a": [f"{i} " * 200 for i in range(500)]}),
        pl.DataFrame({"a": [[{"b": "text", "c": 1.5}] * 3] * 50, "d": [None] * 50}),
        pl.DataFrame({"a": np.random.default_rng(0).normal(size=300_000)}),
        pl.DataFrame({"a": []}, schema={"a": pl.Int64}),
    ):
        size, rows = unpacked_size(parquet(frame))
        assert rows == frame.height
        assert frame.estimated_size() / 2 <= size <= 4 * frame.estimated_size() + 10_000


def test_a_footer_that_lies_about_sizes_changes_nothing() -> None:
    """Fields of the footer are claims: a page's own header is what a reader allots by."""
    frame = pl.DataFrame({"a": ["x" * 100_000 + str(i) for i in range(100)]})
    whole = parquet(frame)
    size, _ = unpacked_size(whole)
    found = _varint(2 * _total_uncompressed(whole))
    assert whole.count(found) >= 1
    lying = whole[: -len(whole) // 2] + whole[-len(whole) // 2 :].replace(found, _varint(2, found))
    assert lying != whole
    assert unpacked_size(lying)[0] == size >= 10_000_000


def _total_uncompressed(data: bytes) -> int:
    from ftev.core.data.formats import parquet

    start = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    footer = parquet._Thrift(data, start).struct()
    return int(footer[4][0][1][0][3][6])


def _varint(value: int, as_long_as: bytes = b"") -> bytes:
    out = []
    while value > 127 or len(out) + 1 < len(as_long_as):
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def test_damaged_pages_are_no_endless_loop() -> None:
    whole = parquet(labelled(20))
    for end in range(0, len(whole), 7):
        with pytest.raises(ValueError, match=r"damaged|end"):
            unpacked_size(whole[:end])
    for place in range(0, len(whole), 11):
        for byte in (0, 0x7F, 0xFF):
            try:
                unpacked_size(whole[:place] + bytes([byte]) + whole[place + 1 :])
            except ValueError:
                continue


def test_rows_that_fit_into_no_memory_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_csv(tmp_path / "rows.csv", TEN)
    write_jsonl(tmp_path / "rows.jsonl", [{"text": a, "label": b} for a, b in TEN])
    (tmp_path / "rows.parquet").write_bytes(
        parquet(pl.DataFrame(TEN, schema=["text", "label"], orient="row"))
    )
    for name in ("rows.csv", "rows.jsonl", "rows.parquet"):
        monkeypatch.setattr(data_faults, "free_memory", lambda: 100_000)
        assert len(read(tmp_path, train=name).splits["train"].frame) == 10
        monkeypatch.setattr(data_faults, "free_memory", lambda: 3_000)
        [found] = faults(tmp_path, train=name)
        assert found.startswith(f"{name}: holds ")
        assert "0 MiB are free. Give fewer or shorter rows" in found


def test_a_text_that_is_too_long_is_a_bad_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "LONGEST", 40)
    monkeypatch.setattr(conversations, "LONGEST", 40)
    write_csv(tmp_path / "a.csv", [*TEN, ("a text " * 6, "good")])
    [found] = faults(tmp_path, train="a.csv")
    assert found.startswith('a.csv:12: text is longer than 40 bytes in column "text"')
    chat = [{"role": "user", "content": "x" * 41}, {"role": "assistant", "content": "y"}]
    write_jsonl(tmp_path / "a.jsonl", [{"messages": chat}])
    [found] = faults(tmp_path, "generation", train="a.jsonl")
    assert found.startswith('a.jsonl:1: column "messages": message 1 is longer than 40 characters')
    (tmp_path / "a.txt").write_text("a long document, which is no row\n" * 10)
    assert read(tmp_path, "generation", train="a.txt", validation=0.2).splits


def test_a_file_of_too_many_columns_lists_few_of_them(tmp_path: Path) -> None:
    names = [f"c{i}" for i in range(2_000)]
    write_csv(tmp_path / "a.csv", [tuple("1" for _ in names)] * 3, header=",".join(names))
    [found, *_] = faults(tmp_path, train="a.csv", text="body")
    assert "c49" in found
    assert found.endswith("… and 1,950 more")
    assert "c50," not in found


def test_stored_predictions_that_hold_too_much_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "test.tuned.parquet"
    labelled(50).write_parquet(path)
    assert read_frame(path, "classification").height == 50
    monkeypatch.setattr(data_faults, "free_memory", lambda: 20_000)
    with pytest.raises(RunError, match=r"tuned\.parquet: holds 50 rows, .* are free"):
        read_frame(path, "classification")


def test_texts_that_are_repeated_count_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    data = parquet(pl.DataFrame({"a": ["x" * 100_000] * 200}))
    assert len(data) < 10_000
    assert unpacked_size(data)[0] < 1_000_000
    monkeypatch.setattr(data_faults, "free_memory", lambda: 50_000_000)
    with pytest.raises(DataError, match="holds 200 rows, 19 MiB"):
        read_parquet(data)


def test_an_address_limit_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    free = disk.free_memory()
    assert free is None or free > 0
    monkeypatch.setattr(disk, "_available", lambda: 10)
    monkeypatch.setattr(disk, "_left_in_container", lambda: None)
    monkeypatch.setattr(disk, "_left_to_process", lambda: 7)
    assert disk.free_memory() == 7
