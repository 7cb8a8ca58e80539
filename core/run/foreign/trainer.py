"""What trainers write beside their models: trainer_state.json of transformers and
trainer_log.jsonl of LLaMA-Factory."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from ...errors import RunError
from ...files.reading import BROKEN
from .facts import (
    LARGEST_ENTRY,
    Ended,
    Fact,
    Place,
    Planned,
    Problem,
    RewrittenError,
    Source,
    logged,
    number,
)

STATE, LOG = "trainer_state.json", "trainer_log.jsonl"
LARGEST_STATE = 512 << 20  # bytes; a million entries have 150 MB
# Of the closing entry, which sums up: its loss is a mean over the whole training
SPEED = ("train_runtime", "train_samples_per_second", "train_steps_per_second")
SUMS = ("train_loss", "total_flos", *SPEED)


def state_files(folder: Path) -> list[Path]:
    """The states in a folder and in its checkpoints, the one written last at the end."""
    found = [p for p in (folder / STATE, *folder.glob(f"checkpoint-*/{STATE}")) if p.is_file()]
    return sorted(found, key=lambda p: (p.stat().st_mtime_ns, p.parent == folder))


def read_state(source: Source, place: Place) -> Iterator[Fact]:
    """What is new in the newest state of a folder; each holds all since the start.

    Raises RunError where it is too large to be read whole.
    """
    files = state_files(source.path)
    if not files:
        return
    path = files[-1]
    if path.stat().st_size > LARGEST_STATE:
        raise RunError(f"{path} has more than {LARGEST_STATE >> 20} MiB, and is not read")
    time = path.stat().st_mtime
    try:
        state = json.loads(path.read_bytes())  # takes NaN, as transformers writes it
        entries = state["log_history"]
        if not isinstance(entries, list):
            raise ValueError("log_history is no list")
    except (LookupError, TypeError, *BROKEN):
        yield Problem(f"{path} is damaged, or not yet written to its end")
        return
    entries = [e for e in entries if isinstance(e, Mapping)]
    done = place.offsets.get("", 0)
    if done and place.marks.get("") != _digest(entries[:done]):
        raise RewrittenError
    if not done:
        yield Planned(*_plan(state))
    for entry in entries[done:]:
        yield from _of_entry(entry, time)
    place.offsets[""], place.marks[""] = len(entries), _digest(entries)


def _digest(entries: list[Mapping[str, object]]) -> str:
    ends = json.dumps([entries[:1], entries[-1:]], sort_keys=True)
    return hashlib.sha256(ends.encode()).hexdigest()


def _plan(state: Mapping[str, object]) -> tuple[int, float, int]:
    steps, epochs, batch = (
        number(state.get(name)) or 0.0
        for name in ("max_steps", "num_train_epochs", "train_batch_size")
    )
    return (int(steps), epochs, int(batch)) if max(steps, epochs, batch) < 1e15 else (0, 0.0, 0)


def _of_entry(entry: Mapping[str, object], time: float) -> Iterator[Fact]:
    step = number(entry.get("step"))
    closes = "train_runtime" in entry
    left_out = ("step", *(SUMS if closes else ()))
    figures = {str(n): v for n, v in entry.items() if n not in left_out}
    if step is not None and abs(step) < 1e15:
        found = logged(int(step), time, figures)
        if found is not None:
            yield found
    if closes:
        yield Ended("finished")


# LLaMA-Factory's names that are no figures of the model
NO_FIGURES = ("current_steps", "total_steps", "percentage", "elapsed_time", "remaining_time")


def read_log(source: Source, place: Place) -> Iterator[Fact]:
    """What is new in a trainer_log.jsonl."""
    path = source.path
    size, offset = path.stat().st_size, place.offsets.get("", 0)
    if size < offset:
        raise RewrittenError
    started = place.times.get("")
    with path.open("rb") as file:
        file.seek(offset)
        while line := file.readline(LARGEST_ENTRY):
            if not line.endswith(b"\n"):
                if len(line) < LARGEST_ENTRY:
                    return  # not yet written to its end
                yield Problem(f"{path.name} has a line of more than {LARGEST_ENTRY >> 20} MiB")
            place.offsets[""] = file.tell()
            entry = _object(line)
            if entry is None:
                yield Problem(f"{path.name} has lines that are no JSON objects")
                continue
            if started is None:
                # elapsed times are all it has: they are counted from when the file was made
                started = place.times[""] = path.stat().st_mtime - _elapsed(_last_entry(path))
                yield Planned(int(number(entry.get("total_steps")) or 0))
            yield from _of_line(entry, started)


def _object(line: bytes) -> Mapping[str, object] | None:
    with contextlib.suppress(*BROKEN):
        found = json.loads(line)
        return found if isinstance(found, dict) else None
    return None


def _last_entry(path: Path) -> Mapping[str, object]:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 64_000))
        lines = file.read().rstrip().splitlines()
    return (_object(lines[-1]) if lines else None) or {}


def _elapsed(entry: Mapping[str, object]) -> float:
    """Seconds of `[D day[s], ]H:MM:SS`."""
    days, _, clock = str(entry.get("elapsed_time", "")).rpartition(", ")
    try:
        hours, minutes, seconds = map(int, clock.split(":"))
        hours += int(days.split()[0]) * 24 if days else 0
        return hours * 3600 + minutes * 60 + seconds
    except (ValueError, IndexError):
        return 0.0


def _of_line(entry: Mapping[str, object], started: float) -> Iterator[Fact]:
    step, total = number(entry.get("current_steps")), number(entry.get("total_steps"))
    if step is None or not abs(step) < 1e15:
        return
    figures = {n: v for n, v in entry.items() if n not in NO_FIGURES}
    if "total_tokens" in figures:
        figures["num_tokens"] = figures.pop("total_tokens")
    found = logged(int(step), started + _elapsed(entry), figures)
    if found is not None:
        yield found
    if total and step >= total:
        yield Ended("finished")
