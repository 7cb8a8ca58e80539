"""How a rank tells that another one is lost, on its own host and on others."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest
from ftev.core.engine.distributed import members
from ftev.core.engine.distributed.members import Member, Members, lost_the_line, way_on
from ftev.core.errors import RunError
from ftev.core.files.disk import process_start
from ftev.core.run.runs import TRAINING_STATE, Run
from waiting import patience


@pytest.fixture
def first(tmp_path: Path) -> Members:
    (tmp_path / "ranks").mkdir()
    return Members(Run(tmp_path), 0, 3)


def write(first: Members, rank: int, member: Member, beat: float | None = None) -> None:
    path = first.path(rank)
    path.write_bytes(msgspec.json.encode(member))
    if beat is not None:
        os.utime(path, (beat, beat))


def here(first: Members, pid: int, error: str = "") -> Member:
    return Member(pid, process_start(pid), first._host, error)


@pytest.fixture
def process() -> subprocess.Popen[bytes]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        yield child
        child.kill()


def test_a_rank_killed_on_this_host_is_lost_at_once(
    first: Members, process: subprocess.Popen[bytes]
) -> None:
    write(first, 2, here(first, os.getpid()))
    write(first, 1, Member(process.pid, 1.0, first._host))
    assert first.lost() == ""  # what an earlier worker left: that rank has not come yet
    write(first, 1, here(first, process.pid))
    first.wait_for_all(threading.Event())
    process.kill()
    process.wait()
    found = first.lost()
    assert f"rank 1 of 3 (process {process.pid} on {first._host}) was lost" in found


def test_a_rank_of_another_start_is_never_there(first: Members) -> None:
    """It lives, and belongs to a start that was refused the run, or to an earlier one."""
    member = here(first, os.getpid())
    write(first, 1, msgspec.structs.replace(member, launch="another 127.0.0.1 29501"))
    assert not first._is_there(1)
    write(first, 1, member)
    assert first._is_there(1)


def test_a_rank_of_another_host_is_lost_with_its_heartbeat(
    first: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(members.time, "monotonic", lambda: now)
    write(first, 1, here(first, os.getpid()))
    far = Member(7, 1.0, "elsewhere")
    write(first, 2, far, beat=50.0)
    assert not first._is_there(2)  # old or new, nobody knows before it beats
    write(first, 2, far, beat=52.0)
    assert first._is_there(2)
    for _ in range(int(members.SILENT_SECONDS) - 1):
        now += 1
        assert first.lost() == ""
    now += 2
    assert first.lost() == "rank 2 of 3 (process 7 on elsewhere) was lost: no heartbeat for 30 s"


def test_a_process_that_lives_and_does_not_move_is_lost_in_the_end(
    first: Members, process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(members.time, "monotonic", lambda: now)
    write(first, 1, here(first, process.pid), beat=50.0)
    write(first, 2, here(first, os.getpid()), beat=50.0)

    def for_seconds(count: int) -> None:
        nonlocal now
        for second in range(count):
            now += 1
            os.utime(first.path(2), (now, now))
            assert first.lost() == "", second

    for_seconds(int(members.STUCK_SECONDS) - 1)
    now += 1_000  # this process was stopped too, as by ctrl+z: it cannot know
    for_seconds(int(members.STUCK_SECONDS) - 1)
    now += 2
    os.utime(first.path(2), (now, now))
    assert first.lost().startswith("rank 1 of 3")
    assert first.lost().endswith("was lost: alive, but it has not moved for 120 s")


def test_of_two_lost_ranks_the_one_without_a_word_is_named(
    first: Members, process: subprocess.Popen[bytes]
) -> None:
    write(first, 2, here(first, process.pid))
    write(first, 1, here(first, os.getpid()))
    first.wait_for_all(threading.Event())
    write(first, 1, here(first, os.getpid(), error="out of memory"))
    assert "rank 1 of 3" in first.lost()
    assert first.lost().endswith("failed: out of memory")
    process.kill()
    process.wait()
    assert "rank 2 of 3" in first.lost()


def test_a_rank_that_does_not_come_is_named_and_a_stop_ends_the_wait(
    first: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = threading.Event()
    stop.set()
    assert not first.wait_for_all(stop)
    monkeypatch.setattr(members, "ARRIVAL_SECONDS", 0.05)
    monkeypatch.setattr(members, "LATE_SECONDS", 0.0)
    monkeypatch.setattr(members, "LOOK_SECONDS", 0.01)
    late: list[str] = []
    with pytest.raises(RunError, match="rank 1 of 3 did not come"):
        first.wait_for_all(threading.Event(), late.append)
    assert late == ["waiting for rank 1 of 3 and rank 2 of 3, at most 0 s"]


def test_who_left_in_order_is_not_missed(
    first: Members, process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(members, "LOOK_SECONDS", 0.01)
    for rank in (1, 2):
        write(first, rank, here(first, process.pid))
    first.wait_for_all(threading.Event())
    text: list[str] = []
    heard = threading.Event()
    first.watch(lambda lost: (text.append(lost), heard.set()))
    process.kill()
    process.wait()
    assert heard.wait(patience(30))
    assert len(text) == 1
    second = Members(first.run, 0, 3)
    second.leave()
    second._watch(text.append)  # returns at once
    assert len(text) == 1


def test_the_way_on_is_from_the_last_checkpoint(tmp_path: Path) -> None:
    run = Run(tmp_path / "tea")
    assert "start the run anew" in way_on(run)
    for step in (5, 40):
        (run.checkpoints / f"step_{step:06}").mkdir(parents=True)
        (run.checkpoints / f"step_{step:06}" / TRAINING_STATE).write_text("{}")
    assert way_on(run) == "`ftev-tui resume tea` goes on from step 40"


def test_an_error_of_the_line_is_told_from_one_of_this_rank() -> None:
    assert lost_the_line(RuntimeError("[gloo/transport/tcp/pair.cc] Connection closed by peer"))
    assert lost_the_line(RuntimeError("NCCL communicator was aborted"))
    assert not lost_the_line(RuntimeError("CUDA out of memory"))
