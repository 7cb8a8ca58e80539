"""The runs of a sweep: found by their own configs and data, and started where there is room."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..catalog.notes import RunNotes, write_notes
from ..catalog.run_facts import name_in_id
from ..catalog.summary import run_status
from ..config.config import RunConfig
from ..errors import FtevError
from ..run.history import History, read_history
from ..run.runs import Run, create_run, list_runs
from .machines import LOOK_SECONDS, NO_SERVING, Job, Machine
from .sweep_file import Combination, Sweep, of_the_chosen, tag_of

CAN_GO_ON = ("stopped", "failed", "died")  # only when that is asked for
OTHER_ROWS = "other rows"  # it read other files than the sweep: it cannot be compared
NAMED = 3  # runs named in a sentence
NO_RESULT = (*CAN_GO_ON, "unreadable", OTHER_ROWS)
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
    def comparable(self) -> History | None:
        """Its history, where its results may stand beside those of the others."""
        return None if self.status == OTHER_ROWS else self.history

    @property
    def changed(self) -> list[str]:
        """The splits that it read from other files than the sweep."""
        return self.history.changed_data(self.combination.data) if self.history else []

    @property
    def error(self) -> str:
        """The first line of why it failed, or cannot be compared."""
        if self.status == OTHER_ROWS:
            return f"{_changed_files(self)} changed while the sweep was at work"
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
        if self.changed and self.status in ENDED:
            self.status = OTHER_ROWS


def read_entries(sweep: Sweep, folder: Path) -> list[Entry]:
    """Every combination with its run, where it has one in the folder."""
    alike = _runs_by_config(sweep.name, folder)
    return [_entry(c, alike.get(_identity(c.config), [])) for c in sweep.combinations]


def _entry(combination: Combination, alike: Iterable[Run]) -> Entry:
    """The newest of the runs of its config that read the rows as they are; without a run, none."""
    return next((e for e in _read_all(combination, alike) if not e.changed), Entry(combination))


def _read_all(combination: Combination, alike: Iterable[Run]) -> Iterator[Entry]:
    for run in alike:
        entry = Entry(combination, run)
        entry.read()
        yield entry


def _runs_by_config(name: str, folder: Path, ending: str = r"\d+") -> dict[str, list[Run]]:
    """Newest first."""
    found: dict[str, list[Run]] = {}
    for run in _runs_named(name, folder, ending):
        config = _config(run)
        if config is not None:
            found.setdefault(_identity(config), []).append(run)
    return found


def find_test_run(sweep: Sweep, folder: Path, chosen: Entry) -> Entry | None:
    """The run that evaluated the chosen model on test; None where there is none yet."""
    return next((e for e in read_test_runs(sweep, folder, chosen) if not e.changed), None)


def read_test_runs(sweep: Sweep, folder: Path, chosen: Entry) -> Iterator[Entry]:
    """Every evaluation of the chosen model on test, of rows that have changed since too."""
    wanted = test_combination(sweep, chosen)
    alike = _runs_by_config(sweep.name, folder, "test")
    return _read_all(wanted, alike.get(_identity(wanted.config), []))


def test_combination(sweep: Sweep, chosen: Entry) -> Combination:
    assert chosen.run is not None
    model = chosen.run.model_path.resolve()
    config = of_the_chosen(chosen.combination.config, model, f"{sweep.name}-test")
    return replace(chosen.combination, number=0, config=config)


def other_runs(
    sweep: Sweep, folder: Path, entries: Sequence[Entry]
) -> tuple[list[Run], list[Entry]]:
    """Runs of this sweep's name whose settings the file does not name any more, and those of its
    settings that read other rows than there are now."""
    named = {entry.run.path for entry in entries if entry.run}
    wanted = {_identity(entry.combination.config): entry.combination for entry in entries}
    of_settings: list[Run] = []
    of_rows: list[Entry] = []
    for run in _runs_named(sweep.name, folder):
        if run.path in named:
            continue
        config = _config(run)
        combination = wanted.get(_identity(config)) if config else None
        if combination is None:
            of_settings.append(run)
        else:
            of_rows += [e for e in _read_all(combination, [run]) if e.changed]
    return of_settings, of_rows


def describe_change(entries: Sequence[Entry]) -> str:
    """`train.csv (train and validation) changed after 2026-…_tastes-01 read it`."""
    changes = []
    for changed in dict.fromkeys(tuple(e.changed) for e in entries):
        alike = [e for e in entries if tuple(e.changed) == changed]
        runs = ", ".join(e.run.id for e in alike[:NAMED] if e.run)
        more = f" and {len(alike) - NAMED:,} more" if len(alike) > NAMED else ""
        changes.append(f"{_changed_files(alike[0])} changed after {runs}{more} read it")
    return "; ".join(changes)


def _changed_files(entry: Entry) -> str:
    assert entry.history is not None
    files = dict.fromkeys(entry.history.splits[name].source for name in entry.changed)
    return f"{', '.join(files)} ({' and '.join(entry.changed)})"


def create_entry_run(sweep: Sweep, entry: Entry, folder: Path) -> Run:
    """A directory like that of any run, tagged so that the home screen can group the sweep."""
    run = create_run(entry.combination.config, folder)
    values = ", ".join(map(short_value, entry.combination.settings.values()))
    title = f"{entry.name}: {values}"
    write_notes(run, RunNotes(title, (sweep.tag,), describe_settings(entry.combination)))
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


def _identity(config: RunConfig) -> str:
    """What distinguishes a run's config: all but its name and the folder it started from."""
    return repr(replace(config, name="", folder=""))


# Work


@dataclass(frozen=True)
class Began:
    entry: Entry
    place: str | None
    again: bool  # it was at work before, or goes on from its last checkpoint


@dataclass(frozen=True)
class Ended:
    entry: Entry


@dataclass(frozen=True)
class Lost:
    """The machine is gone. What may live on there is waited for."""

    why: str
    waited_for: list[str]


def work_through(
    sweep: Sweep, entries: Iterable[Entry], folder: Path, machine: Machine, *, retry: bool
) -> Iterator[Began | Ended | Lost]:
    """Start what is missing, as there is room, and yield every start and end.

    A run that fails does not stop the others; a machine that is lost ends with what lives on it.
    Left early, the generator starts nothing more; what it started goes on.
    """
    waiting = [e for e in entries if e.status == "waiting" or _is_new(e)]
    waiting += [e for e in entries if retry and e.status in CAN_GO_ON]
    busy: list[tuple[Entry, Job, str | None]] = []
    lost = False
    for entry in entries:
        if entry.run and entry not in waiting and entry.status not in ENDED:
            job, place = machine.find(entry.run)
            busy.append((entry, job, place if place in machine.places else machine.places[0]))
            yield Began(entry, place, again=True)
    try:
        while busy or (waiting and not machine.lost):
            if machine.lost and not lost:
                lost = True
                yield Lost(machine.lost, [entry.name for entry, _, _ in busy])
            for item in [x for x in busy if x[1].is_over()]:
                busy.remove(item)
                item[0].read()
                if item[0].status not in ENDED:  # it died before its first word, or never began
                    item[0].status = "waiting" if machine.lost else "died"
                if item[0].status != "waiting":
                    yield Ended(item[0])
            free = _free(machine.places, [place for _, _, place in busy])
            for place in [] if machine.lost else free[: len(waiting)]:
                entry = waiting.pop(0)
                again = entry.run is not None
                run = entry.run or create_entry_run(sweep, entry, folder)
                resume = ("--resume",) if again else ()
                busy.append((entry, machine.start(run, place, *resume, *NO_SERVING), place))
                entry.status = "starting"
                yield Began(entry, place, again)
            if busy:
                time.sleep(LOOK_SECONDS)
    finally:
        machine.leave([job for _, job, _ in busy])


def _is_new(entry: Entry) -> bool:
    """Its directory was made, and then no worker began."""
    return entry.run is not None and entry.status == "starting" and entry.run.worker() is None


def _free(places: Sequence[str | None], taken: Iterable[str | None]) -> list[str | None]:
    free = list(places)
    for place in taken:
        if place in free:
            free.remove(place)
    return free
