"""What people wrote on a run: a name to show, tags and a note.

One small file in the run's own directory, so that it travels with the run when that is copied,
archived or thrown away, and two screens that write about different runs never meet. It says nothing
about what the run did: run.toml and events.jsonl stay as the worker wrote them.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from ..errors import RunError
from ..files.decoding import read_json
from ..files.disk import write_whole, writing
from ..run.runs import Run

NOTES_FILE = "notes.json"


class RunNotes(msgspec.Struct, frozen=True, omit_defaults=True):
    name: str = ""  # shown instead of the run's own; the directory keeps its name
    tags: tuple[str, ...] = ()
    note: str = ""


NOTHING = RunNotes()


def notes_path(run: Run) -> Path:
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
