"""What people do to a run afterwards: a name, tags and a note, or the trash.

Notes are one small file in the run's own directory: they travel with the run when it is copied,
archived or thrown away, and two screens that write about different runs never meet. They say
nothing about what the run did: run.toml and events.jsonl stay as the worker wrote them. Runs that
were thrown away lie in a folder beside the others until somebody empties it.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from ..errors import Fault, RunError
from ..files.disk import write_whole, writing
from ..files.reading import read_json
from ..run.lock import is_held
from ..run.runs import TRASH, Run

NOTES_FILE = "notes.json"


class RunNotes(msgspec.Struct, frozen=True, omit_defaults=True):
    """A name, tags and a note that people gave a run."""

    name: str = ""  # shown instead of the run's own; the directory keeps its name
    tags: tuple[str, ...] = ()
    note: str = ""


NOTHING = RunNotes()


def notes_path(run: Run) -> Path:
    """Where the notes of a run stand."""
    return run.path / NOTES_FILE


def read_notes(run: Run) -> RunNotes:
    """What is written on a run; nothing where the file is missing or was damaged."""
    try:
        return read_json(notes_path(run), RunNotes)
    except RunError:
        return NOTHING


def write_notes(run: Run, notes: RunNotes) -> None:
    """Replace what is written on a run; without anything left the file goes. Raises RunError."""
    if notes == NOTHING:
        with writing(notes_path(run), way_on="write it again"):
            notes_path(run).unlink(missing_ok=True)
    else:
        write_whole(notes_path(run), msgspec.json.format(msgspec.json.encode(notes)) + b"\n")


def read_tags(text: str) -> tuple[str, ...]:
    """`good, to-ship #best` as tags: words apart from spaces, commas and #, each once."""
    words = text.replace(",", " ").replace("#", " ").split()
    return tuple(dict.fromkeys(words))


def move_to_trash(run: Run) -> Path:
    """Move a run directory into the trash of its folder, and return where it lies now.

    Raises RunError while its worker is alive, and where it cannot be moved.
    """
    if is_held(run) and not run.is_foreign:  # of a log only our reading of it is moved
        raise RunError(Fault(run.id, "its worker is alive", "Stop the run first"))
    trash = run.path.parent / TRASH
    target = _free_name(trash / run.id)
    try:
        trash.mkdir(exist_ok=True)
        os.rename(run.path, target)
    except OSError as error:
        raise RunError(Fault(run.id, f"cannot be moved to {trash}: {error.strerror}")) from None
    return target


def how_to_bring_back(target: Path, run: Run) -> str:
    """The command that undoes `move_to_trash`."""
    import shlex

    return f"mv {shlex.quote(str(target))} {shlex.quote(str(run.path))}"


def _free_name(path: Path) -> Path:
    found, number = path, 2
    while found.exists():
        found = path.with_name(f"{path.name}-{number}")
        number += 1
    return found
