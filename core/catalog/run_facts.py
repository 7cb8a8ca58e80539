"""What a list of runs shows of each: a few facts, read from both ends of its events.

Light enough for a thousand runs: no numbers library, and a long file's middle, which holds steps
only, is searched for its losses alone.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from ..errors import ConfigError, RunError
from ..files.disk import write_whole
from ..files.reading import BROKEN, misfits_named, read_toml
from ..run.event_lines import LossCourse, read_course
from ..run.events import AnyEvent, EventReader, RunFinished, RunStarted, decode_event
from ..run.history import History
from ..run.runs import Run
from .listed import Stamp, cache_version
from .notes import NOTHING, RunNotes

EDGE_BYTES = 512_000  # read at each end of a long file: the middle holds steps only
GLANCE_BYTES = 4_096  # of a file's beginning and end, before it is read
_STAMP = re.compile(r"^\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_")


class RunFacts(msgspec.Struct, frozen=True, omit_defaults=True):
    """Facts from the files of a run. Whether its worker is alive is not among them."""

    name: str
    task: str = ""
    origin: str = "ftev"  # who trains, or whose log it is
    ended: str = ""  # as what the run ended: finished, stopped, failed; unreadable
    started: bool = False
    paused: bool = False
    whole: bool = True  # False: only glanced at so far
    step: int = 0
    max_steps: int = 0
    created: float = 0.0  # seconds since the Unix epoch
    last_time: float = 0.0
    metric: str = ""  # of the headline
    split: str = ""
    value: float | None = None
    headline: str = ""
    metrics: dict[str, float] = {}  # of the tuned model on the headline's split
    rows: str = ""  # the sha256 of the rows of that split
    decision: str = ""
    reason: str = ""  # the first one of the verdict
    error: str = ""
    course: list[tuple[float, float]] = []  # least and greatest loss of each part of the run
    settings: dict[str, Any] = {}  # dotted names, as in run.toml


@dataclass(frozen=True)
class RunEntry:
    """A run of the list: its facts, how it stands now and what people wrote on it."""

    run: Run
    facts: RunFacts
    status: str
    notes: RunNotes = NOTHING

    @property
    def name(self) -> str:
        return self.notes.name or self.facts.name

    @property
    def seconds(self) -> float:
        """From the first to the last event."""
        return max(0.0, self.facts.last_time - self.facts.created)


def status_of(run: Run, facts: RunFacts) -> str:
    """How a run stands now, as `core.catalog.summary.run_status` has it."""
    if facts.ended:
        return facts.ended
    alive = run.worker_alive()
    if not alive and run.is_foreign:
        return "quiet"
    if not alive:
        return "died" if facts.started or run.worker() is not None else "starting"
    return "paused" if facts.paused else "running"


def glance(run: Run) -> RunFacts:
    """A run by its first and last line: its name, task and end. Facts follow."""
    first: AnyEvent | None = None
    last: AnyEvent | None = None
    try:
        with run.events_path.open("rb") as file:
            first = decode_event(file.readline(GLANCE_BYTES))
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - GLANCE_BYTES))
            last = decode_event(file.read().rstrip().rpartition(b"\n")[2])
    except FileNotFoundError:
        pass
    except OSError:
        return _unreadable(run)
    begun = first if isinstance(first, RunStarted) else None
    return RunFacts(
        name=begun.name if begun and begun.name else name_in_id(run.id),
        task=begun.task if begun else "",
        origin=begun.origin if begun else "ftev",
        ended=last.status if isinstance(last, RunFinished) else "",
        started=begun is not None,
        whole=False,
        created=begun.time if begun else _time_of(run.path / "run.toml"),
        last_time=last.time if last else 0.0,
    )


def read_facts(run: Run, course: LossCourse | None = None) -> RunFacts:
    """Everything a list shows of a run. `course` is one that was read before of the same file."""
    try:
        with misfits_named(run.events_path):
            return _read_facts(run, course)
    except RunError:
        return _unreadable(run)


def _read_facts(run: Run, course: LossCourse | None) -> RunFacts:
    history = read_edges(run.events_path)
    started = history.started
    facts = RunFacts(
        name=started.name if started and started.name else name_in_id(run.id),
        task=history.task,
        origin=history.origin,
        ended=history.finished.status if history.finished else "",
        started=started is not None,
        paused=history.paused,
        step=history.step,
        max_steps=history.max_steps,
        created=history.created or _time_of(run.path / "run.toml"),
        last_time=history.finished.time if history.finished else history.last_time,
        error=history.finished.error.partition("\n")[0] if history.finished else "",
        course=_course(run, history, course),
    )
    return _with_results(run, history, facts)


def _with_results(run: Run, history: History, facts: RunFacts) -> RunFacts:
    from ..config.config import to_dict
    from ..judgement.selection import metric_value
    from ..judgement.verdict import judge
    from .summary import headline

    config = run.config_if_kept()
    settings = _flat(to_dict(config)) if config else read_settings(run)
    shown = headline(run, history, config)
    verdict = judge(history, config) if config and history.finished and history.results else None
    if shown is None:
        return msgspec.structs.replace(facts, settings=settings)
    result = history.result(shown.split)
    measured = result.metrics if result else {}
    metrics = {name: metric_value(result, name) for name in (*measured, "loss")}
    prepared = history.splits.get(shown.split)
    return msgspec.structs.replace(
        facts,
        metric=shown.metric,
        split=shown.split,
        value=shown.value,
        headline=shown.text,
        metrics={n: v for n, v in metrics.items() if v is not None} or {shown.metric: shown.value},
        rows=(prepared.rows_sha256 or prepared.sha256) if prepared else "",
        decision=verdict.decision if verdict else "",
        reason=verdict.reasons[0] if verdict and verdict.reasons else "",
        settings=settings,
    )


def _course(run: Run, history: History, known: LossCourse | None) -> list[tuple[float, float]]:
    if known is None and _size(run.events_path) <= 2 * EDGE_BYTES:
        found = LossCourse()
        found.extend(history.steps.loss)
        return found.parts()
    return read_course(run.events_path, known or LossCourse()).parts()


def _unreadable(run: Run) -> RunFacts:
    return RunFacts(name=name_in_id(run.id), ended="unreadable")


def read_settings(run: Run) -> dict[str, object]:
    """run.toml with dotted names; nothing where it cannot be read."""
    try:
        return _flat(read_toml(run.path / "run.toml")[0])
    except ConfigError:
        return {}


def _flat(table: Mapping[str, object]) -> dict[str, object]:
    return {name: _plain(value) for name, value in flatten(table).items()}


def flatten(table: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Nested tables as dotted names."""
    found: dict[str, object] = {}
    for name, value in table.items():
        if isinstance(value, Mapping):
            found |= flatten(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def _plain(value: object) -> object:
    """What a cache can hold: TOML also knows dates."""
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return value if isinstance(value, str | int | float | bool) else str(value)


def name_in_id(run_id: str) -> str:
    """What follows the date and time in the name of a run directory."""
    return _STAMP.sub("", run_id) or run_id


def read_edges(path: Path) -> History:
    """The history of a short file; of a long one, without the steps in its middle."""
    history, reader = History(), EventReader(path, EDGE_BYTES)
    size = _size(path)
    history.add_all(reader.read())
    if size > 2 * EDGE_BYTES:
        reader = EventReader(path, EDGE_BYTES)
        reader.offset = size - EDGE_BYTES
    while reader.offset < size:
        events = reader.read()
        if not events and reader.offset >= size:
            break
        history.add_all(events)
    return history


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _time_of(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


CACHE_FILE = ".listed.msgpack"
Known = dict[str, tuple[Stamp, RunFacts]]  # by the name of the run directory


class _Cache(msgspec.Struct, frozen=True):
    version: str
    runs: Known


def read_cache(folder: Path) -> Known:
    """What was known of the runs of a folder; nothing where that cannot be used."""
    try:
        found = msgspec.msgpack.decode((folder / CACHE_FILE).read_bytes(), type=_Cache)
    except (OSError, *BROKEN):
        return {}
    return found.runs if found.version == cache_version() else {}


def write_cache(folder: Path, known: Known) -> None:
    """Keep what is known. A folder that may not be written to is listed without a cache."""
    content = msgspec.msgpack.encode(_Cache(cache_version(), known))
    with contextlib.suppress(RunError):
        write_whole(folder / CACHE_FILE, content)
