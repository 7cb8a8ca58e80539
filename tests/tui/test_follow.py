"""The thread that follows a run in motion."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ftev.core.run.events import encode_event
from ftev.core.run.runs import Run
from ftev.tui.screens.run import follow
from ftev.tui.screens.run.follow import (
    Follower,
    HistoryGrew,
    HistoryRead,
    LogGrew,
    RunJudged,
    WorkerSeen,
    read_tail,
)
from made_runs import live_worker, make_run, story, until_step, write_events
from textual.message import Message
from waiting import wait_for, wait_for_silence


@pytest.fixture
def told() -> list[Message]:
    return []


@pytest.fixture
def follower(tmp_path: Path, told: list[Message]) -> Iterator[Follower]:
    run = make_run(tmp_path)
    write_events(run, until_step(story(), 40))
    live_worker(run)
    follower = Follower(run, told.append)
    yield follower
    follower.stop()
    if follower.is_alive():
        follower.join()


def test_it_tells_of_what_there_is_and_of_what_comes(
    follower: Follower, told: list[Message]
) -> None:
    follower.start()
    wait_for(lambda: follower.caught_up and any(isinstance(m, HistoryGrew) for m in told), "it")
    assert follower.history.step == 40
    assert [m.alive for m in told if isinstance(m, WorkerSeen)] == [True]
    events = story()[len(until_step(story(), 40)) :]
    told.clear()
    write_events(follower.run_followed, events)
    wait_for(lambda: any(isinstance(m, RunJudged) and m.judgement is not None for m in told), "it")
    assert follower.history.step == 140
    (judged,) = (m for m in told if isinstance(m, RunJudged) and m.judgement)
    assert judged.primary == "macro_f1"
    assert judged.judgement is not None
    assert judged.judgement.decision == "ship"


def test_half_a_line_waits_for_its_other_half(follower: Follower, told: list[Message]) -> None:
    follower.start()
    wait_for(lambda: follower.caught_up, "it")
    line = encode_event(until_step(story(), 41)[-1])
    with follower.run_followed.events_path.open("ab") as file:
        file.write(line[:20])
        file.flush()
        time.sleep(0.4)
        assert follower.history.step == 40
        file.write(line[20:])
    wait_for(lambda: follower.history.step == 41, "it")
    assert follower.history.unreadable_lines == 0


def test_it_is_silent_while_nothing_happens(follower: Follower, told: list[Message]) -> None:
    follower.start()
    wait_for(lambda: any(isinstance(m, HistoryGrew) for m in told), "it")
    wait_for_silence(lambda: len(told), seconds=1.0)


def test_a_long_first_reading_tells_its_progress(
    tmp_path: Path, told: list[Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "FAST_SECONDS", 0.0)
    monkeypatch.setattr(follow, "CHUNK", 4_000)
    run = make_run(tmp_path, number=1)
    write_events(run, story())
    follower = Follower(run, told.append)
    follower._catch_up()
    shares = [m.share for m in told if isinstance(m, HistoryRead)]
    assert shares == sorted(shares)
    assert len(shares) > 3
    assert follower.history.finished


def test_a_worker_that_dies_is_noticed(
    follower: Follower, told: list[Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "ALIVE_SECONDS", 0.1)
    follower.start()
    wait_for(lambda: any(isinstance(m, WorkerSeen) for m in told), "it")
    follower.run_followed.worker_path.unlink()
    wait_for(lambda: [m.alive for m in told if isinstance(m, WorkerSeen)] == [True, False], "it")
    assert follower.history.status(follower.alive) == "died"


def test_the_log_is_read_from_its_end(follower: Follower, told: list[Message]) -> None:
    run: Run = follower.run_followed
    run.log_path.write_bytes(
        b"x" * 100_000 + b"\nLoading 10 %\rLoading 100 %\r\n\x1b[31mred\xff\n\n"
    )
    tail = read_tail(run.log_path)
    assert tail[-2:] == ["Loading 100 %", "␛[31mred\ufffd"]
    follower.start()
    wait_for(lambda: any(isinstance(m, LogGrew) and m.tail == tail for m in told), "it")


def test_a_newer_message_takes_the_place_of_one_that_waits() -> None:
    assert HistoryGrew(2).can_replace(HistoryGrew(1))
    assert not HistoryGrew(2).can_replace(WorkerSeen(True))


def test_a_worker_that_begins_is_seen_with_its_first_words(
    tmp_path: Path, told: list[Message]
) -> None:
    run = make_run(tmp_path)
    follower = Follower(run, told.append)
    follower._look_at_worker(time.monotonic())
    assert not follower.alive
    live_worker(run)
    write_events(run, story()[:1])
    follower._go()
    assert follower.history.status(follower.alive) == "running"
    assert [type(m) for m in told if isinstance(m, WorkerSeen | HistoryGrew)] == [
        WorkerSeen,
        WorkerSeen,
        HistoryGrew,
    ]
