"""Writers of other tools' logs, small and of our own making; held by the tools themselves where
those are installed."""

from __future__ import annotations

import json
import sqlite3
import struct
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from ftev.core.run.foreign.tfevents import masked_crc

STARTED = 1_700_000_000.0  # seconds since the Unix epoch


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, content: bytes | str | int | float) -> bytes:
    """A field of a protocol buffer: texts and bytes with their length, ints as varints, floats as
    doubles."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    if isinstance(content, float):
        return varint(number << 3 | 1) + struct.pack("<d", content)
    content = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(content)) + content


def record(data: bytes) -> bytes:
    """A record of an event file."""
    head = struct.pack("<Q", len(data))
    crcs = struct.pack("<I", masked_crc(head)), struct.pack("<I", masked_crc(data))
    return head + crcs[0] + data + crcs[1]


def scalar(tag: str, value: float) -> bytes:
    return field(1, field(1, tag) + b"\x15" + struct.pack("<f", value))


def tensor(tag: str, value: float) -> bytes:
    """A scalar as TensorFlow 2 writes it: a tensor of one double, with what it is beside it."""
    content = field(1, 2) + field(4, struct.pack("<d", value))
    return field(1, field(1, tag) + field(9, field(1, field(1, "scalars"))) + field(8, content))


def text(tag: str, value: str) -> bytes:
    content = field(1, 7) + field(8, value)
    return field(1, field(1, tag + "/text_summary") + field(8, content))


def event(step: int, *values: bytes, time: float | None = None, more: bytes = b"") -> bytes:
    at = STARTED + step if time is None else time
    summary = field(5, b"".join(values)) if values else b""
    return record(field(1, at) + (field(2, step) if step else b"") + summary + more)


def first_event(time: float = STARTED) -> bytes:
    return record(field(1, time) + field(3, "brain.Event:2"))


def session_start(step: int, time: float) -> bytes:
    """What torch writes for `purge_step`."""
    return event(step, time=time, more=field(7, field(1, 1)))


def write_events(folder: Path, name: str, *records: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"events.out.tfevents.{name}"
    path.write_bytes(b"".join((first_event(), *records)))
    return path


def item(name: str, value: object, *, nested: bool = True) -> bytes:
    parts = [field(2, part) for part in name.split(".")] if nested else [field(1, name)]
    return field(1, b"".join(parts) + field(16, json.dumps(value)))


def history(step: int, values: Mapping[str, object]) -> bytes:
    """A call of `wandb.log`."""
    entry = {**values, "_step": step, "_timestamp": STARTED + step}
    return field(2, b"".join(item(n, v) for n, v in entry.items()) + field(2, field(1, step)))


def run_record(name: str, config: Mapping[str, object]) -> bytes:
    update = b"".join(item(n, v, nested=False) for n, v in config.items())
    return field(17, field(1, "id123") + field(4, update) + field(8, name) + field(13, "box"))


def wandb_bytes(records: Iterable[bytes]) -> bytes:
    """A .wandb file."""
    out = bytearray(b":W&B" + struct.pack("<HB", 0xBEE1, 0))
    for whole in records:
        left, is_first = whole, True
        while left or is_first:
            room = 32768 - len(out) % 32768
            if room < 7:
                out += bytes(room)
                continue
            part, left = left[: room - 7], left[room - 7 :]
            kind = (1 if is_first else 4) if not left else (2 if is_first else 3)
            crc = zlib.crc32(bytes([kind]) + part)
            out += struct.pack("<IHB", crc, len(part), kind) + part
            is_first = False
    return bytes(out)


def write_wandb(path: Path, *records: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(wandb_bytes(records))
    return path


def state(entries: list[dict[str, object]], steps: int = 30) -> str:
    """trainer_state.json of transformers."""
    own = {"max_steps": steps, "num_train_epochs": 3, "train_batch_size": 8}
    return json.dumps({**own, "global_step": 0, "log_history": entries})


def log_line(step: int, total: int = 30, **figures: float) -> str:
    """A line of LLaMA-Factory's trainer_log.jsonl."""
    about = {"current_steps": step, "total_steps": total, "elapsed_time": f"0:00:{step:02d}"}
    return json.dumps({**about, **figures}) + "\n"


def write_trackio(path: Path, runs: Mapping[str, list[dict[str, object]]]) -> sqlite3.Connection:
    """A database of trackio, left open as by a run that goes on; WAL, as trackio has it."""
    db = sqlite3.connect(path)
    db.execute("PRAGMA journal_mode = WAL")
    db.executescript(
        "CREATE TABLE metrics (id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp TEXT, "
        "run_name TEXT, step INTEGER, metrics TEXT);"
        "CREATE TABLE configs (id INTEGER PRIMARY KEY, run_name TEXT, config TEXT);"
    )
    for name, entries in runs.items():
        db.execute("INSERT INTO configs (run_name, config) VALUES (?, ?)", (name, '{"lr": 0.1}'))
        for step, entry in enumerate(entries, 1):
            add_trackio(db, name, step, entry)
    db.commit()
    return db


def add_trackio(db: sqlite3.Connection, run: str, step: int, entry: dict[str, object]) -> None:
    row = ("2026-11-20T14:00:00+00:00", run, step, json.dumps(entry))
    db.execute("INSERT INTO metrics (timestamp, run_name, step, metrics) VALUES (?,?,?,?)", row)
    db.commit()


def write_mlflow(path: Path, status: str, points: Iterable[tuple[str, float, int, int]]) -> None:
    """A database of MLflow with one run; points: name, value, step, whether NaN."""
    db = sqlite3.connect(path)
    db.executescript(
        "CREATE TABLE runs (run_uuid TEXT PRIMARY KEY, name TEXT, status TEXT, start_time INT);"
        "CREATE TABLE metrics (key TEXT, value REAL, timestamp INT, run_uuid TEXT, step INT, "
        "is_nan INT, PRIMARY KEY (key, timestamp, step, run_uuid, value, is_nan));"
        "CREATE TABLE params (key TEXT, value TEXT, run_uuid TEXT);"
    )
    db.execute("INSERT INTO runs VALUES ('u1', 'shy-crow-12', ?, 1)", (status,))
    db.execute("INSERT INTO params VALUES ('lr', '0.001', 'u1')")
    rows = [(k, v, int(STARTED + s) * 1000, "u1", s, nan) for k, v, s, nan in points]
    db.executemany("INSERT INTO metrics VALUES (?,?,?,?,?,?)", rows)
    db.commit()
    db.close()
