"""The runs of a sweep, found again by their own configs: nothing else is kept about a sweep."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from ..config import RunConfig
from ..errors import FtevError
from ..history import History, read_history
from ..reporting.summary import run_status
from ..run_facts import name_in_id
from ..run_notes import RunNotes, write_notes
from ..runs import Run, create_run, list_runs
from .file import Combination, Sweep, of_the_chosen, tag_of

CAN_GO_ON = ("stopped", "failed", "died")  # only when that is asked for
NO_RESULT = (*CAN_GO_ON, "unreadable")
ENDED = ("finished", *NO_RESULT)


@dataclass(eq=False)  # it changes while it is at work
class Entry:
    """A combination and its run, as the run's directory stood when it was last read."""

    combination: Combination
    run: Run | None = None
    history: History | None = None
    status: str = "waiting"

    @property
    def name(self) -> str:
        """What a person calls it, and a command finds it by."""
        return self.combination.config.name

    @property
    def error(self) -> str:
        """The first line of why it failed."""
        finished = self.history.finished if self.history else None
        return finished.error.partition("\n")[0] if finished else ""

    def read(self) -> None:
        if self.run is None:
            return
        try:
            self.history = read_history(self.run)
        except FtevError:
            self.history, self.status = None, "unreadable"
            return
        self.status = run_status(self.run, self.history)


def read_entries(sweep: Sweep, folder: Path) -> list[Entry]:
    """Every combination with its run, where it has one in the folder."""
    known: dict[str, Run] = {}
    for run in reversed(_runs_named(sweep.name, folder)):  # of two that are alike the newest counts
        config = _config(run)
        if config is not None:
            known[_told(config)] = run
    entries = [Entry(c, known.get(_told(c.config))) for c in sweep.combinations]
    for entry in entries:
        entry.read()
    return entries


def find_test_run(sweep: Sweep, folder: Path, chosen: Entry) -> Entry | None:
    """The run that evaluated the chosen model on test; None where there is none yet."""
    wanted = test_combination(sweep, chosen)
    for run in _runs_named(sweep.name, folder, "test"):
        config = _config(run)
        if config is not None and _told(config) == _told(wanted.config):
            entry = Entry(wanted, run)
            entry.read()
            return entry
    return None


def test_combination(sweep: Sweep, chosen: Entry) -> Combination:
    assert chosen.run is not None
    model = chosen.run.model_path.resolve()
    config = of_the_chosen(chosen.combination.config, model, f"{sweep.name}-test")
    return Combination(0, chosen.combination.settings, config)


def other_runs(sweep: Sweep, folder: Path, entries: Iterable[Entry]) -> list[Run]:
    """Runs of this sweep's name whose settings the file does not name any more."""
    named = {entry.run.path for entry in entries if entry.run}
    return [run for run in _runs_named(sweep.name, folder) if run.path not in named]


def create_entry_run(sweep: Sweep, entry: Entry, folder: Path) -> Run:
    """A directory like that of any run, tagged so that the home screen can group the sweep."""
    run = create_run(entry.combination.config, folder)
    told = describe_settings(entry.combination)
    values = ", ".join(map(short_value, entry.combination.settings.values()))
    write_notes(run, RunNotes(f"{entry.name}: {values}", (sweep.tag,), told))
    entry.run, entry.status = run, "starting"
    return run


def describe_settings(combination: Combination) -> str:
    """`learning_rate 5e-05, batch_size 16`: names without their tables where that is enough."""
    names = [key.rpartition(".")[2] for key in combination.settings]
    return ", ".join(
        f"{short if names.count(short) == 1 else key} {value}"
        for short, (key, value) in zip(names, combination.settings.items(), strict=True)
    )


def short_value(value: object) -> str:
    """For a narrow column: of a path or a hub id its last part."""
    return value.rstrip("/").rpartition("/")[2] if isinstance(value, str) else str(value)


def _runs_named(name: str, folder: Path, ending: str = r"\d+") -> list[Run]:
    """Newest first. Directories are named so by `create_run`; a number behind makes them unique."""
    pattern = re.compile(rf"{re.escape(tag_of(name))}-{ending}(-\d+)?")
    return [run for run in list_runs(folder) if pattern.fullmatch(name_in_id(run.id))]


def _config(run: Run) -> RunConfig | None:
    try:
        return run.config()
    except FtevError:
        return None


def _told(config: RunConfig) -> str:
    """What tells a run's config from others: all but what names it and where it started from."""
    return repr(replace(config, name="", folder=""))
