"""`ftev-tui list`: the runs, newest first, each with its headline."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path

import msgspec

from ...core.catalog.run_facts import Stamp, cache_version, stamp_of
from ...core.catalog.summary import Summary, annotate, format_headline, summarize
from ...core.errors import RunError
from ...core.files.disk import write_whole
from ...core.files.reading import BROKEN
from ...core.run.runs import Run, list_runs, runs_folder
from ...core.wording.numbers import DASH
from ..drawing.format import format_bytes
from .show import print_json, print_table, say

LISTED_FILE = ".summaries.msgpack"
ENDED = ("finished", "stopped", "failed")  # a worker may still answer prompts


def run(options: argparse.Namespace) -> int:
    """A run that cannot be read is a row too."""
    folder = runs_folder(options.runs_dir)
    entries = _entries(folder)
    if options.json:
        print_json(entries)
    elif not entries:
        say(f"{folder}: no runs here yet. Start one with `ftev-tui demo`")
    else:
        noted = any(e["tags"] or e["shown_name"] != e["name"] for e in entries)
        rows = [
            [
                entry["id"],
                entry["task"],
                _status(entry),
                f"{entry['step']:,}/{entry['max_steps']:,}" if entry["max_steps"] else DASH,
                format_headline(entry["headline"]),
                *([_noted(entry)] * noted),
            ]
            for entry in entries
        ]
        columns = ("run", "task", "status", "step", "headline", *["name, tags"] * noted)
        words = ("run", "task", "status", "headline", "name, tags")
        print_table(columns, rows, words=words)
    return 0


class _Listed(msgspec.Struct, frozen=True):
    """The entries of runs that are over, each with the stamp of the files it was read from."""

    version: str
    runs: dict[str, tuple[Stamp, Summary]]


def _entries(folder: Path) -> list[Summary]:
    """Of a run that is over and has not changed, only what people wrote on it is read again."""
    known, found, kept = _read_listed(folder), [], {}
    for run in list_runs(folder):
        stamp = stamp_of(run)
        before = known.get(run.id)
        if before is not None and before[0] == stamp:
            entry = annotate(run, before[1])
        else:
            entry = _entry(run)
        if entry["status"] in ENDED:
            kept[run.id] = stamp, entry
        found.append(entry)
    if {name: stamp for name, (stamp, _) in kept.items()} != {n: s for n, (s, _) in known.items()}:
        content = msgspec.msgpack.encode(_Listed(cache_version(), kept))
        with contextlib.suppress(RunError):  # a folder that may not be written to has no cache
            write_whole(folder / LISTED_FILE, content)
    return found


def _read_listed(folder: Path) -> dict[str, tuple[Stamp, Summary]]:
    try:
        found = msgspec.msgpack.decode((folder / LISTED_FILE).read_bytes(), type=_Listed)
    except (OSError, *BROKEN):
        return {}
    return found.runs if found.version == cache_version() else {}


def _status(entry: Summary) -> str:
    """Of a run that is over, also the memory that a worker holds to answer prompts."""
    held = entry["worker_memory"]
    if held is None or entry["status"] not in ENDED:
        return entry["status"]
    return f"{entry['status']}, holds {format_bytes(held) if held else 'memory'}"


def _noted(entry: Summary) -> str:
    """The name that is shown for a run, and its tags."""
    return " ".join([entry["shown_name"], *(f"#{tag}" for tag in entry["tags"])])


def _entry(found: Run) -> Summary:
    """A run that cannot be read is listed as such, and the others are still listed."""
    try:
        return summarize(found)
    except RunError as error:
        say(f"ftev: {error}")
    return Summary(
        id=found.id,
        name=found.id,
        task="",
        status="unreadable",
        created=None,
        step=0,
        max_steps=0,
        headline=None,
        shown_name=found.id,
        tags=[],
        note="",
        worker_memory=None,
    )
