"""Runs in the SQLite files of trackio and MLflow. They are opened read-only."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from ...errors import Fault, RunError
from ...files.reading import BROKEN
from .facts import LARGEST_ENTRY, Configured, Ended, Fact, Place, Source, Steps, logged, number

if TYPE_CHECKING:
    import sqlite3  # imported where there is a database: every list of runs comes by here

MAGIC = b"SQLite format 3\0"
MOST_RUNS = 1_000
ROWS = 50_000  # fetched at once
MLFLOW_ENDS = {"FINISHED": "finished", "FAILED": "failed", "KILLED": "stopped"}


def files_of(path: Path) -> list[Path]:
    """The file, and its write-ahead log where it has one."""
    log = path.with_name(path.name + "-wal")
    return [path, *([log] if log.exists() else [])]


@contextlib.contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Nothing is written beside the file: one with no write-ahead log open is read as it lies.

    Raises RunError where it is no database, is damaged or is held.
    """
    import sqlite3

    try:
        with path.open("rb") as file:
            logs_ahead = file.read(19)[18:] == b"\x02"
        lies = logs_ahead and len(files_of(path)) == 1
        uri = f"file:{quote(str(path.resolve()))}?mode=ro{'&immutable=1' if lies else ''}"
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=2.0)) as connection:
            connection.text_factory = lambda data: data.decode("utf-8", "replace")
            yield connection
    # its messages name what it read, also where that is no text
    except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
        what = f"cannot be read: {error}"
        raise RunError(Fault(str(path), what, "See that it is a whole SQLite file")) from None


def columns(connection: sqlite3.Connection, table: str) -> set[str]:
    """The columns of a table; none where there is no such table."""
    return {str(row[1]) for row in connection.execute(f"PRAGMA table_info({table})")}


def kind_of(connection: sqlite3.Connection) -> str:
    """ "trackio", "mlflow" or nothing."""
    found = columns(connection, "metrics")
    if {"run_name", "step", "metrics"} <= found:
        return "trackio"
    return "mlflow" if {"run_uuid", "key", "value", "step"} <= found else ""


def sources_of(path: Path) -> list[Source]:
    """The runs of a database, newest first. Raises RunError."""
    with opened(path) as connection:
        kind = kind_of(connection)
        if kind == "mlflow":
            rows = connection.execute(
                "SELECT run_uuid, name FROM runs ORDER BY start_time DESC LIMIT ?", (MOST_RUNS,)
            )
            return [Source(kind, path, str(name or key)[:200], str(key)) for key, name in rows]
        if kind == "trackio":
            key = _run_column(connection)
            rows = connection.execute(
                f"SELECT {key}, max(run_name) FROM metrics GROUP BY {key} "
                "ORDER BY max(rowid) DESC LIMIT ?",
                (MOST_RUNS,),
            )
            return [Source(kind, path, str(name)[:200], str(key)) for key, name in rows]
        return []


def _run_column(connection: sqlite3.Connection) -> str:
    """Newer versions of trackio tell runs of one name apart."""
    return "run_id" if "run_id" in columns(connection, "metrics") else "run_name"


def read_trackio(source: Source, place: Place) -> Iterator[Fact]:
    """What is new of a run. Raises RunError."""
    with opened(source.path) as connection:
        key = _run_column(connection)
        if not place.offsets:
            yield from _trackio_settings(connection, source)
        rows = connection.execute(
            "SELECT rowid, step, timestamp, metrics FROM metrics "
            f"WHERE rowid > ? AND {key} = ? AND length(metrics) < ? ORDER BY rowid",
            (place.offsets.get("metrics", 0), source.key, LARGEST_ENTRY),
        )
        for row, step, at, metrics in rows:
            place.offsets["metrics"] = row
            entry = _object(metrics)
            if (own := number(step)) is None or not abs(own) < 1e15:
                continue
            if (found := logged(int(own), _seconds(at), entry)) is not None:
                yield found


def _trackio_settings(connection: sqlite3.Connection, source: Source) -> Iterator[Configured]:
    known = columns(connection, "configs")
    key = "run_id" if "run_id" in known else "run_name"
    if {key, "config"} <= known:
        row = connection.execute(
            f"SELECT config FROM configs WHERE {key} = ? LIMIT 1", (source.key,)
        ).fetchone()
        found = _object(row[0]) if row else {}
        yield Configured({n: v for n, v in found.items() if not n.startswith("_")}, source.name)


def _object(text: object) -> dict[str, object]:
    with contextlib.suppress(TypeError, *BROKEN):
        found = json.loads(text) if isinstance(text, str | bytes) else {}
        return found if isinstance(found, dict) else {}
    return {}


def _seconds(text: object) -> float:
    """Of a time as ISO 8601 (UTC where it names no zone) or a number."""
    if isinstance(text, int | float):
        return float(text)
    try:
        found = datetime.fromisoformat(str(text))
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def read_mlflow(source: Source, place: Place) -> Iterator[Fact]:
    """What is new of a run. Raises RunError."""
    with opened(source.path) as connection:
        if not place.offsets:
            yield from _mlflow_settings(connection, source)
        is_nan = "is_nan" if "is_nan" in columns(connection, "metrics") else "0"
        rows = connection.execute(
            f"SELECT rowid, step, timestamp, key, value, {is_nan} FROM metrics "
            "WHERE rowid > ? AND run_uuid = ? ORDER BY rowid",
            (place.offsets.get("metrics", 0), source.key),
        )
        while some := rows.fetchmany(ROWS):
            steps = Steps()
            for row, step, at, name, value, missing in some:
                place.offsets["metrics"] = row
                figure = float("nan") if missing else number(value)
                if figure is not None and isinstance(step, int) and abs(step) < 1e15:
                    steps.at(step, (number(at) or 0.0) / 1000)[str(name)] = figure
            yield from steps.take()
        row = connection.execute(
            "SELECT status FROM runs WHERE run_uuid = ?", (source.key,)
        ).fetchone()
        ended = MLFLOW_ENDS.get(str(row[0])) if row else None
        if ended and place.marks.get("status") != ended:
            place.marks["status"] = ended
            yield Ended(ended, "MLflow has it as failed" if ended == "failed" else "")


def _mlflow_settings(connection: sqlite3.Connection, source: Source) -> Iterator[Configured]:
    if {"key", "value", "run_uuid"} <= columns(connection, "params"):
        rows = connection.execute(
            "SELECT key, value FROM params WHERE run_uuid = ? LIMIT 1000", (source.key,)
        )
        yield Configured({str(name): value for name, value in rows}, source.name)
