"""The control socket of who trains: status is answered at once, prompts between two steps.

Our worker has one, and so does a loop of somebody else's that reports to ftev.
"""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import threading
from dataclasses import dataclass, field

import msgspec

from ..files.disk import RESUME, process_start, write_whole, writing
from ..files.reading import BROKEN
from .control import (
    LINE_LIMIT,
    Accepted,
    AskCheckpoint,
    AskPause,
    AskPrompt,
    AskResume,
    AskStop,
    AskTrace,
    Done,
    Failed,
    Reply,
    StatusReply,
    decode_request,
    encode_message,
    socket_path,
)
from .lock import hold_run
from .runs import HEARTBEAT_SECONDS, Run, WorkerInfo

AGAIN_SECONDS = 0.1
SAVED_FIRST = "stopping: the state is saved first"
_STOPPING = {
    "loading": "stopping: its worker ends when the models are loaded",
    "serving": "stopping: its worker ends, and frees the device",
    "writing the report": "stopping: the run is finished, and its report is written first",
}
PATIENCE_SECONDS = 30.0  # with who asks: for the rest of a request, or to read its answer


@dataclass
class Question:
    """A prompt that waits for its answer; `gone` when the asker has hung up."""

    asked: AskPrompt | AskTrace
    answers: queue.Queue[Reply] = field(default_factory=queue.Queue)
    gone: threading.Event = field(default_factory=threading.Event)


class Listener:
    """The run's lock, worker.json, its heartbeat, and the socket.

    Flags are read by the run between steps.
    """

    def __init__(self, run: Run, launch: str = "") -> None:
        """`launch`: names the launcher of several processes, where there is one."""
        self.run, self._launch = run, launch
        self.state, self.step = "starting", 0
        self.stop, self.pause, self.checkpoint = (threading.Event() for _ in range(3))
        self.questions: queue.Queue[Question] = queue.Queue()
        self._closed = threading.Event()

    def __enter__(self) -> Listener:
        """Raises HeldError before anything is written where another worker has the run."""
        with writing(self.run.path / "lock"):
            self._lock = hold_run(self.run)
        self._path = socket_path(self.run)
        waiting = self._path.with_suffix(".new")  # who looks for dead ones finds it when it listens
        waiting.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o177)  # the socket is born with mode 0600
        try:
            with writing(self._path):
                self._socket.bind(str(waiting))
        finally:
            os.umask(mask)
        self._socket.listen()
        waiting.rename(self._path)
        self._write_worker_file()
        for target in (self._accept, self._beat):
            threading.Thread(target=target, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._socket.close()
        self._path.unlink(missing_ok=True)
        while not self.questions.empty():
            self.questions.get_nowait().answers.put(Failed(text="the worker has ended"))
        self._lock.release()

    def _write_worker_file(self) -> None:
        pid = os.getpid()
        host, where = socket.gethostname(), str(self._path)
        info = WorkerInfo(pid, process_start(pid), host, where, self._launch)
        write_whole(self.run.worker_path, msgspec.json.encode(info), RESUME)

    def _beat(self) -> None:
        while not self._closed.wait(HEARTBEAT_SECONDS):
            with contextlib.suppress(OSError):  # a full or lost disk must not end the heartbeat
                os.utime(self.run.worker_path)

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                line, _ = self._socket.accept()
            except OSError:  # closed; or no file is left to open, for now
                if self._closed.wait(AGAIN_SECONDS):
                    return
                continue
            threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        line.settimeout(PATIENCE_SECONDS)
        with line, contextlib.suppress(OSError), line.makefile("rb") as requests:
            raw = requests.readline(LINE_LIMIT)
            if not raw.endswith(b"\n"):  # too long; or its end does not come, and nobody listens
                line.sendall(encode_message(Failed(text="the request has no end")))
                return
            try:
                request = decode_request(raw)
            except BROKEN as error:
                line.sendall(encode_message(Failed(text=f"not a request: {error}")))
                return
            if isinstance(request, AskPrompt | AskTrace):
                self._relay(line, request)
                return
            line.sendall(encode_message(self._answer(request)) + encode_message(Done()))

    def _answer(self, request: object) -> Reply:
        if isinstance(request, AskStop):
            self.pause.clear()
            self.stop.set()
            return Accepted(text=_STOPPING.get(self.state, SAVED_FIRST))
        if isinstance(request, AskPause):
            self.pause.set()
            return Accepted(text="pausing after this step")
        if isinstance(request, AskResume):
            self.pause.clear()
            return Accepted(text="going on")
        if isinstance(request, AskCheckpoint):
            self.checkpoint.set()
            return Accepted(text="saving after this step")
        return StatusReply(state=self.state, step=self.step, stopping=self.stop.is_set())

    def _relay(self, line: socket.socket, asked: AskPrompt | AskTrace) -> None:
        question = Question(asked)
        self.questions.put(question)
        try:
            while True:
                reply = question.answers.get()
                line.sendall(encode_message(reply))
                if isinstance(reply, Done | Failed):
                    return
        except OSError:
            question.gone.set()
