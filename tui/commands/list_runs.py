"""`ftev-tui list`: the runs, newest first, each with its headline."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from ... import core
from ...core.catalog.listed import ENDED, Summary, format_headline, list_entries
from ...core.errors import RunError
from ...core.files.disk import replacing, writing
from ...core.run.runs import Run, runs_folder
from ...core.wording.numbers import DASH
from ..drawing.format import format_bytes
from .show import print_json, print_table, say

SAMPLES = Path(core.__path__[0]).parent / "sample_runs"  # in a checkout as installed


def run(options: argparse.Namespace) -> int:
    """A run that cannot be read is a row too."""
    folder = runs_folder(options.runs_dir)
    entries = list_entries(folder, _entry)
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
                _step(entry),
                format_headline(entry["headline"]),
                *([_noted(entry)] * noted),
            ]
            for entry in entries
        ]
        columns = ("run", "task", "status", "step", "headline", *["name, tags"] * noted)
        words = ("run", "task", "status", "headline", "name, tags")
        print_table(columns, rows, words=words)
    return 0


def copy_samples(options: argparse.Namespace) -> int:
    """The sample runs that ship with ftev, beside the other runs; one that is there already stays.

    Raises RunError where they cannot be written.
    """
    folder, copied = runs_folder(options.runs_dir), list[str]()
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for source in sorted(p for p in SAMPLES.iterdir() if (p / "events.jsonl").exists()):
        place = folder / f"sample-{source.name}"
        if not place.exists():
            with replacing(place, 1 << 20) as temporary:
                shutil.copytree(source, temporary)
        copied.append(str(place))
    if options.json:
        print_json(copied)
    else:
        print("\n".join(copied))
        print(f"`ftev-tui open {copied[0]}` shows one; `ftev-tui verify` makes its numbers again")
    return 0


def _step(entry: Summary) -> str:
    """Of how many, where that is known."""
    if entry["max_steps"]:
        return f"{entry['step']:,}/{entry['max_steps']:,}"
    return f"{entry['step']:,}" if entry["step"] else DASH


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
    from ...core.catalog.summary import summarize  # every struct of a report: for new runs alone

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
