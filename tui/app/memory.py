"""What a screen remembers of how it was looked at, on disk before the line drops.

A small JSON file for each run, in the user's state folder, written whole. A screen joins with
`remembered_of` (the run directory), `REMEMBERED_AS` (a name; for a screen over the run's own it is
the action of the run screen that opens it), `memory()`, which gives plain values, `recall(memory)`,
which takes of them what still makes sense, and `self.app.recall(self)` once it has its data.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import msgspec

from ...core.files.reading import decode_json
from ...core.run.history import History
from ..drawing.format import format_count, format_number

SCHEMA = "ftev.screens/1"
LARGEST = 262_144  # bytes; more is no memory of ours
REMEMBER_SECONDS = 1.0  # between two looks at what has to be remembered
FILES_KEPT = 500  # runs; the oldest is forgotten for a new one
Plain = dict[str, object]  # values that JSON knows


@runtime_checkable
class Remembering(Protocol):
    """A screen that remembers: see the module."""

    REMEMBERED_AS: ClassVar[str]

    @property
    def remembered_of(self) -> Path: ...

    def memory(self) -> Plain: ...

    def recall(self, memory: Plain) -> None: ...


@dataclass
class Memory:
    """The screens of one run: what each remembers, and which of them lay on top."""

    of: Path
    on_top: str = ""
    screens: dict[str, Plain] = field(default_factory=dict)


def state_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where memories are kept: under XDG_STATE_HOME, else ~/.local/state."""
    state = environment.get("XDG_STATE_HOME", "")
    base = Path(state) if state.startswith("/") else Path.home() / ".local" / "state"
    return base / "ftev" / "screens"


def memory_path(of: Path) -> Path:
    """The file of a run directory, named by a hash of its path."""
    name = hashlib.sha256(os.fsencode(of.resolve())).hexdigest()[:24]
    return state_folder() / f"{name}.json"


def read_memory(of: Path) -> Memory:
    """Never fails: a missing, damaged or foreign file is an empty memory."""
    try:
        with memory_path(of).open("rb") as file:
            stored = decode_json(file.read(LARGEST), dict[str, object])
        screens = stored["screens"]
        known = stored["schema"] == SCHEMA and stored["of"] == str(of.resolve())
        if not known or not isinstance(screens, dict):
            return Memory(of)
        plain = {str(k): v for k, v in screens.items() if isinstance(v, dict)}
        return Memory(of, str(stored["on_top"]), plain)
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError):
        return Memory(of)  # RuntimeError: no home folder, or nested beyond reason


def encode_memory(memory: Memory) -> bytes:
    """A memory as it is written."""
    return msgspec.json.encode(
        {
            "schema": SCHEMA,
            "of": str(memory.of.resolve()),
            "on_top": memory.on_top,
            "screens": memory.screens,
        }
    )


def write_memory(of: Path, content: bytes) -> None:
    """Whole or not at all; a folder that cannot be written to costs the memory, nothing else."""
    with contextlib.suppress(OSError, RuntimeError):
        path = memory_path(of)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            _forget_oldest(path.parent)
        new = path.with_suffix(f".{os.getpid()}.new")
        opened = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(opened, "wb") as file:
            file.write(content)
        new.replace(path)


def _forget_oldest(folder: Path) -> None:
    files = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime)
    for path in files[: max(0, len(files) - FILES_KEPT)]:
        path.unlink()


class Keeper:
    """Writes the newest memory in a thread: a slow disk must not hold the screen up."""

    def __init__(self) -> None:
        self._wanted: dict[Path, bytes] = {}
        self._written: dict[Path, bytes] = {}
        self._lock = threading.Lock()  # of the files
        self._news = threading.Event()
        self._thread: threading.Thread | None = None

    def keep(self, memory: Memory) -> None:
        content = encode_memory(memory)
        if self._wanted.get(memory.of) == content:
            return
        self._wanted[memory.of] = content
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_on, name="memory", daemon=True)
            self._thread.start()
        self._news.set()

    def _write_on(self) -> None:
        while True:
            self._news.wait()
            self._news.clear()
            self.flush()

    def flush(self) -> None:
        """Write what is not written yet."""
        with self._lock:
            for of, content in list(self._wanted.items()):
                if self._written.get(of) != content:
                    write_memory(of, content)
                    self._written[of] = content


Seen = dict[str, Any]
_NEWS = {
    "finished": "finished",
    "stopped": "stopped",
    "failed": "failed",
    "died": "the worker died",
    "paused": "paused",
}


def seen_of(history: History, status: str) -> Seen:
    """What a person who looks at the screen now has seen of the run; plain values."""
    return {
        "step": history.step,
        "epochs": len(history.epochs),
        "loss": _validation_loss(history),
        "checkpoint": max((c.step for c in history.checkpoints), default=0),
        "status": status,
    }


def while_away(seen: Seen, history: History, status: str) -> str:
    """3 epochs, validation loss 0.310 → 0.270, checkpoint of step 900, finished. "" for nothing."""
    now = seen_of(history, status)
    news = []
    if epochs := _growth(seen, now, "epochs"):
        news.append(_counted(epochs, "epoch"))
    elif steps := _growth(seen, now, "step"):
        news.append(_counted(steps, "step"))
    before, after = seen.get("loss"), now["loss"]
    if isinstance(before, float) and after is not None and before != after:
        news.append(f"validation loss {format_number(before)} → {format_number(after)}")
    if _growth(seen, now, "checkpoint"):
        news.append(f"checkpoint of step {now['checkpoint']:,}")
    if status != seen.get("status") and status in _NEWS:
        news.append(_NEWS[status])
    return f"While you were away: {', '.join(news)}." if news else ""


def _counted(number: int, what: str) -> str:
    return f"{format_count(number)} {what}{'s' if number != 1 else ''}"


def _growth(seen: Seen, now: Seen, name: str) -> int:
    before = seen.get(name)
    return max(0, now[name] - before) if type(before) is int else 0


def _validation_loss(history: History) -> float | None:
    series = history.validation_series()
    if not series or not series[-1].loss_count:
        return None
    loss = series[-1].loss_sum / series[-1].loss_count
    return loss if math.isfinite(loss) else None
