"""Metrics as CSV with a step column: of Lightning's CSVLogger, and of loops of one's own."""

from __future__ import annotations

import contextlib
import csv
import hashlib
from collections.abc import Iterator
from pathlib import Path

from .facts import LARGEST_ENTRY, Configured, Fact, Place, Problem, RewrittenError, Source, logged

STEPS = ("step", "global_step", "steps", "iteration", "iter")
SETTINGS = "hparams.yaml"
LONGEST_LINE = 1 << 20  # characters
MOST_COLUMNS = 2_000


def files_of(path: Path) -> list[Path]:
    return [path]


def step_column(header: list[str]) -> int | None:
    """Where the step stands; None where no column is called so."""
    names = [name.strip().lower() for name in header]
    return next((names.index(name) for name in STEPS if name in names), None)


def read(source: Source, place: Place) -> Iterator[Fact]:
    """What is new in a file. Lightning writes the whole anew when a metric is added: rows that
    were read stay the first ones, and are passed over."""
    path, done = source.path, place.offsets.get("", 0)
    time = path.stat().st_mtime
    if not done:
        yield from _settings(path.with_name(SETTINGS))
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        lines = _whole_lines(file)
        rows = csv.reader(lines)
        try:
            header = next(rows, [])[:MOST_COLUMNS]
            at = step_column(header)
            if at is None:
                if header:
                    yield Problem(f"{path.name} has no column step")
                return
            count, steps = 0, hashlib.sha256()
            for count, row in enumerate(rows, 1):
                if count <= 32:
                    steps.update((row[at] if at < len(row) else "").encode() + b"\n")
                if count <= done:
                    continue
                yield from _of_row(header, row, at, time)
        except csv.Error as error:
            yield Problem(f"{path.name} is damaged: {error}")
    if count < done:
        raise RewrittenError
    place.offsets[""] = count


def _whole_lines(file: object) -> Iterator[str]:
    """Lines that are written to their end, none longer than a row of numbers can be."""
    while line := file.readline(LONGEST_LINE):  # type: ignore[attr-defined]
        if not line.endswith(("\n", "\r")):
            return
        yield line


def _of_row(header: list[str], row: list[str], at: int, time: float) -> Iterator[Fact]:
    """The figures of a row; an empty cell has none."""
    entry: dict[str, object] = {}
    step = None
    for column, (name, cell) in enumerate(zip(header, row, strict=False)):
        with contextlib.suppress(ValueError, OverflowError):
            value = float(cell)
            if column == at:
                step = int(value)
            else:
                entry[name.strip()] = value
    if (found := logged(step, time, entry)) is not None:
        yield found


def _settings(path: Path) -> Iterator[Configured]:
    """The flat part of an hparams.yaml: `name: value` a line; anything deeper is passed over,
    as YAML from elsewhere may build objects."""
    with contextlib.suppress(OSError):
        lines = path.read_bytes()[:LARGEST_ENTRY].decode("utf-8", "replace").splitlines()
        pairs = [line.partition(": ") for line in lines if line[:1].strip() not in ("", "#", "-")]
        yield Configured({name: value.strip() for name, _, value in pairs if value.strip()})
