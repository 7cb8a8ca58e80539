"""What people write on the home screen: a filter, or the name, tags or note of a run."""

from __future__ import annotations

import msgspec

from ....core.catalog.run_facts import RunEntry
from ....core.catalog.run_notes import RunNotes, read_notes, read_tags

FILTER_HELP = "words  task=…  tag=…  macro_f1>80%  train.epochs>=3   enter keeps"
PURPOSES = {
    "filter": FILTER_HELP,
    "name": "the one to show; the directory keeps its own   enter keeps it, esc not",
    "tags": "with spaces between them   enter keeps them, esc not",
    "note": "on this run   enter keeps it, esc not",
}


def note_of(entry: RunEntry, purpose: str) -> str:
    """What the box starts with."""
    notes = entry.notes
    return {"name": entry.name, "tags": " ".join(notes.tags), "note": notes.note}.get(purpose, "")


def with_note(entry: RunEntry, purpose: str, value: str) -> RunNotes:
    """What the run's notes become. They are read anew: another screen may have written since.

    A name that is the run's own is no name.
    """
    notes: RunNotes = read_notes(entry.run)
    if purpose == "name":
        return msgspec.structs.replace(notes, name="" if value == entry.facts.name else value)
    if purpose == "tags":
        return msgspec.structs.replace(notes, tags=read_tags(value))
    return msgspec.structs.replace(notes, note=value)
