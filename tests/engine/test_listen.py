"""The worker's socket: who may ask, what is answered, and what a stop or a hang-up does."""

from __future__ import annotations

import os
import queue
import resource
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import fuzzed
import pytest
import story
import waiting
from ftev.core.catalog.run_facts import RunEntry, read_facts
from ftev.core.config.config import EvaluateConfig, RunConfig
from ftev.core.errors import ConfigError
from ftev.core.run import control, launch, listen
from ftev.core.run.control import (
    Accepted,
    AskPrompt,
    AskStatus,
    AskStop,
    AskTrace,
    Completed,
    CrossScored,
    Done,
    HangUp,
    TokenMade,
    Traced,
    ask,
    socket_folder,
)
from ftev.core.run.history import read_history
from ftev.core.run.launch import is_stopping, start_worker, stop_worker, wait_until_listening
from ftev.core.run.listen import Listener
from ftev.core.run.lock import hold_run
from ftev.core.run.runs import Run, create_run
from ftev.tui.cli import main
from ftev.tui.commands import steer
from ftev.tui.screens.home.run_lines import detail_lines
from ftev.tui.screens.prompt.asking import free_worker
from ftev.tui.widgets.framed import Outcome
from strangers import as_nobody, may_be_nobody, tried_by_nobody
from waiting import patience

PATIENCE = patience(20.0)
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
    printed = capsys.readouterr().out
    assert printed.startswith("2026_tea, step ")
    assert "stopping: the state is saved first. `ftev-tui status 2026_tea` shows when" in printed


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
    monkeypatch.setattr(launch, "wait_until_listening", lambda *text: waits.set() or wait(*text))
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
        printed = capsys.readouterr().out
        assert "finished, holds " in printed
        detail = detail_lines(RunEntry(run, read_facts(run), "finished"), None, 200, 4)
        assert "its worker holds " in "".join(text for text, _ in detail[1])
        assert "`ftev-tui stop 2026_done` frees its memory" in printed
        [accepted] = ask(run, AskStop(), PATIENCE)
        assert accepted == Accepted(text="stopping: its worker ends, and frees the device")


def test_freeing_leaves_a_worker_alone_that_is_at_work(tmp_path: Path, sockets: Path) -> None:
    text: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
    run = story.write_story(tmp_path / "runs" / "2026_half", story.beginning())
    with Listener(run) as listener:
        listener.state = "fine-tune"
        free_worker(run, text.put)
        message = text.get(timeout=PATIENCE)
        assert not listener.stop.is_set()
    assert message.failed
    assert message.text.startswith("Its worker is at work (fine-tune): open the run")


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that anybody may look into, as /tmp and most homes are."""
    if not may_be_nobody():
        pytest.skip("only root can be another user")
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        monkeypatch.setenv("XDG_RUNTIME_DIR", name)
        yield Path(name)


def test_another_user_reaches_no_worker(place: Path) -> None:
    run: Run = story.write_story(place / "run", story.beginning())
    run.path.chmod(0o755)
    shown = as_nobody(lambda: {"events": str(len(run.events_path.read_bytes()))})
    assert int(shown["events"]) > 100  # what is tried below is not refused by a closed folder
    with Listener(run):
        info = run.worker()
        assert info is not None
        tried = tried_by_nobody(run, info)
    assert "done" not in tried.values(), tried
    assert tried["connects to its socket"] == "PermissionError"


def test_a_worker_that_is_halted_or_interrupted_leaves_what_an_undisturbed_one_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "bench")
    import torture_kills
    import torture_signals

    kind = next(k for k in torture_kills.kinds(tmp_path) if k.config.task == "generation")
    torture_kills.rehearse(kind, tmp_path / "whole")
    for name in ("SIGSTOP, SIGCONT", "SIGINT twice"):
        count = torture_kills.Count({}, {})
        deed, ends = torture_signals.DEEDS[name]
        torture_signals.endure(kind, tmp_path / "run", deed, ends, count)
        assert not any(count.failed.values()), name
        assert "weights" in count.tried


def test_requests_are_answered_or_refused_in_words() -> None:
    once_failed = [path.read_bytes() for path in fuzzed.ONCE_FAILED.glob("requests.*")]
    assert once_failed
    with fuzzed.opened("requests") as target:
        given = [*once_failed, *fuzzed.inputs(target, 200, seed=11)]
        assert not fuzzed.try_each(target, given).failed


ANSWER_SECONDS = 120.0  # seconds: a bound on a broken test, not an expectation


def test_a_worker_stops_when_hung_up_on_scores_crosswise_and_traces(
    verses: RunConfig, tmp_path: Path
) -> None:
    short = replace(verses, train=replace(verses.train, epochs=1))
    asked_only = replace(short, evaluate=EvaluateConfig(serve_minutes=1.0))
    run = create_run(asked_only, tmp_path / "runs")
    process = start_worker(run)
    wait_until_listening(run, process)
    while not any(getattr(r, "state", "") == "serving" for r in ask(run, AskStatus())):
        assert process.poll() is None, run.log_path.read_text()
        time.sleep(0.05)
    hang_up = HangUp()
    long = AskPrompt(text="a long one", max_new_tokens=100_000, temperature=5.0, seed=1)
    came = 0
    for reply in ask(run, long, ANSWER_SECONDS, hang_up):
        came += isinstance(reply, TokenMade)
        if came == 3:
            hang_up.now()
    assert came == 3  # and no error: that is how a stop ends
    started = time.monotonic()
    asked = AskPrompt(text="cup", max_new_tokens=3, likelihoods="all", details=True)
    lines = list(ask(run, asked, ANSWER_SECONDS))
    assert time.monotonic() - started < ANSWER_SECONDS / 2  # 100,000 tokens would take far longer
    done = {r.model: r for r in lines if isinstance(r, Completed)}
    crossed = {r.model: r for r in lines if isinstance(r, CrossScored)}
    assert {m: c.by for m, c in crossed.items()} == {"base": "tuned", "tuned": "base"}
    for model, found in crossed.items():
        mine = done[model].likelihoods[-len(found.tokens) :]
        assert [t.text for t in found.tokens] == [t.text for t in mine]
        assert all(len(t.top) == 5 for t in (*mine, *found.tokens))

    (traced,) = (r for r in ask(run, AskTrace(text="cup"), ANSWER_SECONDS) if isinstance(r, Traced))
    base, tuned = traced.models
    assert (base.model, tuned.model) == ("base", "tuned")
    assert tuned.layers[0].distance is not None
    assert tuned.lens_error is not None
    assert tuned.lens_error < 1e-5
    assert tuned.tokens == base.tokens
    first = done["tuned"].likelihoods[-len(crossed["tuned"].tokens)]
    assert tuned.probabilities[0][1] == pytest.approx(first.top[0][1], abs=1e-5)
    stop_worker(run)
    process.wait(timeout=ANSWER_SECONDS)
    assert [p.prompt for p in read_history(run).prompts if not p.probe] == ["cup"]
