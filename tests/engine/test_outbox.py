"""Events reach a slow disk whole and in order, and the run does not wait for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest
from ftev.core.engine.worker.outbox import Outbox
from ftev.core.errors import RunError
from ftev.core.run.events import EventReader, Note, RunFinished
from waiting import patience, wait_for

PATIENCE = patience(30.0)


class Disk:
    """A file that takes nothing until it is told to, and then refuses where it shall."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.ready = file, threading.Event()
        self.refuses = False
        self.writes = 0

    def write(self, lines: memoryview) -> int:
        assert self.ready.wait(PATIENCE)
        self.writes += 1
        if self.refuses:
            raise OSError(28, "No space left on device")
        return self._file.write(lines[:1000])  # a part at a time

    def close(self) -> None:
        self._file.close()


def with_disk(path: Path, held_bytes: int = 1 << 20) -> tuple[Outbox, Disk]:
    outbox = Outbox(path, held_bytes)
    disk = Disk(outbox._writer._file)
    outbox._writer._file = disk  # type: ignore[assignment]
    return outbox, disk


def texts(path: Path) -> list[str]:
    return [e.text for e in EventReader(path).read_all() if isinstance(e, Note)]


def note(text: object) -> Note:
    return Note(level="info", text=str(text))


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "events.jsonl"
    assert not [t for t in threading.enumerate() if t.name == "events"]


def test_a_disk_that_takes_nothing_holds_nobody_up(path: Path) -> None:
    outbox, disk = with_disk(path)
    with outbox:
        for n in range(500):
            outbox.write(note(n))
        assert texts(path) == []
        disk.ready.set()
        outbox.write(RunFinished(status="finished"))
    events = list(EventReader(path).read_all())
    assert [e.text for e in events if isinstance(e, Note)] == [str(n) for n in range(500)]
    assert isinstance(events[-1], RunFinished)
    assert all(e.time > 1.6e9 for e in events)
    assert disk.writes < 500  # what waits is written together


def test_what_was_flushed_is_there(path: Path) -> None:
    with Outbox(path) as outbox:
        outbox.write(note("one"), note("two"))
        outbox.flush()
        assert texts(path) == ["one", "two"]


def test_an_error_in_the_run_loses_no_event(path: Path) -> None:
    outbox, disk = with_disk(path)

    def run() -> None:
        with outbox:
            outbox.write(note("the last"))
            raise ZeroDivisionError

    threading.Timer(0.05, disk.ready.set).start()
    with pytest.raises(ZeroDivisionError):
        run()
    assert texts(path) == ["the last"]


def test_too_much_that_waits_makes_the_run_wait(path: Path) -> None:
    outbox, disk = with_disk(path, held_bytes=200)
    given: list[int] = []

    def give() -> None:
        for n in range(50):
            outbox.write(note(n))
            given.append(n)

    giver = threading.Thread(target=give)
    with outbox:
        giver.start()
        wait_for(lambda: given, "the first ones")
        giver.join(0.2)
        assert giver.is_alive()
        assert len(given) <= 4
        disk.ready.set()
        giver.join(PATIENCE)
    assert texts(path) == [str(n) for n in range(50)]


def test_a_disk_that_refuses_is_told_of(path: Path) -> None:
    outbox, disk = with_disk(path)
    disk.refuses = True
    with outbox:
        outbox.write(note("lost"))
        disk.ready.set()
        with pytest.raises(RunError, match="No space left"):
            outbox.flush()
        with pytest.raises(RunError, match=r"events\.jsonl.*Make room there"):
            outbox.write(note("refused"))


def test_each_thread_keeps_its_order(path: Path) -> None:
    def give(name: str) -> None:
        for n in range(200):
            outbox.write(note(f"{name}{n}"))

    with Outbox(path, held_bytes=2_000) as outbox:
        givers = [threading.Thread(target=give, args=(name,)) for name in "ab"]
        for giver in givers:
            giver.start()
        for giver in givers:
            giver.join(PATIENCE)
    found = texts(path)
    for name in "ab":
        assert [t for t in found if t[0] == name] == [f"{name}{n}" for n in range(200)]
