"""Logs of other tools as run directories: everything that reads runs then reads these.

The directories are kept under `.foreign` in the folder of runs. Nothing is written where the log
lies. A log is taken up from where the last look left it, by whoever looks.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Self

import msgspec

from .... import __version__
from ...errors import ConfigError, Fault, RunError
from ...files.disk import write_whole, writing
from ...files.reading import read_json
from ..events import (
    Event,
    Note,
    RunFinished,
    RunStarted,
    ScalarsLogged,
    TrainingPlanned,
    encode_events,
)
from ..history import LAST_TIME
from ..lock import Lock
from ..logged import LAST_STEP, MOST_NAMES, canonical_name
from ..runs import FOREIGN, ORIGIN, TRASH, Run, is_run, open_run
from . import databases, metrics_csv, tfevents, trainer, wandb_file
from .facts import (
    Configured,
    Ended,
    Fact,
    Logged,
    Place,
    Planned,
    Problem,
    Restarted,
    RewrittenError,
    Source,
    flatten,
)
from .found import NoLogError, find_sources

FORMAT = 1
WRITE_EVENTS = 5_000  # gathered before they are written
MOST_SETTINGS = 200
MOST_PROBLEMS = 20  # that a run notes

Files = Callable[[Path], list[Path]]
Read = Callable[[Source, Place], Iterator[Fact]]
# By kind: whose log it is, the files that make it up, and how they are read
READERS: dict[str, tuple[str, Files, Read]] = {
    "tensorboard": ("tensorboard", tfevents.files_of, tfevents.read),
    "wandb": ("wandb", wandb_file.files_of, wandb_file.read),
    "state": ("transformers", trainer.state_files, trainer.read_state),
    "llamafactory": ("llamafactory", metrics_csv.files_of, trainer.read_log),
    "csv": ("csv", metrics_csv.files_of, metrics_csv.read),
    "trackio": ("trackio", databases.files_of, databases.read_trackio),
    "mlflow": ("mlflow", databases.files_of, databases.read_mlflow),
}
Stamp = list[tuple[str, int, int]]


class SeveralError(ConfigError):
    """A log holds several runs, and none of them or more than one was named."""


class Origin(msgspec.Struct):
    """origin.json of a run directory: which log it was read from, and how far."""

    format: int
    kind: str
    path: str
    key: str
    name: str
    place: Place = msgspec.field(default_factory=Place)
    stamp: Stamp = []  # name, bytes and time of each file of the log
    bytes: int = 0  # of events.jsonl
    began: float = 0.0  # time of the first event; 0: none was written
    time: float = 0.0  # of the last one
    step: int = 0  # of the last figures
    ended: bool = False  # the log has an end, and nothing after it
    problems: list[str] = []

    @property
    def source(self) -> Source:
        return Source(self.kind, Path(self.path), self.name, self.key)


def open_log(path: Path, folder: Path, wanted: str = "") -> Run:
    """The run directory of a log, up to date. `wanted`: name or key of a run, where the log holds
    several. Raises ConfigError, RunError."""
    found = find_sources(path)
    chosen = [s for s in found if wanted in (s.key, s.name)] if wanted else found
    if len(chosen) == 1:
        return import_log(chosen[0], folder)
    names = ", ".join(describe(s, path) for s in found[:10])
    more = f" and {len(found) - 10} more" if len(found) > 10 else ""
    called = f", {len(chosen) or 'none'} called {wanted}" if wanted else ""
    what = f"holds {len(found)} runs{called}: {names}{more}"
    raise SeveralError(Fault(str(path), what, "Choose one with --run NAME, or open its own path"))


def find_run(spec: str, folder: Path) -> Run:
    """As `runs.open_run`, or by the path of a log; logs are brought up to date."""
    path = Path(spec)
    is_log = bool(spec.strip()) and spec != "latest" and os.path.exists(path) and not is_run(path)
    if is_log and not is_run(folder / spec):
        with contextlib.suppress(NoLogError):
            return open_log(path, folder)
    try:
        run = open_run(spec, folder)
    except ConfigError:
        if is_log:
            find_sources(path)  # says what is not there
        raise
    if run.is_foreign:
        update(run)
    return run


def describe(source: Source, under: Path) -> str:
    """A run in a list to choose from: by its key, else by its folder."""
    if source.key:
        return source.name if source.key == source.name else f"{source.name} ({source.key})"
    shown = source.path.relative_to(under) if source.path.is_relative_to(under) else source.path
    return f"{READERS[source.kind][0]} in {shown}"


def import_log(source: Source, folder: Path) -> Run:
    """The run directory of one run of a log under a folder of runs, up to date. Raises RunError."""
    return _import(source, folder)[0]


def _digest(source: Source) -> str:
    """By which the directory of a log is found again."""
    identity = msgspec.json.encode((FORMAT, source.kind, str(source.path.resolve()), source.key))
    return hashlib.sha256(identity).hexdigest()[:8]


def _import(source: Source, folder: Path) -> tuple[Run, bool]:
    """And whether there was anything new."""
    place, digest = folder / FOREIGN, _digest(source)
    known = sorted(place.glob(f"*-{digest}"))
    if known:
        return Run(known[0]), update(Run(known[0]))
    with writing(place):
        place.mkdir(parents=True, exist_ok=True)
        new = place / f".{digest}.{os.getpid()}-{threading.get_ident()}"
        new.mkdir()
    try:
        path = str(source.path.resolve())
        origin = Origin(FORMAT, source.kind, path, source.key, source.name)
        write_whole(new / ORIGIN, msgspec.json.encode(origin))
        began = _take_up(Run(new), origin)
        stamp = datetime.fromtimestamp(began).strftime("%Y-%m-%d_%H-%M-%S")
        name = re.sub(r"[^\w.-]+", "-", origin.name)[:60].strip("-.") or "run"
        run = Run(place / f"{stamp}_{name}-{digest}")
        with contextlib.suppress(FileExistsError), contextlib.suppress(OSError):
            new.rename(run.path)  # somebody else may have been quicker
        return run, True
    finally:
        shutil.rmtree(new, ignore_errors=True)


def update(run: Run) -> bool:
    """Take up what is new in the log of a run directory; whether there was anything.

    Nothing where its files are gone, or where another process is at it. Raises RunError.
    """
    origin = read_json(run.path / ORIGIN, Origin)
    if not _is_newer(origin):
        return False
    lock = Lock(run.path / "lock")
    if lock.take() is not None:
        return False
    try:
        origin = read_json(run.path / ORIGIN, Origin)
        if _is_newer(origin):
            _take_up(run, origin)
            return True
        return False
    finally:
        lock.release()


def update_all(folder: Path, found: Iterable[Source]) -> bool:
    """Bring these logs up to date, and those opened in a folder before; whether anything was new.

    One that cannot be read is left as it is; one in the trash stays there.
    """
    changed, seen = False, set[Path]()
    thrown_away = {p.name.rpartition("-")[2] for p in (folder / FOREIGN).glob(f"{TRASH}/*")}
    for source in found:
        if _digest(source) in thrown_away:
            continue
        with contextlib.suppress(RunError):
            run, is_new = _import(source, folder)
            changed, seen = changed or is_new, seen | {run.path}
    for path in (folder / FOREIGN).glob(f"*/{ORIGIN}"):
        with contextlib.suppress(RunError):
            changed = (path.parent not in seen and update(Run(path.parent))) or changed
    return changed


class Following:
    """Keeps the run directory of a log up to date while a screen or a command shows it."""

    SECONDS = 1.0  # between two looks at the log

    def __init__(self, run: Run) -> None:
        self._run, self._stop = run, threading.Event()
        self._thread = threading.Thread(target=self._follow, name="log", daemon=True)

    def __enter__(self) -> None:
        if self._run.is_foreign:
            self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _follow(self) -> None:
        while not self._stop.wait(self.SECONDS):
            with contextlib.suppress(RunError):  # it is tried again
                update(self._run)


def _is_newer(origin: Origin) -> bool:
    return (stamp := _stamp(origin)) != origin.stamp and bool(stamp)


def _stamp(origin: Origin) -> Stamp:
    """Of the files as they are now; nothing where they are gone."""
    found = []
    with contextlib.suppress(OSError):
        for path in READERS[origin.kind][1](Path(origin.path)):
            status = path.stat()
            found.append((path.name, status.st_size, status.st_mtime_ns))
    return found


def _take_up(run: Run, origin: Origin) -> float:
    """Write what is new; when the run began. The caller has the directory for itself."""
    stamp = _stamp(origin)
    written = max((time for _, _, time in stamp), default=0) / 1e9
    read = READERS[origin.kind][2]
    with _Writer(run, origin, written) as writer:
        try:
            try:
                writer.take_all(read(origin.source, origin.place))
            except RewrittenError:
                origin.place, origin.ended = Place(), False
                writer.take_all([Restarted(0), *read(origin.source, origin.place)])
        except RunError as error:
            if not origin.began:
                raise
            writer.take_all([Problem(str(error))])  # what was read before stands
        except OSError as error:
            fault = Fault(str(error.filename), f"cannot be read: {error.strerror}")
            raise RunError(fault) from None
        writer.finish()
    origin.stamp = stamp
    write_whole(run.path / ORIGIN, msgspec.json.encode(origin))
    return origin.began


class _Names(dict[str, str]):
    """Names as ftev has them by those of a tool; empty for names that are too many."""

    def __missing__(self, name: str) -> str:
        known = canonical_name(name) if len(self) < 2 * MOST_NAMES else ""
        if known:
            self[name] = known
        return known


class _Writer:
    """Turns facts of a log into the events of a run directory."""

    def __init__(self, run: Run, origin: Origin, written: float) -> None:
        self._run, self._origin, self._written = run, origin, written
        self._names = _Names()
        self._events: list[Event] = []
        self._settings: dict[str, object] = {}
        self._host = ""
        with writing(run.events_path):
            self._file = run.events_path.open("ab", buffering=0)
            self._file.truncate(origin.bytes)  # who wrote before may not have come to an end

    def take_all(self, facts: Iterable[Fact]) -> None:
        for fact in facts:
            if isinstance(fact, Logged):
                self._log(fact)
            else:
                self._take(fact)

    def _log(self, fact: Logged) -> None:
        if not 0 <= fact.step <= LAST_STEP:
            self._take(Problem("figures at steps below 0 or above 2^53 are left out"))
            return
        time = self._time(fact.time)
        if not self._origin.began or self._origin.ended:
            self._start(time, self._origin.step if self._origin.ended else 0)
        self._origin.step = max(fact.step, self._origin.step)
        names = self._names
        values = {names[name]: value for name, value in fact.values.items()}
        values.pop("", None)
        if values:
            epoch = fact.epoch if math.isfinite(fact.epoch) else -1.0
            self._add(ScalarsLogged(step=fact.step, values=values, epoch=epoch, time=time))

    def _take(self, fact: Fact) -> None:
        if isinstance(fact, Configured):
            self._settings |= dict(flatten(fact.settings))
            self._origin.name = fact.name[:200] or self._origin.name
            self._host = fact.host[:200] or self._host
        elif isinstance(fact, Planned) and fact.max_steps > 0:
            self._begin()
            self._add(_plan(fact, self._time(0.0)))
        elif isinstance(fact, Restarted):
            if self._origin.began:
                self._start(self._time(0.0), fact.step)
            self._origin.step = fact.step
        elif isinstance(fact, Ended):
            self._begin()
            self._origin.ended = True
            end = RunFinished(status=fact.status, error=fact.error, time=self._time(0.0))
            self._add(end)
        elif isinstance(fact, Problem):
            self._problem(fact.text)

    def _problem(self, text: str) -> None:
        known = self._origin.problems
        if text not in known and len(known) < MOST_PROBLEMS:
            known.append(text)
            self._begin()
            self._add(Note(level="warning", text=text, time=self._time(0.0)))

    def _begin(self) -> None:
        if not self._origin.began:
            self._start(self._time(0.0), 0)

    def _start(self, time: float, step: int) -> None:
        self._origin.began = self._origin.began or time
        self._origin.ended = False
        tool = READERS[self._origin.kind][0]
        start = RunStarted(
            run=self._origin.name,
            name=self._origin.name,
            task="",
            pid=0,
            host=self._host,
            ftev_version=__version__,
            resumed_from_step=step,
            origin=tool,
            time=time,
        )
        self._add(start)
        self._note_settings()

    def _note_settings(self) -> None:
        """Settings stand in the log of the run, to be read by people."""
        if self._settings:
            some = list(self._settings.items())[:MOST_SETTINGS]
            listed = ", ".join(f"{name} = {value}" for name, value in some)
            self._add(Note(level="info", text=listed[:10_000], time=self._time(0.0)))
            self._settings = {}

    def _time(self, time: float) -> float:
        """A time of the log, or the one before where it has none: that of the file at first."""
        if 0 < time < LAST_TIME:
            self._origin.time = time
        return self._origin.time or self._written or 1.0

    def _add(self, event: Event) -> None:
        self._events.append(event)
        if len(self._events) >= WRITE_EVENTS:
            self._flush()

    def _flush(self) -> None:
        content = memoryview(encode_events(self._events))
        self._events.clear()
        with writing(self._run.events_path):
            while content:  # a disk that runs full takes a part and refuses the rest
                written = self._file.write(content)
                content, self._origin.bytes = content[written:], self._origin.bytes + written

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def finish(self) -> None:
        """Write what is left. The file has the time of the log: by it one is known to be quiet."""
        self._begin()
        self._note_settings()
        self._flush()
        with contextlib.suppress(OSError):
            os.utime(self._run.events_path, (self._written, self._written))


def _plan(fact: Planned, time: float) -> TrainingPlanned:
    epochs = fact.epochs if 0 < fact.epochs < 1e9 else 0.0
    return TrainingPlanned(
        max_steps=fact.max_steps,
        steps_per_epoch=round(fact.max_steps / epochs) if epochs else 0,
        epochs=epochs,
        warmup_steps=0,
        rows_per_step=float(fact.batch),
        padding=1.0,
        time=time,
    )
