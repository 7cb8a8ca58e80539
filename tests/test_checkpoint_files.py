"""A damaged checkpoint is seen, named and passed over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from ftev.core.run.runs import TRAINING_STATE, Run, damage_of, describe_files, newest_whole, way_on
from safetensors.numpy import save_file


def write_checkpoint(run: Run, step: int) -> Path:
    path = run.checkpoints / f"step_{step:06d}"
    path.mkdir(parents=True)
    save_file({"a": np.arange(50.0)}, path / "model.safetensors")
    (path / "config.json").write_text("{}")
    (path / TRAINING_STATE).write_bytes(msgspec.json.encode({"files": describe_files(path)}))
    return path


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "harm", "expected"),
    [
        ("model.safetensors", lambda p: p.write_bytes(p.read_bytes()[:-8]), "its header names"),
        ("model.safetensors", lambda p: flip(p, -1), "its sha256 is another"),
        ("model.safetensors", lambda p: p.write_bytes(b""), "has no header"),
        ("model.safetensors", lambda p: p.unlink(), "is missing"),
        ("config.json", lambda p: p.write_text("{} "), "has 3 bytes, and was written with 2"),
        (TRAINING_STATE, lambda p: p.write_bytes(b'{"files":' + b"[" * 9999), "is damaged"),
    ],
)
def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_it_is_taken(
    run: Run, name: str, harm: Callable[[Path], object], expected: str
) -> None:
    older, newer = write_checkpoint(run, 10), write_checkpoint(run, 20)
    assert newest_whole(run) == (newer, [])
    harm(newer / name)
    found, [damage] = newest_whole(run)
    assert found == older
    assert str(newer / name) in damage
    assert expected in damage
    assert way_on(found, [damage])[0].endswith("The run resumes at step 10")


def test_without_a_whole_checkpoint_the_run_begins_anew_and_says_so(run: Run) -> None:
    flip(write_checkpoint(run, 10) / "model.safetensors", -1)
    found, damages = newest_whole(run)
    assert found is None
    assert way_on(found, damages)[0].endswith(
        "None is complete: training starts again from the base model"
    )


def test_a_checkpoint_of_an_earlier_version_is_held_to_its_headers(run: Run) -> None:
    path = write_checkpoint(run, 10)
    (path / TRAINING_STATE).write_bytes(b'{"position":{}}')
    assert not damage_of(path)
    flip(path / "model.safetensors", 3)
    assert "has no header" in damage_of(path)
