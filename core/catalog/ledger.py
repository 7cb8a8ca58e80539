"""The test ledger: which earlier runs of a folder have scored the same test rows.

A test split that chooses among runs is a validation split: its best figure is optimistic. Each run
is identified by what it wrote down; of an events file only the end is read, where the fifth stage
stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ..config.config import RunConfig
from ..errors import FtevError
from ..metrics.analyses import TestReadings
from ..run.events import ResultsComputed, SplitPrepared, StepDone, decode_event
from ..run.runs import Run, list_runs

RUNS_READ = 200  # the newest of them
BLOCK = 1 << 20  # bytes read at a time, from the end
BLOCKS = 16  # and so many at most
IDS_LISTED = 20


def count_test_readings(run: Run, test: SplitPrepared) -> TestReadings:
    """How many other runs beside this one have scored these test rows, and which.

    `other_configs` of them had other settings (name and folder aside); `more` says that there
    were more runs than were looked at.
    """
    others = [r for r in list_runs(run.folder) if r.path.name != run.path.name]
    readers = [r for r in others[:RUNS_READ] if _has_read(r, test)]
    own = _settings(run)
    differing = [r for r in readers if own is None or _settings(r) != own]
    return TestReadings(
        runs=len(readers),
        other_configs=len(differing),
        ids=[r.id for r in readers[:IDS_LISTED]],
        looked_at=min(len(others), RUNS_READ),
        more=len(others) > RUNS_READ,
    )


def _has_read(run: Run, test: SplitPrepared) -> bool:
    """Whether the run scored its tuned model on the same test rows."""
    scored = False
    for line in _lines_from_the_end(run):
        if b"StepDone" in line or b"RunStarted" in line:
            if isinstance(decode_event(line), StepDone):
                return False  # before the fifth stage: there was no test
        elif b"ResultsComputed" in line or b"SplitPrepared" in line:
            event = decode_event(line)
            if isinstance(event, ResultsComputed):
                scored = scored or (event.split, event.model) == ("test", "tuned")
            elif isinstance(event, SplitPrepared) and event.split == "test":
                return scored and _same_rows(event, test)
    return False


def _same_rows(a: SplitPrepared, b: SplitPrepared) -> bool:
    """By their inputs; where a run has not written these, by the bytes of its files and its rows.

    Two shares split off one file have the bytes in common but not the rows.
    """
    if a.rows_sha256 and b.rows_sha256:
        return a.rows_sha256 == b.rows_sha256
    return bool(a.sha256) and (a.sha256, a.rows, a.labels) == (b.sha256, b.rows, b.labels)


def _lines_from_the_end(run: Run) -> Iterator[bytes]:
    """The lines of a run's events, the last first, of a bounded number of bytes."""
    try:
        with run.events_path.open("rb") as file:
            end, rest = file.seek(0, 2), b""
            for _ in range(BLOCKS):
                start = max(0, end - BLOCK)
                file.seek(start)
                first, *lines = (file.read(end - start) + rest).split(b"\n")
                yield from reversed(lines)
                end, rest = start, first
                if start == 0:
                    yield first
                    return
    except OSError:
        return


def _settings(run: Run) -> RunConfig | None:
    """A run's configuration without what names it; None where it cannot be read."""
    try:
        return replace(run.config(), name="", folder="")
    except (FtevError, OSError):
        return None
