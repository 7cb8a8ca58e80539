"""What another user of the machine can do to a worker: a child of another user tries it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

from ftev.core.run.runs import Run, WorkerInfo

NOBODY = 65_534


def may_be_nobody() -> bool:
    return os.geteuid() == 0


def tried_by_nobody(run: Run, worker: WorkerInfo) -> dict[str, str]:
    """What came of each try: "done", or why it was refused."""
    place = Path(worker.socket)

    def connect() -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.connect(worker.socket)

    def remove_socket() -> None:
        place.unlink()

    def write_event() -> None:
        with run.events_path.open("ab") as file:
            file.write(b"\n")

    def read_memory() -> None:
        Path(f"/proc/{worker.pid}/maps").read_text()

    tries: dict[str, Callable[[], object]] = {
        "connects to its socket": connect,
        "lists the sockets": lambda: os.listdir(place.parent),
        "removes its socket": remove_socket,
        "signals it": lambda: os.kill(worker.pid, 0),
        "reads its environment": Path(f"/proc/{worker.pid}/environ").read_bytes,
        "reads its memory": read_memory,
        "writes an event": write_event,
        "takes the lock away": (run.path / "lock").unlink,
        "puts a file into the run": (run.path / "planted").touch,
    }
    return as_nobody(lambda: {name: _outcome(deed) for name, deed in tries.items()})


def as_nobody(work: Callable[[], dict[str, str]]) -> dict[str, str]:
    """What a function returns in a process of another user."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        with contextlib.suppress(BaseException):
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            os.write(writing, json.dumps(work()).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as text:
        found: dict[str, str] = json.loads(text.read())
    os.waitpid(pid, 0)
    return found


def _outcome(deed: Callable[[], object]) -> str:
    try:
        deed()
    except OSError as error:
        return type(error).__name__
    return "done"
