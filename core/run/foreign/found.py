"""Which logs of other tools a file or folder holds, by names and first bytes."""

from __future__ import annotations

import contextlib
import csv
import os
import re
from collections.abc import Iterator
from pathlib import Path

from ...errors import ConfigError, Fault, RunError
from ..runs import is_run
from . import databases, metrics_csv, tfevents, trainer, wandb_file
from .facts import Source

DEEPEST = 6  # folders below the one that was named
MOST_ENTRIES = 50_000  # looked at: somebody may name their home
HEAD_BYTES = 64_000
DATABASES = (".db", ".sqlite", ".sqlite3")
# Of several logs of one run the one that is written most often and with times is read
LIVE = ("tensorboard", "llamafactory", "csv")
GENERIC = re.compile(r"version_\d+|runs|logs?|tensorboard|tb|events|train|output|checkpoint-\d+")
READ = (
    "tfevents, .wandb, trainer_state.json, trainer_log.jsonl, SQLite files of trackio and MLflow, "
    "and CSV with a column step"
)


class NoLogError(ConfigError):
    """There is a file or folder, and no log that is known in it."""


def find_sources(path: Path) -> list[Source]:
    """The runs that other tools logged in a file, or in a folder and those below it.

    Raises ConfigError where there are none, RunError where a log cannot be read.
    """
    if not path.exists():
        raise ConfigError(Fault(str(path), "there is no such file or folder"))
    try:
        found = list(_of_folder(path)) if path.is_dir() else list(_of_file(path, named=True))
    except OSError as error:
        raise RunError(Fault(str(path), f"cannot be read: {error.strerror}")) from None
    if not found:
        what = "holds no log that is known here"
        raise NoLogError(Fault(str(path), what, f"Logs that are read: {READ}"))
    return found


def sources_below(folder: Path) -> list[Source]:
    """The same where some may be damaged, or none there: those that can be read."""
    try:
        return list(_of_folder(folder))
    except OSError:
        return []


def _of_folder(folder: Path) -> Iterator[Source]:
    seen: dict[tuple[str, Path, str], Source] = {}
    for path in _files(folder):
        try:
            for source in _of_file(path, named=False):
                seen.setdefault((source.kind, source.path, source.key), source)
        except (OSError, RunError):
            continue  # not this one
    found = list(seen.values())
    for source in found:
        if source.kind == "state" and _beside(source, found, LIVE):
            continue
        if source.kind == "csv" and _beside(source, found, ("tensorboard",)):
            continue
        yield source


def _beside(source: Source, found: list[Source], kinds: tuple[str, ...]) -> bool:
    """Whether one more log, and no second, is of the same folder or of one below it."""
    folder = source.path if source.path.is_dir() else source.path.parent
    others = [s for s in found if s.kind in kinds and s.path.is_relative_to(folder)]
    return len([s for s in others if s is not source]) == 1


def _files(folder: Path) -> Iterator[Path]:
    """The files below a folder; runs of ftev's own, hidden folders and links are passed over."""
    left, waiting = MOST_ENTRIES, [(folder, 0)]
    while waiting:
        place, depth = waiting.pop()
        if depth and is_run(place):
            continue
        try:
            entries = sorted(os.scandir(place), key=lambda e: e.name)
        except OSError:
            continue
        for entry in entries:
            left -= 1
            if left < 0:
                return
            if entry.is_file():
                yield Path(entry.path)
            elif depth < DEEPEST and _is_searched(entry):
                waiting.append((Path(entry.path), depth + 1))


def _is_searched(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")


def _of_file(path: Path, *, named: bool) -> Iterator[Source]:
    """The runs of a file. `named`: by a person, so that its bytes decide whatever its name is."""
    name = path.name
    if ".tfevents." in name:
        yield _events(path.parent)
    elif name == trainer.STATE:
        in_checkpoint = path.parent.name.startswith("checkpoint-") and not named
        folder = path.parent.parent if in_checkpoint else path.parent
        yield Source("state", folder, _name_of(folder))
    elif name == trainer.LOG:
        yield Source("llamafactory", path, _name_of(path.parent))
    elif named or path.suffix in (".wandb", *DATABASES) or name == "metrics.csv":
        yield from _by_bytes(path)


def _events(folder: Path) -> Source:
    if tfevents.is_part(folder) and tfevents.files_of(folder.parent):
        folder = folder.parent
    return Source("tensorboard", folder, _name_of(folder))


def _by_bytes(path: Path) -> Iterator[Source]:
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if head.startswith(wandb_file.MAGIC):
        yield Source("wandb", path, path.stem.removeprefix("run-"))
    elif head.startswith(databases.MAGIC):
        yield from databases.sources_of(path)
    elif tfevents.is_event_file(head):
        yield _events(path.parent)
    elif head.lstrip().startswith(b"{") and b'"current_steps"' in head:
        yield Source("llamafactory", path, _name_of(path.parent))
    elif metrics_csv.step_column(_header(head)) is not None:
        yield Source("csv", path, _name_of(path.parent))


def _header(head: bytes) -> list[str]:
    """The first line of a CSV file; nothing where it has no end yet."""
    line, found, _ = head.partition(b"\n")
    with contextlib.suppress(csv.Error):
        return next(csv.reader([line.decode("utf-8-sig", "replace")]), []) if found else []
    return []


def _name_of(folder: Path) -> str:
    """What a run is called by its folder; with the one above where many are called so."""
    folder = folder.resolve()
    if GENERIC.fullmatch(folder.name) and folder.parent.name:
        return f"{folder.parent.name}/{folder.name}"
    return folder.name or "run"
