"""Small files for the tests of data, and the way to read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ftev.core.config.config import DataConfig
from ftev.core.data.data import Dataset, read_dataset
from ftev.core.errors import DataError

REAL = Path(__file__).resolve().parents[2] / "shared" / "data"
needs_real_data = pytest.mark.skipif(not REAL.is_dir(), reason=f"no real data at {REAL}")

TEN = [(f"the parcel number {i} came late", "bad" if i % 2 else "good") for i in range(10)]


def write_csv(path: Path, rows: list[tuple[str, ...]], header: str = "text,label") -> Path:
    path.write_text("\n".join([header, *(",".join(row) for row in rows)]) + "\n", encoding="utf-8")
    return path


def write_jsonl(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read(folder: Path, task: str = "classification", **settings: Any) -> Dataset:
    settings.setdefault("validation", None)
    return read_dataset(DataConfig(**settings), task, 42, folder)


def faults(folder: Path, task: str = "classification", **settings: Any) -> list[str]:
    with pytest.raises(DataError) as caught:
        read(folder, task, **settings)
    return [str(fault) for fault in caught.value.faults]
