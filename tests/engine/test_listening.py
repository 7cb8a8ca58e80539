"""A worker's socket: what is left of dead ones, of askers that hang, and of a full process."""

from __future__ import annotations

import os
import queue
import resource
import socket
import tempfile
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import story
import waiting
from ftev.core.catalog.run_facts import RunEntry, read_facts
from ftev.core.engine.worker import listen
from ftev.core.engine.worker.listen import Listener
from ftev.core.errors import ConfigError
from ftev.core.run import control, launch
from ftev.core.run.control import Accepted, AskPrompt, AskStatus, AskStop, Done, ask, socket_folder
from ftev.core.run.launch import is_stopping
from ftev.core.run.lock import hold_run
from ftev.core.run.runs import Run
from ftev.tui.cli import main
from ftev.tui.commands import steer
from ftev.tui.screens.home.run_lines import detail_lines
from ftev.tui.screens.prompt.asking import free_worker
from ftev.tui.widgets.framed import Outcome

PATIENCE = 20.0  # seconds: a bound on a broken test, not an expectation
wait_for = partial(waiting.wait_for, seconds=PATIENCE)


@pytest.fixture
def sockets(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A short folder in place of the user's."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        monkeypatch.setenv("XDG_RUNTIME_DIR", name)
        yield Path(name) / "ftev"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return story.write_story(tmp_path / "2026_tea", story.beginning())


def bound(path: Path) -> socket.socket:
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    line.bind(str(path))
    return line


def test_sockets_of_dead_workers_are_removed_and_those_of_live_ones_kept(
    run: Run, sockets: Path
) -> None:
    sockets.mkdir(mode=0o700)
    bound(sockets / "dead.sock").close()
    with bound(sockets / "live.sock") as live:
        live.listen()
        with Listener(run):
            assert len(list(sockets.iterdir())) == 2
            assert not (sockets / "dead.sock").exists()
            assert (sockets / "live.sock").exists()
    assert [p.name for p in sockets.iterdir()] == ["live.sock"]


def test_a_request_that_stays_half_is_hung_up_on(
    run: Run, sockets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listen, "PATIENCE_SECONDS", 0.05)
    with Listener(run) as listener, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(PATIENCE)
        line.connect(str(listener._path))
        line.sendall(b'{"ask":"sta')
        assert line.recv(100) == b""


def test_a_process_without_a_file_left_to_open_listens_again(run: Run, sockets: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    refused = threading.Event()

    class Closed(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            if timeout == listen.AGAIN_SECONDS:
                refused.set()
            return super().wait(timeout)

    listener = Listener(run)
    listener._closed = Closed()
    with listener, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        try:
            free = os.dup(line.fileno())
            os.close(free)
            resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
            line.connect(str(listener._path))
            assert refused.wait(PATIENCE)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert list(ask(run, AskStatus(), PATIENCE))


def test_a_large_prompt_is_answered_and_a_larger_one_is_not_sent(run: Run, sockets: Path) -> None:
    text = "tea " * (1 << 18) * 3
    with Listener(run) as listener:

        def answer() -> None:
            question = listener.questions.get(timeout=PATIENCE)
            asked = question.asked.text == text
            question.answers.put(Accepted(text=f"whole: {asked}"))
            question.answers.put(Done())

        threading.Thread(target=answer, daemon=True).start()
        assert list(ask(run, AskPrompt(text=text), PATIENCE)) == [Accepted(text="whole: True")]
        with pytest.raises(ConfigError, match=r"the prompt: has 6.0 MiB, and a worker takes 4 MiB"):
            list(ask(run, AskPrompt(text=text * 2), PATIENCE))


def test_somebody_elses_folder_does_not_stop_a_run(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_to_all = tmp_path / "runtime" / "ftev"
    open_to_all.mkdir(parents=True, mode=0o755)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(open_to_all.parent))
    theirs = Path(tempfile.gettempdir()) / f"ftev-{os.getuid()}"
    ours = control._is_ours
    monkeypatch.setattr(control, "_is_ours", lambda folder: folder != theirs and ours(folder))
    with tempfile.TemporaryDirectory(dir="/tmp") as home:
        monkeypatch.setenv("HOME", home)
        assert socket_folder() == Path(home) / ".cache" / "ftev"
        with Listener(run):
            assert list(ask(run, AskStatus(), PATIENCE))


def test_stop_says_at_once_what_will_happen_and_does_not_wait_for_it(
    run: Run, sockets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Listener(run) as listener:
        assert not is_stopping(run)
        assert main(["stop", str(run.path)]) == 0
        assert listener.stop.is_set()
        assert is_stopping(run)
    told = capsys.readouterr().out
    assert told.startswith("2026_tea, step ")
    assert "stopping: the state is saved first. `ftev-tui status 2026_tea` shows when" in told


def test_resume_waits_for_a_worker_that_is_stopping(
    run: Run, sockets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that `stop && resume` means what it says."""
    shown, waits = [], threading.Event()
    wait = steer.wait_until_gone
    monkeypatch.setattr(steer, "show_new", lambda found, *_: shown.append(found) or 0)
    monkeypatch.setattr(steer, "wait_until_gone", lambda found: waits.set() or wait(found))
    with Listener(run) as listener:
        listener.stop.set()
        resumed = threading.Thread(target=main, args=(["resume", str(run.path)],))
        resumed.start()
        assert waits.wait(PATIENCE)
        assert not shown
    run.worker_path.unlink()  # it names this process, which lives
    resumed.join(PATIENCE)
    assert [found.path for found in shown] == [run.path]


def test_stop_of_a_worker_too_busy_to_answer_is_still_heard(
    run: Run, sockets: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    busy = threading.Event()
    answer = Listener._answer
    monkeypatch.setattr(Listener, "_answer", lambda *asked: busy.wait() and answer(*asked))
    with Listener(run) as listener:
        try:
            assert main(["stop", str(run.path)]) == 0
        finally:
            busy.set()
        assert "asked to stop: the worker is busy" in capsys.readouterr().out
        assert listener.stop.wait(PATIENCE)


def test_a_prompt_waits_for_the_worker_that_somebody_else_is_starting(
    run: Run, sockets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has the run, and does not listen yet."""
    waits, wait = threading.Event(), launch.wait_until_listening
    monkeypatch.setattr(launch, "wait_until_listening", lambda *told: waits.set() or wait(*told))
    lock = hold_run(run)
    woken = threading.Thread(target=launch.wake_worker, args=(run, "1"))
    woken.start()
    assert waits.wait(PATIENCE)
    lock.release()
    with Listener(run):
        woken.join(PATIENCE)
        assert not woken.is_alive()


def test_a_worker_that_only_answers_prompts_is_shown_with_its_memory_and_freed(
    tmp_path: Path, sockets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = story.write_story(tmp_path / "runs" / "2026_done", story.whole())
    with Listener(run) as listener:
        listener.state = "serving"
        assert main(["list", "--runs-dir", str(tmp_path / "runs")]) == 0
        assert main(["status", str(run.path)]) == 0
        told = capsys.readouterr().out
        assert "finished, holds " in told
        detail = detail_lines(RunEntry(run, read_facts(run), "finished"), None, 200, 4)
        assert "its worker holds " in "".join(text for text, _ in detail[1])
        assert "`ftev-tui stop 2026_done` frees its memory" in told
        [accepted] = ask(run, AskStop(), PATIENCE)
        assert accepted == Accepted(text="stopping: its worker ends, and frees the device")


def test_freeing_leaves_a_worker_alone_that_is_at_work(tmp_path: Path, sockets: Path) -> None:
    told: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
    run = story.write_story(tmp_path / "runs" / "2026_half", story.beginning())
    with Listener(run) as listener:
        listener.state = "fine-tune"
        free_worker(run, told.put)
        message = told.get(timeout=PATIENCE)
        assert not listener.stop.is_set()
    assert message.failed
    assert message.text.startswith("Its worker is at work (fine-tune): open the run")
