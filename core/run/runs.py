"""A run directory: create, list, open, and how its worker stands."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ..errors import ConfigError, Fault, FtevError, RunError
from ..files.disk import cannot_write, memory_of, process_start, writing
from ..files.reading import find_damage, read_json, weights_in

if TYPE_CHECKING:
    from ..config.config import (
        RunConfig,  # imported where settings are read: a screen lists runs first
    )

TRAINING_STATE = "training_state.json"  # its presence makes a checkpoint resumable
ORIGIN = "origin.json"  # its presence makes a run directory one of another tool's log
TRASH = ".trash"  # of a folder of runs: a name that listing them passes over
FOREIGN = ".foreign"  # of a folder of runs: where those stand
NOT_OURS = "is the log of another tool: ftev reads it, and cannot steer, resume or prompt that run"
NOT_OURS_REMEDY = "`ftev-tui eval` scores its model once it is saved"
QUIET_SECONDS = 600.0  # a log that was not written to for so long may have come to its end
HEARTBEAT_SECONDS = 2.0
SILENT_SECONDS = 30.0  # a worker on another host is taken for dead after this


class WorkerInfo(msgspec.Struct, frozen=True):
    """worker.json: the process and where it listens. Its modification time is the heartbeat."""

    pid: int
    started: float  # the process's start time in clock ticks since boot, which a reused pid lacks
    host: str
    socket: str = ""
    launch: str = ""  # what torchrun's processes of one start have in common


@dataclass(frozen=True)
class Run:
    """One run directory."""

    path: Path

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def events_path(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def worker_path(self) -> Path:
        return self.path / "worker.json"

    @property
    def log_path(self) -> Path:
        return self.path / "worker.log"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def predictions(self) -> Path:
        return self.path / "predictions"

    @property
    def model_path(self) -> Path:
        return self.path / "model"

    @property
    def is_foreign(self) -> bool:
        """Whether it was read from a log of another tool: no worker of ours belongs to it."""
        return (self.path / ORIGIN).exists()

    @property
    def folder(self) -> Path:
        """The folder of runs that lists it."""
        return self.path.parent.parent if self.path.parent.name == FOREIGN else self.path.parent

    def config(self) -> RunConfig:

        from ..config.config_file import load_config

        return load_config(self.path / "run.toml")

    def config_if_kept(self) -> RunConfig | None:
        """The configuration; None where it cannot be read: a copied run may have lost it."""
        try:
            return self.config()
        except FtevError:
            return None

    def worker(self) -> WorkerInfo | None:
        """Who works or worked on this run; None before any worker began."""
        try:
            return read_json(self.worker_path, WorkerInfo)
        except RunError:
            return None

    def worker_alive(self) -> bool:
        """Never guessed from silence alone: process and start time here, heartbeat elsewhere."""
        worker = self.worker()
        if worker is None:
            return self._is_written_to()
        if worker.host == socket.gethostname():
            return process_start(worker.pid) == worker.started
        try:
            return time.time() - self.worker_path.stat().st_mtime < SILENT_SECONDS
        except OSError:
            return False

    def _is_written_to(self) -> bool:
        """Of a log of another tool, whose processes are not known: its events have its time."""
        try:
            at = self.events_path.stat().st_mtime
        except OSError:
            return False
        return time.time() - at < QUIET_SECONDS and self.is_foreign

    def memory_held(self) -> int | None:
        """Bytes that its worker holds: also one of a run that is over, which answers prompts.

        None where there is none, 0 where it is not known, as of one on another host.
        """
        worker = self.worker()
        if worker is None or not self.worker_alive():
            return None
        return memory_of(worker.pid) if worker.host == socket.gethostname() else 0


def refuse_foreign(run: Run) -> None:
    """Raises RunError where no worker of ours belongs to a run, or ever will."""
    if run.is_foreign:
        raise RunError(Fault(run.id, NOT_OURS, NOT_OURS_REMEDY))


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def runs_folder(given: str | None = None) -> Path:
    """--runs-dir, else FTEV_RUNS, else ./runs."""
    return Path(given or os.environ.get("FTEV_RUNS") or "runs")


def create_run(config: RunConfig, folder: Path) -> Run:
    """A new run directory with its resolved configuration, written first and never edited."""

    from ..config.config_file import dump_config

    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    name = re.sub(r"[^\w.-]+", "-", config.name).strip("-.") or "run"
    for path in _free_names(folder / f"{stamp}_{name}"):
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise cannot_write(path, error.errno or errno.EIO, 0, "start it again") from None
        with writing(path / "run.toml"):
            (path / "run.toml").write_text(dump_config(config), encoding="utf-8")
        return Run(path)
    raise AssertionError("names do not run out")


def _free_names(path: Path) -> Iterator[Path]:
    yield path
    number = 2
    while True:
        yield path.with_name(f"{path.name}-{number}")
        number += 1


def list_runs(folder: Path) -> list[Run]:
    """The runs of a folder, newest first; other tools' logs as they were read last."""
    paths = _folders(folder) + _folders(folder / FOREIGN)
    found = [Run(p) for p in paths if is_run(p)]
    return sorted(found, key=lambda run: run.id, reverse=True)


def _folders(folder: Path) -> list[Path]:
    try:
        return [
            Path(e.path) for e in os.scandir(folder) if e.is_dir() and not e.name.startswith(".")
        ]
    except OSError:
        return []


def is_run(path: Path) -> bool:
    """Whether a folder has a run in it. An unreadable folder counts, so that it is reported."""
    try:
        return any((path / name).exists() for name in ("run.toml", "events.jsonl"))
    except OSError:
        return True


def open_run(spec: str, folder: Path) -> Run:
    """RUN on the command line: a directory, a name or unique prefix in the folder, or `latest`.

    Raises ConfigError where that is no run, or more than one.
    """
    if not spec.strip():
        raise ConfigError(Fault("RUN", "is empty", "`ftev-tui list` shows what is there"))
    path = Path(spec)
    if os.path.isdir(path) and is_run(path):
        return Run(path.resolve())
    runs = list_runs(folder)
    if spec == "latest":
        if not runs:
            raise ConfigError(f"{folder}: no runs here yet. Start one with `ftev-tui demo`")
        return runs[0]
    matches = [r for r in runs if r.id == spec] or [r for r in runs if r.id.startswith(spec)]
    if not matches:
        matches = [r for r in runs if spec in r.id]
    if len(matches) == 1:
        return matches[0]
    if matches:
        some = ", ".join(r.id for r in matches[:5])
        raise ConfigError(f"{spec}: {len(matches)} runs begin so: {some}. Write more of the name")
    raise ConfigError(f"{spec}: no such run in {folder}. `ftev-tui list` shows what is there")


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("step_"))


def weights_of(run: Run, kept_step: int | None) -> Path | None:
    """The weights of an ended run: its model, else the checkpoint of the step that was kept, else
    the newest one. None where none of them is here."""
    if run.model_path.exists():
        return run.model_path
    kept = run.checkpoints / f"step_{kept_step or 0:06d}"
    return kept if (kept / TRAINING_STATE).exists() else last_checkpoint(run)


def last_checkpoint(run: Run) -> Path | None:
    """The newest checkpoint that was written to its end."""
    return next(iter(checkpoints_of(run)), None)


def checkpoints_of(run: Run) -> list[Path]:
    """Those that were written to their end, the newest first."""
    names = (p.parent for p in run.checkpoints.glob(f"step_*/{TRAINING_STATE}"))
    steps = [p for p in names if p.name.removeprefix("step_").isdecimal()]
    return sorted(steps, key=step_of, reverse=True)


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
    """A message for each damaged checkpoint that is passed over."""
    if not damages:
        return []
    step = int(found.name.removeprefix("step_")) if found else 0
    fresh = "None is complete: training starts again from the base model"
    way = f"The run resumes at step {step:,}" if found else fresh
    return [f"a checkpoint is damaged: {what}. {way}" for what in damages]
