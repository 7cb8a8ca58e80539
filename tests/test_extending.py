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
SETTING = '''\
    patience_ratio: Annotated[float, Bounds(at_least=0, below=7)] = 2.5
    """Toy share of the steps that a toy waits."""
'''
GOOD = "CARDS\n" + "".join(f"{('joy', 'anger')[i % 2]}: card number {i}\n" for i in range(20))
CONFIG = """
task = "classification"
model.base = "none"
data = {{ train = "{}", validation = 0.2 }}
"""


def tree_with(place: Path, room: str) -> Path:
    """The package as it is, by links; `room` is a copy that may be changed."""
    above = [Path(*room.split("/")[:n]) for n in range(room.count("/") + 1)]
    real = {Path(room), *above}
    for folder in above:
        (place / "ftev" / folder).mkdir(parents=True)
        for entry in (ROOT / (folder if folder.parts else "ftev")).iterdir():
            if folder / entry.name not in real and entry.name != "__pycache__":
                (place / "ftev" / folder / entry.name).symlink_to(entry)
    for name in ("core", "tui"):
        if Path(name) not in real:
            (place / "ftev" / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / room, place / "ftev" / room)
    return place


def python(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, check=False, env=environment, cwd=tree, capture_output=True, text=True, timeout=120
    )


def test_a_data_format_is_one_file(tmp_path: Path) -> None:
    """By its ending and by its contents, with the lines of its faults, in `check` and the form."""
    tree = tree_with(tmp_path, "core/data/formats")
    (tree / "ftev/core/data/formats/cards.py").write_text(FORMAT)
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


@pytest.fixture(scope="module")
def with_setting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = tree_with(tmp_path_factory.mktemp("setting"), "core/config")
    file = tree / "ftev/core/config/config.py"
    before, start, after = file.read_text().partition("class TrainConfig:\n")
    file.write_text(before + start + SETTING + after)
    return tree


def test_a_setting_is_one_field_for_the_form_and_the_page(with_setting: Path) -> None:
    code = f"""
import sys; sys.path.append({str(ROOT / "tests")!r})
import make_settings
from ftev.core.config.draft import Draft, check_draft
from ftev.tui.drawing.lines import text_of
from ftev.tui.screens.new_run.form_fields import Known, form_fields
from ftev.tui.screens.new_run.form_fields import field_line, foot_lines

draft = Draft({{"task": "classification", "model.base": "m", "train.patience_ratio": 9.0}})
fields = form_fields(draft, check_draft(draft).faults, Known(), whole=True)
[at] = [i for i, field in enumerate(fields) if field.path == "train.patience_ratio"]
print(text_of(field_line(fields, at, 100, focused=False)))
print(*(text_of(line) for line in foot_lines(fields[at], 100, 6)), sep="\\n")
print(*(line for line in make_settings.page().splitlines() if "patience_ratio" in line))
"""
    done = python(with_setting, "-c", code)
    assert not done.returncode, done.stderr
    line, foot, sentence, fault, row = done.stdout.splitlines()
    assert "patience_ratio" in line
    assert line.endswith("9.0  ✗ must be at least 0 and below 7")
    assert foot == "train.patience_ratio   a number, at least 0 and below 7   default 2.5"
    assert sentence == "Toy share of the steps that a toy waits."
    assert fault == "must be at least 0 and below 7"
    assert row == f"| `patience_ratio` | a number, at least 0 and below 7 | `2.5` | {sentence} |"


def test_a_setting_is_one_field_for_the_check_and_the_flag(with_setting: Path) -> None:
    (with_setting / "run.toml").write_text(
        'task = "classification"\n[model]\nbase = "m"\n[train]\npatience_ratio = -1.0\n'
    )
    for flags, fault in (
        ((), "run.toml:5 train.patience_ratio: must be at least 0 and below 7"),
        (("--set", "train.patience_ratio=8"), "--set train.patience_ratio: must be at least 0"),
    ):
        done = python(with_setting, "-m", "ftev", "check", "run.toml", *flags)
        assert done.returncode == 2
        assert fault in done.stderr
