"""The package with one room that may be changed: for toys that are added, and for mutants."""

from __future__ import annotations

import shutil
from pathlib import Path

from imports import ROOT


def copy_room(place: Path, room: str) -> Path:
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
