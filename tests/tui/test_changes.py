"""A follower is told of changes by the system, and looks by itself where it is not."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ftev.core.run.events import EventWriter
from ftev.tui.app import background
from ftev.tui.app.background import Changes
from ftev.tui.screens.run import follow
from ftev.tui.screens.run.follow import Follower, HistoryGrew, LogGrew
from made_runs import live_worker, make_run, story, until_step, write_events
from textual.message import Message
from waiting import wait_for

LONG = 60.0


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Changes]:
    found = Changes(tmp_path)
    yield found
    found.close()


def soon(changes: Changes) -> bool:
    """Whether a wait ends long before its time."""
    started = time.monotonic()
    changes.wait(LONG)
    return time.monotonic() - started < LONG / 2


@pytest.mark.skipif(not hasattr(os, "eventfd"), reason="only Linux tells of changes")
def test_a_change_ends_the_wait_once(tmp_path: Path, watched: Changes) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"made and written before the wait")
    assert soon(watched)
    with path.open("ab", buffering=0) as file:
        file.write(b"more")
        assert soon(watched)
        started = time.monotonic()
        watched.wait(0.05)  # nothing new
        assert time.monotonic() - started >= 0.04


def test_a_wait_is_ended_from_another_thread(watched: Changes) -> None:
    threading.Timer(0.02, watched.wake).start()
    assert soon(watched)
    assert soon(watched)
    watched.close()
    watched.wake()  # who is late does no harm


def test_a_folder_that_is_not_there_is_waited_for(tmp_path: Path) -> None:
    nowhere = Changes(tmp_path / "gone")
    nowhere.wait(0.01)
    nowhere.close()


@pytest.mark.parametrize("expected", [True, False])
def test_an_event_is_shown_when_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expected: bool
) -> None:
    """With the system's help before the follower would have looked by itself; without, then."""
    if expected:
        for name in ("SLOW_SECONDS", "IDLE_SECONDS", "FAST_SECONDS"):
            monkeypatch.setattr(follow, name, LONG)
        if not hasattr(os, "eventfd"):
            pytest.skip("only Linux tells of changes")
    else:
        monkeypatch.setattr(background, "_watch", lambda _: -1)
    run = make_run(tmp_path)
    write_events(run, until_step(story(), 40))
    run.log_path.write_text("begun\n")
    live_worker(run)
    news: list[Message] = []
    grown = threading.Event()

    def post(message: Message) -> None:
        news.append(message)
        if isinstance(message, HistoryGrew) and message.version > 40:
            grown.set()

    follower = Follower(run, post)
    follower.start()
    wait_for(lambda: any(isinstance(m, LogGrew) for m in news) and follower._changes, "the log")
    grown.clear()
    writer = EventWriter(run.events_path)
    writer.write(until_step(story(), 41)[-1])
    writer.close()
    assert grown.wait(LONG / 2)
    assert follower.history.step == 41
    follower.stop()
    follower.join(LONG / 2)
    assert not follower.is_alive()
