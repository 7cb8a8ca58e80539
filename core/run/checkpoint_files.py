"""Whether a checkpoint is whole: every file of the size and content that it was written with."""

from __future__ import annotations

from pathlib import Path

import msgspec

from ..errors import RunError
from ..files.reading import find_damage, read_json, weights_in
from .runs import TRAINING_STATE, Run, checkpoints_of, file_sha256

HASHED_BYTES = 256 << 20  # a larger file is held to its header and its size alone


class Written(msgspec.Struct, frozen=True):
    """A file as it was written; without a hash where it is large."""

    bytes: int
    sha256: str = ""


class _State(msgspec.Struct):
    files: dict[str, Written] = {}  # of checkpoints of older versions nothing is known


def describe_files(folder: Path) -> dict[str, Written]:
    """Every file of a folder."""
    return {p.name: _describe(p) for p in sorted(folder.iterdir()) if p.is_file()}


def _describe(path: Path) -> Written:
    size = path.stat().st_size
    return Written(size, file_sha256(path) if size <= HASHED_BYTES else "")


def damage_of(checkpoint: Path) -> str:
    """The first damaged file of a checkpoint and what is wrong with it; empty where it is whole."""
    try:
        written = read_json(checkpoint / TRAINING_STATE, _State).files
        for path in weights_in(checkpoint):
            if what := find_damage(path):
                return f"{path} {what}"
        for name, was in written.items():
            path = checkpoint / name
            if not path.is_file():
                return f"{path} is missing"
            if (size := path.stat().st_size) != was.bytes:
                return f"{path} has {size:,} bytes, and was written with {was.bytes:,}"
            if was.sha256 and file_sha256(path) != was.sha256:
                return f"{path} is not as it was written: its sha256 is another"
    except RunError as error:
        return f"{error.faults[0].where} {error.faults[0].what}"
    except OSError as error:
        return f"{error.filename or checkpoint} cannot be read: {error.strerror}"
    return ""


def newest_whole(run: Run) -> tuple[Path | None, list[str]]:
    """The newest checkpoint that is whole, and what is wrong with each newer one."""
    damages: list[str] = []
    for path in checkpoints_of(run):
        damage = damage_of(path)
        if not damage:
            return path, damages
        damages.append(damage)
    return None, damages


def way_on(found: Path | None, damages: list[str]) -> list[str]:
    """What is said of checkpoints that are passed over."""
    if not damages:
        return []
    step = int(found.name.removeprefix("step_")) if found else 0
    way = f"The run goes on from step {step:,}" if found else "No whole one is left: it begins anew"
    return [f"a checkpoint is damaged: {what}. {way}" for what in damages]
