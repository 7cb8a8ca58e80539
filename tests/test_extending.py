"""What is one file in the source: a toy is put beside the others, and arrives everywhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORMAT = '''
"""Cards: `CARDS` on the first line, then `label: text` on each."""

import numpy as np
import polars as pl

from . import File, Format, Records


def read(file: File) -> Records:
    lines = file.data.decode().splitlines()[1:]
    broken = [i for i, line in enumerate(lines) if ": " not in line]
    file.leave_out("has no label", [i + 2 for i in broken])
    number = np.setdiff1d(np.arange(len(lines)), broken)
    cards = [lines[i].split(": ", 1) for i in number]
    columns = {n: pl.Series(n, [c[k] for c in cards]) for k, n in enumerate(("label", "text"))}
    return Records(columns, number, number + 2, len(lines), len(broken))


FORMAT = Format(endings=(".cards",), likeness=lambda head: head.startswith(b"CARDS"), read=read)
'''
GOOD = "CARDS\n" + "".join(f"{('joy', 'anger')[i % 2]}: card number {i}\n" for i in range(20))
CONFIG = """
task = "classification"
model.base = "none"
data = {{ train = "{}", validation = 0.2 }}
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """ftev as it is, by links; folders between it and `core/data/formats` are real."""
    place = tmp_path / "ftev"
    place.mkdir()
    for folder in (Path(), Path("core"), Path("core/data")):
        (place / folder).mkdir(exist_ok=True)
        source = ROOT / folder if folder.parts else ROOT / "ftev"
        for entry in source.iterdir():
            if entry.name not in ("core", "data", "formats", "__pycache__"):
                (place / folder / entry.name).symlink_to(entry)
    (place / "tui").symlink_to(ROOT / "tui")
    shutil.copytree(ROOT / "core/data/formats", place / "core/data/formats")
    (place / "core/data/formats/cards.py").write_text(FORMAT)
    return tmp_path


def python(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, check=False, env=environment, cwd=tree, capture_output=True, text=True, timeout=120
    )


def test_a_data_format_is_one_file(tree: Path) -> None:
    """By its ending and by its contents, with the lines of its faults, in `check` and the form."""
    (tree / "train.cards").write_text(GOOD)
    (tree / "unnamed").write_text(GOOD)
    code = """
from pathlib import Path
from ftev.core.config.config import DataConfig
from ftev.core.config.draft import Draft
from ftev.core.data.data import read_dataset
from ftev.tui.screens.new_run.form_fields import Known, form_fields

for name, form in (("train.cards", "auto"), ("unnamed", "auto"), ("unnamed", "cards")):
    data = DataConfig(train=name, validation=None, format=form)
    split = read_dataset(data, "classification", 1, Path()).splits["train"]
    print(sorted(split.label_counts()), split.frame["line"].min(), split.line_offset)
fields = form_fields(Draft({}), (), Known(), whole=True)
print(*next(f.choices for f in fields if f.path == "data.format"))
"""
    done = python(tree, "-c", code)
    assert done.returncode == 0, done.stderr
    *read, listed = done.stdout.splitlines()
    assert read == ["['anger', 'joy'] 2 2", *["['anger', 'joy'] 2 0"] * 2]
    assert {"auto", "cards", "csv", "parquet"} <= set(listed.split())

    (tree / "train.cards").write_text(GOOD + "no label here\n")
    (tree / "run.toml").write_text(CONFIG.format("train.cards"))
    done = python(tree, "-m", "ftev.tui.cli", "check", "run.toml")
    assert (done.returncode, done.stdout) == (2, "")
    assert "ftev: train.cards:22: has no label. Mend it" in done.stderr
